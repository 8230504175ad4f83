"""Which services the all-in-one runs, and which settings they share."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings

from gateway_app.config.catalogue import BY_VARIABLE
from gateway_app.config.schema import Config
from gateway_app.queues import Queue

from .demo_model import demo_model
from .record import MODEL_CHOICES
from .service import Service, StopOrder
from .valkey import valkey

RECORDED = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "HERMES_KEY_PREFIX")
"""Settings of this start that a command in another terminal needs in order to speak to the same fleet."""

POOL = "gateway_app.worker.pool:TaskPool"
ROOT_WARNING = "ignore:You're running the worker with superuser privileges"
"""Celery warns root because of pickle, which no queue here accepts."""


@dataclass(frozen=True, kw_only=True)
class Composition:
    """`ground` is what the `fleet` leans on and starts before it.

    `recorded` are the settings by which another process joins the run.
    """

    ground: tuple[Service, ...]
    fleet: tuple[Service, ...]
    recorded: Mapping[str, str]
    demonstrates: bool


def compose(config: Config) -> Composition:
    """What to run, given `config`: a broker and a model of its own only where none is set."""
    ports = settings.STATE_DIR / "ports.json"
    seconds = settings.STOP_SECONDS
    ground: list[Service] = []
    found: dict[str, str] = {}
    if not config.is_given("REDIS_URL"):
        broker, found["REDIS_URL"] = valkey(folder=settings.STATE_DIR / "valkey", ports=ports, stop_seconds=seconds)
        ground.append(broker)
    demonstrates = not any(map(config.is_given, MODEL_CHOICES))
    if demonstrates:
        prompt = config.model.system_prompt if config.is_given("HERMES_SYSTEM_PROMPT") else ""
        model, model_settings = demo_model(
            folder=settings.STATE_DIR, ports=ports, stop_seconds=seconds, system_prompt=prompt
        )
        found |= model_settings
        ground.append(model)
    host, port = settings.HERMES_BIND
    return Composition(
        ground=tuple(ground),
        fleet=tuple(_fleet(found)),
        recorded={
            **{name: BY_VARIABLE[name].of(config) for name in RECORDED if config.is_given(name)},
            "HERMES_BIND": f"{host}:{port}",
            **found,
        },
        demonstrates=demonstrates,
    )


def _fleet(found: Mapping[str, str]) -> list[Service]:
    # Celery chooses its pools before it loads the application, so the pool's name must come from outside.
    environment = {
        "HERMES_HOME": str(settings.HERMES_HOME),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": ROOT_WARNING,
        "CELERY_CUSTOM_WORKER_POOL": POOL,
        **found,
    }

    def service(name: str, stop_order: StopOrder, *words: str) -> Service:
        return Service(
            name=name,
            command=(sys.executable, *words),
            environment=environment,
            stop_order=stop_order,
            stop_seconds=settings.STOP_SECONDS,
        )

    celery = ("-m", "celery", "--quiet", "-A", "hermes_site")
    return [
        service("web", StopOrder.INTAKE, "manage.py", "serve"),
        service("listener", StopOrder.INTAKE, "manage.py", "listen"),
        *(
            service(name, StopOrder.WORK, *celery, *worker_words(name=f"{name}@%h"))
            for name in (f"worker{number}" for number in range(1, settings.WORKERS + 1))
        ),
        service("beat", StopOrder.CLOCK, *celery, "beat", "-l", "WARNING"),
    ]


def worker_words(*, name: str) -> tuple[str, ...]:
    """The `celery` arguments of one worker. Gossip, mingle and heartbeats serve workers that coordinate
    through the broker; these do through the database."""
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING")
    return ("worker", "-P", "custom", "-c", str(settings.WORKER_CONCURRENCY), "-Q", ",".join(Queue), "-n", name, *quiet)
