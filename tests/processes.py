"""What a test hands to the processes it starts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from unittest import TestCase
from urllib.parse import quote

from django.conf import settings
from django.db import connection

ROOT = Path(settings.BASE_DIR)


def child_environment(test: TestCase, **variables: str) -> dict[str, str]:
    """The environment for a process started by `test`: its database, an empty HERMES_HOME and `variables`.

    The test must be a TransactionTestCase, since another process sees only what is committed.
    The HERMES_HOME is removed when the test ends. There is no broker unless `variables` has a REDIS_URL.
    """
    home = tempfile.TemporaryDirectory(prefix="hermes-home-", ignore_cleanup_errors=True)
    test.addCleanup(home.cleanup)
    return {
        **os.environ,
        "HERMES_HOME": home.name,
        "HERMES_SECRET_KEY": settings.SECRET_KEY,
        "DATABASE_URL": database_url(),
        "PYTHONUNBUFFERED": "1",
        **variables,
    }


def database_url() -> str:
    """The DATABASE_URL of the database this test runs on, whichever parallel process it runs in."""
    found = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{quote(found['NAME'])}"
    login = quote(found["USER"], safe="") + (f":{quote(found['PASSWORD'], safe='')}" if found["PASSWORD"] else "")
    port = f":{found['PORT']}" if found["PORT"] else ""
    folder = found["OPTIONS"].get("host")
    return f"postgres://{login}@{found['HOST']}{port}/{found['NAME']}" + (f"?host={folder}" if folder else "")
