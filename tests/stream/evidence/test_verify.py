"""Whoever changes the log or its evidence is found, and the place is named."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import UsageError
from stream.evidence.chain import ChainLog, hand_in, log_files
from stream.evidence.chain_line import LOG_FOLDER, SIGNATURE, LogLine, canonical, line_from, signed_text
from stream.evidence.handed_in import sealed
from stream.evidence.signing import open_key
from stream.evidence.verify import Report, report_lines, verify
from tests.stream.evidence.logs import evidence, kept, lines_of, opened, restore, written

FILES = {"snapshot.jpg": b"picture" * 99, "clip.mp4": b"video" * 4000, "faces/0001.jpg": b"face"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed log of several files. Whoever changes it puts it back."""
    folder = tmp_path_factory.mktemp("vault") / "evidence"
    written(folder, 25, file_bytes=2500, sign_lines=6)
    return folder


@pytest.fixture(scope="module")
def whole(folder: Path) -> dict[Path, bytes]:
    return kept(folder)


def places(report: Report) -> list[str]:
    return [finding.where for finding in report.findings]


def place_of(lines: list[bytes], files: list[Path], index: int) -> str:
    """Where the line with that index stands."""
    for path in files:
        count = len(path.read_bytes().splitlines())
        if index < count:
            return f"{path.name}:{index + 1}"
        index -= count
    raise IndexError(len(lines))


def test_a_log_that_nobody_touched_is_intact(folder: Path) -> None:
    report = verify(folder)
    assert report.is_intact
    assert (report.unsigned, report.signed_to) == (0, report.lines)
    assert report.head == line_from(lines_of(log_files(folder / LOG_FOLDER))[-1][:-1]).hash
    assert next(report_lines(report)).startswith(f"intact: {report.lines} lines, 20")


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_one_changed_byte_is_found_in_its_line(folder: Path, whole: dict[Path, bytes], data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(log_files(folder / LOG_FOLDER)))
    content = whole[path]
    at = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[at]))
    try:
        path.write_bytes(content[:at] + bytes([byte]) + content[at + 1 :])
        report = verify(folder)
    finally:
        restore(whole)
    number = content[:at].count(b"\n") + 1
    assert not report.is_intact
    assert places(report)[0] in (f"{path.name}:{number}", f"{path.name}:{number + 1}")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_line_that_is_taken_out_doubled_or_moved_is_found(
    folder: Path, whole: dict[Path, bytes], data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from([path for path in log_files(folder / LOG_FOLDER) if whole[path].count(b"\n") > 1]))
    lines = whole[path].splitlines(keepends=True)
    first, second = sorted(data.draw(st.lists(st.integers(0, len(lines) - 1), min_size=2, max_size=2, unique=True)))
    changes: dict[str, Callable[[], list[bytes]]] = {
        "out": lambda: lines[:first] + lines[first + 1 :],
        "doubled": lambda: [*lines[: first + 1], lines[first], *lines[first + 1 :]],
        "moved": lambda: [*lines[:first], lines[second], *lines[first:second], *lines[second + 1 :]],
    }
    change = data.draw(st.sampled_from(sorted(changes)))
    try:
        path.write_bytes(b"".join(changes[change]()))
        report = verify(folder)
    finally:
        restore(whole)
    assert not report.is_intact, change
    assert line_number(places(report)[0], whole, folder) <= line_number(f"{path.name}:{first + 2}", whole, folder)
    assert line_number(places(report)[0], whole, folder) >= line_number(f"{path.name}:{first + 1}", whole, folder) - 1


def line_number(place: str, whole: dict[Path, bytes], folder: Path) -> int:
    """A place as a number through all files."""
    name, _, number = place.partition(":")
    before = [path for path in log_files(folder / LOG_FOLDER) if path.name < name]
    return sum(whole[path].count(b"\n") for path in before) + int(number)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_an_end_that_is_cut_off_anywhere_is_found(folder: Path, whole: dict[Path, bytes], data: st.DataObject) -> None:
    """Of a log that was closed, whose last line is signed."""
    files = log_files(folder / LOG_FOLDER)
    index = data.draw(st.integers(0, len(files) - 1))
    size = data.draw(st.integers(0 if index else 1, len(whole[files[index]]) - 1))
    try:
        for path in files[index + 1 :]:
            path.unlink()
        files[index].write_bytes(whole[files[index]][:size])
        report = verify(folder)
    finally:
        restore(whole)
    assert not report.is_intact
    assert any("cut off" in finding.what or "line end" in finding.what for finding in report.findings)


def test_a_file_that_is_gone_is_found(folder: Path, whole: dict[Path, bytes]) -> None:
    for path in log_files(folder / LOG_FOLDER):
        try:
            path.unlink()
            report = verify(folder)
        finally:
            restore(whole)
        assert not report.is_intact, path.name


def forged(lines: list[bytes], first: int, change: Callable[[LogLine], LogLine], key: Path | None) -> list[bytes]:
    """The chain written anew from a changed line on, signed with ``key`` or with the signatures that were there."""
    parsed = [line_from(text[:-1]) for text in lines]
    parsed[first] = change(parsed[first])
    previous = parsed[first].previous
    for index in range(first, len(parsed)):
        line = replace(parsed[index], previous=previous)
        if line.kind == SIGNATURE:
            record = {**line.record, "head": previous}
            if key is not None:
                record["signature"] = open_key(key).sign(signed_text(line.seq - 1, previous))
            line = replace(line, record=record)
        parsed[index] = line.sealed()
        previous = parsed[index].hash
    return [line.to_bytes() for line in parsed]


def rewritten(folder: Path, first: int, key: Path | None) -> Report:
    (path,) = written(folder, 12, sign_lines=4)
    path.write_bytes(b"".join(forged(lines_of([path]), first, lambda line: replace(line, at=line.at + 60), key)))
    return verify(folder)


@pytest.mark.parametrize("first", [2, 3, 9])
def test_a_chain_that_is_written_anew_fails_at_the_next_signature(tmp_path: Path, first: int) -> None:
    report = rewritten(tmp_path / "evidence", first, None)
    place, what = report.findings[0].where, report.findings[0].what
    lines = [line_from(text[:-1]).kind for text in lines_of(log_files(tmp_path / "evidence" / LOG_FOLDER))]
    signature = lines.index(SIGNATURE, first) + 1
    assert place == f"log-000001.jsonl:{signature}"
    assert "may all have been written anew" in what


def test_a_chain_that_is_signed_again_by_another_key_is_found(tmp_path: Path) -> None:
    report = rewritten(tmp_path / "evidence", 3, tmp_path / "other" / "log.pem")
    assert "may all have been written anew" in report.findings[0].what
    assert "head.json" in places(report) or any("cut off" in finding.what for finding in report.findings)


def test_another_key_beside_the_log_does_not_deceive_who_kept_the_first(tmp_path: Path) -> None:
    folder, copy = tmp_path / "evidence", tmp_path / "copy.pem"
    written(folder, 6)
    shutil.copy(folder / LOG_FOLDER / "public-key.pem", copy)
    shutil.rmtree(folder)
    opened(folder, tmp_path / "other" / "log.pem").close()
    assert verify(folder).is_intact, "without a copy nobody can know"
    report = verify(folder, public_key=copy)
    assert places(report)[0] == "public-key.pem"
    assert "log-000001.jsonl:2" in places(report)


@pytest.mark.parametrize("name", ["head.json", "public-key.pem"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"[" * 9999])
def test_what_lies_beside_the_log_is_missed_too(tmp_path: Path, name: str, content: bytes | None) -> None:
    written(tmp_path)
    path = tmp_path / LOG_FOLDER / name
    path.unlink() if content is None else path.write_bytes(content)
    report = verify(tmp_path)
    assert places(report)[0] == name


def test_an_old_head_put_back_with_its_log_is_found_by_a_head_kept_elsewhere(tmp_path: Path) -> None:
    """What the log alone cannot tell."""
    written(tmp_path, 3)
    old = kept(tmp_path)
    assert verify(tmp_path, expect_head=verify(tmp_path).head).is_intact
    written(tmp_path, 3)
    head = verify(tmp_path).head
    restore(old)
    assert verify(tmp_path).is_intact
    report = verify(tmp_path, expect_head=head)
    assert not report.is_intact
    assert "does not hold the expected head" in report.findings[0].what


@pytest.mark.parametrize("old", [b'"number":3', b'"at":', b'"seq":6', b'"previous":"', b'"hash":"', b'"text":"'])
@pytest.mark.parametrize("is_unreadable", [True, False])
def test_one_changed_line_is_one_finding_and_no_word_of_the_clock(
    tmp_path: Path, old: bytes, is_unreadable: bool
) -> None:
    (path,) = written(tmp_path, 8)
    lines = lines_of([path])
    at = lines[5].index(old) + len(old)
    digit = b"x" if is_unreadable else b"2" if lines[5][at : at + 1] == b"1" else b"1"
    lines[5] = lines[5][: at - 1] + digit + lines[5][at:]
    path.write_bytes(b"".join(lines))
    report = verify(tmp_path)
    assert places(report) == ["log-000001.jsonl:6"], report.findings
    assert report.notes == []


@pytest.mark.parametrize("line", [b"rubbish\n", None])
def test_a_last_line_that_is_changed_is_not_said_to_be_cut_off_too(tmp_path: Path, line: bytes | None) -> None:
    (path,) = written(tmp_path, 3)
    lines = lines_of([path])
    path.write_bytes(b"".join([*lines[:-1], line or lines[-1].replace(b'"covers":', b'"covers":1')]))
    assert places(verify(tmp_path)) == [f"log-000001.jsonl:{len(lines)}"]


def test_a_line_put_in_that_is_none_is_one_finding(tmp_path: Path) -> None:
    (path,) = written(tmp_path, 6)
    lines = lines_of([path])
    path.write_bytes(b"".join([*lines[:4], b"rubbish\n", *lines[4:]]))
    assert places(verify(tmp_path)) == ["log-000001.jsonl:5"]


@pytest.mark.parametrize("head", ["abc", "", "0" * 63, "g" * 64])
def test_what_is_no_head_is_refused_in_one_line(tmp_path: Path, head: str) -> None:
    written(tmp_path)
    with pytest.raises(UsageError, match="is no head: give --expect-head the 64 digits"):
        verify(tmp_path, expect_head=head)


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (
            Report(lines=1, evidence_folders=1, evidence_files=1, purged=1),
            "evidence: 1 folder, 1 file; 1 folder purged",
        ),
        (Report(), "evidence: 0 folders, 0 files; 0 folders purged"),
        (Report(lines=1), "intact: 1 line, never to never"),
        (Report(unsigned=1), "not signed yet: 1 line, which could be cut off without a trace"),
        (Report(), "signed: nothing"),
        (Report(signed_to=3, key="SHA256:x"), "signed: up to line 3 by SHA256:x"),
    ],
)
def test_a_report_counts_as_people_do(report: Report, words: str) -> None:
    assert words in list(report_lines(report))


def test_a_folder_without_a_log_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no log in"):
        verify(tmp_path)


def test_a_clock_that_was_set_back_is_noted(tmp_path: Path) -> None:
    times = iter([1000.0, 1000.0, 1000.0, 400.0, 400.0, 400.0])
    key = tmp_path.parent / "keys" / "log.pem"
    log = ChainLog(tmp_path / LOG_FOLDER, key, now=lambda: next(times), monotonic=lambda: 5.0)
    log.append("note", {})
    log.append("note", {})
    log.close()
    report = verify(tmp_path)
    assert report.is_intact
    assert [note.what for note in report.notes] == ["the clock was set back by 600 s"]


# The evidence


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    """Two folders of evidence, and one that was purged."""
    folder = tmp_path / "evidence"
    log = opened(folder)
    log.append("evidence", evidence(folder, "gone", {"clip.mp4": b"x"}))
    log.append("evidence", evidence(folder, "door-1", FILES))
    log.append("evidence", evidence(folder, "door-2", FILES))
    shutil.rmtree(folder / "gone")
    log.append("purge", {"folder": "gone", "why": "age or size"})
    log.close()
    return folder


def test_evidence_that_nobody_touched_is_intact(vault: Path) -> None:
    report = verify(vault)
    assert report.is_intact, report.findings
    assert (report.evidence_folders, report.evidence_files, report.purged) == (2, 6, 1)


def grown(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def linked(path: Path) -> None:
    path.rename(path.parent.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent.parent / "elsewhere")


TAMPERING: list[tuple[str, Callable[[Path], None], str, str]] = [
    ("a clip's byte", lambda vault: flipped(vault / "door-1/clip.mp4"), "door-1/clip.mp4", "was changed"),
    ("a clip grows", lambda vault: grown(vault / "door-1/clip.mp4"), "door-1/clip.mp4", "20001 bytes, not 20000"),
    ("a snapshot", lambda vault: flipped(vault / "door-2/snapshot.jpg"), "door-2/snapshot.jpg", "was changed"),
    ("a crop is gone", lambda vault: (vault / "door-1/faces/0001.jpg").unlink(), "door-1/faces/0001.jpg", "missing"),
    ("a link", lambda vault: linked(vault / "door-1/clip.mp4"), "door-1/clip.mp4", "is a link"),
    ("one file more", lambda vault: (vault / "door-1/new.jpg").write_bytes(b""), "door-1/new.jpg", "nobody recorded"),
    ("the manifest", lambda vault: grown(vault / "door-1/manifest.json"), "door-1/manifest.json", "was changed"),
    ("no manifest", lambda vault: (vault / "door-1/manifest.json").unlink(), "door-1/manifest.json", "missing"),
    ("a folder is gone", lambda vault: shutil.rmtree(vault / "door-1"), "door-1", "no purge is in the log"),
    ("a folder more", lambda vault: shutil.copytree(vault / "door-1", vault / "copy"), "copy", "nobody recorded"),
    ("a file more", lambda vault: (vault / "stray.jpg").write_bytes(b"x"), "stray.jpg", "nobody recorded"),
    ("a hidden file", lambda vault: (vault / ".stray.jpg").write_bytes(b"x"), ".stray.jpg", "nobody recorded"),
    ("a hidden folder", lambda vault: shutil.copytree(vault / "door-1", vault / ".x"), ".x", "nobody recorded"),
    ("a purged name", lambda vault: shutil.copytree(vault / "door-1", vault / "gone"), "gone/manifest.json", "changed"),
]


@pytest.mark.parametrize(("change", "where", "what"), [row[1:] for row in TAMPERING], ids=[row[0] for row in TAMPERING])
def test_tampering_with_evidence_is_found(vault: Path, change: Callable[[Path], None], where: str, what: str) -> None:
    change(vault)
    report = verify(vault)
    assert places(report) == [where]
    assert what in report.findings[0].what


def test_a_purge_that_did_not_come_to_its_end_is_noted_and_the_folder_still_counts(vault: Path) -> None:
    log = opened(vault)
    log.append("purge", {"folder": "door-1", "why": "asked for"})
    log.close()
    report = verify(vault)
    assert report.is_intact
    assert "is there though" in str(report.notes[0])
    flipped(vault / "door-1/clip.mp4")
    assert places(verify(vault)) == ["door-1/clip.mp4"]


def test_a_purge_that_is_handed_in_explains_what_is_missing(vault: Path) -> None:
    key = open_key(vault.parent / "keys" / "log.pem")
    hand_in(vault / LOG_FOLDER, key, "purge", {"folder": "door-1", "why": "asked for"})
    assert verify(vault).is_intact
    shutil.rmtree(vault / "door-1")
    report = verify(vault)
    assert report.is_intact
    assert "its deletion was handed in" in str(report.notes[-1])
    opened(vault).close()
    report = verify(vault)
    assert report.is_intact
    assert report.notes == []
    assert report.purged == 2


def unsigned(_vault: Path, given: dict[str, object]) -> dict[str, object]:
    return given


def signed_by_another(vault: Path, _given: dict[str, object]) -> dict[str, object]:
    return json.loads(sealed("purge", dict(PURGED), open_key(vault.parent / "keys" / "other.pem")))  # type: ignore[no-any-return]


def of_another_folder(vault: Path, given: dict[str, object]) -> dict[str, object]:
    other = json.loads(sealed("purge", {"folder": "door-2"}, open_key(vault.parent / "keys" / "log.pem")))
    return {**given, "signature": other["signature"]}


def signature_of_a_line(vault: Path, given: dict[str, object]) -> dict[str, object]:
    return {**given, "signature": json.loads((vault / LOG_FOLDER / "head.json").read_bytes())["signature"]}


def no_number(_vault: Path, given: dict[str, object]) -> dict[str, object]:
    return {**given, "record": {**PURGED, "bytes": float("nan")}, "signature": 7}


PURGED = {"folder": "door-1", "why": "asked for"}
FORGERIES = [unsigned, signed_by_another, of_another_folder, signature_of_a_line, no_number]


@pytest.mark.parametrize("forge", FORGERIES)
def test_a_deletion_cannot_be_forged_without_the_key(
    vault: Path, forge: Callable[[Path, dict[str, object]], dict[str, object]], caplog: pytest.LogCaptureFixture
) -> None:
    place = vault / LOG_FOLDER / "handed-in"
    place.mkdir()
    (place / "1-1.json").write_text(json.dumps(forge(vault, {"kind": "purge", "record": PURGED})))
    assert places(verify(vault)) == ["handed-in/1-1.json"], "told while the folder is still there"
    shutil.rmtree(vault / "door-1")
    assert sorted(places(verify(vault))) == ["door-1", "handed-in/1-1.json"]
    opened(vault).close()
    assert "a forged purge is refused" in caplog.text
    assert [path.name for path in place.iterdir()] == ["1-1.refused"]
    report = verify(vault)
    assert places(report) == ["door-1"]
    assert report.purged == 1
    assert any("refused" in note.what for note in report.notes)


def test_a_line_put_on_the_end_without_the_key_does_not_explain_what_is_missing(vault: Path) -> None:
    """A chain of hashes needs no key: only the signature of the deletion itself tells."""
    (path,) = log_files(vault / LOG_FOLDER)
    last = line_from(lines_of([path])[-1][:-1])
    put_on = LogLine(last.seq + 1, last.at, None, "purge", PURGED, last.hash).sealed()
    path.write_bytes(path.read_bytes() + put_on.to_bytes())
    shutil.rmtree(vault / "door-1")
    place = f"log-000001.jsonl:{put_on.seq}"
    assert places(verify(vault)) == [place, "door-1"]
    opened(vault).close()
    written(vault, 2)
    assert places(verify(vault)) == [place, "door-1"], "a later signature over it makes it no better"


def test_evidence_that_is_being_written_is_no_break(vault: Path) -> None:
    (vault / "door-3").mkdir()
    (vault / "door-3" / "snapshot.jpg").write_bytes(b"x")
    assert verify(vault).is_intact
    assert "being written" in str(verify(vault).notes[0])
    os.utime(vault / "door-3", (0, 0))
    assert places(verify(vault)) == ["door-3"]


def test_a_folder_written_again_counts_as_it_was_recorded_last(vault: Path) -> None:
    shutil.rmtree(vault / "door-1")
    record = evidence(vault, "door-1", {"clip.mp4": b"longer"})
    log = opened(vault)
    log.append("evidence", record)
    log.close()
    assert verify(vault).is_intact


@pytest.mark.parametrize("name", ["../secret", "/etc", "..", "", "a/b", 7])
def test_a_record_cannot_lead_out_of_the_folder(tmp_path: Path, name: object) -> None:
    log = opened(tmp_path / "evidence")
    log.append("evidence", {"folder": name, "manifest_sha256": "0"})  # type: ignore[dict-item]  # that is the point
    log.close()
    assert "under a name that is none" in verify(tmp_path / "evidence").findings[0].what


def test_a_manifest_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    record = evidence(folder, "door", {"clip.mp4": b"x"})
    content = json.dumps({"files": [{"name": "../../secret", "bytes": 1, "sha256": "0"}]}).encode()
    (folder / "door" / "manifest.json").write_bytes(content)
    log = opened(folder)
    log.append("evidence", {**record, "manifest_sha256": hashlib.sha256(content).hexdigest()})
    log.close()
    assert "cannot be read" in verify(folder).findings[0].what


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_no_bytes_make_the_verifier_fall(folder: Path, whole: dict[Path, bytes], data: st.DataObject) -> None:
    """A fuzzer: spliced, cut and random files give a report, never another exception."""
    path = data.draw(st.sampled_from(sorted(whole)))
    content = whole[path]
    first, second = sorted(data.draw(st.lists(st.integers(0, len(content)), min_size=2, max_size=2)))
    pieces = st.sampled_from(
        [b"", b"\n", b"{}\n", b"[" * 2000, b'{"seq":1e999}', b"\xff\xfe", canonical({"seq": None})]
    )
    middle = data.draw(st.one_of(st.binary(max_size=60), pieces))
    changed = content[:first] + middle + content[second:]
    try:
        path.write_bytes(changed)
        report = verify(folder)
        told = list(report_lines(report))
        json.dumps(report.to_json())
    finally:
        restore(whole)
    assert told
    if path.suffix == ".jsonl" and changed.removesuffix(b"\n") != content.removesuffix(b"\n"):
        assert not report.is_intact or report.notes  # what stands behind the last line may be a crash in mid-write
