"""The web process, as it is started in earnest: `manage.py serve`."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client, TransactionTestCase
from django.urls import reverse

from gateway_app.fleet.death import dying_with_parent
from gateway_app.platforms.webchat import conversations, files, signin
from tests.processes import ROOT, child_environment

PATIENCE_SECONDS = 30.0
STOP_SECONDS = 1.0


class Server:
    """A web process on a port of its own. `test` has an `addCleanup`."""

    def __init__(self, test: Any) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.environment = child_environment(
            test,
            HERMES_BIND=f"127.0.0.1:{self.port}",
            WEBCHAT_ALLOWED_USERS="ann",
            HERMES_LOG_LEVEL="WARNING",
            HERMES_WEB_STOP_SECONDS=str(STOP_SECONDS),
            HERMES_WEB_MAX_BODY_BYTES="100000",
            HERMES_WEBCHAT_POLL_SECONDS="0.2",
        )
        self.log = Path(tempfile.mkstemp(prefix="hermes-web-")[1])
        test.addCleanup(self.log.unlink)
        self.process = self.start()
        test.addCleanup(self.kill)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The web process did not start:\n{self.log.read_text()}")
            time.sleep(0.05)

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "manage.py", "serve"],
                cwd=ROOT, env=self.environment, stdout=output, stderr=output, preexec_fn=dying_with_parent(),
            )  # fmt: skip

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def answers(self) -> bool:
        try:
            return self.get("/healthz")[0] == 200
        except OSError:
            return False

    def request(self, method: str, path: str, body: bytes | str = b"", **headers: str) -> http.client.HTTPResponse:
        """The response, of which only the head has been read."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        client.request(method, path, body, headers)
        return client.getresponse()

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        response = self.request("GET", path, **headers)
        return response.status, response.read()

    def stop(self, number: signal.Signals) -> int:
        """Sends a signal and returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


class Person:
    """Ann, signed in with a browser's cookies, and her conversation."""

    def __init__(self) -> None:
        user = User.objects.create_user("ann")
        self.chat = f"/chat/{conversations.start(user).chat_id}"
        client = Client()
        client.force_login(user)
        self.cookie = f"sessionid={client.cookies['sessionid'].value}; csrftoken={'x' * 32}"

    def open_events(self, server: Server) -> http.client.HTTPResponse:
        """An event stream of which the first event has been read."""
        response = server.request("GET", f"{self.chat}/events", Cookie=self.cookie)
        assert response.status == 200, response.read()
        while not response.readline().startswith(b"event: update"):
            pass
        return response

    def post(self, server: Server, text: str) -> http.client.HTTPResponse:
        body = json.dumps({"id": f"client-{time.time_ns()}", "text": text})
        headers = {"Content-Type": "application/json", "X-CSRFToken": "x" * 32, "Cookie": self.cookie}
        return server.request("POST", f"{self.chat}/post", body, **headers)


class RunningTests(TransactionTestCase):
    """One web process for all tests of the class."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = Server(types.SimpleNamespace(addCleanup=cls.addClassCleanup))

    def setUp(self) -> None:
        self.ann = Person()

    def test_open_streams_hold_no_threads_and_keep_nobody_waiting(self) -> None:
        self.ann.open_events(self.server).close()
        process = psutil.Process(self.server.process.pid)
        with contextlib.ExitStack() as streams:
            first = [streams.enter_context(self.ann.open_events(self.server)) for _ in range(10)]
            threads = process.num_threads()
            rest = [streams.enter_context(self.ann.open_events(self.server)) for _ in range(25)]
            self.assertLess(process.num_threads(), threads + 10)
            self.assertEqual(self.server.get("/sign-in/")[0], 200)
            self.assertEqual(self.ann.post(self.server, "Hello").status, 202)
            for response in (*first, *rest):
                self.assertIn(b'"text":"Hello"', next(line for line in response if b"Hello" in line))

    def test_static_files_come_under_names_that_change_with_them(self) -> None:
        page = self.server.get("/sign-in/")[1].decode()
        path = page.partition('rel="stylesheet" href="')[2].partition('"')[0]
        self.assertRegex(path, r"^/static/webchat/chat\.[0-9a-f]{12}\.css$")
        response = self.server.request("GET", path)
        self.assertEqual((response.status, response.headers["Content-Type"]), (200, "text/css"))
        self.assertIn("max-age", response.headers["Cache-Control"])
        for missing in ("/static/nothing.css", "/static/../manage.py", "/static/%2e%2e/staticfiles.json"):
            self.assertNotEqual(self.server.get(missing)[0], 200, missing)

    def test_a_request_that_is_too_large_is_refused_unread(self) -> None:
        self.assertEqual(self.ann.post(self.server, "x" * 50_000).status, 202)
        self.assertEqual(self.ann.post(self.server, "x" * 150_000).status, 413)
        self.assertEqual(self.ann.post(self.server, "and on").status, 202)

    def test_a_large_upload_is_read_of_a_page_that_was_given_to_somebody_signed_in(self) -> None:
        headers = {"Content-Type": "application/octet-stream", "X-CSRFToken": "x" * 32, "Cookie": self.ann.cookie}
        ticket = {"X-Upload-Ticket": files.ticket(User.objects.get())}
        for number, (more, status) in enumerate((({}, 413), ({"X-Upload-Ticket": "1:1:x"}, 413), (ticket, 201))):
            path = f"{self.ann.chat}/upload/upload-{number:04}?name=big.bin"
            response = self.server.request("POST", path, b"x" * 150_000, **headers, **more)
            self.assertEqual((response.status, bool(response.read())), (status, True))

    def test_a_sign_in_link_signs_in(self) -> None:
        link = signin.make_link(User.objects.get())
        response = self.server.request("GET", link.removeprefix(signin.site_origin()))
        self.assertEqual((response.status, response.headers["Location"]), (302, "/chat/"))
        cookie = next(found for found in response.headers.get_all("Set-Cookie") if found.startswith("sessionid="))
        self.assertEqual(self.server.get(f"{self.ann.chat}/", Cookie=cookie.partition(";")[0])[0], 200)

    def test_guessing_a_password_is_throttled(self) -> None:
        body = urlencode({"username": "ann", "password": "wrong", "csrfmiddlewaretoken": "x" * 32})
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": f"csrftoken={'x' * 32}"}
        for path in ("/sign-in/", reverse("admin:login")):
            AccessAttempt.objects.all().delete()
            answers = [self.server.request("POST", path, body, **headers) for _ in range(settings.LOGIN_FAILURES + 1)]
            expected = [200] * (settings.LOGIN_FAILURES - 1) + [429] * 2
            self.assertEqual([response.status for response in answers], expected, path)
            self.assertIn(b"Too many wrong passwords", answers[-1].read())
        self.assertNotIn("wrong", self.server.log.read_text())

    def test_a_second_process_on_the_same_address_ends_and_says_why(self) -> None:
        second = self.server.start()
        self.assertEqual(second.wait(PATIENCE_SECONDS), 1)
        self.assertIn(f"HERMES_BIND is 127.0.0.1:{self.server.port}", self.server.log.read_text())
        self.assertTrue(self.server.answers())


class StopTests(TransactionTestCase):
    def test_it_stops_at_once_although_streams_are_open(self) -> None:
        server, ann = Server(self), Person()
        with contextlib.ExitStack() as streams:
            opened = [streams.enter_context(ann.open_events(server)) for _ in range(5)]
            self.assertEqual(server.stop(signal.SIGTERM), 0, server.log.read_text())
            for response in opened:
                response.read()  # to its end
        self.assertNotIn("cut off", server.log.read_text())

    def test_a_request_that_hangs_does_not_keep_it_from_stopping(self) -> None:
        server, ann = Server(self), Person()
        with locked_database():
            hanging = threading.Thread(target=self._post_in_vain, args=(server, ann))
            hanging.start()
            time.sleep(0.5)  # the request is under way
            self.assertEqual(server.stop(signal.SIGINT), 0, server.log.read_text())
        hanging.join()
        self.assertIn("cut off", server.log.read_text())

    def _post_in_vain(self, server: Server, ann: Person) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            ann.post(server, "Hello").read()


@contextlib.contextmanager
def locked_database() -> Iterator[None]:
    """Nobody else can write to the inbox while the block runs."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE gateway_app_lane IN ACCESS EXCLUSIVE MODE")
        # SQLite's transactions are IMMEDIATE here, see settings.DATABASES: the block itself is the lock.
        assert connection.vendor == "postgresql" or settings.DATABASES["default"]["OPTIONS"]["transaction_mode"]
        yield
