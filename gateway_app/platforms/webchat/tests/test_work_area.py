"""The area that shows what a turn does, in a real browser: live and afterwards, by keyboard, narrow, and in the dark.

The page has the chat's own scripts and styles, and gets what the events of the server would bring.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import TestCase

from playwright.sync_api import Page, Route, expect, sync_playwright

from tests.chromium import ARGUMENTS, PATIENCE_MS, found

STATIC = Path(__file__).parent.parent / "static"
SITE = "http://chat.test"
KINDS = {".js": "text/javascript", ".css": "text/css"}
PAGE = """<!doctype html><html lang="en"><title>Chat</title>
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/webchat/chat.css">
<body class="chat"><main id="content"><div id="scroller" tabindex="0"><div id="empty" hidden></div>
<ol id="messages"></ol></div><button id="jump" hidden>Latest</button></main>
<div id="announcer" aria-live="polite"></div>
<script type="module">
import { Thread } from "/webchat/thread.js";
const at = (id) => document.getElementById(id);
window.asked = [];
window.thread = new Thread({
  list: at("messages"), scroller: at("scroller"), jump: at("jump"), empty: at("empty"),
  announce: (text) => (at("announcer").textContent = text),
  loadWork: async (turn) => { window.asked.push(turn); return window.kept; },
});
</script>"""
QUESTION = {"id": "in-1", "from": "you", "seq": 1, "text": "Which tide?", "at": "2030-01-01T10:00:00.000000+00:00",
            "client": "c", "state": "running"}  # fmt: skip
REPLY = {"id": "out-1", "from": "agent", "seq": 1, "text": "High tide.", "at": "2030-01-01T10:01:00.000000+00:00",
         "turn": 7, "is_failure": False, "is_reply": True, "has_work": True}  # fmt: skip


def tool(name: str, detail: str = "", *, state: str = "running", count: int = 1) -> dict[str, Any]:
    return {"kind": "tool", "name": name, "detail": detail, "state": state, "count": count}


def call(page: Page, method: str, value: object) -> None:
    page.evaluate("([method, value]) => window.thread[method](value)", [method, value])


class WorkAreaTests(TestCase):
    def browse(self, visit: Callable[[Page], None], *, width: int = 900, scheme: Any = "light") -> None:
        complaints: list[str] = []

        def run() -> None:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=found(), args=ARGUMENTS)
                page = browser.new_page(viewport={"width": width, "height": 700}, color_scheme=scheme)
                page.set_default_timeout(PATIENCE_MS)
                page.on("pageerror", lambda error: complaints.append(str(error)))
                page.route("**/*", serve)
                page.goto(f"{SITE}/")
                page.wait_for_function("window.thread")
                visit(page)
                browser.close()

        with ThreadPoolExecutor(1) as thread:
            thread.submit(run).result()
        self.assertEqual(complaints, [])

    def test_it_is_live_while_tools_run_opens_by_keyboard_and_stays_with_the_reply(self) -> None:
        def visit(page: Page) -> None:
            area, summary = page.locator("details.work"), page.locator("details.work summary")
            call(page, "update", {"items": [QUESTION], "running": 7})
            call(page, "work", {"turn": 7, "entries": [tool("web_fetch", "https://tides.example/" + "x" * 60)]})
            expect(summary).to_contain_text("Working · web_fetch: https://tides")
            expect(page.locator(".activity")).to_be_visible()
            expect(page.locator("#announcer")).to_have_text("Hermes is working on it")
            summary.focus()
            page.keyboard.press("Enter")
            expect(area.locator("li.tool.running")).to_be_visible()
            said = {"kind": "said", "text": "Let me <b>see</b>."}
            entries = [said, tool("web_fetch", "x" * 400, state="failed"), tool("note", state="done", count=3)]
            call(page, "work", {"turn": 7, "entries": entries})
            expect(area.locator("li")).to_have_text(["Said: Let me <b>see</b>.", "✗web_fetch " + "x" * 400 + ", failed",
                                                     "✓note ×3, done"])  # fmt: skip
            call(page, "partial", {"turn": 7, "text": "High"})
            expect(page.locator(".draft .body")).to_have_text("High")
            self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth - innerWidth"), 0)
            call(page, "update", {"items": [{**QUESTION, "state": "done"}, REPLY], "running": 0})
            expect(summary).to_have_text("Used tools 4 times")
            expect(area).to_have_attribute("open", "")
            expect(page.locator(".message.agent .body")).to_have_text("High tide.")
            expect(page.locator(".message.agent")).to_have_count(1)
            expect(page.locator(".activity")).to_have_count(0)

        self.browse(visit, width=360)

    def test_a_notice_meanwhile_leaves_the_draft_alone(self) -> None:
        notice = {**REPLY, "id": "out-0", "seq": 0, "text": "I am still working on it.", "is_reply": False}

        def visit(page: Page) -> None:
            call(page, "update", {"items": [QUESTION], "running": 7})
            call(page, "partial", {"turn": 7, "text": "High"})
            call(page, "update", {"items": [{**notice, "has_work": False}], "running": 7})
            call(page, "partial", {"turn": 7, "more": " tide"})
            expect(page.locator(".draft .body")).to_have_text("High tide")
            expect(page.locator(".message.agent")).to_have_count(2)

        self.browse(visit)

    def test_afterwards_it_is_fetched_when_somebody_opens_it_and_can_be_read_in_the_dark(self) -> None:
        def visit(page: Page) -> None:
            page.evaluate("kept => (window.kept = kept)", [tool("note", "a tide", state="done")])
            call(page, "update", {"items": [{**QUESTION, "state": "done"}, REPLY], "running": 0})
            self.assertEqual(page.evaluate("window.asked"), [])
            page.get_by_text("What was done").click()
            expect(page.locator("details.work li")).to_contain_text("note a tide")
            expect(page.locator("details.work summary")).to_have_text("Used a tool")
            self.assertEqual(page.evaluate("window.asked"), [7])
            ground, text = page.evaluate(
                "() => [getComputedStyle(document.querySelector('.work ul')).backgroundColor,"
                " getComputedStyle(document.querySelector('.work .detail')).color]"
            )
            self.assertGreater(brightness(text) - brightness(ground), 100)

        self.browse(visit, scheme="dark")


def brightness(colour: str) -> float:
    """Of `rgb(1, 2, 3)`."""
    red, green, blue = (float(part) for part in colour.removeprefix("rgb(").rstrip(")").split(",")[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def serve(route: Route) -> None:
    path = route.request.url.removeprefix(SITE)
    if path == "/":
        route.fulfill(body=PAGE, content_type="text/html")
    elif (found := STATIC / path.lstrip("/")).suffix in KINDS:
        route.fulfill(body=found.read_text(), content_type=KINDS[found.suffix])
    else:
        route.fulfill(status=404)
