"""The tests under pytest and pytest-xdist: `python -m pytest -n 2 tests/test_stop.py`. `make test` is the main runner.

Each process has an installation and databases of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hermes_site.isolation import isolate

isolate()  # before pytest-django reads the settings


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """Adds to pytest-django's own set-up what our runner's tests have."""
    from hermes_site.testing import prepare_environment, use_files

    prepare_environment()
    use_files()


@pytest.fixture(scope="session", autouse=True)
def databases(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Opens them to all tests: which of them may use one Django's test cases say, and check, themselves."""
    from gateway_app.worker.database import close_database_threads

    with django_db_blocker.unblock():
        yield
        close_database_threads()  # PostgreSQL removes no database that anyone is connected to
