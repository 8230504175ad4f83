"""Starts one process of the fleet with traps in it: `python -m tests.chaos.launch <role> <word> …`.

The words are those of `celery -A hermes_site …` or `manage.py …`. The product's own code runs; only the functions
at the named points of the road are wrapped. Without a trap set a point costs one look into a folder.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import django
from celery import signals

FOLDER = "CHAOS_FOLDER"
WITHOUT = "CHAOS_WITHOUT"
"""Guards to take out, comma-separated; see `tests.chaos.guards`."""
PEOPLE = "CHAOS_PEOPLE"
"""How many people the web process makes sign-in links for, in the file `people` of the folder."""
READY = "--- ready"
"""The line that a worker or a beat writes once it works."""
CELERY = frozenset({"worker", "beat"})


def set_up() -> None:
    """Sets Django up, as each of the programs does first."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hermes_site.settings")
    from hermes_site.celery import app

    assert app
    django.setup()


def run(role: str, words: list[str]) -> None:
    """Runs the program until it ends."""
    from gateway_app import metrics
    from tests.chaos import guards, points

    metrics.LANES_LOST.inc(0)  # has a forked process make its files now, as any other does when it is imported
    for name in filter(None, os.environ[WITHOUT].split(",")):
        guards.take_out(name)
    points.wrap(kind=role.partition("-")[0], folder=Path(os.environ[FOLDER]))
    if words[0] in CELERY:
        _run_celery(words)
    else:
        from django.core.management import execute_from_command_line

        if words[0] == "serve":
            _make_people(Path(os.environ[FOLDER]) / "people", count=int(os.environ[PEOPLE]))
        execute_from_command_line(["manage.py", *words])


def _run_celery(words: list[str]) -> None:
    from celery.__main__ import main as celery

    from gateway_app import schedule

    def say(*_: Any, **__: Any) -> None:
        print(READY, flush=True)

    signals.worker_ready.connect(say)
    signals.beat_init.connect(say)
    if words[0] == "beat":
        schedule.ensure()
    sys.argv = ["celery", "--quiet", "-A", "hermes_site", *words]
    celery()


def _make_people(path: Path, *, count: int) -> None:
    """Writes a line `<name> <sign-in link>` for each of `count` people, once."""
    from django.contrib.auth.models import User

    from gateway_app.platforms.webchat.signin import make_link

    if path.exists():
        return
    people = [User.objects.get_or_create(username=f"person-{number}")[0] for number in range(1, count + 1)]
    draft = path.with_suffix(".draft")
    draft.write_text("".join(f"{user.username} {make_link(user)}\n" for user in people))
    draft.rename(path)


if __name__ == "__main__":
    set_up()
    run(sys.argv[1], sys.argv[2:])
