from __future__ import annotations

import asyncio
from typing import Any

import uvloop
from django.core.management.base import BaseCommand

from gateway_app.platforms import listening
from gateway_app.worker.database import close_database_threads


class Command(BaseCommand):
    help = "Receives messages from the platforms that poll or hold a connection, until SIGTERM or SIGINT."

    def handle(self, **_: Any) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(listening.serve())
        close_database_threads()
