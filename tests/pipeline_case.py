"""The test case of the pipeline's tests: a model peer, a recording platform, and rings on demand."""

from __future__ import annotations

from django.test import TransactionTestCase, override_settings
from django.utils import timezone

from gateway_app.delivery.sender import deliver_lane
from gateway_app.models import Lane
from gateway_app.turns.runner import run_session
from gateway_app.worker.http import close_http_session, http_session
from tests import pipeline
from tests.peers.model import ModelPeer


class Killed(BaseException):
    """The worker's death, as far as its turn can tell: nothing tidies up after it. `expire_leases()` is next."""


def expire_leases() -> None:
    Lane.objects.update(lease_until=timezone.now() - timezone.timedelta(seconds=1))


class PipelineTestCase(TransactionTestCase):
    def setUp(self) -> None:
        self.platform = pipeline.use_recording_platform(self)
        self.model = ModelPeer()
        self.enterContext(self.model)
        self.enterContext(override_settings(OPENAI_BASE_URL=self.model.base_url, MODEL_BACKOFF_SECONDS=0.01))

    def answer(self, user: str = "ann", **values: object) -> None:
        """Does what one ring of the user's session does."""

        async def ring() -> None:
            try:
                await run_session(pipeline.context(user, **values), http=http_session())
            finally:
                await close_http_session()

        pipeline.run(ring())

    def deliver(self) -> None:
        """Does what one ring of every delivery lane does."""

        async def ring() -> None:
            for key in [lane.key for lane in lanes_of_delivery]:
                await deliver_lane(key=key, http=http_session())
            await close_http_session()

        lanes_of_delivery = list(Lane.objects.filter(kind="delivery"))
        pipeline.run(ring())
