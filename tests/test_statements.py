from __future__ import annotations

import gc
import weakref

from django.db import DatabaseError, connection, transaction
from django.test import TransactionTestCase
from django.utils import timezone

from gateway_app.models import Heartbeat
from gateway_app.statements import Sql, Statement, execute, insert


def inserting(name: str) -> Statement:
    return insert(Heartbeat, columns=("name", "beat_at"), rows=[(name, Sql("CURRENT_TIMESTAMP"))], returning=("name",))


class StatementsTest(TransactionTestCase):
    """Statements in one trip hold or fall with the transaction that they are in."""

    def names(self) -> set[str]:
        return set(Heartbeat.objects.values_list("name", flat=True))

    def test_each_statement_gives_its_own_rows(self) -> None:
        with transaction.atomic():
            first, counted, second = execute(
                inserting("one"),
                Statement(f"SELECT count(*) FROM {Heartbeat._meta.db_table}"),
                inserting("two"),
            )
        self.assertEqual((first, counted, second), ([("one",)], [(1,)], [("two",)]))
        self.assertEqual(self.names(), {"one", "two"})

    def test_they_are_undone_where_the_transaction_fails_after_them(self) -> None:
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            execute(inserting("one"))
            Heartbeat.objects.create(name="two", beat_at=timezone.now())
            raise ZeroDivisionError
        self.assertEqual(self.names(), set())

    def test_they_are_undone_with_the_savepoint_that_they_are_in(self) -> None:
        with transaction.atomic():
            execute(inserting("one"))
            with self.assertRaises(ZeroDivisionError), transaction.atomic():
                execute(inserting("two"))
                raise ZeroDivisionError
        self.assertEqual(self.names(), {"one"})

    def test_they_join_a_transaction_that_the_orm_has_begun(self) -> None:
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            Heartbeat.objects.create(name="one", beat_at=timezone.now())
            execute(inserting("two"))
            raise ZeroDivisionError
        self.assertEqual(self.names(), set())

    def test_one_that_fails_undoes_those_before_it_and_the_connection_goes_on(self) -> None:
        for _ in range(2):
            with self.assertRaises(DatabaseError), transaction.atomic():
                execute(inserting("one"), inserting("one"))
            with transaction.atomic():
                execute(inserting("two"))
            self.assertEqual(self.names(), {"two"})
            Heartbeat.objects.all().delete()
        self.assertTrue(connection.get_autocommit())

    def test_what_the_database_cannot_read_changes_nothing(self) -> None:
        with self.assertRaises(DatabaseError), transaction.atomic():
            execute(inserting("one"), Statement("SELEC 1"))
        with transaction.atomic():
            execute(inserting("two"))
        self.assertEqual(self.names(), {"two"})

    if connection.vendor == "postgresql":

        def test_a_connection_that_was_closed_is_let_go(self) -> None:
            # Seen to fail with what quotes values kept in `Prepared`, which it then held for ever.
            with transaction.atomic():
                execute(inserting("one"))
            server = weakref.ref(connection.connection)
            connection.close()
            gc.collect()
            self.assertIsNone(server())
