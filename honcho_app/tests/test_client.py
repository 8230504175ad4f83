"""The SDK's clients of a process, their threads, and what becomes of their errors."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from typing import Any
from unittest import mock

from django.test import SimpleTestCase

from gateway_app.config.addresses import ROOT
from honcho_app import client
from honcho_app.client import FAILURES, Pool
from honcho_app.errors import HonchoError, HonchoErrorKind
from tests.configuration import configured

from .server import Faults, serving

CLOSED = "http://127.0.0.1:1"
"""Nothing listens there."""
ANSWER = b'{"id": "hermes", "metadata": {}, "configuration": {}, "created_at": "2026-01-01T00:00:00Z"}'


class ClientCase(SimpleTestCase):
    def setUp(self) -> None:
        self.server: Faults = self.enterContext(serving())
        self.server.body = ANSWER
        limits = {"read_timeout_seconds": 5, "write_timeout_seconds": 5}
        self.enterContext(configured(honcho={"base_url": self.server.url, "api_key": "", **limits}))
        self.addCleanup(client.close)

    async def get(self) -> Any:
        return await client.run(lambda: client.reading().get_metadata())

    async def put(self) -> Any:
        return await client.run_writing(lambda: client.writing().set_metadata({}))

    async def failed(self, **faults: Any) -> HonchoError:
        """How a call that writes fails where the server behaves like that."""
        for name, value in faults.items():
            setattr(self.server, name, value)
        with self.assertRaises(HonchoError) as caught:
            await self.put()
        return caught.exception


class CallTests(ClientCase):
    async def test_the_server_of_the_configuration_is_asked_for_its_workspace(self) -> None:
        with configured(honcho={"workspace": "acme", "api_key": "k3y"}):
            await self.get()
        self.assertEqual(self.server.requests, [("POST", "/v3/workspaces", "Bearer k3y")])

    async def test_a_key_in_the_environment_is_not_sent_where_the_configuration_has_none(self) -> None:
        with mock.patch.dict(os.environ, {"HONCHO_API_KEY": "another", "HONCHO_WORKSPACE_ID": "another"}):
            await self.get()
        self.assertNotIn("another", repr(self.server.requests))

    async def test_a_tenant_has_a_client_of_its_own(self) -> None:
        self.assertEqual(client.reading("acme").workspace_id, "acme")
        self.assertIs(client.reading("acme"), client.reading("acme"))
        self.assertIsNot(client.reading("acme"), client.reading())

    async def test_a_workspace_that_is_no_id_is_refused(self) -> None:
        with self.assertRaises(ValueError):
            client.reading("../x")

    async def test_where_honcho_is_off_nobody_is_asked(self) -> None:
        with configured(honcho={"base_url": ""}), self.assertRaises(HonchoError) as caught:
            await self.get()
        self.assertEqual(caught.exception.kind, HonchoErrorKind.UNAVAILABLE)
        self.assertEqual(self.server.requests, [])

    async def test_another_configuration_has_other_clients(self) -> None:
        before = client.reading()
        with configured(honcho={"api_key": "another"}):
            self.assertIsNot(client.reading(), before)


class ErrorTests(ClientCase):
    async def test_each_answer_is_of_a_kind(self) -> None:
        kinds = {
            307: "server", 400: "rejected", 401: "unauthorized", 403: "unauthorized", 404: "not_found", 405: "rejected",
            408: "timeout", 409: "rejected", 413: "rejected", 422: "rejected", 429: "limited", 500: "server",
            502: "server", 503: "server", 504: "server",
        }  # fmt: skip
        found = {status: (await self.failed(status=status)).kind.value for status in kinds}
        self.assertEqual(found, kinds)

    async def test_only_where_the_server_failed_may_the_call_have_taken_effect(self) -> None:
        found = [
            status
            for status in (400, 401, 404, 422, 429, 500, 503)
            if (await self.failed(status=status)).is_outcome_unknown
        ]
        self.assertEqual(found, [500, 503])

    async def test_no_error_repeats_what_was_sent(self) -> None:
        error = await self.failed(status=422, body=b'{"detail": [{"type": "x", "msg": "y", "input": "my secret"}]}')
        self.assertEqual(str(error), "Honcho rejected the request (HTTP 422).")
        self.assertIsNone(error.__cause__)
        self.assertTrue(error.__suppress_context__)

    async def test_a_long_retry_after_is_cut_and_the_call_returns_at_once(self) -> None:
        for header, seconds in (("3600", 60.0), ("2", 2.0), ("inf", 60.0), ("nan", 60.0), ("-5", 0.0), ("soon", None)):
            with self.subTest(header):
                error = await self.failed(status=429, headers={"Retry-After": header})
                self.assertEqual((error.kind, error.retry_after), (HonchoErrorKind.LIMITED, seconds))

    async def test_a_call_is_never_repeated_by_itself(self) -> None:
        await self.failed(status=503)
        self.assertEqual(len(self.server.requests), 1)

    async def test_a_connection_that_breaks_leaves_the_outcome_unknown(self) -> None:
        error = await self.failed(is_dropping=True)
        self.assertEqual((error.kind, error.is_outcome_unknown), (HonchoErrorKind.UNAVAILABLE, True))
        self.assertEqual(len(self.server.requests), 1)

    async def test_where_nobody_listens_nothing_was_sent(self) -> None:
        with configured(honcho={"base_url": CLOSED}):
            error = await self.failed()
        self.assertEqual((error.kind, error.is_outcome_unknown), (HonchoErrorKind.UNAVAILABLE, False))

    async def test_an_answer_that_cannot_be_read_leaves_the_outcome_unknown(self) -> None:
        for body in (b"<html>", b"[]", b'{"id": 5}'):
            with self.subTest(body):
                self.server.body = body
                with self.assertRaises(HonchoError) as caught:
                    await client.run_writing(lambda: client.writing().get_metadata())
                self.assertTrue(caught.exception.is_outcome_unknown)

    async def test_a_call_that_only_reads_has_no_outcome_to_be_unknown(self) -> None:
        self.server.is_dropping = True
        with self.assertRaises(HonchoError) as caught:
            await self.get()
        self.assertFalse(caught.exception.is_outcome_unknown)

    async def test_what_the_sdk_itself_refuses_was_not_sent(self) -> None:
        with self.assertRaises(HonchoError) as caught:
            await client.run_writing(lambda: client.writing().peer(""))
        error = caught.exception
        self.assertEqual(
            (error.kind, error.is_permanent, error.is_outcome_unknown), (HonchoErrorKind.REJECTED, True, False)
        )

    async def test_a_mistake_of_our_own_is_not_taken_for_honchos(self) -> None:
        with self.assertRaises(ZeroDivisionError):
            await client.run(lambda: 1 // 0)


class TimeTests(ClientCase):
    async def test_a_server_that_does_not_answer_is_left_after_the_limit(self) -> None:
        await self.put()  # what a first call costs is no part of this
        with configured(honcho={"write_timeout_seconds": 0.5}):
            error = await self.failed(hold=threading.Event())
        self.assertEqual((error.kind, error.is_outcome_unknown), (HonchoErrorKind.TIMEOUT, True))

    async def test_an_answer_that_drips_ends_in_the_thread_as_well(self) -> None:
        self.server.drip = True
        with configured(honcho={"read_timeout_seconds": 0.3}), self.assertRaises(HonchoError) as caught:
            await asyncio.to_thread(client.guarded, lambda: client.reading().get_metadata())
        self.assertEqual(caught.exception.kind, HonchoErrorKind.TIMEOUT)

    async def test_a_call_for_which_no_thread_was_free_in_time_never_begins(self) -> None:
        release, begun = threading.Event(), threading.Event()
        self.addCleanup(release.set)
        late: list[str] = []
        with configured(honcho={"read_threads": 1}):
            client.close()
            first = asyncio.ensure_future(client.run_in(Pool.READING, 20, lambda: (begun.set(), release.wait(20))))
            await asyncio.to_thread(begun.wait, 20)
            with self.assertRaises(HonchoError) as caught:
                await client.run_in(Pool.READING, 0.05, lambda: late.append("second"))
            self.assertEqual(
                (caught.exception.kind, caught.exception.is_outcome_unknown), (HonchoErrorKind.TIMEOUT, False)
            )
            release.set()
            await first
            await client.run_in(Pool.READING, 20, lambda: late.append("third"))
        self.assertEqual(late, ["third"])

    async def test_after_several_calls_without_an_answer_those_that_read_are_refused_at_once(self) -> None:
        self.server.is_dropping = True
        for _ in range(FAILURES + 3):
            with self.assertRaises(HonchoError):
                await self.get()
        self.assertEqual(len(self.server.requests), FAILURES)
        self.server.is_dropping = False
        self.assertEqual(await self.put(), None)

    async def test_what_is_written_does_not_keep_waiting_what_is_read(self) -> None:
        release = threading.Event()
        self.addCleanup(release.set)
        with configured(honcho={"write_threads": 1}):
            client.close()
            writing = asyncio.ensure_future(client.run_in(Pool.WRITING, 20, lambda: release.wait(20)))
            await asyncio.sleep(0)
            self.assertEqual(await client.run_in(Pool.READING, 20, lambda: "read"), "read")
            release.set()
            await writing


class ProcessTests(ClientCase):
    def test_a_forked_child_has_clients_of_its_own(self) -> None:
        client.guarded(lambda: client.reading().get_metadata())
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                known = len(client._process._clients)
                found = client.guarded(lambda: client.reading().get_metadata())
                os.write(theirs, repr((known, found)).encode())
            finally:
                os._exit(0)
        os.close(theirs)
        with os.fdopen(ours) as answer:
            self.assertEqual(answer.read(), "(0, {})")
        os.waitpid(child, 0)
        self.assertEqual(client.guarded(lambda: client.reading().get_metadata()), {})
        self.assertEqual(len(self.server.requests), 3)

    def test_the_sdk_is_not_imported_before_it_is_needed(self) -> None:
        code = (
            "import django, sys; django.setup(); import honcho_app.client;"
            " print([name for name in ('honcho', 'httpx') if name in sys.modules])"
        )
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "hermes_site.settings"}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        self.assertEqual(done.stdout, "[]\n")
