"""Sessions, forged requests and too many tries, on a hand-wound clock."""

from __future__ import annotations

import pytest

from stream.web.sessions import SESSIONS_OF_A_USER, FailureLimit, Sessions, address_key
from stream.web.users import Role, User

ANN, BOB = User("ann", Role.VIEWER, "hash of ann"), User("bob", Role.ADMIN, "hash of bob")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(60.0, 600.0, clock)


def known(name: str) -> User | None:
    return {"ann": ANN, "bob": BOB}.get(name)


def test_ids_are_long_random_and_kept_as_hashes(sessions: Sessions) -> None:
    ids = {sessions.begin(ANN) for _ in range(10)}
    assert len(ids) == 10
    assert min(map(len, ids)) >= 43
    assert not ids & set(sessions._sessions)


def test_a_session_that_is_used_goes_on_and_one_that_is_not_ends(sessions: Sessions, clock: Clock) -> None:
    used, unused = sessions.begin(ANN), sessions.begin(BOB)
    for _ in range(3):
        clock.now += 30
        assert sessions.user_name(used, known) == "ann"
    assert sessions.user_name(unused, known) is None


def test_a_session_ends_however_much_it_is_used(sessions: Sessions, clock: Clock) -> None:
    session_id = sessions.begin(ANN)
    found = []
    for _ in range(25):
        clock.now += 25
        found.append(sessions.user_name(session_id, known))
    assert found == ["ann"] * 24 + [None]


def test_logging_out_ends_it(sessions: Sessions) -> None:
    session_id = sessions.begin(ANN)
    sessions.end(session_id)
    assert sessions.user_name(session_id, known) is None


@pytest.mark.parametrize("now", [None, User("ann", Role.VIEWER, "another hash")])
def test_another_password_or_no_user_ends_it(sessions: Sessions, now: User | None) -> None:
    session_id = sessions.begin(ANN)
    assert sessions.user_name(session_id, lambda _: now) is None
    assert sessions.user_name(session_id, known) is None


def test_a_user_has_so_many_sessions_and_takes_none_of_anothers(sessions: Sessions, clock: Clock) -> None:
    bobs = sessions.begin(BOB)
    ids = []
    for _ in range(SESSIONS_OF_A_USER + 1):
        clock.now += 1
        ids.append(sessions.begin(ANN))
    alive = [sessions.user_name(session_id, known) for session_id in ids]
    assert alive == [None] + ["ann"] * SESSIONS_OF_A_USER
    assert sessions.user_name(bobs, known) == "bob"


def test_a_csrf_token_is_good_for_its_own_session_only(sessions: Sessions) -> None:
    mine, other = sessions.begin(ANN), sessions.begin(ANN)
    token = sessions.csrf_token(mine)
    assert sessions.is_csrf_token(mine, token, token)
    assert not sessions.is_csrf_token(other, token, token)
    assert not sessions.is_csrf_token(mine, "", "")
    assert not sessions.is_csrf_token(mine, token, "")
    assert not sessions.is_csrf_token(mine, "x", token)
    assert Sessions(1, 1, lambda: 0.0).csrf_token(mine) != token


def test_too_many_failures_must_wait_and_are_forgotten(clock: Clock) -> None:
    limit = FailureLimit(3, 60.0, clock)
    for _ in range(3):
        assert limit.wait_s("a") == 0
        limit.tried("a")
        clock.now += 10
    assert limit.wait_s("a") == pytest.approx(30)
    assert limit.wait_s("b") == 0
    clock.now += 30
    assert limit.wait_s("a") == 0


def test_a_try_that_worked_excuses_itself_only(clock: Clock) -> None:
    limit = FailureLimit(2, 60.0, clock)
    limit.tried("a")
    limit.tried("a")
    limit.worked("a")
    assert limit.wait_s("a") == 0
    limit.tried("a")
    assert limit.wait_s("a") > 0


def test_many_keys_are_forgotten_rather_than_kept(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.web.sessions.REMEMBERED_MOST", 100)
    limit = FailureLimit(1, 60.0, clock)
    for number in range(300):
        limit.tried(number)
    assert len(limit._failures) == 100
    assert limit.wait_s(299) > 0


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("", ""),
    ],
)
def test_an_ipv6_host_is_limited_with_all_it_may_call_itself(address: str, key: str) -> None:
    assert address_key(address) in (key, "::ffff:c000:201" if "ffff" in key else key)
