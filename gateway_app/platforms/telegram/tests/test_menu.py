"""The bot's menu of commands, at the peer: who is shown what, and that it is set only where it changes."""

from __future__ import annotations

from unittest import mock

from django.test import SimpleTestCase, TransactionTestCase

from gateway_app.commands import registry
from gateway_app.platforms.telegram import menu
from tests.configuration import configured
from tests.listeners import ACCOUNT, ListenerThread, telegram_peer

BOSS = 77


def tiers(**lists: list[str]) -> configured:
    return configured(access={"platforms": {"telegram": {"allow_admin_from": [str(BOSS)], **lists}}})


class MenuTests(SimpleTestCase):
    def test_without_tiers_everybody_has_the_whole_registry(self) -> None:
        (scope,) = found = menu.menus(ACCOUNT)
        self.assertEqual(scope, '{"type": "default"}')
        names = [command["command"] for command in found[scope]]
        self.assertEqual(sorted(names), [command.name for command in registry.shipped().commands])
        self.assertEqual(
            found[scope][names.index("new")]["description"], "Begins a new conversation, with a title if you give one"
        )

    def test_what_telegram_cannot_show_is_left_out(self) -> None:
        commands = {"two-words": {"type": "alias", "target": "/help"}, "one": {"type": "alias", "target": "/help"}}
        long = {"long": {"type": "alias", "target": "/help", "description": "x" * 300}}
        with configured(quick={"commands": commands | long}):
            (found,) = menu.menus(ACCOUNT).values()
        names = {command["command"]: command["description"] for command in found}
        self.assertIn("one", names)
        self.assertNotIn("two-words", names)
        self.assertEqual(len(names["long"]), 256)


class KeepingTests(TransactionTestCase):
    def setUp(self) -> None:
        self.peer = telegram_peer(self)
        self.enterContext(mock.patch.object(menu, "LOOK_SECONDS", 0.05))

    def settings_made(self) -> int:
        return len([call for call in self.peer.calls("setMyCommands") if call["status"] == 200])

    def test_the_menu_is_set_at_the_start_and_not_again_where_telegram_has_it(self) -> None:
        with ListenerThread():
            self.peer.wait(lambda peer: peer.menu(), what="a menu")
        self.assertIn("background", self.peer.menu() or [])
        with ListenerThread():
            self.peer.wait(lambda peer: len(peer.calls("getMyCommands")) >= 2, what="a second look")
        self.assertEqual(self.settings_made(), 1)

    def test_an_admins_chat_has_its_own_menu_and_the_others_see_what_they_may_run(self) -> None:
        self.peer.push_text("hello", chat_id=BOSS, user_id=BOSS)
        with tiers(user_allowed_commands=["status"], group_allow_admin_from=[str(BOSS)]), ListenerThread():
            self.peer.wait(lambda peer: peer.menu("chat", chat_id=BOSS), what="the admin's menu")
        self.assertEqual(self.peer.menu(), ["help", "status", "whoami"])
        self.assertEqual(self.peer.menu("all_group_chats"), ["help", "whoami"])
        self.assertIn("sethome", self.peer.menu("chat", chat_id=BOSS) or [])

    def test_an_admin_who_never_wrote_and_a_telegram_that_fails_keep_no_update_from_being_taken(self) -> None:
        self.peer.fault("error", method="setMyCommands", times=1)
        with (
            tiers(),
            mock.patch.object(menu, "RETRY_SECONDS", 0.05),
            self.assertLogs("gateway_app", "INFO"),
            ListenerThread(),
        ):
            self.peer.push_text("hello", chat_id=5, user_id=5)
            self.peer.wait(lambda peer: peer.stats["confirmed"], what="the acknowledgement")
            self.peer.wait(lambda peer: peer.menu(), what="a menu")
            self.assertIsNone(self.peer.menu("chat", chat_id=BOSS))
            self.peer.push_text("hello", chat_id=BOSS, user_id=BOSS)
            self.peer.wait(lambda peer: peer.menu("chat", chat_id=BOSS), what="the admin's menu")

    def test_a_change_of_the_configuration_is_followed(self) -> None:
        self.peer.push_text("hello", chat_id=BOSS, user_id=BOSS)
        with ListenerThread():
            self.peer.wait(lambda peer: peer.menu(), what="a menu")
            with tiers():
                self.peer.wait(lambda peer: peer.menu() == ["help", "whoami"], what="a shorter menu")
                self.peer.wait(lambda peer: peer.menu("chat", chat_id=BOSS), what="the admin's menu")
            self.peer.wait(lambda peer: peer.menu("chat", chat_id=BOSS) is None, what="the end of the admin's menu")
            self.assertIn("model", self.peer.menu() or [])
