"""Listener leases: one live connection for each platform credential, over all listeners of the installation.

A lease is claimed by one conditional UPDATE on the credential's row, which also raises its fence, as lanes are.
The holder renews it every third of its length and, by its own monotonic clock, stops listening before it can
have ended in the database. Whatever it accepts also asserts the fence in the same transaction, so a listener
that was paused past its lease writes nothing. Only the database's clock is compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
import uuid
from typing import NoReturn

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from gateway_app import clock
from gateway_app.models import Listener
from gateway_app.worker.database import in_database

log = logging.getLogger(__name__)

TABLE = Listener._meta.db_table

TRUSTED_PART = 0.9
"""The part of a lease for which its holder trusts it; the rest is the time it has to stop listening."""

REPORT_SECONDS = 1.0
"""Least time between two renewals, however much there is to report."""

LONGEST_SILENCE = 5.0
"""Most seconds between two renewals however long the lease is: they also record the last poll, which health reads."""

LONGEST_ERROR = 500
"""Characters of an error that are kept."""


class LeaseLost(Exception):
    """Another listener has the credential, or may have it by now; nothing more may be accepted under this lease."""


class ListenerLease:
    """The right to listen with one credential. The methods without `await` use the database, off the event loop."""

    def __init__(self, *, platform: str, account: str) -> None:
        self.platform = platform
        self.account = account
        self.error = ""
        """What keeps the listener from hearing anything; empty while all is well."""
        self._owner = f"{socket.gethostname()[:40]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._row_id = 0
        self._fence = 0
        self._trusted_until = 0.0
        self._has_polled = False
        self._news = asyncio.Event()

    def __str__(self) -> str:
        return f"{self.platform} {self.account}".rstrip()

    def claim(self) -> bool:
        """Takes the lease if it is free. Raises `django.db.Error`."""
        started = time.monotonic()
        with connection.cursor() as cursor:
            if not self._row_id:
                cursor.execute(
                    f"INSERT INTO {TABLE} (platform, account) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                    [self.platform, self.account],
                )
            cursor.execute(
                f"UPDATE {TABLE} SET lease_owner = %s, lease_until = {clock.later()}, fence = fence + 1"
                " WHERE platform = %s AND account = %s"
                f" AND (lease_until IS NULL OR lease_until <= {clock.now()}) RETURNING id, fence",
                [self._owner, settings.LISTENER_LEASE_SECONDS, self.platform, self.account],
            )
            row = cursor.fetchone()
        if row is None:
            return False
        self._row_id, self._fence = row
        self._trust(started)
        return True

    def renew(self) -> None:
        """Prolongs the lease, and records the last poll and error. Raises `LeaseLost` or `django.db.Error`."""
        started = time.monotonic()
        has_polled, self._has_polled = self._has_polled, False
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {TABLE} SET lease_until = {clock.later()}, error = %s,"
                f" last_poll_at = CASE WHEN %s THEN {clock.now()} ELSE last_poll_at END"
                " WHERE id = %s AND fence = %s RETURNING id",
                [settings.LISTENER_LEASE_SECONDS, self.error, has_polled, self._row_id, self._fence],
            )
            if cursor.fetchone() is None:
                raise self._lost()
        self._trust(started)

    def release(self) -> None:
        """Gives the lease back, so that another listener can take it at once. Raises `django.db.Error`."""
        self._trusted_until = 0.0
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {TABLE} SET lease_owner = '', lease_until = NULL, error = %s WHERE id = %s AND fence = %s",
                [self.error, self._row_id, self._fence],
            )

    def assert_held(self) -> None:
        """Locks the credential's row until the transaction ends; for `inbox.accept()`. Raises `LeaseLost`.

        Nobody can claim the lease before that transaction has ended, or nothing of it is written.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {TABLE} SET last_poll_at = {clock.now()} WHERE id = %s AND fence = %s RETURNING id",
                [self._row_id, self._fence],
            )
            if cursor.fetchone() is None:
                raise self._lost()

    def check(self) -> None:
        """Asked before every poll. Raises `LeaseLost` once the lease may have ended in the database."""
        if time.monotonic() >= self._trusted_until:
            raise self._lost()

    def polled(self) -> None:
        """A poll succeeded. Costs nothing: the next renewal records it."""
        self._has_polled = True
        if self.error:
            self.report("")

    def report(self, error: str) -> None:
        """The credential's connection is in trouble, or (with "") no longer. Recorded within about a second."""
        self.error = error[:LONGEST_ERROR]
        self._news.set()

    async def keep(self) -> NoReturn:
        """Renews the claimed lease until cancelled. Raises `LeaseLost`, at the latest shortly before it can have ended.

        A database that is out of reach is asked again until then.
        """
        pause = usual = min(settings.LISTENER_LEASE_SECONDS / 3, LONGEST_SILENCE)
        while True:
            await self._pause(min(pause, self._seconds_left()))
            try:
                async with asyncio.timeout(self._seconds_left()):
                    await in_database(self.renew)
                pause = usual
            except (DatabaseError, TimeoutError) as error:
                self.check()
                log.warning("Could not renew the lease of %s (%s); trying again.", self, type(error).__name__)
                pause = REPORT_SECONDS

    async def _pause(self, seconds: float) -> None:
        """Waits so long, or until there is something to report, but then for REPORT_SECONDS at least."""
        await asyncio.sleep(min(seconds, REPORT_SECONDS))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds - REPORT_SECONDS):
                await self._news.wait()
        self._news.clear()

    def _seconds_left(self) -> float:
        return self._trusted_until - time.monotonic()

    def _trust(self, started: float) -> None:
        self._trusted_until = started + settings.LISTENER_LEASE_SECONDS * TRUSTED_PART

    def _lost(self) -> LeaseLost:
        self._trusted_until = 0.0
        return LeaseLost(f"the lease of {self} ended or was taken by another listener")
