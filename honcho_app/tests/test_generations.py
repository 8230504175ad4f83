"""A key goes on with another session on the server where its first one was deleted."""

from __future__ import annotations

import threading

from django.db import connection, connections, transaction
from django.test import TransactionTestCase

from honcho_app import generations
from honcho_app.names import session_name


class GenerationTests(TransactionTestCase):
    def begin_next(self, key: str = "k") -> int:
        with transaction.atomic():
            return generations.begin_next(key)

    def test_a_key_begins_with_the_first(self) -> None:
        self.assertEqual(generations.generation("k"), 1)

    def test_each_next_one_is_another_and_only_the_keys(self) -> None:
        self.assertEqual([self.begin_next(), self.begin_next()], [2, 3])
        self.assertEqual((generations.generation("k"), generations.generation("other")), (3, 1))

    def test_two_that_begin_the_next_at_once_begin_two(self) -> None:
        found: list[int] = []
        start = threading.Barrier(4)

        def begin() -> None:
            start.wait()
            try:
                found.append(self.begin_next())
            finally:
                connections.close_all()

        threads = [threading.Thread(target=begin) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(found), [2, 3, 4, 5], connection.vendor)

    def test_no_keys_later_generation_is_anothers_first(self) -> None:
        names = {session_name(key, generation=number) for key in ("k", "k2", "k:2") for number in (1, 2, 22)}
        self.assertEqual(len(names), 9)
