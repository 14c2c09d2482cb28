"""The server itself: where it listens, whom it hangs up on, TLS, sizes, headers and errors."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from stream.config_web import TlsConfig, WebConfig
from stream.errors import OutputError, UsageError
from stream.web.open import open_web
from stream.web.routes import pages
from stream.web.server import is_one_too_many
from tests.stream.web.conftest import PASSWORD
from tests.stream.web.site import Site, open_site
from tests.stream.web.test_archive import kept
from tests.stream.web.test_live import wait_until


def port_of(site: Site) -> int:
    return int(site.web.url.rstrip("/").rpartition(":")[2])


@contextlib.contextmanager
def raw(site: Site) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port_of(site)), timeout=10) as connection:
        yield connection


def heard(connection: socket.socket) -> bytes:
    """Until the server hangs up."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            got += part
    return got


def test_a_taken_port_is_one_line_and_nothing_starts(site: Site) -> None:
    before = threading.active_count()
    config = WebConfig(enabled=True, port=port_of(site))
    with pytest.raises(OutputError, match=r"cannot serve the page on 127\.0\.0\.1:\d+ \(.*\): choose another port"):
        open_web(config, site.services)
    assert threading.active_count() == before


def test_an_address_of_another_machine_is_one_line(site: Site, users: Path) -> None:
    tls = TlsConfig(certificate=Path("c"), key=Path("k"))
    config = WebConfig(enabled=True, host="192.0.2.1", port=0, users=users, tls=tls).model_copy(update={"tls": None})
    with pytest.raises(OutputError, match="cannot serve the page on 192"):
        open_web(config, site.services)


def test_it_does_not_answer_before_it_is_started_and_close_works_anyway(site: Site) -> None:
    web = open_web(WebConfig(enabled=True, port=0), site.services)
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(web.url + "healthz", timeout=0.3, trust_env=False)
    web.close()
    web.close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(web.url + "healthz", timeout=0.3, trust_env=False)


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_client_that_never_finishes_its_request_is_hung_up_on(
    site: Site, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr("stream.web.server.REQUEST_WITHIN_S", 0.3)
    with raw(site) as connection:
        connection.sendall(said)
        began = time.monotonic()
        assert heard(connection) == b""
        assert time.monotonic() - began < 8


def test_one_that_drips_its_second_request_is_hung_up_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.web.server.REQUEST_WITHIN_S", 0.4)
    with raw(site) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = connection.recv(4096)
        with contextlib.suppress(ConnectionError):
            for letter in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"a" * 100:
                connection.sendall(bytes([letter]))
                time.sleep(0.05)
            pytest.fail("it was listened to for ever")
    assert got.startswith(b"HTTP/1.1 200")


def test_a_body_that_never_comes_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.web.guard.BODY_WITHIN_S", 0.3)
    with raw(site) as connection:
        connection.sendall(b"POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
        assert heard(connection).startswith(b"HTTP/1.1 408")


def is_answered(connection: socket.socket) -> bool:
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    got = b""
    while not got.endswith(b"}") and (part := connection.recv(4096)):
        got += part
    return got.startswith(b"HTTP/1.1 200")


def is_served(site: Site) -> bool:
    try:
        return httpx.get(site.url + "/healthz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def test_one_connection_too_many_is_hung_up_on_and_the_others_are_served(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.web.server.CONNECTIONS_MOST", 3)
    with raw(site) as one, raw(site) as two, raw(site) as three:
        for connection in (one, two, three):
            assert is_answered(connection)
        with raw(site) as four:
            assert heard(four) == b""
        assert is_answered(two)
    wait_until(lambda: is_served(site))


def test_another_machine_cannot_take_all_connections() -> None:
    other, third = "192.0.2.1", "2001:db8::/64"
    assert not is_one_too_many(other, [other] * 63 + [third])
    assert is_one_too_many(other, [other] * 64)
    assert not is_one_too_many(third, [other] * 64)
    assert not is_one_too_many("127.0.0.1", ["127.0.0.1"] * 255)
    assert is_one_too_many("127.0.0.1", ["127.0.0.1"] * 256)


def test_a_viewer_that_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        pytest.skip("this system has no TCP_USER_TIMEOUT")
    monkeypatch.setattr("stream.web.server.UNSENT_MS", 500)
    monkeypatch.setattr("tests.stream.web.site.JPEG", b"x" * 500_000)
    with open_site() as site, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", port_of(site)))
        deaf.sendall(b"GET /api/v1/streams/yard/video.mjpeg?fps=30 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: site.video.watching == 1)
        wait_until(lambda: site.video.watching == 0)


@pytest.mark.parametrize("length", [b"65537", b"99999999999999999999", b"-1", b"1e3"])
def test_a_body_that_says_it_is_too_large_is_not_read(site: Site, length: bytes) -> None:
    with raw(site) as connection:
        connection.sendall(b"POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length + b"\r\n\r\n")
        assert heard(connection)[9:12] in (b"413", b"400")


def test_a_body_that_turns_out_too_large_is_not_kept(site: Site) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    headers = {"Content-Type": "application/json"}
    answer = site.client().post("/api/v1/login", content=parts(), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (413, "a request holds at most 65536 bytes: send less")


def test_a_head_that_is_too_large_is_refused(site: Site) -> None:
    with raw(site) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Big: " + b"a" * 70_000)
        assert heard(connection)[9:12] in (b"400", b"431", b"")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_json_is_read(site: Site, kind: str) -> None:
    """A form of another site cannot send JSON."""
    answer = site.browser().post("/api/v1/streams", content=b'{"source": "x"}', headers={"Content-Type": kind})
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "body", [b"{", b"", b"\xff\xfe", b'{"source": "\\ud800"}', b"[" * 30_000, b"NaN", b'{"source": 1e999}', b"null"]
)
def test_what_is_no_json_is_a_bad_request(site: Site, body: bytes) -> None:
    answer = site.browser().post("/api/v1/streams", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert list(answer.json()) == ["error"]


def test_every_answer_carries_the_headers_that_keep_others_out(site: Site) -> None:
    client = site.client()
    for path in ("/", "/healthz", "/api/v1/streams", "/api/v1/none", "/static/none.js", "/metrics"):
        headers = client.get(path).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'", path
        assert policy["script-src"] == policy["connect-src"] == "'self'", path
        assert "unsafe" not in headers["content-security-policy"], path
        assert policy["frame-ancestors"] == "'none'", path
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["x-frame-options"] == "DENY", path
        assert headers["referrer-policy"] == "no-referrer", path
        assert headers["cross-origin-resource-policy"] == "same-origin", path
        assert "server" not in headers, path
        assert "access-control-allow-origin" not in headers, path
    assert client.get("/api/v1/streams").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/none", 404),
        ("GET", "/api/v1", 404),
        ("GET", "/docs", 404),
        ("GET", "/redoc", 404),
        ("GET", "/openapi.json", 404),
        ("GET", "/static", 404),
        ("GET", "/static/", 404),
        ("GET", "/api/v1/streams/", 404),
        ("PUT", "/api/v1/streams", 405),
        ("TRACE", "/", 405),
        ("OPTIONS", "/api/v1/streams", 405),
        ("POST", "/", 405),
    ],
)
def test_what_is_not_there_is_one_line(site: Site, method: str, path: str, status: int) -> None:
    answer = site.client().request(method, path)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../open.py",
        "/static/%2e%2e/open.py",
        "/static/..%2fopen.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/.hidden.js",
        "/static/index.html%00.js",
        "/static/sub",
    ],
)
def test_no_file_but_the_pages_own_is_given(
    site: Site, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with page_of(tmp_path, monkeypatch), raw(site) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert heard(connection)[9:12] == b"404"


@contextlib.contextmanager
def page_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    files = {"index.html": "<!doctype html>", "app.js": "go()", ".hidden.js": "no", "run.py": "no", "sub/a.css": "a{}"}
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setattr(pages, "STATIC", folder)
    pages.assets.cache_clear()
    try:
        yield
    finally:
        pages.assets.cache_clear()


def test_the_page_is_served_with_its_kinds_and_asked_for_once(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = site.client()
    with page_of(tmp_path, monkeypatch):
        kinds = {
            path: client.get(path).headers["content-type"] for path in ("/", "/static/app.js", "/static/sub/a.css")
        }
        tag = client.get("/static/app.js").headers["etag"]
        assert client.get("/static/app.js", headers={"If-None-Match": tag}).status_code == 304
        assert client.get("/static/run.py").status_code == 404
    assert [kind.partition(";")[0] for kind in kinds.values()] == ["text/html", "text/javascript", "text/css"]


def test_a_mistake_of_ours_is_told_to_the_log_and_not_to_the_client(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(site.streams, "list", broken)
    answer = site.client().get("/api/v1/streams")
    assert answer.status_code == 500
    assert answer.json() == {"error": "something went wrong here: the log of unmask says what"}
    assert answer.headers["x-frame-options"] == "DENY"
    wait_until(lambda: "the secret inside" in caplog.text)
    assert 'unmask_web_requests_total{code="500"} 1.0' in site.client().get("/metrics").text


def test_requests_are_counted_and_not_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        site.client().get("/api/v1/alerts?stream=s3cr3t")
        site.client().get("/none")
    text = site.client().get("/metrics").text
    assert 'unmask_web_requests_total{code="200"} 1.0' in text
    assert 'unmask_web_requests_total{code="404"} 1.0' in text
    ours = [record.getMessage() for record in caplog.records if record.name.startswith(("stream", "uvicorn"))]
    assert not any("s3cr3t" in line for line in ours)


def test_probes_say_whether_it_lives_and_can_be_relied_on(site: Site) -> None:
    client = site.client()
    assert client.get("/healthz").json() == {"ok": True}
    assert client.get("/readyz").json() == {
        "ready": True,
        "conditions": [{"name": "streams", "ok": True, "why": "1 known"}],
    }
    site.services.readiness.set("canary", is_met=False, why="the swapped clip was called real")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert answer.json()["conditions"][1]["why"] == "the swapped clip was called real"


def test_health_tells_of_machine_and_engines(site: Site) -> None:
    health = site.client().get("/api/v1/health").json()
    assert health["machine"]["memory_total_bytes"] > health["machine"]["memory_used_bytes"] > 0
    assert health["machine"]["disk_free_bytes"] > 0
    assert health["engines"][0]["model"] == "lite0-gru"
    assert (health["ready"], health["clients"], health["uptime_s"] >= 0) == (True, 0, True)


def test_evidence_is_given_whole_and_in_parts_and_runs_nothing(tmp_path: Path) -> None:
    own = kept(
        tmp_path,
        "a1",
        files=[{"name": name, "kind": "x", "bytes": 7, "sha256": ""} for name in ("snapshot.jpg", "evil.html")],
    )
    (own / "evil.html").write_text("<script>go()</script>")
    with open_site(evidence=tmp_path) as site:
        client = site.client()
        alert = client.get("/api/v1/alerts/a1").json()
        assert [file["name"] for file in alert["evidence"]["files"]] == ["snapshot.jpg", "evil.html"]
        url = alert["evidence"]["files"][0]["url"]
        answer = client.get(url)
        assert (answer.content, answer.headers["content-type"]) == (b"picture", "image/jpeg")
        assert answer.headers["content-disposition"].startswith("inline")
        assert "sandbox" in answer.headers["content-security-policy"]
        assert client.get(url, headers={"Range": "bytes=2-3"}).content == b"ct"
        page = client.get(alert["evidence"]["files"][1]["url"])
        assert page.headers["content-type"] == "application/octet-stream"
        assert page.headers["content-disposition"].startswith("attachment")
        for path in ("%2e%2e%2f%2e%2e%2fsecret", "manifest.json%00", "none.jpg"):
            assert client.get(f"/api/v1/alerts/a1/evidence/{path}").status_code == 404
        assert client.get("/api/v1/alerts").json()[0]["evidence"] == "a1"


@pytest.mark.parametrize(
    ("name", "kind", "way"),
    [
        ("clip.mp4", "video/mp4", "inline"),
        ("clip.webm", "video/webm", "inline"),
        ("clip.mkv", "video/x-matroska", "attachment"),
        ("clip.exe", "application/octet-stream", "attachment"),
    ],
)
def test_a_clip_is_told_by_its_kind_however_its_camera_encodes(tmp_path: Path, name: str, kind: str, way: str) -> None:
    (kept(tmp_path, "a1", files=[{"name": name, "kind": "clip", "bytes": 4, "sha256": ""}]) / name).write_bytes(b"clip")
    with open_site(evidence=tmp_path) as site:
        answer = site.client().get(f"/api/v1/alerts/a1/evidence/{name}")
    assert answer.headers["content-type"] == kind
    assert answer.headers["content-disposition"].startswith(way)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> TlsConfig:
    folder, issued = tmp_path_factory.mktemp("tls"), authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(folder / "certificate.pem", append=True)
    return TlsConfig(certificate=folder / "certificate.pem", key=folder / "key.pem")


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_beyond_loopback_it_speaks_tls_and_its_cookies_never_leave_it(
    tls: TlsConfig, trusting: ssl.SSLContext, users: Path
) -> None:
    config = WebConfig(enabled=True, host="0.0.0.0", port=0, users=users, tls=tls)
    with open_site(config, verify=trusting) as site:
        assert site.web.url.startswith(f"https://{socket.gethostname()}:")
        client = site.client()
        assert client.get("/api/v1/me").json()["login_required"] is True
        answer = client.post("/api/v1/login", json={"user": "ann", "password": PASSWORD})
        cookies = answer.headers.get_list("set-cookie")
        assert all("Secure" in cookie for cookie in cookies)
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert cookies[0].startswith("__Host-unmask_session=")
        client.headers["X-CSRF-Token"] = client.cookies["unmask_csrf"]
        assert client.delete("/api/v1/streams/yard").status_code == 204
        assert client.get("/metrics").status_code == 200
        assert site.client().get("/metrics").status_code == 401


def test_on_loopback_no_browser_is_told_to_insist_on_tls(site: Site, tls: TlsConfig, trusting: ssl.SSLContext) -> None:
    """It would do so for whatever else answers at localhost."""
    with open_site(WebConfig(enabled=True, port=0, tls=tls), verify=trusting) as encrypted:
        for page in (site, encrypted):
            assert "Strict-Transport-Security" not in page.client().get("/healthz").headers


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1])
def test_old_tls_is_refused(tls: TlsConfig, trusting: ssl.SSLContext, newest: ssl.TLSVersion) -> None:
    trusting.minimum_version, trusting.maximum_version = ssl.TLSVersion.TLSv1, newest
    trusting.set_ciphers("ALL:@SECLEVEL=0")
    with open_site(WebConfig(enabled=True, port=0, tls=tls), verify=trusting) as site:
        with raw(site) as connection, pytest.raises((ssl.SSLError, ConnectionError)):
            trusting.wrap_socket(connection, server_hostname="localhost")
        with pytest.raises(httpx.HTTPError):
            httpx.get(site.web.url.replace("https", "http"), timeout=5, trust_env=False)


def test_a_key_that_cannot_be_used_is_one_line(
    site: Site, tls: TlsConfig, authority: trustme.CA, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    authority.issue_cert("localhost").private_key_pem.write_to_path(other)
    (tmp_path / "empty.pem").write_text("")
    for key in (other, tmp_path / "empty.pem", tmp_path / "none.pem"):
        with pytest.raises(UsageError, match=r"web\.tls: .* cannot be used \(.*\): give a PEM certificate") as caught:
            open_web(
                WebConfig(enabled=True, port=0, tls=TlsConfig(certificate=tls.certificate, key=key)), site.services
            )
        assert "\n" not in str(caught.value)


def test_a_key_with_a_passphrase_is_refused_without_asking_for_it(site: Site, tls: TlsConfig, tmp_path: Path) -> None:
    key = serialization.load_pem_private_key(tls.key.read_bytes(), None)
    how = serialization.BestAvailableEncryption(b"phrase")
    locked = tmp_path / "locked.pem"
    locked.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))
    with pytest.raises(UsageError, match="the key has a passphrase"):
        open_web(WebConfig(enabled=True, port=0, tls=TlsConfig(certificate=tls.certificate, key=locked)), site.services)
