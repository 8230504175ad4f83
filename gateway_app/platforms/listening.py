"""The listener process: every platform that polls or holds a socket, each credential under its lease."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import random
import signal

import aiohttp
from django.conf import settings
from django.db import Error as DatabaseError

from gateway_app.config import live
from gateway_app.platforms import registry
from gateway_app.platforms.base import Platform
from gateway_app.platforms.lease import LeaseLost, ListenerLease
from gateway_app.platforms.receiving import ringer
from gateway_app.worker.database import in_database
from gateway_app.worker.http import close_http_session, http_session

log = logging.getLogger(__name__)

LONGEST_CLAIM_PAUSE = 1.0
"""Seconds between two tries of a standby: what a takeover costs after an orderly stop."""

STOP_SECONDS = 2.0
"""How long each step of an orderly stop may take: giving back the leases, and the last rings."""


async def serve() -> None:
    """Listens until the process gets SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await listen(stop)


async def listen(stop: asyncio.Event) -> None:
    """Listens with every credential there is until `stop` is set; with none it waits."""
    await asyncio.to_thread(importlib.import_module, "gateway_app.tasks")
    listeners = [
        asyncio.create_task(keep_listening(platform, account), name=f"{platform.name} {account}")
        for platform in platforms()
        for account in platform.accounts()
    ]
    watching = asyncio.create_task(live.watch(), name="configuration")
    if not listeners:
        log.info("No platform to listen to is set up; waiting.")
    try:
        await stop.wait()
    finally:
        for task in (watching, *listeners):
            task.cancel()
        await asyncio.gather(watching, *listeners, return_exceptions=True)
        await ringer.close(seconds=STOP_SECONDS)
        await close_http_session()
    log.info("Stopped listening.")


def platforms() -> list[Platform]:
    """The platforms that listen; which of them are not set up is said here."""
    found = [registry.get(name) for name in registry.names()]
    listening = [platform for platform in found if type(platform).listen is not Platform.listen]
    for platform in listening:
        if not platform.accounts():
            log.info("%s is not set up; not listening to it.", platform.name.capitalize())
    return listening


async def keep_listening(platform: Platform, account: str) -> None:
    """Claims the credential's lease and listens under it, again and again, until cancelled."""
    lease = ListenerLease(platform=platform.name, account=account)
    now = asyncio.get_running_loop().time
    failures = 0
    while True:
        started = now()
        try:
            await asyncio.to_thread(platform.prepare_to_listen)
            await _claim(lease)
            started = now()
            log.info("Listening to %s.", lease)
            await _listen_under(lease, platform, http=http_session())
        except LeaseLost:
            log.warning("Stopped listening to %s: its lease ended or another listener has it.", lease)
            continue
        except Exception as error:
            # A run that went well for long is no reason to wait long.
            failures = 1 if now() - started > settings.LISTENER_BACKOFF_MAX_SECONDS else failures + 1
            wait = backoff(failures)
            log.exception("The listener of %s failed; it starts again in %.1f s.", lease, wait)
            lease.error = f"the listener failed: {type(error).__name__}"
        finally:
            await _release(lease)
        await asyncio.sleep(wait)


def backoff(failures: int) -> float:
    """Seconds to wait after the `failures`-th failure in a row: doubling, bounded, with jitter."""
    longest: float = min(
        settings.LISTENER_BACKOFF_SECONDS * 2 ** min(failures - 1, 30), settings.LISTENER_BACKOFF_MAX_SECONDS
    )
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  (jitter, not a secret)


async def _claim(lease: ListenerLease) -> None:
    """Returns once the lease is ours, however long another listener holds it or the database is out of reach."""
    said = ""
    while True:
        try:
            if await in_database(lease.claim):
                return
            news, level = "another listener has it; standing by", logging.INFO
        except DatabaseError as error:
            news, level = f"the database does not answer ({type(error).__name__}); trying again", logging.WARNING
        if news != said:
            said = news
            log.log(level, "Not listening to %s yet: %s.", lease, news)
        await asyncio.sleep(min(settings.LISTENER_LEASE_SECONDS / 3, LONGEST_CLAIM_PAUSE))


async def _listen_under(lease: ListenerLease, platform: Platform, *, http: aiohttp.ClientSession) -> None:
    """Listens while the lease is kept. Raises `LeaseLost`, or whatever the adapter raised."""
    keeping = asyncio.create_task(lease.keep(), name=f"lease of {lease}")
    listening = asyncio.create_task(platform.listen(lease=lease, http=http), name=f"adapter of {lease}")
    try:
        ended, _ = await asyncio.wait({keeping, listening}, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            await task
        raise RuntimeError("the adapter returned, but should listen until it is cancelled")
    finally:
        keeping.cancel()
        listening.cancel()
        await asyncio.gather(keeping, listening, return_exceptions=True)


async def _release(lease: ListenerLease) -> None:
    with contextlib.suppress(DatabaseError, TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            await in_database(lease.release)
