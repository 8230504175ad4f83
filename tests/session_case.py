"""The test case of conversations that are begun, left and gone back to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import F

from gateway_app import inbox
from gateway_app.models import Session, TranscriptMessage
from tests import pipeline
from tests.pipeline_case import PipelineTestCase


class SessionTestCase(PipelineTestCase):
    maxDiff = None

    def tell(self, *texts: str, user: str = "ann", **place: Any) -> list[str]:
        """The answers to `texts`, which wait together."""
        before = len(self.platform.texts)
        inbox.accept([pipeline.event(text, user=user, **place) for text in texts])
        self.answer(user, **place)
        self.deliver()  # what control commands answered; no turn brings it along
        return self.platform.texts[before:]

    def seen(self) -> list[str]:
        """What the model was given last, without the system prompt."""
        return [message["content"] for message in self.model.requests[-1]["body"]["messages"][1:]]

    def present(self, user: str = "ann", **place: Any) -> Session:
        """The session that is open now."""
        return Session.objects.get(session_key=pipeline.context(user, **place).session_key, ended_at=None)

    def age(self, **span: float) -> None:
        """Makes everything that was said so much older."""
        TranscriptMessage.objects.update(created_at=F("created_at") - timedelta(**span))
        Session.objects.update(resumed_at=F("resumed_at") - timedelta(**span))
