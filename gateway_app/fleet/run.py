"""One run of the all-in-one, from the check that none is under way to the last process's end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse

from gateway_app.platforms.webchat.signin import site_origin

from . import record
from .composition import Composition, compose
from .console import Console
from .ports import require_free
from .preparation import Administrator, prepare
from .record import RunRecord
from .supervisor import Supervisor, on_signals

RECORD = settings.STATE_DIR / "runtime.json"
LOCK = settings.STATE_DIR / "up.lock"

ALREADY_RUNNING = 3
"""Exit code of a start that found the gateway running, and of a status question that did not."""

RECORD_PATIENCE_SECONDS = 3.0
GROUND_PATIENCE_SECONDS = 10.0
WEB_PATIENCE_SECONDS = 30.0


def up(console: Console) -> int:
    """Runs everything until SIGINT, SIGTERM or SIGHUP; returns the exit code.

    Of several starts at once exactly one goes on. The lock decides; the record tells the others, and every
    other command, where the run is found, and decides where the lock's file has been taken away.
    Raises ImproperlyConfigured for whatever has to be put right first.
    """
    with _own_files():
        settings.STATE_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
        settings.STATE_DIR.chmod(0o700)
    with record.exclusive(LOCK) as mine:
        other = record.running(RECORD) if mine else _record_of_other()
        if not mine or other:
            console.say("Hermes is already running; nothing was started or changed.")
            console.say(_whereabouts(other))
            return ALREADY_RUNNING
        require_free(*settings.HERMES_BIND)
        with _own_files():
            composition = compose(settings.CONFIG)
            record.write(RECORD, RunRecord.of_this_process(site=site_origin(), environment=composition.recorded))
        try:
            asyncio.run(_run(console, composition))
        finally:
            record.remove(RECORD)
    return 0


@contextlib.contextmanager
def _own_files() -> Iterator[None]:
    """Says which setting is meant where the installation's folder cannot be written: a full or read-only disk."""
    try:
        yield
    except OSError as error:
        raise ImproperlyConfigured(
            f"HERMES_HOME is {settings.HERMES_HOME}, but {error.filename or 'it'} cannot be written: {error.strerror}."
        ) from None


def status(console: Console) -> int:
    """Says whether the all-in-one runs here, and where; returns the exit code."""
    found = record.running(RECORD)
    console.say(f"Hermes is running.\n{_whereabouts(found)}" if found else f"Hermes is not running ({RECORD}).")
    return 0 if found else ALREADY_RUNNING


async def _run(console: Console, composition: Composition) -> None:
    begun = time.monotonic()
    supervisor = Supervisor(
        console=console,
        folder=settings.BASE_DIR,
        backoff_seconds=settings.RESTART_BACKOFF_SECONDS,
        backoff_max_seconds=settings.RESTART_BACKOFF_MAX_SECONDS,
        healthy_seconds=settings.RESTART_HEALTHY_SECONDS,
    )
    body = asyncio.current_task()
    assert body is not None
    on_signals(body.cancel, supervisor.hurry)
    console.say(f"Starting Hermes (data in {settings.HERMES_HOME}). Ctrl-C stops it.")
    preparing = asyncio.create_task(asyncio.to_thread(prepare))
    greeted = False
    try:
        for service in composition.ground:
            supervisor.start(service)
        await asyncio.shield(preparing)
        await _until_ground_answers(composition)
        for service in composition.fleet:
            supervisor.start(service)
        await _until_web_answers(console)
        console.say(f"\nHermes is ready ({time.monotonic() - begun:.1f} s).\n{_addresses(composition)}")
        console.say(_first_start(await preparing))
        greeted = True
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        console.say("Stopping; once more Ctrl-C kills what is still busy.")
        if not greeted:
            console.say(_first_start(await preparing))
    finally:
        await supervisor.stop()
    console.say("Stopped.")


async def _until_ground_answers(composition: Composition) -> None:
    """Waits for the embedded services a little, so that the fleet's first words are not about their absence."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GROUND_PATIENCE_SECONDS):
            for port in (service.port for service in composition.ground if service.port):
                await _until(partial(_listens, "127.0.0.1", port))


async def _until_web_answers(console: Console) -> None:
    answer = asyncio.ensure_future(_until(partial(_answers, *_reachable(settings.HERMES_BIND))))
    await asyncio.wait([answer], timeout=WEB_PATIENCE_SECONDS)
    if not answer.done():
        console.say("The site does not answer yet; the lines of `web` above say why.")
    await answer


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    while not await holds():  # noqa: ASYNC110 (another process cannot set an event)
        await asyncio.sleep(0.05)


async def _listens(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:  # TimeoutError is one
        return False
    writer.close()
    return True


async def _answers(host: str, port: int) -> bool:
    """Whether the site says at /healthz that it is well."""
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                return (await reader.readline()).startswith(b"HTTP/1.1 2")
            finally:
                writer.close()
    except OSError:
        return False


def _record_of_other() -> RunRecord | None:
    """The record of the run that holds the lock; it may be about to write it."""
    deadline = time.monotonic() + RECORD_PATIENCE_SECONDS
    while (found := record.running(RECORD)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _reachable(bind: tuple[str, int]) -> tuple[str, int]:
    """An address at which this machine reaches a server bound to `bind`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind[0], bind[0]), bind[1]  # noqa: S104


def _whereabouts(found: RunRecord | None) -> str:
    if found is None:
        return f"  It holds {LOCK}, but left no readable record in {RECORD}."
    return f"  Process   {found.pid}\n  Chat      {found.site}/\n  Admin     {found.site}{reverse('admin:index')}"


def _addresses(composition: Composition) -> str:
    site = site_origin()
    lines = [f"  Chat      {site}/", f"  Admin     {site}{reverse('admin:index')}"]
    if composition.demonstrates:
        lines += [
            f"  Model     {composition.recorded['HERMES_MODEL']}, a small DEMONSTRATION model on this machine.",
            "            It shows that everything works, and is often wrong; for another one set OPENAI_BASE_URL.",
        ]
    return "\n".join(lines)


def _first_start(administrator: Administrator | None) -> str:
    """What is said once, about an administrator who has just been made."""
    if administrator is None:
        return ""
    lines = [
        "",
        "  This is the first start. What follows is shown once:",
        f"  Sign in   {administrator.sign_in_link}",
        f"  User      {administrator.name}",
        f"  Password  {administrator.password}",
        "",
    ]
    return "\n".join(lines)
