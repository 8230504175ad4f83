"""The pages on access in a real browser: the queue by mouse and keyboard, on a telephone, and in the dark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import ClassVar, TypeVar
from unittest import SkipTest, mock

from django.contrib.auth.models import User
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.test import SimpleTestCase
from django.urls import reverse
from playwright.sync_api import Page, expect

from gateway_app.access import rules
from gateway_app.models import AuditEntry, PairingRequest
from tests import chromium
from tests.chromium import DESKTOP, PHONE, Chromium

from .access_case import ANN, list_of, make_pairing, make_person, page_of

T = TypeVar("T")

PASSWORD = "correct horse battery"


class ChromiumTests(SimpleTestCase):
    @mock.patch.object(shutil, "which", return_value=None)
    def test_without_a_browser_the_test_fails_in_ci_and_says_elsewhere_why_it_is_skipped(self, _: mock.Mock) -> None:
        with mock.patch.dict(os.environ, {"CI": "true"}), self.assertRaisesRegex(AssertionError, "apt-get install"):
            chromium.found()
        with mock.patch.dict(os.environ, {"CI": ""}), self.assertRaisesRegex(SkipTest, "apt-get install"):
            chromium.found()


class BrowserTests(StaticLiveServerTestCase):
    browser: ClassVar[Chromium]

    @classmethod
    def setUpClass(cls) -> None:
        cls.browser = Chromium()
        cls.addClassCleanup(cls.browser.close)
        super().setUpClass()

    def setUp(self) -> None:
        User.objects.create_superuser("olga", password=PASSWORD)

    def browse(self, visit: Callable[[Page], T], *, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> T:
        """Signs in as Olga and lets `visit` use the page. What the browser complains of fails the test."""
        complaints: list[str] = []

        def run() -> T:
            with self.browser.context(size=size, scheme=scheme) as context:
                page = context.new_page()
                page.on("pageerror", lambda error: complaints.append(str(error)))
                self.open(page, reverse("admin:index"))  # which leads to the sign-in, and back
                page.get_by_label("Username").fill("olga")
                page.locator("input[name=password]").fill(PASSWORD)
                page.keyboard.press("Enter")
                page.wait_for_url(self.live_server_url + reverse("admin:index"))
                return visit(page)

        found = self.browser.run(run)
        self.assertEqual(complaints, [])
        return found

    def open(self, page: Page, path: str) -> None:
        page.goto(self.live_server_url + path)

    def states(self) -> dict[str, str]:
        return dict(PairingRequest.objects.values_list("user_name", "state"))

    def test_the_queue_is_worked_off_by_single_clicks_by_keyboard_and_in_bulk(self) -> None:
        for name in ("Ann", "Ben", "Cleo", "Dora", "Emil"):
            make_pairing(user_name=name)

        def visit(page: Page) -> None:
            page.get_by_role("link", name="Pairing").first.click()
            expect(page.locator("#result_list tbody tr.data-row")).to_have_count(5)
            page.get_by_role("button", name="Ann").filter(has_text="Approve").click()
            expect(page.get_by_text("Approved #")).to_be_visible()
            page.get_by_role("button", name="Ben").filter(has_text="Deny").click()
            expect(page.get_by_text("Denied #")).to_be_visible()
            page.get_by_role("button", name="Cleo").filter(has_text="Approve").focus()
            page.keyboard.press("Enter")
            expect(page.locator("#result_list tbody tr.data-row")).to_have_count(2)
            page.locator("#action-toggle").check()
            page.locator("select[name=action]").select_option("approve_chosen")
            page.locator("#changelist-actions-wrapper button[type=submit]").click()
            expect(page.get_by_text("Approved #")).to_have_count(2)
            page.get_by_role("link", name="Settled").click()
            expect(page.get_by_text("denied", exact=True)).to_be_visible()

        self.browse(visit)
        approved = dict.fromkeys(("Ann", "Cleo", "Dora", "Emil"), "approved")
        self.assertEqual(self.states(), {**approved, "Ben": "denied"})
        self.assertEqual(AuditEntry.objects.filter(actor="olga").count(), 5)

    def test_the_simulator_answers(self) -> None:
        rules.deny(platform="telegram", subject_id="77", by=ANN)

        def visit(page: Page) -> None:
            page.get_by_role("link", name="Simulator").click()
            page.get_by_label("Sender's id", exact=True).fill("77")
            page.locator("select[name=platform]").select_option("telegram")
            page.keyboard.press("Tab")
            page.get_by_role("button", name="Ask").click()
            expect(page.get_by_role("heading", name="Denied")).to_be_visible()
            expect(page.locator(".hermes-decides")).to_contain_text("deny rule")

        self.browse(visit)

    def test_on_a_telephone_nothing_is_wider_than_the_screen(self) -> None:
        row = make_pairing(user_name="Somebody with a long name " * 4, user_id="1234567890" * 12)
        person = make_person(name="x" * 200, user_id="y" * 200)
        rule = rules.allow(platform="telegram", subject_id="z" * 200, note="w" * 300, by=ANN).rule
        simulator = f"{reverse('admin:gateway_app_accessrule_simulator')}?platform=telegram&user_id={'v' * 200}"
        paths = [
            *(list_of(model) for model in ("pairingrequest", "person", "accessrule", "auditentry")),
            *(page_of(each) for each in (row, person, rule, AuditEntry.objects.get())),
            simulator, f"{list_of('auditentry')}verify/", f"{list_of('accessrule')}add/",
            page_of(person, "ban_one"), reverse("admin:index"),
        ]  # fmt: skip

        def visit(page: Page) -> dict[str, int]:
            wider = {}
            for path in paths:
                self.open(page, path)
                wider[path] = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            self.open(page, list_of("pairingrequest"))
            page.get_by_role("button").filter(has_text="Approve").first.click()
            expect(page.get_by_text("Approved #")).to_be_visible()
            return wider

        wider = self.browse(visit, size=PHONE)
        self.assertEqual({path: by for path, by in wider.items() if by > 0}, {})

    def test_in_the_dark_the_pages_are_dark_and_can_be_read(self) -> None:
        make_pairing()
        luminance = """element => {
            const context = document.createElement('canvas').getContext('2d');
            context.fillStyle = element;
            context.fillRect(0, 0, 1, 1);
            const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
            return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
        }"""

        def visit(page: Page) -> list[tuple[float, float]]:
            found = []
            for path in (list_of("pairingrequest"), reverse("admin:gateway_app_accessrule_simulator")):
                self.open(page, path)
                colours = page.evaluate(
                    "() => [getComputedStyle(document.querySelector('#main')).backgroundColor,"
                    " getComputedStyle(document.querySelector('.hermes-faint, #result_list td.field-age')).color]"
                )
                found.append(tuple(page.evaluate(luminance, colour) for colour in colours))
            return found

        for ground, text in self.browse(visit, scheme="dark"):
            self.assertLess(ground, 0.2)
            self.assertGreater(text - ground, 0.3)
