"""Queues: what each broker makes of them, and that every task names one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from celery import current_app
from django.conf import settings
from django.test import SimpleTestCase

import gateway_app.tasks  # noqa: F401  (registers them)
import honcho_app.tasks  # noqa: F401
from gateway_app.queues import Queue

SHOW = (
    "import json; from django.conf import settings;"
    " print(json.dumps([[q.name, q.exchange.type, q.queue_arguments] for q in settings.CELERY_TASK_QUEUES]))"
)


class QueueTests(SimpleTestCase):
    def test_every_task_names_a_queue_of_the_enum(self) -> None:
        tasks = [task for name, task in current_app.tasks.items() if name.startswith(("gateway_app.", "honcho_app."))]
        self.assertEqual({task.queue for task in tasks}, {queue.value for queue in Queue})
        self.assertEqual({queue.name for queue in settings.CELERY_TASK_QUEUES}, {queue.value for queue in Queue})

    def test_on_rabbitmq_every_queue_is_a_quorum_queue(self) -> None:
        # Seen to fail: Celery's default type does not reach queues that the settings name.
        shown = subprocess.run(
            [sys.executable, "manage.py", "shell", "-v0", "-c", SHOW],
            cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=60, check=True,
            env={**os.environ, "CELERY_BROKER_URL": "amqp://guest:guest@127.0.0.1:1/none"},
        ).stdout  # fmt: skip
        self.assertEqual(json.loads(shown), [[queue, "topic", {"x-queue-type": "quorum"}] for queue in Queue])
