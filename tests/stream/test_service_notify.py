"""What a service manager hears: a socket of our own in its place, the messages for real."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.service_notify import PINGS_PER_LIMIT, ServiceNotify


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def heard(self) -> list[str]:
        """Everything that has come since the last call."""
        messages = []
        self._socket.setblocking(False)
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def wait_for(self, message: str, within_s: float) -> list[str]:
        """All messages up to and with this one. Raises TimeoutError."""
        self._socket.settimeout(within_s)
        messages: list[str] = []
        while message not in messages:
            messages.append(self._socket.recv(4096).decode())
        return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "s") if request.param == "a path" else f"@unmask-{uuid.uuid4()}")
    yield made
    made.close()


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_the_messages_are_those_of_sd_notify(manager: Manager) -> None:
    service = ServiceNotify(manager.address)
    service.ready()
    service.status("2 streams:\n1 playing")
    service.stopping()
    assert manager.heard() == ["READY=1", "STATUS=2 streams: 1 playing", "STOPPING=1"]


def test_a_status_is_told_once(manager: Manager) -> None:
    service = ServiceNotify(manager.address)
    for text in ("one", "one", "two", "one"):
        service.status(text)
    assert manager.heard() == ["STATUS=one", "STATUS=two", "STATUS=one"]


def test_pings_come_several_times_within_the_limit_and_no_oftener(manager: Manager) -> None:
    clock = Clock()
    service = ServiceNotify(manager.address, watchdog_s=8.0, clock=clock)
    for progress in range(80):
        service.alive(progress)
        clock.now_s += 0.1
    assert manager.heard() == ["WATCHDOG=1"] * PINGS_PER_LIMIT


def test_work_that_stands_still_starves_the_watchdog(manager: Manager) -> None:
    clock = Clock()
    service = ServiceNotify(manager.address, watchdog_s=1.0, clock=clock)
    for _ in range(50):
        service.alive(7)
        clock.now_s += 1.0
    assert manager.heard() == ["WATCHDOG=1"]
    service.alive(8)
    assert manager.heard() == ["WATCHDOG=1"]


def test_without_a_watchdog_nothing_is_pinged(manager: Manager) -> None:
    ServiceNotify(manager.address).alive(1)
    assert manager.heard() == []


def test_the_environment_names_socket_and_limit(manager: Manager) -> None:
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    ServiceNotify.from_environment(environment).alive(1)
    assert manager.heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    "watchdog", [{"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}]
)
def test_a_watchdog_that_is_not_ours_or_makes_no_sense_is_left_alone(
    manager: Manager, watchdog: dict[str, str]
) -> None:
    ServiceNotify.from_environment({"NOTIFY_SOCKET": manager.address, **watchdog}, pid=4711).alive(1)
    assert manager.heard() == []


@pytest.mark.parametrize("address", [None, "", "relative", "/nobody/listens/here", "@nobody-listens-here"])
def test_a_manager_that_is_not_there_takes_nothing_along(address: str | None) -> None:
    environment = {"WATCHDOG_USEC": "1000000"} | ({} if address is None else {"NOTIFY_SOCKET": address})
    service = ServiceNotify.from_environment(environment)
    service.ready()
    service.alive(1)
    service.stopping()


def test_a_manager_that_never_reads_is_not_waited_for(manager: Manager) -> None:
    service = ServiceNotify(manager.address)

    def flood() -> None:
        for number in range(2000):
            service.status(f"line {number}")

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
