"""A real browser for tests: Debian's chromium, since Playwright's own would have to be fetched.

Playwright runs on a thread of its own: it keeps an event loop there, in which Django refuses to use the database.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from unittest import SkipTest

from playwright.sync_api import Browser, BrowserContext, sync_playwright

T = TypeVar("T")

MISSING = "There is no chromium for the browser test. Debian, Ubuntu: apt-get install chromium"
ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE_MS = 10_000
DESKTOP, PHONE = (1280, 800), (390, 844)


def found() -> str:
    """Where the browser is. Where there is none the test fails in CI, and is skipped elsewhere; both say what to do."""
    path = shutil.which("chromium")
    if path:
        return path
    if os.environ.get("CI"):
        raise AssertionError(MISSING)
    raise SkipTest(MISSING)


class Chromium:
    """A browser that runs until `close()`. Its objects are used within `run()` alone."""

    def __init__(self) -> None:
        path = found()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="browser")

        def launch() -> Browser:
            self._playwright = sync_playwright().start()
            return self._playwright.chromium.launch(executable_path=path, args=ARGUMENTS)

        self._browser = self.run(launch)

    def run(self, work: Callable[[], T]) -> T:
        """What `work()` returns, or raises, on the browser's thread."""
        return self._thread.submit(work).result()

    def context(self, *, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> BrowserContext:
        """A person's browser, with cookies of its own. `scheme` is light or dark."""
        width, height = size
        context = self._browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if scheme == "dark" else "light"
        )
        context.set_default_timeout(PATIENCE_MS)
        return context

    def close(self) -> None:
        def end() -> None:
            self._browser.close()
            self._playwright.stop()

        self.run(end)
        self._thread.shutdown()
