"""A worker whose Redis dies with a late-acknowledged task in flight, with the guard and without it."""

from __future__ import annotations

from unittest import mock

import kombu
from celery.result import AsyncResult
from django.test import SimpleTestCase
from kombu.transport.redis import QoS
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway_app.worker import redis_guard
from gateway_app.worker.tests.process import Worker, eventually
from tests.services import ValkeyServer


class LostRedisTests(SimpleTestCase):
    def setUp(self) -> None:
        self.broker = ValkeyServer()
        self.addCleanup(self.broker.stop)
        self.broker.start()

    def lose_redis(self, worker: Worker, *, seconds: float) -> list[AsyncResult]:
        """Kills and restarts the broker while two tasks run, and the message of one is not acknowledged yet."""
        worker.wait_until_ready()
        tasks = [worker.send("hold_late", seconds), worker.send("hold", seconds)]
        for task in tasks:
            worker.wait_for(f"started {task.id}")
        # What is not on its disk yet is lost with the server, and the message is to be there afterwards.
        worker.records.bgrewriteaof()
        eventually(lambda: not worker.records.info("persistence")["aof_rewrite_in_progress"], what="the disk")
        self.broker.restart()
        return tasks

    def test_the_worker_survives_and_takes_new_work_once_a_slot_is_free(self) -> None:
        worker = Worker(self.broker.url, concurrency=2)
        self.addCleanup(worker.close)
        tasks = self.lose_redis(worker, seconds=5)
        eventually(lambda: worker.client.control.ping(timeout=1, limit=1), what="the worker to be back")
        self.assertEqual(worker.recorded(f"ended {tasks[0].id}"), [], "the worker took too long for this test")
        new = worker.send("hold", 0)
        ended = min(worker.wait_for(f"ended {task.id}") for task in tasks)
        self.assertLess(ended, worker.wait_for(f"started {new.id}"))
        self.assertEqual(new.get(timeout=10), "slept")
        self.assertEqual(worker.end(), 0, worker.output())

    def test_without_the_guard_the_same_worker_dies(self) -> None:
        worker = Worker(self.broker.url, concurrency=2, WITHOUT_REDIS_GUARD="yes")
        self.addCleanup(worker.close)
        self.lose_redis(worker, seconds=1)
        self.assertEqual(worker.wait(), 1)
        self.assertIn("AttributeError", worker.output())


class InstallTests(SimpleTestCase):
    def setUp(self) -> None:
        for name in redis_guard.METHODS:
            patch = mock.patch.object(QoS, name, getattr(QoS, name))
            patch.start()
            self.addCleanup(patch.stop)

    def test_it_is_made_for_the_kombu_that_is_installed(self) -> None:
        self.assertEqual(kombu.__version__, redis_guard.KOMBU)

    def test_another_kombu_is_left_alone(self) -> None:
        before = QoS.ack
        with mock.patch.object(kombu, "__version__", "5.9.0"), self.assertLogs(redis_guard.log, "WARNING"):
            redis_guard.install()
        self.assertIs(QoS.ack, before)

    def test_a_second_installation_changes_nothing(self) -> None:
        redis_guard.install()
        once = QoS.ack
        redis_guard.install()
        self.assertIs(QoS.ack, once)

    def test_only_a_closed_channel_is_taken_for_a_lost_connection(self) -> None:
        def broken(qos: QoS, tag: str) -> None:
            raise AttributeError("hostname")

        QoS.ack = broken
        redis_guard.install()
        with self.assertRaises(RedisConnectionError):
            QoS.ack(mock.Mock(channel=mock.Mock(closed=True)), "tag")
        with self.assertRaises(AttributeError):
            QoS.ack(mock.Mock(channel=mock.Mock(closed=False)), "tag")
