"""`manage.py honcho status`: whether there is memory, and what waits."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway_app.models import MemoryFlush
from gateway_app.models.flush import FlushState
from honcho_app import client, configuration, migration
from honcho_app.errors import HonchoError
from honcho_app.models import HonchoWrite
from honcho_app.models.write import WriteState

NAME = "status"
HELP = """\
Says whether Honcho is used, whether its server answers now, and what waits here and there.

  manage.py honcho status

Exit codes: 0 it answers, or is not used; 1 it is used and does not answer.
"""


def add_arguments(parser: CommandParser) -> None:
    """It takes none."""


def handle(io: BaseCommand, options: dict[str, Any]) -> None:
    config = configuration.live()
    if config.is_active:
        io.stdout.write(f"Honcho: {config.address}, workspace {config.workspace}.")
        io.stdout.write(f"Recall: {config.recall_mode}. Messages are written: {_written(config)}.")
    else:
        io.stdout.write("Honcho is not used: no server is named, or enabled is false.")
    writes = HonchoWrite.objects.exclude(state=WriteState.SENT)
    waiting, dead = (writes.filter(state=state).count() for state in (WriteState.WAITING, WriteState.DEAD))
    io.stdout.write(f"Messages that wait to be written: {waiting}. Given up: {dead}.")
    flushes = MemoryFlush.objects.exclude(state=FlushState.DONE)
    failed = flushes.filter(state=FlushState.FAILED).count()
    io.stdout.write(f"Flushes to come: {flushes.count() - failed}. Given up: {failed}.")
    for line in migration.told():
        io.stdout.write(line)
    if config.is_active:
        _ask(io)


def _written(config: configuration.HonchoConfig) -> str:
    return f"{config.write_frequency}" if config.save_messages else "never (saveMessages is false)"


def _ask(io: BaseCommand) -> None:
    try:
        found = client.guarded(lambda: client.reading().queue_status())
    except HonchoError as error:
        raise CommandError(f"The server does not answer as it should: {error}") from None
    io.stdout.write(
        io.style.SUCCESS("The server answers.")
        + f" It has yet to work through {found.pending_work_units + found.in_progress_work_units} pieces."
    )
