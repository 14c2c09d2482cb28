"""Logins: who is logged in, the token against forged requests, and how often a password may be tried."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from stream.web.users import User

SESSIONS_MOST = 500
SESSIONS_OF_A_USER = 20
"""Browsers at one time; the one that was unused longest goes."""
TRIES_OF_AN_ADDRESS = 10
TRIES_OF_A_USER = 30
"""More than of an address: somebody else's tries should seldom keep a user out."""
TRIES_WITHIN_S = 300.0
REMEMBERED_MOST = 10_000


@dataclass
class _Session:
    user: str
    password: str | None
    """The hash that was logged in with: with another password it is over."""
    began: float
    used: float


class Sessions:
    """Who is logged in, by the random id in a cookie; only its hash is kept. Safe from any thread."""

    def __init__(self, idle_s: float, most_s: float, clock: Callable[[], float]) -> None:
        """``clock``: monotonic seconds."""
        self._idle_s, self._most_s, self._clock = idle_s, most_s, clock
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}
        self._key = secrets.token_bytes(32)

    def begin(self, user: User) -> str:
        """A new id."""
        session_id, now = new_session_id(), self._clock()
        with self._lock:
            self._forget_over(now)
            own = [key for key, session in self._sessions.items() if session.user == user.name]
            self._make_room(own, SESSIONS_OF_A_USER)
            self._make_room(list(self._sessions), SESSIONS_MOST)
            self._sessions[_hashed(session_id)] = _Session(user.name, user.password, now, now)
        return session_id

    def user_name(self, session_id: str, find: Callable[[str], User | None]) -> str | None:
        """Whose session it is, and that it is used now; None when it is over or the user's password is another one."""
        key, now = _hashed(session_id), self._clock()
        with self._lock:
            self._forget_over(now)
            session = self._sessions.get(key)
            if session is None:
                return None
            user = find(session.user)
            if user is None or user.password != session.password:
                del self._sessions[key]
                return None
            session.used = now
            return user.name

    def end(self, session_id: str) -> None:
        with self._lock:
            self._sessions.pop(_hashed(session_id), None)

    def csrf_token(self, session_id: str) -> str:
        """Bound to the session: of no use with another one."""
        return hmac.new(self._key, session_id.encode(), hashlib.sha256).hexdigest()

    def is_csrf_token(self, session_id: str, cookie: str, header: str) -> bool:
        wanted = self.csrf_token(session_id).encode()
        return hmac.compare_digest(wanted, header.encode()) and hmac.compare_digest(wanted, cookie.encode())

    def _forget_over(self, now: float) -> None:
        over = [
            key
            for key, session in self._sessions.items()
            if now - session.used > self._idle_s or now - session.began > self._most_s
        ]
        for key in over:
            del self._sessions[key]

    def _make_room(self, keys: list[str], most: int) -> None:
        if len(keys) >= most:
            del self._sessions[min(keys, key=lambda key: self._sessions[key].used)]


class FailureLimit:
    """So many failures of one key within a time, then it must wait. Safe from any thread; bounded."""

    def __init__(self, most: int, within_s: float, clock: Callable[[], float]) -> None:
        self._most, self._within_s, self._clock = most, within_s, clock
        self._lock = threading.Lock()
        self._failures: dict[Hashable, deque[float]] = {}

    def wait_s(self, key: Hashable) -> float:
        """Until the next try; 0: now."""
        with self._lock:
            failures = self._recent(key)
            if len(failures) < self._most:
                return 0.0
            return max(0.0, failures[-self._most] + self._within_s - self._clock())

    def tried(self, key: Hashable) -> None:
        """Counted as failed before it is known: many tries at once are many tries."""
        with self._lock:
            failures = self._recent(key)
            failures.append(self._clock())
            self._failures.pop(key, None)
            self._failures[key] = failures
            while len(self._failures) > REMEMBERED_MOST:
                del self._failures[next(iter(self._failures))]

    def worked(self, key: Hashable) -> None:
        """The newest try was no failure; the others stay: one's own password does not excuse trying another's."""
        with self._lock:
            if failures := self._recent(key):
                failures.pop()

    def _recent(self, key: Hashable) -> deque[float]:
        failures, since = self._failures.get(key, deque(maxlen=self._most)), self._clock() - self._within_s
        while failures and failures[0] <= since:
            failures.popleft()
        return failures


def address_key(address: str) -> str:
    """What is limited as one: an IPv4 address, or the /64 that an IPv6 host can move in."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def new_session_id() -> str:
    return secrets.token_urlsafe(32)


def _hashed(session_id: str) -> str:
    return hashlib.sha256(session_id.encode()).hexdigest()
