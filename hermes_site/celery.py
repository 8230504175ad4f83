"""The Celery application; workers and beat are started with `celery -A hermes_site`."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hermes_site.settings")
# `celery -A hermes_site worker` takes its pool from CELERY_WORKER_POOL. The explicit `-P custom` means the same
# only where this was set before the program started, such as in processes that this one starts.
os.environ.setdefault("CELERY_CUSTOM_WORKER_POOL", "gateway_app.worker.pool:TaskPool")

from celery import Celery
from celery.signals import worker_init

from gateway_app.worker import redis_guard

worker_init.connect(redis_guard.install)

app = Celery("hermes_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["gateway_app"])
