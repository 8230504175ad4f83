"""The menu of slash commands in the page, in a real browser: by keyboard, on a telephone, and in the dark."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeVar

from django.contrib.auth.models import User
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from playwright.sync_api import Page, expect

from gateway_app.platforms.webchat import conversations
from tests.chromium import DESKTOP, PHONE, Chromium
from tests.configuration import configured

from .case import WebchatCase

T = TypeVar("T")

PASSWORD = "correct horse battery"


class ListTests(WebchatCase):
    def test_the_page_gets_what_the_person_may_run_and_nothing_else(self) -> None:
        conversation = conversations.owned(self.ann, self.chat)
        every = [command["name"] for command in conversations.commands(self.ann, conversation)]
        self.assertIn("background", every)
        lists = {"allow_admin_from": ["bob"], "user_allowed_commands": ["new"]}
        with configured(access={"platforms": {"webchat": lists}}):
            found = conversations.commands(self.ann, conversation)
            self.assertEqual([command["name"] for command in found], ["new", "help", "whoami"])
            page = self.client_of_ann().get(f"/chat/{self.chat}/").content.decode()
        self.assertIn('"name": "whoami"', page)
        self.assertNotIn('"name": "sethome"', page)

    def client_of_ann(self) -> object:
        self.client.force_login(self.ann)
        return self.client


@configured(access={"platforms": {"webchat": {"allowed_users": ("ann",)}}})
class BrowserTests(StaticLiveServerTestCase):
    browser: ClassVar[Chromium]

    @classmethod
    def setUpClass(cls) -> None:
        cls.browser = Chromium()
        cls.addClassCleanup(cls.browser.close)
        super().setUpClass()

    def setUp(self) -> None:
        self.ann = User.objects.create_user("ann", password=PASSWORD)

    def browse(self, visit: Callable[[Page], T], *, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> T:
        """Signs in as Ann and lets `visit` use the page. What the browser complains of fails the test."""
        complaints: list[str] = []

        def run() -> T:
            with self.browser.context(size=size, scheme=scheme) as context:
                page = context.new_page()
                page.on("pageerror", lambda error: complaints.append(str(error)))
                page.route("**/events*", lambda route: route.abort())  # this server would wait for their end
                page.goto(f"{self.live_server_url}/chat/")
                page.get_by_label("User name").or_(page.get_by_label("Username")).fill("ann")
                page.locator("input[name=password]").fill(PASSWORD)
                page.keyboard.press("Enter")
                page.locator("#text:focus").wait_for()  # which is the last thing that the page does as it loads
                return visit(page)

        found = self.browser.run(run)
        self.assertEqual(complaints, [])
        return found

    def test_by_keyboard_a_command_is_found_and_completed_and_one_that_is_whole_is_sent(self) -> None:
        def visit(page: Page) -> None:
            field, options = page.locator("#text"), page.get_by_role("option")
            field.press_sequentially("/")
            expect(page.get_by_role("listbox", name="Commands")).to_be_visible()
            expect(page.get_by_role("combobox", expanded=True)).to_be_focused()
            field.press_sequentially("re")
            expect(options.first).to_contain_text("/")
            names = [text.split()[0] for text in options.all_inner_texts()]
            assert {"/redo", "/resume", "/retry", "/reasoning", "/new"} <= set(names), names
            chosen = page.locator("[role=option][aria-selected=true]")
            expect(chosen).to_have_attribute("id", options.first.get_attribute("id") or "")
            field.press("ArrowUp")
            expect(chosen).to_have_attribute("id", options.last.get_attribute("id") or "")
            field.press("ArrowDown")
            field.press("ArrowDown")
            expect(field).to_have_attribute("aria-activedescendant", options.nth(1).get_attribute("id") or "")
            field.press("Escape")
            expect(options).to_have_count(0)
            expect(page.get_by_role("combobox")).to_have_count(0)
            field.fill("/undo")
            field.press("ArrowDown")
            field.press("Enter")
            expect(field).to_have_value("/undo ")
            field.fill("/model x")
            expect(options).to_have_count(0)
            field.fill("a /mo")
            expect(options).to_have_count(0)
            field.fill("/who")
            field.press("Tab")
            expect(field).to_have_value("/whoami")
            field.fill("/whoami")
            expect(options).to_have_count(1)
            field.press("Enter")
            expect(page.locator(".message.you .body")).to_have_text("/whoami")
            expect(field).to_have_value("")

        self.browse(visit)

    def test_on_a_telephone_in_the_dark_it_fits_and_is_tapped(self) -> None:
        def visit(page: Page) -> tuple[float, float, int]:
            page.locator("#text").press_sequentially("/")
            box = page.get_by_role("listbox", name="Commands").bounding_box()
            assert box
            wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            ground = page.evaluate("getComputedStyle(document.querySelector('#commands')).backgroundColor")
            assert ground == "rgb(31, 34, 38)", ground
            page.get_by_role("option").filter(has_text="/title").click()
            expect(page.locator("#text")).to_have_value("/title ")
            expect(page.locator("#text")).to_be_focused()
            return box["y"], box["x"] + box["width"], wider

        top, right, wider = self.browse(visit, size=PHONE, scheme="dark")
        self.assertGreaterEqual(top, 0)
        self.assertLessEqual(right, PHONE[0])
        self.assertEqual(wider, 0)
