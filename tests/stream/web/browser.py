"""A real Chromium without a window, and what every test of the page expects of it: no error, no other host."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDE, NARROW = (1600, 1000), (390, 844)
PATIENCE_MS = 30_000


def need_browser() -> None:
    """Call at the top of a test module: skips it where a part is missing, or fails with REQUIRE_BROWSER=1."""
    try:
        import playwright.sync_api  # noqa: F401

        reason = None if CHROMIUM else "Chromium is missing: apt install chromium"
    except ImportError:
        reason = "Playwright is missing: pip install playwright"
    if reason and os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(reason, pytrace=False)
    if reason:
        pytest.skip(reason, allow_module_level=True)


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def visiting(
    browser: Any,
    url: str,
    *,
    size: tuple[int, int] = WIDE,
    scheme: str = "light",
    script: str = "",
    allowed: Sequence[str] = (),
) -> Iterator[Any]:
    """A page at ``url``; at its end nothing may have gone wrong in it, and nobody else may have been asked.

    ``script`` runs before the page's own. ``allowed``: words of console errors that belong to the test.
    """
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, ignore_https_errors=True
    )
    context.set_default_timeout(PATIENCE_MS)
    page, wrong = context.new_page(), list[str]()
    page.on("console", lambda message: message.type in ("error", "warning") and wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(f"uncaught: {error}"))
    page.on("request", lambda request: _is_foreign(request.url, url) and wrong.append(f"asked {request.url}"))
    if script:
        page.add_init_script(script)
    try:
        page.goto(url)
        yield page
    finally:
        context.close()
    wrong = [line for line in wrong if not any(word in line for word in allowed)]
    assert not wrong, wrong


def _is_foreign(asked: str, page: str) -> bool:
    """Whether somebody other than the page's own server was asked."""
    return urlsplit(asked).scheme not in ("data", "blob", "about") and urlsplit(asked).netloc != urlsplit(page).netloc
