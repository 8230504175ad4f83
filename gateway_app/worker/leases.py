"""Keeps the lanes of this process leased while work on them takes long, and stops work on a lane that is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from django.conf import settings
from django.db import Error as DatabaseError

from gateway_app import lanes
from gateway_app.lanes import Claim, LaneLost
from gateway_app.worker.database import in_database

log = logging.getLogger(__name__)


class LeaseKeeper:
    """Renews every kept claim each third of the lease, all in one statement. One instance per process."""

    def __init__(self) -> None:
        self._kept: dict[Claim, asyncio.Task[object]] = {}
        self._lost: set[Claim] = set()
        self._heartbeat: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def keeping(self, claim: Claim) -> AsyncIterator[None]:
        """Keeps `claim` leased within the block; raises `LaneLost` out of it if another worker claims the lane."""
        task = asyncio.current_task()
        assert task is not None
        self._kept[claim] = task
        self._start()
        try:
            yield
        except asyncio.CancelledError:
            if claim in self._lost and task.uncancel() == 0:
                raise LaneLost(f"{claim.kind} lane {claim.key} was claimed by another worker") from None
            raise
        finally:
            self._kept.pop(claim, None)
            self._lost.discard(claim)

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        if self._heartbeat is None or self._heartbeat.done() or self._heartbeat.get_loop() is not loop:
            self._heartbeat = loop.create_task(self._beat(), name="lane heartbeat")

    async def _beat(self) -> None:
        while self._kept:
            await asyncio.sleep(settings.LANE_LEASE_SECONDS / 3)
            due = [claim for claim in self._kept if claim.is_aging()]
            if not due:
                continue
            try:
                renewed = await in_database(lanes.renew, due)
            except DatabaseError as error:
                log.warning("Could not renew %d lanes (%s); trying again.", len(due), type(error).__name__)
                continue
            for claim in due:
                task = self._kept.get(claim)
                if claim.lane_id not in renewed and task is not None:
                    self._lost.add(claim)
                    task.cancel()


keeper = LeaseKeeper()
"""This process's keeper."""
