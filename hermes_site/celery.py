"""The Celery application; workers and beat are started with `celery -A hermes_site`."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hermes_site.settings")
# `celery -A hermes_site worker` takes its pool from CELERY_WORKER_POOL. The explicit `-P custom` means the same
# only where this was set before the program started, such as in processes that this one starts.
os.environ.setdefault("CELERY_CUSTOM_WORKER_POOL", "gateway_app.worker.pool:TaskPool")

from celery import Celery
from celery.signals import worker_init, worker_ready

from gateway_app.worker import redis_guard


def watch_configuration(**_: Any) -> None:
    """Has a worker take up changes of the configuration also while it has nothing to do."""
    from gateway_app.config import live
    from gateway_app.worker.loop import event_loop

    event_loop.submit(live.watch())


worker_init.connect(redis_guard.install)
worker_ready.connect(watch_configuration)

app = Celery("hermes_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["gateway_app", "honcho_app"])
