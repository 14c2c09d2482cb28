"""A fuzzer for configuration files: whatever the bytes, they are a configuration or clear lines, without secrets."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stream.config import load_config
from stream.config_file import ConfigError

SECRET = "Zq9+Hunter2"
"""No plain word: one of those in the place of a key is told as a key."""
FILE = f"""
streams:
  - name: door
    source: rtsp://root:{SECRET}@10.0.0.7:554/live?token={SECRET}
    transport: tcp
    priority: high
  - source: https://cam.local/x.m3u8?key={SECRET}
    user: root
defaults: &shared {{restream: true, detect_rate_hz: 5}}
model: {{name: lite0-gru, threads: 2}}
scoring: {{fake_at: 0.7, real_at: 0.3}}
wall: {{enabled: true, size: 1280x720}}
metrics: {{host: 127.0.0.1, port: 9108}}
canary: {{enabled: auto, every_min: 60}}
duration_s: 60
""".encode()
PIECES = [
    piece.encode("utf-8", "surrogatepass")
    for piece in (
        *(
            ": ",
            "- ",
            "? ",
            "[",
            "]",
            "{",
            "}",
            ",",
            "#",
            "\n",
            "\t",
            " ",
            "\r",
            "\0",
            "\x85",
            "\ufeff",
            "\ud800",
            "|\n",
            ">",
        ),
        *("&a ", "*a", "*shared", "<<: *shared", "<<: [1]", "!!python/object/apply:os.system [true]", "!!timestamp x"),
        *(
            "!!int ''",
            "!!float ''",
            "!!bool x",
            "!!binary x",
            "!!set {a}",
            "!!omap [a]",
            "!!pairs [a]",
            "!!null x",
            "!x y",
        ),
        *(
            "name: [1]",
            "name: {a: 1}",
            "name: 1",
            "streams: 7",
            "streams: [[]]",
            "- 7",
            "null",
            "~",
            "on",
            "1e999",
            ".nan",
        ),
        *(
            "9" * 5000,
            "2001-99-99",
            "0x",
            "0b",
            "1:99",
            "%YAML 9.9\n---\n",
            "---\n",
            "...\n",
            '"',
            "'",
            "\\",
            "&a [*a]",
        ),
        *("save: clip{name}.mp4", "${NO_SUCH_VARIABLE}", "password: x", "user_env: A", "password_env: A", "[" * 3000),
    )
]
changes = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 12), st.one_of(st.sampled_from(PIECES), st.binary(max_size=3))),
    min_size=1,
    max_size=4,
)


def lines_about(path: Path) -> tuple[str, ...]:
    """What is wrong with the file; nothing if it is good."""
    try:
        load_config(path)
    except ConfigError as error:
        return (str(error), *error.problems)
    return ()


def fuzzed(content: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for place, length, piece in edits:
        at = int(place * len(content))
        content = content[:at] + piece + content[at + length :]
    return content


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes)
def test_any_bytes_are_a_configuration_or_clear_lines(tmp_path: Path, edits: list[tuple[float, int, bytes]]) -> None:
    path = tmp_path / "unmask.yaml"
    path.write_bytes(fuzzed(FILE, edits))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lines = lines_about(path)
    for line in lines:
        assert len(line.splitlines()) == 1, line
        assert SECRET not in line


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: repr(piece[:24]))
@pytest.mark.parametrize(
    "where", ["{}", "canary: {}", "streams: {}", "streams: [{}]", "streams: [{{source: {}}}]", "{}: 1"]
)
def test_a_piece_alone_is_a_configuration_or_clear_lines(tmp_path: Path, piece: bytes, where: str) -> None:
    path = tmp_path / "unmask.yaml"
    before, _, after = where.replace("{{", "<").replace("}}", ">").partition("{}")
    path.write_bytes(before.replace("<", "{").encode() + piece + after.replace(">", "}").encode())
    assert all(len(line.splitlines()) == 1 for line in lines_about(path))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
@example(b"password: *" + SECRET.encode())
@example(f"streams: [{{source: webcam, password_env: {SECRET}}}]".encode())
@example(f"a: !!int '{SECRET}'".encode())
@example(f"a: !{SECRET} x".encode())
@example(f"rtsp://root:{SECRET}@cam/x: 1".encode())
@example(f"streams: [{{rtsp://root:{SECRET}@cam/x: 1}}]".encode())
@example(f"a: 1\nrtsp://u:{SECRET}@c/x: 1\nrtsp://u:{SECRET}@c/x: 1".encode())
@example(f"? [rtsp://u:{SECRET}@c/x]\n: 1".encode())
@example(f"streams: [{{source: webcam, ? !!int rtsp://u:{SECRET}@c/x : 1}}]".encode())
def test_no_line_about_a_file_shows_a_password_in_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "unmask.yaml"
    path.write_bytes(content)
    assert not any(SECRET in line for line in lines_about(path))
