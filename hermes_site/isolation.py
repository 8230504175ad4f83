"""Keeps a test run apart from the installation of the person who starts it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

OWN_PREFIXES = ("HERMES_", "OPENAI_", "GATEWAY_", "TELEGRAM_", "WEBCHAT_", "CLI_", "HONCHO_", "API_SERVER_")
OWN_NAMES = frozenset({"REDIS_URL", "CELERY_BROKER_URL"})

CLOSED_BROKER = "redis://127.0.0.1:1/0"
"""Nothing listens there, so a test that rings without starting a broker of its own rings in vain, at once."""


def isolate() -> Path:
    """Drops every setting of the gateway but `DATABASE_URL` and gives the run an empty HERMES_HOME.

    Must run before the settings are read. Returns the folder, which is removed when the process ends.
    """
    for name in list(os.environ):
        if name.startswith(OWN_PREFIXES) or name in OWN_NAMES:
            del os.environ[name]
    home = Path(tempfile.mkdtemp(prefix="hermes-test-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    (home / "state").mkdir(mode=0o700)
    os.environ.update(HERMES_HOME=str(home), REDIS_URL=CLOSED_BROKER, HERMES_LOG_LEVEL="ERROR")
    os.environ["HERMES_ACCESS_CHECK_SECONDS"] = "0"  # what a test has just changed holds at once
    os.environ["HONCHO_CONFIG_FILE"] = str(home / "shared" / "config.json")  # the person's own is under their HOME
    # A test that writes much is no flood; those of the limits set some.
    os.environ.update(HERMES_LIMIT_SENDER_PER_MINUTE="0", HERMES_LIMIT_CHAT_PER_MINUTE="0")
    # A TestCase keeps a transaction open, however long it waits for something else.
    os.environ["HERMES_DATABASE_STUCK_SECONDS"] = "0"
    return home
