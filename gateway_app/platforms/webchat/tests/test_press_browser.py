"""Questions in a real browser, against a real web process: by finger, by keyboard, in the dark, in two tabs at once."""

from __future__ import annotations

from django.test import TransactionTestCase
from playwright.sync_api import Page, expect

from gateway_app.agent.asking import Ask, Parked
from gateway_app.agent.model_reply import ToolCall
from gateway_app.models import InboundMessage, Question
from gateway_app.models.question import QuestionKind
from gateway_app.platforms.base import InboundEvent
from gateway_app.sessions.key import session_key
from gateway_app.sessions.source import ChatType, SessionSource
from gateway_app.turns.opening import claim_and_open
from gateway_app.turns.parking import park
from tests import pipeline, test_serve
from tests.chromium import PHONE, Chromium
from tests.configuration import open_to_all


class BrowserTests(TransactionTestCase):
    def ask(self, chat: str) -> None:
        """A turn of Ann's comes to where it asks her twice."""
        chat_id = chat.rpartition("/")[2]
        source = SessionSource(
            platform="webchat", chat_id=chat_id, chat_type=ChatType.DM, user_id="ann", user_name="Ann"
        )
        with open_to_all("webchat"):
            pipeline.inbox.accept([InboundEvent(event_id=f"{chat_id}/1", source=source, text="Pay the rent")])
        turn = claim_and_open(session_key=session_key(source))
        assert turn is not None
        asks = [
            Ask(ToolCall("id0", "mcp_bank_pay", ""), QuestionKind.APPROVAL, {"to": "Zoë <b>", "amount": 950}),
            Ask(
                ToolCall("id1", "clarify", ""), QuestionKind.CLARIFY,
                {"question": "From which account?", "choices": ["Savings", "The joint account"]},
            ),
        ]  # fmt: skip
        park(turn, Parked(asks, reply=1))

    def test_buttons_are_pressed_and_both_tabs_show_what_came_of_it(self) -> None:
        chromium = Chromium()
        self.addCleanup(chromium.close)
        server, ann = test_serve.Server(self), test_serve.Person()
        self.ask(ann.chat)
        complaints: list[str] = []

        def visit() -> None:
            context = chromium.context(size=PHONE, scheme="dark")
            name, _, value = ann.cookie.partition(";")[0].partition("=")
            origin = f"http://127.0.0.1:{server.port}"
            context.add_cookies([{"name": name, "value": value, "url": origin}])
            first, second = (context.new_page() for _ in range(2))
            for page in (first, second):
                page.on("pageerror", lambda error: complaints.append(str(error)))
                page.goto(f"{origin}{ann.chat}/")
                expect(page.get_by_role("group", name="Answer")).to_have_count(2)
                expect(page.get_by_text("Waits for you")).to_be_visible()
                expect(page.locator(".activity")).to_have_count(0)
            self.press(first, second)
            context.close()

        chromium.run(visit)
        self.assertEqual(complaints, [])
        self.assertEqual(list(Question.objects.order_by("number").values_list("state", "answer")), [
            ("approved", ""), ("answered", "The joint account"),
        ])  # fmt: skip
        self.assertEqual(InboundMessage.objects.count(), 1)

    def press(self, first: Page, second: Page) -> None:
        approve = first.get_by_role("button", name="Approve", exact=True)
        box = approve.bounding_box()
        assert box and box["height"] >= 44 and box["x"] + box["width"] <= PHONE[0]
        approve.click()
        for page in (first, second):
            expect(page.locator(".outcome.approved")).to_have_text("Approved: mcp_bank_pay (1).")
            expect(page.get_by_role("button", name="Approve", exact=True)).to_have_count(0)
        second.get_by_role("button", name="The joint account").focus()
        second.keyboard.press("Enter")
        for page in (second, first):
            expect(page.locator(".outcome.answered")).to_have_text("Answered: The joint account")
