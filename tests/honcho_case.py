"""The test case of what is written to Honcho: the pipeline's, a Honcho peer, and rings on demand."""

from __future__ import annotations

import json
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import honcho  # noqa: F401  (a second of import that no call should wait for)
from django.test import override_settings
from django.utils import timezone

from gateway_app import doorbell
from gateway_app.models import Lane, TranscriptMessage
from gateway_app.models.lane import LaneKind
from honcho_app import client, ledger, names, sending
from honcho_app.models import HonchoWrite
from honcho_app.pause import pause
from tests import pipeline
from tests.configuration import configured
from tests.peers.honcho import HonchoPeer
from tests.pipeline_case import PipelineTestCase

BRISK = {
    "read_timeout_seconds": 10,
    "write_timeout_seconds": 10,
    "write_settle_seconds": 0.05,
    "write_backoff_seconds": 0.01,
    "write_backoff_max_seconds": 0.1,
}
"""Settings with which no test waits for long."""


class HonchoCase(PipelineTestCase):
    """Turns are answered as in the pipeline's tests. `write()` does what a ring of a Honcho lane does."""

    def setUp(self) -> None:
        super().setUp()
        self.honcho = self.enterContext(HonchoPeer())
        self.home = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(override_settings(HERMES_HOME=self.home))
        self.enterContext(configured(honcho={"base_url": self.honcho.url, "api_key": "", **BRISK}))
        self.use()
        self.addCleanup(client.close)
        self.addCleanup(pause.end)

    def use(self, **content: Any) -> None:
        """Writes honcho.json, for the rest of the test. No turn looks for memory, which others' tests do."""
        (self.home / "honcho.json").write_text(json.dumps({"recallMode": "tools", **content}))
        self.enterContext(configured(honcho={}))

    def say(self, *texts: str, user: str = "ann") -> None:
        """Each of the texts is answered by a turn of its own."""
        for text in texts:
            pipeline.accept(text, user=user)
            self.answer(user)

    def write(self, user: str = "ann") -> None:
        pipeline.run(sending.write_lane(key=self.key(user)))

    def due_now(self) -> None:
        """Ends all waits."""
        pause.end()
        HonchoWrite.objects.filter(state="waiting").update(next_attempt_at=None)
        Lane.objects.filter(kind=LaneKind.HONCHO, wake_at__isnull=False).update(wake_at=timezone.now())

    def key(self, user: str = "ann") -> str:
        return pipeline.context(user).honcho_session_key

    def stored(self, user: str = "ann", *, generation: int = 1) -> list[str]:
        """What Honcho has of the user's session, in order."""
        found = self.honcho.messages(names.session_name(self.key(user), generation=generation))
        return [message["content"] for message in found]

    def states(self) -> list[str]:
        return list(HonchoWrite.objects.order_by("lane_id", "seq").values_list("state", flat=True))

    def transcript(self, user: str = "ann") -> list[str]:
        """What people and the agent said in the user's sessions."""
        rows = TranscriptMessage.objects.filter(session__session_key=self.key(user), role__in=["user", "assistant"])
        return list(rows.order_by("id").values_list("content", flat=True))


class SendingCase(HonchoCase):
    """Rings are not published, but made as a test says."""

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch.object(doorbell, "ring_honcho"))

    def posts(self) -> list[list[str]]:
        """What each request carried that wrote messages."""
        found = [each for each in self.honcho.requests if each.get("operation") == "create_messages"]
        return [[message["content"] for message in each["body"]["messages"]] for each in found]

    def write_until_drained(self, user: str = "ann") -> None:
        """Rings until nothing waits, as sweeps do."""
        for _ in range(30):
            self.due_now()
            self.write(user)
            if ledger.is_drained(honcho_session_key=self.key(user)):
                return
        self.fail(f"left waiting: {self.states()}")

    def settle(self) -> None:
        """Lets the time go by after which a request is certainly over."""
        HonchoWrite.objects.filter(state="waiting").update(next_attempt_at=timezone.now() - timedelta(seconds=1))
        pause.end()

    def assert_stored_once(self, user: str = "ann", *, generation: int = 1) -> None:
        self.assertEqual(self.stored(user, generation=generation), self.transcript(user))
