"""The managers of a process: how long they live, and that nothing but the context decides which one it is."""

from __future__ import annotations

import os
import threading
from unittest import mock

from django.test import SimpleTestCase

from honcho_app import managers
from tests.configuration import configured

from .case import context


class ManagersTests(SimpleTestCase):
    def setUp(self) -> None:
        self.enterContext(configured(honcho={"base_url": "http://127.0.0.1:1"}))
        managers.shut_down_all()
        self.addCleanup(managers.shut_down_all)

    def test_without_honcho_there_is_none(self) -> None:
        with configured(honcho={"base_url": ""}):
            self.assertIsNone(managers.manager_for(context()))

    def test_without_a_honcho_session_key_there_is_none(self) -> None:
        self.assertIsNone(managers.manager_for(context(honcho_session_key="")))

    def test_a_session_has_the_same_one_each_time(self) -> None:
        self.assertIs(managers.manager_for(context()), managers.manager_for(context(user_name="Anna B.")))

    def test_each_person_in_a_shared_session_has_their_own(self) -> None:
        anna, ben = (managers.manager_for(context(chat_type="group", user_id=user)) for user in ("5", "6"))
        assert anna and ben
        self.assertEqual(anna.honcho_session_key, ben.honcho_session_key)
        self.assertNotEqual(anna.user_peer, ben.user_peer)
        self.assertEqual(managers.count(), 2)

    def test_another_configuration_has_another_one(self) -> None:
        before = managers.manager_for(context())
        with configured(honcho={"workspace": "acme"}):
            after = managers.manager_for(context())
        assert before and after
        self.assertEqual((before.workspace, after.workspace), ("hermes", "acme"))

    def test_beyond_the_limit_the_least_recently_used_is_let_go(self) -> None:
        with configured(honcho={"managers": 2}):
            one, two = managers.manager_for(context(session_key="1")), managers.manager_for(context(session_key="2"))
            managers.manager_for(context(session_key="1"))
            managers.manager_for(context(session_key="3"))
            self.assertEqual(managers.count(), 2)
            self.assertIs(managers.manager_for(context(session_key="1")), one)
            self.assertIsNot(managers.manager_for(context(session_key="2")), two)

    def test_one_that_was_let_go_in_the_middle_of_a_call_may_end_it(self) -> None:
        with configured(honcho={"managers": 1}):
            held = managers.manager_for(context(session_key="1"))
            managers.manager_for(context(session_key="2"))
        assert held
        self.assertFalse(held.is_shut_down)

    def test_one_that_is_not_used_is_let_go(self) -> None:
        with mock.patch("honcho_app.managers.time.monotonic", return_value=0.0) as clock:
            managers.manager_for(context(session_key="1"))
            clock.return_value = 1799.0
            managers.manager_for(context(session_key="2"))
            self.assertEqual(managers.count(), 2)
            clock.return_value = 1801.0
            managers.manager_for(context(session_key="2"))
            self.assertEqual(managers.count(), 1)

    def test_a_reset_ends_it_and_the_next_session_has_its_own(self) -> None:
        before = managers.manager_for(context())
        assert before
        self.assertEqual(managers.shut_down(before.honcho_session_key), 1)
        after = managers.manager_for(context(session_id="s2"))
        assert after
        self.assertTrue(before.is_shut_down)
        self.assertFalse(after.is_shut_down)

    def test_a_worker_that_was_told_of_no_reset_lets_the_old_one_go_at_the_next_sessions_first_call(self) -> None:
        managers.manager_for(context())
        managers.manager_for(context(session_id="s2"))
        self.assertEqual(managers.count(), 1)

    def test_the_end_of_a_flush_does_not_end_the_session_that_people_speak_in(self) -> None:
        now, old = managers.manager_for(context(session_id="s2")), managers.manager_for(context(session_id="s1"))
        assert now and old
        managers.shut_down(old.honcho_session_key, session_id="s1")
        self.assertEqual((old.is_shut_down, now.is_shut_down), (True, False))

    def test_at_the_workers_end_all_are_shut_down(self) -> None:
        found = [managers.manager_for(context(session_key=str(number))) for number in range(3)]
        self.assertEqual(managers.shut_down_all(), 3)
        self.assertTrue(all(manager and manager.is_shut_down for manager in found))

    def test_threads_that_ask_at_once_get_the_same_one(self) -> None:
        start, found = threading.Barrier(8), list[object]()

        def ask() -> None:
            start.wait()
            found.append(managers.manager_for(context()))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((len(found), len(set(map(id, found)))), (8, 1))

    def test_a_forked_child_begins_with_none(self) -> None:
        managers.manager_for(context())
        child = os.fork()
        if child == 0:
            os._exit(managers.count())
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
