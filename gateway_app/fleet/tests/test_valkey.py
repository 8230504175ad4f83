from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

import redis
from django.test import SimpleTestCase
from redis.backoff import NoBackoff
from redis.retry import Retry

from gateway_app.fleet.death import dying_with_parent
from gateway_app.fleet.service import Service
from gateway_app.fleet.valkey import valkey


class ValkeyTest(SimpleTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        # Characters that mean something to a shell, a URL or Valkey's own configuration.
        self.folder = Path(folder.name) / "a \"b' \\c#%20"
        self.folder.mkdir()

    def compose(self) -> tuple[Service, str]:
        return valkey(folder=self.folder / "valkey", ports=self.folder / "ports.json", stop_seconds=5)

    def run_server(self, service: Service) -> subprocess.Popen[bytes]:
        server = subprocess.Popen(
            service.command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, preexec_fn=dying_with_parent()
        )
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        return server

    def redis_at(self, url: str) -> redis.Redis:
        client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0))
        self.addCleanup(client.close)
        return client

    def connected(self, url: str, server: subprocess.Popen[bytes]) -> redis.Redis:
        client = self.redis_at(url)
        deadline = time.monotonic() + 20
        while True:
            try:
                client.ping()
                return client
            except redis.ConnectionError:
                self.assertIsNone(server.poll(), "the server ended")
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)

    def test_what_was_acknowledged_survives_a_kill_at_the_same_address(self) -> None:
        service, url = self.compose()
        server = self.run_server(service)
        client = self.connected(url, server)
        client.set("a", "1")
        self.assertEqual(client.config_get("maxmemory-policy")["maxmemory-policy"], "noeviction")
        self.assertEqual(client.config_get("save")["save"], "")
        server.kill()
        server.wait()
        service, again = self.compose()
        self.assertEqual(again, url)
        self.assertEqual(self.connected(again, self.run_server(service)).get("a"), b"1")

    def test_other_users_of_the_machine_are_refused_and_cannot_read_the_password(self) -> None:
        service, url = self.compose()
        self.connected(url, self.run_server(service))
        password = url.split("@")[0].rpartition(":")[2]
        with self.assertRaises(redis.AuthenticationError):
            self.redis_at(url.replace(password, "")).ping()
        self.assertNotIn(password, " ".join(service.command))
        secret = [path for path in self.folder.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
        self.assertEqual({path.name for path in secret}, {"valkey.conf", "password.secret"})
        self.assertEqual({path.stat().st_mode & 0o777 for path in secret}, {0o600})
        self.assertEqual((self.folder / "valkey").stat().st_mode & 0o777, 0o700)

    def test_a_port_that_was_taken_meanwhile_is_replaced(self) -> None:
        service, url = self.compose()
        server = self.run_server(service)
        self.connected(url, server)
        other, elsewhere = self.compose()
        self.assertNotEqual(elsewhere, url)
        self.assertNotEqual(other.port, service.port)

    def test_data_that_cannot_be_read_is_set_aside_by_mending(self) -> None:
        service, url = self.compose()
        server = self.run_server(service)
        self.connected(url, server).set("a", "1")
        server.kill()
        server.wait()
        for path in (self.folder / "valkey" / "appendonlydir").glob("*.incr.aof"):
            path.write_bytes(b"*9\r\ngarbage\r\n" * 100)
        self.assertNotEqual(self.run_server(service).wait(timeout=20), 0)
        assert service.mend is not None
        self.assertIn("starts empty", service.mend())
        self.assertIsNone(self.connected(url, self.run_server(service)).get("a"))
        self.assertTrue(list((self.folder / "valkey").glob("appendonlydir.broken-*/*.incr.aof")))
