"""Database work from coroutines, on whichever database the tests run on."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from unittest import mock

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections, transaction
from django.test import TransactionTestCase, override_settings

from gateway_app.worker.database import check_connections, close_database_threads, in_database
from gateway_app.worker.loop import event_loop

Connection = type(connections[DEFAULT_DB_ALIAS])
flavour: ContextVar[str] = ContextVar("flavour", default="plain")


def the_connection() -> object:
    """The driver's connection of the thread that calls; opened if there is none."""
    connection.ensure_connection()
    return connection.connection


class InDatabaseTests(TransactionTestCase):
    def setUp(self) -> None:
        close_database_threads()
        self.addCleanup(close_database_threads)
        patch = override_settings(DATABASE_THREADS=1)  # so that each call meets the connection of the one before
        patch.enable()
        self.addCleanup(patch.disable)

    async def test_the_functions_result_and_its_exceptions_come_back(self) -> None:
        group = await in_database(Group.objects.create, name="readers")
        self.assertEqual(await in_database(Group.objects.get, pk=group.pk), group)
        with self.assertRaises(Group.DoesNotExist):
            await in_database(Group.objects.get, pk=group.pk + 1)

    async def test_what_it_commits_is_seen_everywhere_and_what_fails_is_rolled_back(self) -> None:
        def create(*, fails: bool) -> None:
            with transaction.atomic():
                Group.objects.create(name=f"fails={fails}")
                if fails:
                    raise LookupError

        await in_database(create, fails=False)
        with self.assertRaises(LookupError):
            await in_database(create, fails=True)
        names = await in_database(lambda: list(Group.objects.values_list("name", flat=True)))
        self.assertEqual(names, ["fails=False"])

    async def test_the_connection_stays_open_between_calls(self) -> None:
        self.assertIs(await in_database(the_connection), await in_database(the_connection))

    async def test_an_error_in_a_statement_costs_the_connection_only_if_it_is_broken(self) -> None:
        def fail() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT * FROM no_such_table")

        first = await in_database(the_connection)
        with self.assertRaises(DatabaseError):
            await in_database(fail)
        self.assertIs(await in_database(the_connection), first)
        broken = mock.patch.object(Connection, "is_usable", return_value=False)
        with broken, self.assertRaises(DatabaseError):
            await in_database(fail)
        self.assertIsNot(await in_database(the_connection), first)

    async def test_after_the_server_has_cut_the_connection_the_next_call_works(self) -> None:
        def cut() -> None:
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            else:
                connection.close_at = 0  # SQLite has no server; here the connection's time is over
                raise DatabaseError

        first = await in_database(the_connection)
        with self.assertRaises(DatabaseError):
            await in_database(cut)
        self.assertEqual(await in_database(Group.objects.count), 0)
        self.assertIsNot(await in_database(the_connection), first)

    async def test_a_connection_that_broke_while_it_was_idle_is_replaced_before_its_next_use(self) -> None:
        first = await in_database(the_connection)
        unusable = mock.patch.object(Connection, "is_usable", return_value=False)
        with override_settings(DATABASE_CHECK_SECONDS=0), unusable as is_usable:
            self.assertEqual(await in_database(Group.objects.count), 0)
            is_usable.assert_called()
        self.assertIsNot(await in_database(the_connection), first)

    async def test_a_busy_connection_is_not_asked_whether_it_lives(self) -> None:
        await in_database(the_connection)
        with mock.patch.object(Connection, "is_usable", return_value=True) as is_usable:
            for _ in range(3):
                await in_database(Group.objects.count)
        is_usable.assert_not_called()

    async def test_the_callers_context_is_seen_and_left_alone(self) -> None:
        def taste() -> str:
            found = flavour.get()
            flavour.set("bitter")
            return found

        flavour.set("sweet")
        self.assertEqual(await in_database(taste), "sweet")
        self.assertEqual(flavour.get(), "sweet")
        flavour.set("salty")
        self.assertEqual(await in_database(taste), "salty")

    def test_any_loop_can_use_it(self) -> None:
        self.addCleanup(event_loop.stop)
        self.assertEqual(asyncio.run(in_database(Group.objects.count)), 0)
        self.assertEqual(event_loop.run(in_database(Group.objects.count)), 0)
        self.assertEqual(asyncio.run(in_database(Group.objects.count)), 0)

    def test_closing_ends_the_threads_and_their_connections(self) -> None:
        wrapper = asyncio.run(in_database(lambda: (the_connection(), connections[DEFAULT_DB_ALIAS])[1]))
        before = threading.active_count()
        self.assertIsNotNone(wrapper.connection)
        close_database_threads()
        self.assertIsNone(wrapper.connection)
        self.assertEqual(threading.active_count(), before - 1)
        self.assertEqual(asyncio.run(in_database(Group.objects.count)), 0)

    def test_checking_leaves_a_running_transaction_alone(self) -> None:
        with transaction.atomic():
            Group.objects.create(name="kept")
            connection.errors_occurred = True
            check_connections()
            connection.errors_occurred = False
        self.assertEqual(Group.objects.count(), 1)


class ThreadsTests(TransactionTestCase):
    @override_settings(DATABASE_THREADS=3)
    def test_sqlite_gets_one_thread_and_postgresql_the_number_that_is_set_and_all_are_closed(self) -> None:
        close_database_threads()
        self.addCleanup(close_database_threads)
        expected = 1 if connection.vendor == "sqlite" else settings.DATABASE_THREADS
        together = threading.Barrier(expected)
        visited = {}

        def meet() -> None:
            together.wait(10)
            connection.ensure_connection()
            visited[threading.get_ident()] = connections[DEFAULT_DB_ALIAS]

        async def visit() -> None:
            await asyncio.gather(*(in_database(meet) for _ in range(expected * 2)))

        asyncio.run(visit())
        self.assertEqual(len(visited), expected)
        close_database_threads()
        self.assertEqual([wrapper.connection for wrapper in visited.values()], [None] * expected)
