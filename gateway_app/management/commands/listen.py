"""`manage.py listen`: the listener process."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from typing import Any

import uvloop
from django.core.management.base import BaseCommand

from gateway_app.platforms import listening
from gateway_app.worker.database import close_database_threads

CLOSE_SECONDS = 5.0
"""How long statements that are under way may hold up the end of the process; a database that hangs would for ever."""


class Command(BaseCommand):
    help = "Receives messages from the platforms that poll or hold a connection, until SIGTERM or SIGINT."

    def handle(self, **_: Any) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(listening.serve())
        closing = threading.Thread(target=close_database_threads, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)
        if closing.is_alive():
            logging.shutdown()
            sys.stdout.flush()
            # The interpreter's own end would wait for the threads that hang.
            os._exit(0)
