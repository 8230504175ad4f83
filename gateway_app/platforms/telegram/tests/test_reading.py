"""Reading updates: a table of what each kind of update becomes. Never an exception."""

from __future__ import annotations

import copy
from typing import Any

from django.test import SimpleTestCase, override_settings
from hypothesis import given
from hypothesis import strategies as st

from gateway_app.platforms.base import InboundEvent, UnreadableEvent
from gateway_app.platforms.telegram.reading import LONGEST_NAME, Bot, read
from gateway_app.sessions.source import ChatType

BOT = Bot(account="123456", user_id=123456, username="Hermes_Bot")

MESSAGE: dict[str, Any] = {
    "message_id": 7,
    "from": {"id": 501, "is_bot": False, "first_name": "Ann", "last_name": "Lee", "username": "ann"},
    "chat": {"id": 501, "type": "private", "first_name": "Ann"},
    "date": 1_700_000_000,
    "text": "hello",
}
GROUP: dict[str, Any] = {"chat": {"id": -100, "type": "supergroup", "title": "Team"}}
BOTS_OWN: dict[str, Any] = {
    "message_id": 3, "date": 1, "chat": GROUP["chat"], "from": {"id": 123456, "is_bot": True, "first_name": "Hermes"},
}  # fmt: skip


def update(kind: str = "message", **changes: Any) -> dict[str, Any]:
    """An update with `changes` made to MESSAGE; a field that is None is left out."""
    message = {name: value for name, value in (MESSAGE | changes).items() if value is not None}
    return {"update_id": 1000, kind: message}


def in_group(text: str | None = "hello", **changes: Any) -> dict[str, Any]:
    return update(**GROUP, text=text, **changes)


class ReadingTestCase(SimpleTestCase):
    def event(self, raw: Any) -> InboundEvent:
        found = read(raw, bot=BOT)
        assert isinstance(found, InboundEvent), found
        return found

    def assert_ignored(self, raw: Any) -> None:
        self.assertIsNone(read(raw, bot=BOT))

    def assert_unreadable(self, raw: Any, words: str, *, event_id: str = "1000") -> None:
        found = read(raw, bot=BOT)
        assert isinstance(found, UnreadableEvent), found
        self.assertIn(words, found.reason)
        self.assertEqual((found.event_id, found.platform, found.account), (event_id, "telegram", "123456"))


class Messages(ReadingTestCase):
    def test_a_direct_message_is_read_with_its_sender(self) -> None:
        event = self.event(update())
        self.assertEqual((event.event_id, event.text, event.message_id), ("1000", "hello", "7"))
        source = event.source
        self.assertEqual((source.platform, source.account), ("telegram", "123456"))
        self.assertEqual((source.chat_id, source.chat_type, source.chat_name), ("501", ChatType.DM, "Ann"))
        self.assertEqual((source.user_id, source.user_name, source.is_bot), ("501", "Ann Lee", False))
        self.assertEqual(source.thread_id, "")

    def test_a_topic_of_a_group_is_a_thread(self) -> None:
        source = self.event(in_group("/ask", message_thread_id=9, is_topic_message=True)).source
        self.assertEqual((source.chat_id, source.chat_type, source.thread_id), ("-100", ChatType.GROUP, "9"))
        self.assertEqual(source.chat_name, "Team")

    def test_a_chain_of_replies_is_no_thread(self) -> None:
        self.assertEqual(self.event(in_group("/ask", message_thread_id=9)).source.thread_id, "")

    def test_a_topic_of_a_direct_chat_is_a_thread(self) -> None:
        source = self.event(update(message_thread_id=9, is_topic_message=True)).source
        self.assertEqual((source.chat_type, source.thread_id), (ChatType.DM, "9"))

    def test_a_channel_writes_in_its_own_name(self) -> None:
        chat = {"id": -200, "type": "channel", "title": "News"}
        raw = update("channel_post", chat=chat, sender_chat=chat, text="/ask", **{"from": None})
        source = self.event(raw).source
        self.assertEqual((source.chat_type, source.user_id, source.user_name), (ChatType.CHANNEL, "-200", "News"))

    def test_an_anonymous_admin_writes_in_the_groups_name(self) -> None:
        nobody = {"id": 1087968824, "is_bot": True, "first_name": "Group", "username": "GroupAnonymousBot"}
        source = self.event(in_group("/ask", sender_chat=GROUP["chat"], **{"from": nobody})).source
        self.assertEqual((source.user_id, source.user_name, source.is_bot), ("-100", "Team", False))

    def test_a_bot_is_known_as_one(self) -> None:
        self.assertTrue(self.event(update(**{"from": MESSAGE["from"] | {"is_bot": True}})).source.is_bot)

    def test_media_are_described_in_words(self) -> None:
        photo = [{"file_id": "x", "file_unique_id": "y", "width": 1, "height": 1}]
        file = {"file_id": "x", "file_name": "plan.pdf"}
        for fields, text in (
            ({"photo": photo}, "[photo]"),
            ({"photo": photo, "caption": "Look!"}, "[photo] Look!"),
            ({"document": file}, "[file: plan.pdf]"),
            ({"animation": {}, "document": file}, "[animation]"),
            ({"sticker": {"emoji": "😀"}}, "[sticker: 😀]"),
            ({"venue": {}, "location": {}}, "[venue]"),
            ({"voice": {}}, "[voice message]"),
            ({"document": {"file_name": 5}}, "[file]"),
            ({"video": None, "audio": "nonsense"}, "[audio file]"),
        ):
            with self.subTest(text):
                self.assertEqual(self.event(update(text=None, **fields)).text, text)

    def test_new_fields_and_broken_ones_that_are_not_needed_break_nothing(self) -> None:
        self.event(update(entities="nonsense", forward_origin={"type": "new"}, hologram={"a": 1}))

    def test_an_empty_text_is_still_a_message(self) -> None:
        self.assertEqual(self.event(update(text="")).text, "")

    def test_names_are_kept_short_and_clean(self) -> None:
        person = {"id": 501, "is_bot": False, "first_name": "A\x00\ud83d" + "n" * 5000}
        chat = {"id": -100, "type": "group", "title": "T" * 5000}
        source = self.event(update(chat=chat, text="/ask", **{"from": person})).source
        self.assertEqual(source.user_name[:3], "A?n")
        self.assertEqual((len(source.user_name), len(source.chat_name)), (LONGEST_NAME, LONGEST_NAME))

    def test_a_text_with_half_a_surrogate_pair_a_nul_or_a_megabyte_is_read(self) -> None:
        for text in ("a\ud83db", "a\x00b"):
            self.assertEqual(self.event(update(text=text)).text, text)  # cleaned when it is accepted
        self.assertEqual(len(self.event(update(text="x" * 2**21)).text), 2**21)


class Addressing(ReadingTestCase):
    """In groups and channels, the bot speaks when it is spoken to."""

    def test_what_is_meant_for_the_bot_is_read(self) -> None:
        for text in ("@Hermes_Bot hi", "hi @hermes_bot!", "(@HERMES_BOT)", "/ask", "/ask now", "/ask hi@hermes_bot"):
            with self.subTest(text):
                self.assertEqual(self.event(in_group(text)).text, text)

    def test_the_bots_own_name_is_taken_off_a_command(self) -> None:
        self.assertEqual(self.event(in_group("/ask@Hermes_Bot now @hermes_bot")).text, "/ask now @hermes_bot")
        self.assertEqual(self.event(in_group("/ask@HERMES_BOT")).text, "/ask")

    def test_another_bots_name_stays_on_a_command(self) -> None:
        text = "/ask@Other_Bot now"
        self.assertEqual(self.event(in_group(text, reply_to_message=BOTS_OWN)).text, text)

    def test_what_is_meant_for_others_is_ignored(self) -> None:
        for text in (
            "hi",
            "@Hermes_Bot2 hi",
            "me@hermes_bot",
            "@@hermes_bot",
            "/ask@Other_Bot",
            "see /ask",
            "/",
            "@ann",
        ):
            with self.subTest(text):
                self.assert_ignored(in_group(text))

    def test_a_caption_that_mentions_the_bot_is_read(self) -> None:
        self.assertEqual(self.event(in_group(None, photo=[], caption="@hermes_bot ?")).text, "[photo] @hermes_bot ?")
        self.assert_ignored(in_group(None, photo=[], caption="?"))

    def test_a_reply_to_the_bot_is_read(self) -> None:
        self.event(in_group(reply_to_message=BOTS_OWN))
        self.assert_ignored(in_group(reply_to_message=BOTS_OWN | {"from": MESSAGE["from"]}))
        self.assert_ignored(in_group(reply_to_message={**BOTS_OWN, "from": None} | {"from": MESSAGE["from"]}))

    def test_a_topic_that_the_bot_opened_does_not_make_all_in_it_replies(self) -> None:
        topic = {"message_thread_id": 3, "is_topic_message": True}
        self.assert_ignored(in_group(reply_to_message=BOTS_OWN, **topic))
        self.event(in_group(reply_to_message=BOTS_OWN | {"message_id": 4}, **topic))

    @override_settings(TELEGRAM_REQUIRE_MENTION=False)
    def test_without_the_requirement_everything_is_read(self) -> None:
        self.event(in_group("hi"))

    def test_a_direct_message_needs_no_mention(self) -> None:
        self.event(update(text="hi"))


class Ignored(ReadingTestCase):
    def test_other_kinds_of_updates_are_ignored(self) -> None:
        for kind in (
            "edited_message",
            "edited_channel_post",
            "callback_query",
            "poll",
            "my_chat_member",
            "new_in_2030",
        ):
            with self.subTest(kind):
                self.assert_ignored(update(kind))
        self.assert_ignored({"update_id": 1000})

    def test_what_telegram_itself_writes_is_ignored(self) -> None:
        for fields in (
            {"new_chat_members": [MESSAGE["from"]]}, {"pinned_message": {}}, {"forum_topic_created": {}}, {"gift": {}},
            {"left_chat_member": {}}, {"giveaway": {}}, {},
        ):  # fmt: skip
            with self.subTest(fields):
                self.assert_ignored(update(text=None, **fields))


class Unreadable(ReadingTestCase):
    def test_a_message_that_is_broken_says_where(self) -> None:
        for changes, words in (
            ({"chat": None}, "chat: Field required"),
            ({"chat": "x"}, "chat: "),
            ({"chat": {"id": 1}}, "chat.type: Field required"),
            ({"chat": {"id": "x", "type": "private"}}, "chat.id: "),
            ({"chat": {"id": 1, "type": "secret"}}, "a chat of type 'secret'"),
            ({"from": None}, "a message without a sender"),
            ({"from": {"id": 1}}, "Field required"),
            ({"message_id": None}, "message_id: Field required"),
            ({"message_id": "x"}, "message_id: "),
            ({"date": "yesterday"}, "date: "),
            ({"date": 10**30}, "date: "),
            ({"text": 5}, "text: "),
            ({"text": {"a": 1}}, "text: "),
            ({"reply_to_message": {"message_id": 1}}, "reply_to_message"),
        ):
            with self.subTest(changes):
                self.assert_unreadable(update(**changes), words)

    def test_a_message_that_is_no_object_is_unreadable(self) -> None:
        for found in (None, 5, "x", [], [MESSAGE]):
            with self.subTest(found):
                self.assert_unreadable({"update_id": 1000, "message": found}, "")

    def test_a_message_of_a_new_kind_is_shown_to_the_operator(self) -> None:
        self.assert_unreadable(update(text=None, hologram={}), "a message of a kind not known: hologram")

    def test_an_update_without_a_number_is_named_by_what_is_in_it(self) -> None:
        for raw in (
            None,
            5,
            "x",
            [],
            {},
            {"update_id": "x"},
            {"update_id": True},
            {"update_id": -1},
            {"update_id": 2**60},
        ):
            with self.subTest(raw):
                first, second = read(raw, bot=BOT), read(copy.deepcopy(raw), bot=BOT)
                assert isinstance(first, UnreadableEvent)
                self.assertEqual(first, second)
                self.assertTrue(first.event_id.startswith("unnamed-"))

    def test_a_deeply_nested_update_is_unreadable(self) -> None:
        nested: Any = []
        for _ in range(100_000):
            nested = [nested]
        self.assertIsInstance(read({"update_id": "x", "message": nested}, bot=BOT), UnreadableEvent)
        self.assertIsInstance(read(update(chat=nested), bot=BOT), UnreadableEvent)
        self.event(update(entities=nested))

    def test_its_reason_holds_nothing_of_the_message(self) -> None:
        found = read(update(text={"secret": "hunter2"}), bot=BOT)
        assert isinstance(found, UnreadableEvent)
        self.assertNotIn("hunter2", found.reason)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


class Anything(SimpleTestCase):
    @given(json_values, st.sampled_from(sorted(MESSAGE)), st.sampled_from(["message", "channel_post", "poll"]))
    def test_a_message_with_any_value_in_any_field_is_read_or_named(self, value: Any, field: str, kind: str) -> None:
        found = read({"update_id": 1000, kind: MESSAGE | {field: value}}, bot=BOT)
        if found is not None:
            self.assertEqual(found.event_id, "1000")

    @given(json_values)
    def test_any_json_is_read_or_named(self, value: Any) -> None:
        read(value, bot=BOT)
