"""Which requests were meant for this server."""

from __future__ import annotations

import pytest

from stream.web.origins import Origins, own_names

LOOPBACK = Origins(own_names((), "127.0.0.1", is_loopback=True), is_loopback=True)
OPEN = Origins(own_names(("Unmask.Example.org",), "0.0.0.0", is_loopback=False), is_loopback=False)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost:8080", "localhost", "[::1]:8080", "127.9.9.9", "LOCALHOST"]
)
def test_loopback_goes_by_its_own_names(host: str) -> None:
    assert LOOPBACK.refusal("GET", {"host": host}) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "192.168.1.5:8080",
        "",
        "127.0.0.1:8080, evil.example",
        "evil.example@127.0.0.1",
        "127.0.0.1/x",
        "[::1",
        "0.0.0.0:8080",
    ],
)
def test_a_name_that_was_bent_to_loopback_is_refused(host: str) -> None:
    assert "none of this server's" in str(LOOPBACK.refusal("GET", {"host": host}))


def test_without_a_name_nothing_is_answered() -> None:
    assert LOOPBACK.refusal("GET", {}) is not None


@pytest.mark.parametrize(
    ("host", "is_good"),
    [
        ("unmask.example.org", True),
        ("UNMASK.example.org:8443", True),
        ("192.168.1.5:8443", True),
        ("[2001:db8::1]:8443", True),
        ("other.example.org", False),
    ],
)
def test_beyond_loopback_addresses_and_configured_names_are_good(host: str, is_good: bool) -> None:
    assert (OPEN.refusal("GET", {"host": host}) is None) == is_good


@pytest.mark.parametrize(
    ("headers", "is_good"),
    [
        ({"origin": "http://localhost:8080"}, True),
        ({"origin": "https://localhost:8080"}, True),
        ({"origin": "http://localhost:9090"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://[bad"}, False),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, False),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, True),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, False),
    ],
)
def test_another_sites_requests_are_refused_but_links_may_be_followed(headers: dict[str, str], is_good: bool) -> None:
    assert (LOOPBACK.refusal("GET", {"host": "localhost:8080", **headers}) is None) == is_good


def test_a_form_of_another_site_is_no_link() -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert LOOPBACK.refusal("POST", {"host": "localhost", **headers}) is not None
