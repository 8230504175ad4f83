"""A worker whose Redis dies with a late-acknowledged task in flight, with the guard and without it."""

from __future__ import annotations

from unittest import mock

import kombu
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

    def lose_redis(self, worker: Worker) -> None:
        """Kills the broker while a task runs whose message is unacknowledged, and brings it back."""
        worker.wait_until_ready()
        task = worker.send("hold_late", 1)
        worker.wait_for(f"started {task.id}")
        # What is not on its disk yet is lost with the server, and the message should come back.
        worker.records.bgrewriteaof()
        eventually(lambda: not worker.records.info("persistence")["aof_rewrite_in_progress"], what="the disk")
        self.broker.restart()

    def test_the_worker_survives_and_takes_new_work(self) -> None:
        for pool in ("custom", "threads"):
            with self.subTest(pool=pool):
                worker = Worker(self.broker.url, pool=pool)
                self.addCleanup(worker.close)
                self.lose_redis(worker)
                self.assertEqual(worker.send("add", 1, 2).get(timeout=20), 3, worker.output())
                self.assertIsNone(worker.process.poll())
                self.assertEqual(worker.end(), 0, worker.output())
                worker.records.flushall()

    def test_without_the_guard_the_same_worker_dies(self) -> None:
        worker = Worker(self.broker.url, WITHOUT_REDIS_GUARD="yes")
        self.addCleanup(worker.close)
        self.lose_redis(worker)
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
