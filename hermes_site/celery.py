"""The Celery application; workers and beat are started with `celery -A hermes_site`."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hermes_site.settings")
# Celery reads this when it builds its table of pools, so it must be set before Celery is imported:
# `-P custom` then means our asyncio pool.
os.environ.setdefault("CELERY_CUSTOM_WORKER_POOL", "gateway_app.worker.pool:TaskPool")

from celery import Celery

app = Celery("hermes_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["gateway_app"])
