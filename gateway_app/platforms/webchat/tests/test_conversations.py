from __future__ import annotations

from unittest import mock

from django.test import override_settings

from gateway_app.models import InboundMessage, TranscriptMessage, WebConversation
from gateway_app.models.inbox import InboundState
from gateway_app.models.turn import TurnState
from gateway_app.platforms.base import UnreadableEvent
from gateway_app.platforms.webchat import conversations
from gateway_app.platforms.webchat.conversations import Cursor, Denied, title_from
from gateway_app.platforms.webchat.stream import close_publisher
from gateway_app.turns.runner import run_session
from gateway_app.worker.http import close_http_session, http_session
from tests import pipeline

from .case import WebchatCase


class CommandTests(WebchatCase):
    def test_a_command_is_answered_in_the_conversation(self) -> None:
        (context,) = self.write("/whoami").rings

        async def ring() -> None:
            await run_session(context, http=http_session())
            await close_publisher()
            await close_http_session()

        pipeline.run(ring())
        asked, answered = conversations.news(self.chat, after=Cursor()).items
        self.assertEqual((asked["state"], answered["is_failure"]), (InboundState.DONE, False))
        self.assertIn("- User id: `ann`\n", answered["text"])
        self.assertFalse(TranscriptMessage.objects.exists())


class PostTests(WebchatCase):
    def test_a_message_becomes_a_waiting_row_and_a_ring(self) -> None:
        posted = self.write("Hello")
        row = InboundMessage.objects.get()
        self.assertEqual((row.platform, row.text, row.state), ("webchat", "Hello", InboundState.WAITING))
        self.assertEqual([context.chat_id for context in posted.rings], [self.chat])
        self.assertEqual(posted.item["state"], "waiting")

    def test_the_same_client_id_again_changes_nothing(self) -> None:
        first = self.write("Hello", client_id="client-0001")
        again = self.write("Hello, edited", client_id="client-0001")
        self.assertEqual(InboundMessage.objects.get().text, "Hello")
        self.assertEqual(again.item, first.item)
        self.assertEqual(again.rings, [])

    def test_the_same_client_id_in_two_conversations_is_two_messages(self) -> None:
        self.write("One", client_id="client-0001")
        other = WebConversation.objects.create(owner=self.ann)
        posted = conversations.post(self.ann, other.chat_id, client_id="client-0001", text="Two")
        self.assertEqual(posted.item["text"], "Two")
        self.assertEqual(InboundMessage.objects.count(), 2)

    def test_somebody_elses_conversation_does_not_exist(self) -> None:
        with self.assertRaises(WebConversation.DoesNotExist):
            conversations.post(self.ann, self.bobs_chat, client_id="client-0001", text="Hello")
        self.assertFalse(InboundMessage.objects.exists())

    def test_a_person_on_no_list_is_told_so_and_nothing_is_kept(self) -> None:
        with self.assertRaisesRegex(Denied, "signed in as bob.*WEBCHAT_ALLOWED_USERS"):
            conversations.post(self.bob, self.bobs_chat, client_id="client-0001", text="Hello")
        self.assertFalse(InboundMessage.objects.exists())

    @override_settings(LANE_MAX_DEPTH=1)
    def test_a_message_to_a_full_session_is_refused_with_an_answer(self) -> None:
        self.write("One")
        posted = self.write("Two")
        self.assertEqual(posted.item["state"], "refused")
        items = conversations.news(self.chat, after=Cursor()).items
        self.assertEqual([item["from"] for item in items], ["you", "you", "agent"])
        self.assertIn("still busy", items[-1]["text"])

    def test_a_failure_after_the_inbox_leaves_no_half(self) -> None:
        with (
            mock.patch.object(conversations, "title_from", side_effect=RuntimeError),
            self.assertRaises(RuntimeError),
        ):
            self.write("Hello")
        self.assertFalse(InboundMessage.objects.exists())


class TitleTests(WebchatCase):
    def test_the_first_message_gives_the_title(self) -> None:
        self.assertEqual(self.write("Plan a trip to Rome\nin May").title, "Plan a trip to Rome")
        self.assertEqual(self.write("And to Paris").title, "Plan a trip to Rome")

    def test_a_command_gives_no_title(self) -> None:
        self.assertEqual(self.write("/help").title, "New conversation")
        self.assertEqual(self.write("/path/to/file is gone").title, "/path/to/file is gone")

    def test_a_title_that_was_given_stays(self) -> None:
        conversations.rename(self.ann, self.chat, title="  Travel \n plans ")
        self.assertEqual(self.write("Plan a trip to Rome").title, "Travel plans")

    def test_a_long_first_line_is_cut_between_words(self) -> None:
        title = title_from("word " * 40)
        self.assertTrue(title.endswith("word…"), title)
        self.assertLessEqual(len(title), 61)

    def test_a_long_word_is_cut(self) -> None:
        self.assertEqual(title_from("x" * 200), "x" * 60 + "…")

    def test_only_the_owner_renames(self) -> None:
        with self.assertRaises(WebConversation.DoesNotExist):
            conversations.rename(self.bob, self.chat, title="Mine")


class ListTests(WebchatCase):
    def test_an_empty_conversation_is_used_again(self) -> None:
        self.assertEqual(conversations.start(self.ann).chat_id, self.chat)
        self.write("Hello")
        self.assertNotEqual(conversations.start(self.ann).chat_id, self.chat)

    def test_the_list_has_only_ones_own_the_last_used_first(self) -> None:
        self.write("Hello")
        second = conversations.start(self.ann)
        self.assertEqual([each.chat_id for each in conversations.listed(self.ann)], [second.chat_id, self.chat])
        self.write("Hello again")
        self.assertEqual([each.chat_id for each in conversations.listed(self.ann)], [self.chat, second.chat_id])

    def test_a_person_without_conversations_gets_one(self) -> None:
        WebConversation.objects.all().delete()
        first = conversations.newest(self.ann)
        self.assertEqual(conversations.newest(self.ann), first)


class NewsTests(WebchatCase):
    def test_question_and_answer_come_in_their_order(self) -> None:
        self.write("One")
        self.answer("First")
        self.write("Two")
        self.answer("Second")
        news = conversations.news(self.chat, after=Cursor())
        self.assertEqual([item["text"] for item in news.items], ["One", "First", "Two", "Second"])
        self.assertEqual(news.running, 0)
        self.assertEqual(conversations.news(self.chat, after=news.cursor).items, [])

    def test_a_message_comes_again_until_its_state_is_final(self) -> None:
        self.write("One")
        waiting = conversations.news(self.chat, after=Cursor())
        turn = self.open_turn()
        running = conversations.news(self.chat, after=waiting.cursor)
        self.close_turn(turn, "First")
        done = conversations.news(self.chat, after=running.cursor)
        states = [news.items[0]["state"] for news in (waiting, running, done)]
        self.assertEqual(states, ["waiting", "running", "done"])
        self.assertEqual([news.running for news in (waiting, running, done)], [0, turn.turn_id, 0])

    def test_a_final_message_behind_an_open_one_is_not_skipped(self) -> None:
        with override_settings(LANE_MAX_DEPTH=1):
            self.write("One")
            self.write("Refused")
        cursor = conversations.news(self.chat, after=Cursor()).cursor
        self.answer("First")
        texts = [item["text"] for item in conversations.news(self.chat, after=cursor).items]
        self.assertIn("One", texts)
        self.assertIn("First", texts)

    def test_much_news_comes_in_stretches_without_a_gap(self) -> None:
        for number in range(7):
            self.send(f"Notice {number}", key=f"notice/{number}")
        texts, cursor, is_complete = [], Cursor(), False
        with mock.patch.object(conversations, "NEWS_MESSAGES", 3):
            while not is_complete:
                news = conversations.news(self.chat, after=cursor)
                texts += [item["text"] for item in news.items]
                cursor, is_complete = news.cursor, news.is_complete
        self.assertEqual(texts, [f"Notice {number}" for number in range(7)])

    def test_a_failed_turn_is_marked(self) -> None:
        self.write("One")
        self.close_turn(self.open_turn(), "The model is away.", state=TurnState.FAILED)
        answer = conversations.news(self.chat, after=Cursor()).items[-1]
        self.assertTrue(answer["is_failure"])

    def test_nothing_of_another_conversation_or_platform_is_in_it(self) -> None:
        from gateway_app.inbox import accept

        accept([], unreadable=[UnreadableEvent(event_id="1", platform="telegram", account="", reason="broken")])
        self.write("Mine")
        for chat in (self.bobs_chat, "", "unknown"):
            self.assertEqual(conversations.news(chat, after=Cursor()).items, [])
            self.assertEqual(conversations.page(chat, before=Cursor(10**9, 10**9)).items, [])

    def test_a_cursor_that_is_no_cursor_is_the_beginning(self) -> None:
        for text in ("", "x", "1", "1.", "-1.2", "1.2.3", "9" * 40 + ".1", "1.2\n"):
            self.assertEqual(Cursor.parse(text), Cursor(), text)
        self.assertEqual(Cursor.parse(str(Cursor(12, 34))), Cursor(12, 34))


class PageTests(WebchatCase):
    def test_earlier_messages_come_page_by_page_without_gap_or_double(self) -> None:
        for number in range(4):
            self.write(f"Question {number}")
            self.answer(f"Answer {number}")
        with mock.patch.object(conversations, "PAGE_MESSAGES", 3):
            shown, news = conversations.newest_page(self.chat)
            texts = [item["text"] for item in shown.items]
            while shown.has_earlier:
                shown = conversations.page(self.chat, before=shown.before)
                texts = [item["text"] for item in shown.items] + texts
        expected = [text for number in range(4) for text in (f"Question {number}", f"Answer {number}")]
        self.assertEqual(texts, expected)
        self.assertEqual(conversations.news(self.chat, after=news.cursor).items, [])

    def test_events_go_on_where_the_page_ends(self) -> None:
        self.write("One")
        self.answer("First")
        self.write("Two")
        _, news = conversations.newest_page(self.chat)
        self.answer("Second")
        items = conversations.news(self.chat, after=news.cursor).items
        self.assertEqual([item["text"] for item in items], ["Two", "Second"])
