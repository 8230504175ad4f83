"""What the agent asks in the web chat: buttons that every open page shows, and only the owner's press counts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from gateway_app.agent.asking import Ask, Parked
from gateway_app.agent.model_reply import ToolCall
from gateway_app.models import OutboundPart, Question, Turn
from gateway_app.models.question import QuestionKind
from gateway_app.platforms.webchat import conversations
from gateway_app.platforms.webchat.conversations import Cursor
from gateway_app.platforms.webchat.feed import feed
from gateway_app.turns.parking import park
from gateway_app.worker.database import in_database

from .case import Events, WebchatCase, ring, web_process


class PressTests(WebchatCase):
    def setUp(self) -> None:
        super().setUp()
        self.write("pay")
        call = ToolCall("id0", "pay", '{"n": 1}')
        park(self.open_turn(), Parked([Ask(call, QuestionKind.APPROVAL, {"n": 1})], reply=1))
        OutboundPart.objects.update(attempts=1)
        self.client.force_login(self.ann)

    def press(self, choice: str, *, chat: str = "", token: str = "") -> Any:
        value = f"{token or Question.objects.get().token}.{choice}"
        return self.client.post(f"/chat/{chat or self.chat}/press", json.dumps({"value": value}), "application/json")

    def asked(self) -> list[dict[str, Any]]:
        return conversations.news(self.chat, after=Cursor(), is_asked=True).asked

    def test_the_page_shows_the_buttons_and_no_running_turn(self) -> None:
        page, news = conversations.newest_page(self.chat)
        (shown,) = news.asked
        self.assertEqual(shown["item"], page.items[-1]["id"])
        self.assertEqual(
            [label for label, _ in shown["buttons"]], ["Approve", "For this conversation", "Always", "Deny"]
        )
        self.assertEqual(news.running, 0)
        self.assertContains(self.client.get(f"/chat/{self.chat}/"), Question.objects.get().token)

    def test_a_press_settles_it_rings_and_says_so_and_again_says_the_same(self) -> None:
        for _ in range(2):
            response = self.press("once")
            self.assertEqual((response.status_code, response.json()), (200, {"text": "Approved: pay (1)."}))
        self.assertEqual(self.ring.call_count, 1)
        self.assertEqual(self.asked()[0] | {"item": ""}, {
            "item": "", "state": "approved", "text": "Approved: pay (1).", "buttons": [],
        })  # fmt: skip
        self.assertEqual(Question.objects.get().answered_by, "ann")

    def test_another_persons_press_and_one_in_another_conversation_are_refused(self) -> None:
        other = conversations.start(self.ann).chat_id
        self.assertNotEqual(other, self.chat)
        self.assertEqual(self.press("once", chat=other).status_code, 409)
        self.client.force_login(self.bob)
        self.assertEqual(self.press("once").status_code, 404)
        self.assertEqual(self.press("once", chat=self.bobs_chat).status_code, 409)
        self.assertEqual(Question.objects.get().state, "pending")

    def test_what_is_no_button_is_refused(self) -> None:
        for sent in ({}, {"value": 5}, {"value": "x" * 65}):
            response = self.client.post(f"/chat/{self.chat}/press", json.dumps(sent), "application/json")
            self.assertEqual(response.status_code, 400)
        self.assertEqual(self.press("once", token="nothing").status_code, 409)
        self.assertEqual(self.press("twice").status_code, 409)

    def test_every_open_page_gets_it_and_what_became_of_it(self) -> None:
        asyncio.run(self._two_pages(Question.objects.get().token))

    async def _two_pages(self, token: str) -> None:
        async with web_process():
            pages = [Events(feed(chat_id=self.chat, cursor=Cursor())) for _ in range(2)]
            for page in pages:
                self.assertEqual((await page.next("update"))["asked"][0]["state"], "pending")
            value = f"{token}.deny"
            await in_database(conversations.press, self.ann, self.chat, value=value)
            ring(self.chat)
            for page in pages:
                self.assertEqual((await page.next("update"))["asked"][0]["state"], "denied")
                await page.close()

    def test_a_conversation_that_nobody_is_asked_in_costs_no_look_at_questions(self) -> None:
        Turn.objects.update(state="done")
        conversations.news(self.chat, after=Cursor())  # connects
        with self.assertNumQueries(4):
            conversations.news(self.chat, after=Cursor())
