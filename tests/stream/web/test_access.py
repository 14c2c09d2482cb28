"""Who is let in to what: roles, passwords, tokens, cookies and forged requests."""

from __future__ import annotations

import concurrent.futures
import time
from pathlib import Path

import httpx
import pytest

from stream.config_web import WebConfig
from stream.web.access import GuardedRoute
from stream.web.routes.room import router
from stream.web.sessions import TRIES_OF_AN_ADDRESS
from stream.web.users import Role, User, write_users
from tests.stream.web.conftest import PASSWORD, TOKENS
from tests.stream.web.site import Site, alert_of, open_site

ROUTES: list[tuple[str, str, Role | None]] = [
    ("GET", "/healthz", None),
    ("GET", "/readyz", None),
    ("GET", "/metrics", Role.VIEWER),
    ("GET", "/", None),
    ("GET", "/static/{name}", None),
    ("POST", "/api/v1/login", None),
    ("POST", "/api/v1/logout", Role.VIEWER),
    ("GET", "/api/v1/me", None),
    ("GET", "/api/v1/streams", Role.VIEWER),
    ("POST", "/api/v1/streams", Role.OPERATOR),
    ("PATCH", "/api/v1/streams/{name}", Role.OPERATOR),
    ("DELETE", "/api/v1/streams/{name}", Role.OPERATOR),
    ("GET", "/api/v1/streams/{name}/snapshot.jpg", Role.VIEWER),
    ("GET", "/api/v1/streams/{name}/video.mjpeg", Role.VIEWER),
    ("POST", "/api/v1/streams/{name}/webrtc", Role.VIEWER),
    ("GET", "/api/v1/verdicts", Role.VIEWER),
    ("GET", "/api/v1/events", Role.VIEWER),
    ("GET", "/api/v1/alerts", Role.VIEWER),
    ("GET", "/api/v1/alerts/{alert_id}", Role.VIEWER),
    ("GET", "/api/v1/alerts/{alert_id}/evidence/{file}", Role.VIEWER),
    ("GET", "/api/v1/health", Role.VIEWER),
    ("GET", "/api/v1/openapi.json", Role.VIEWER),
]
"""Every path, and the least role that may use it: a route that is missing here fails the first test."""


def asked(client: httpx.Client, method: str, path: str) -> httpx.Response:
    """The answer's head only: some have no end."""
    filled = path.format(name="none", alert_id="none", file="none")
    with client.stream(method, filled, json={} if method in ("POST", "PATCH") else None) as response:
        return response


def test_the_table_names_every_route(locked_site: Site) -> None:
    described = locked_site.client(TOKENS["viewer"]).get("/api/v1/openapi.json").json()["paths"]
    words = {
        (method.upper(), path): about["x-role"] for path, one in described.items() for method, about in one.items()
    }
    table = {(method, path): "anybody" if role is None else role.word for method, path, role in ROUTES}
    hidden = {("GET", "/"), ("GET", "/static/{name}")}
    assert words == {key: word for key, word in table.items() if key not in hidden}


@pytest.mark.parametrize("who", [None, *Role], ids=["nobody", *(role.word for role in Role)])
def test_every_route_asks_for_its_role(locked_site: Site, who: Role | None) -> None:
    client = locked_site.client(None if who is None else TOKENS[who.word])
    for method, path, role in ROUTES:
        status = asked(client, method, path).status_code
        if role is None or (who is not None and who >= role):
            assert status not in (401, 403), (method, path)
        else:
            assert status == (401 if who is None else 403), (method, path)


def test_a_route_that_says_nobody_cannot_be_made() -> None:
    with pytest.raises(KeyError):
        router().add_api_route("/open", lambda: None)
    assert router().route_class is GuardedRoute


def test_where_no_users_are_configured_everybody_here_is_admin(site: Site) -> None:
    assert site.client().get("/api/v1/me").json() == {"user": None, "role": "admin", "login_required": False}
    assert site.client().post("/api/v1/login", json={"user": "ann", "password": "x"}).status_code == 409


def test_a_login_gives_a_session_and_a_logout_ends_it(locked_site: Site) -> None:
    client = locked_site.client()
    assert client.get("/api/v1/me").json() == {"user": None, "role": None, "login_required": True}
    answer = client.post("/api/v1/login", json={"user": "ann", "password": PASSWORD})
    assert answer.json() == {"user": "ann", "role": "operator"}
    assert client.get("/api/v1/me").json() == {"user": "ann", "role": "operator", "login_required": True}
    copied = dict(client.cookies)
    assert client.post("/api/v1/logout", headers={"X-CSRF-Token": copied["unmask_csrf"]}).status_code == 204
    thief = locked_site.client()
    thief.cookies.update(copied)
    assert thief.get("/api/v1/streams").status_code == 401


def test_cookies_are_for_this_site_only_and_the_sessions_for_no_script(locked_site: Site) -> None:
    answer = locked_site.client().post("/api/v1/login", json={"user": "ann", "password": PASSWORD})
    session, csrf = sorted(answer.headers.get_list("set-cookie"), key=lambda text: text.startswith("unmask_csrf"))
    assert session.startswith("unmask_session=")
    assert "HttpOnly" in session
    assert "HttpOnly" not in csrf
    for cookie in (session, csrf):
        assert "SameSite=strict" in cookie
        assert "Path=/" in cookie
        assert "Domain" not in cookie


def test_a_login_never_takes_over_an_id_that_was_there(locked_site: Site) -> None:
    client = locked_site.client()
    client.cookies.set("unmask_session", "planted")
    answer = client.post("/api/v1/login", json={"user": "ann", "password": PASSWORD})
    assert "planted" not in "".join(answer.headers.get_list("set-cookie"))


def test_what_is_wrong_in_a_login_is_not_said(locked_site: Site, caplog: pytest.LogCaptureFixture) -> None:
    client = locked_site.client()
    tries = [("ann", "wrong"), ("nobody", PASSWORD), ("program-admin", TOKENS["admin"])]
    answers = [client.post("/api/v1/login", json={"user": user, "password": password}) for user, password in tries]
    assert [answer.status_code for answer in answers] == [401] * 3
    assert {answer.text for answer in answers} == {'{"error":"wrong user or password: try again"}'}
    assert not any("set-cookie" in answer.headers for answer in answers)
    told = [record.getMessage() for record in caplog.records if record.name == "stream.web.access"]
    assert told == ["a login from 127.0.0.1 failed"] * 3


def test_too_many_tries_must_wait_even_when_they_come_at_once(locked_site: Site) -> None:
    def tried(number: int) -> int:
        with httpx.Client(base_url=locked_site.url, trust_env=False, timeout=30) as client:
            return client.post("/api/v1/login", json={"user": f"u{number}", "password": "wrong"}).status_code

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(tried, range(TRIES_OF_AN_ADDRESS + 4)))
    assert sorted(statuses) == [401] * TRIES_OF_AN_ADDRESS + [429] * 4
    right = locked_site.client().post("/api/v1/login", json={"user": "ann", "password": PASSWORD})
    assert right.status_code == 429
    assert 0 < int(right.headers["retry-after"]) <= 300
    assert locked_site.client(TOKENS["viewer"]).get("/api/v1/streams").status_code == 200


@pytest.mark.parametrize(
    "authorization", ["Bearer", "Bearer wrong", "Basic YW5uOng=", "Bearer unmask_token-of-viewe", "x" * 500]
)
def test_a_wrong_token_is_nobody_whatever_the_cookies_say(locked_site: Site, authorization: str) -> None:
    client = locked_site.client()
    client.post("/api/v1/login", json={"user": "ann", "password": PASSWORD})
    assert client.get("/api/v1/streams").status_code == 200
    assert client.get("/api/v1/streams", headers={"Authorization": authorization}).status_code == 401


def test_a_token_that_is_nobodys_is_told_of_once_a_minute_without_it(
    locked_site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        locked_site.client("old-token").get("/metrics")
    locked_site.client().get("/metrics")
    told = [record.getMessage() for record in caplog.records if record.name == "stream.web.access"]
    assert told == ["a token from 127.0.0.1 is nobody's"]


def test_a_session_changes_nothing_without_its_own_token(locked_site: Site) -> None:
    ann, other = locked_site.client(), locked_site.client()
    for client in (ann, other):
        client.post("/api/v1/login", json={"user": "ann", "password": PASSWORD})
    token = ann.cookies["unmask_csrf"]
    for headers in ({}, {"X-CSRF-Token": "wrong"}, {"X-CSRF-Token": other.cookies["unmask_csrf"]}):
        answer = ann.delete("/api/v1/streams/yard", headers=headers)
        assert answer.status_code == 403
        assert "X-CSRF-Token" in answer.json()["error"]
    assert len(ann.get("/api/v1/streams").json()) == 1
    assert ann.delete("/api/v1/streams/yard", headers={"X-CSRF-Token": token}).status_code == 204


def test_the_token_of_another_sessions_cookie_does_not_help(locked_site: Site) -> None:
    ann, thief = locked_site.client(), locked_site.client()
    for client in (ann, thief):
        client.post("/api/v1/login", json={"user": "ann", "password": PASSWORD})
    planted = thief.cookies["unmask_csrf"]
    ann.cookies.set("unmask_csrf", planted, domain="127.0.0.1", path="/")
    assert ann.delete("/api/v1/streams/yard", headers={"X-CSRF-Token": planted}).status_code == 403


def test_without_users_the_token_is_needed_too(site: Site) -> None:
    assert site.client().delete("/api/v1/streams/yard").status_code == 403
    assert site.browser().delete("/api/v1/streams/yard").status_code == 204


def test_a_token_of_a_program_needs_no_other(locked_site: Site) -> None:
    assert locked_site.client(TOKENS["operator"]).delete("/api/v1/streams/yard").status_code == 204


def test_whoever_is_removed_is_out_with_the_next_request(
    users: Path, locked_site: Site, known_users: tuple[User, ...]
) -> None:
    client = locked_site.client()
    client.post("/api/v1/login", json={"user": "ann", "password": PASSWORD})
    assert client.get("/api/v1/streams").status_code == 200
    write_users(users, known_users[1:])
    assert client.get("/api/v1/streams").status_code == 401


def test_a_role_that_shrinks_counts_at_once(users: Path, locked_site: Site, known_users: tuple[User, ...]) -> None:
    client = locked_site.client()
    client.post("/api/v1/login", json={"user": "ann", "password": PASSWORD})
    ann = known_users[0]
    write_users(users, [User(ann.name, Role.VIEWER, ann.password), *known_users[1:]])
    assert client.get("/api/v1/me").json()["role"] == "viewer"


def test_a_session_that_is_not_used_ends(users: Path) -> None:
    with open_site(WebConfig(enabled=True, port=0, users=users, session_idle_s=0.2)) as site:
        client = site.client()
        client.post("/api/v1/login", json={"user": "ann", "password": PASSWORD})
        while client.get("/api/v1/me").json()["user"] is None:  # a slow machine: it was over before it was used
            client.post("/api/v1/login", json={"user": "ann", "password": PASSWORD})
        time.sleep(0.5)
        assert client.get("/api/v1/streams").status_code == 401


def test_names_that_were_bent_to_this_machine_get_nothing(site: Site) -> None:
    client = site.client()
    for path in ("/", "/healthz", "/api/v1/streams", "/metrics"):
        answer = client.get(path, headers={"Host": "evil.example"})
        assert answer.status_code == 403, path
        assert "yard" not in answer.text
    assert client.get("/api/v1/streams", headers={"Origin": "https://evil.example"}).status_code == 403


def test_strangers_are_not_told_which_stream_is_waited_for(locked_site: Site) -> None:
    locked_site.services.readiness.set("streams", is_met=False, why="waiting for yard")
    stranger = locked_site.client().get("/readyz")
    assert (stranger.status_code, stranger.json()["ready"], "yard" in stranger.text) == (503, False, False)
    assert "waiting for yard" in locked_site.client(TOKENS["viewer"]).get("/readyz").text


def test_what_others_may_not_read_is_in_no_refusal(locked_site: Site) -> None:
    locked_site.web.alerts.alert_changed(alert_of("a1"))
    answer = locked_site.client().get("/api/v1/alerts/a1")
    assert answer.status_code == 401
    assert "yard" not in answer.text
