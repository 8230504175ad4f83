"""The test case of memory beside messages: a Honcho peer, people of whom it knows something, and what the model got."""

from __future__ import annotations

from typing import Any
from unittest import mock

from honcho import Honcho

from gateway_app import inbox
from gateway_app.turns.runner import run_session
from gateway_app.worker.http import close_http_session, http_session
from honcho_app import client, configuration, names, recall
from honcho_app.breaker import Breaker
from tests import pipeline
from tests.configuration import configured
from tests.peers.honcho import HonchoPeer
from tests.session_case import SessionTestCase


class RecallTestCase(SessionTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.honcho = self.enterContext(HonchoPeer())
        # Waits that no busy machine outlasts; tests of waiting have their own.
        waits = {"wait_seconds": 10, "first_wait_seconds": 10}
        self.enterContext(configured(honcho={"base_url": self.honcho.url}, recall=waits))
        for name in ("_breaker", "_patience"):
            self.enterContext(mock.patch.object(recall, name, Breaker()))
        self.addCleanup(client.close)

    def answer(self, user: str = "ann", **values: Any) -> None:
        """Does what one ring of the user's session does, and what it begins in the background."""

        async def ring() -> None:
            try:
                await run_session(pipeline.context(user, **values), http=http_session())
                await recall.settled()
            finally:
                await close_http_session()

        pipeline.run(ring())

    def configure(self, **values: Any) -> None:
        """What honcho.json says, for the rest of the test, by the names of `HonchoConfig`."""
        found = configuration.live().model_copy(update=values)
        self.enterContext(mock.patch.object(configuration, "live", lambda: found))

    def know(self, *facts: str, user: str = "ann", of_agent: bool = False) -> None:
        """Has Honcho know facts of a person, or of the agent for them, and no others."""
        config = configuration.live()
        direct = Honcho(base_url=self.honcho.url, api_key="test", workspace_id=config.workspace)
        direct.peer(self.name(user)).set_card(list(facts), target=config.ai_peer if of_agent else None)

    def name(self, user: str = "ann") -> str:
        """Honcho's name for a person, the same wherever they write."""
        return names.peer_name(pipeline.context(user), configuration.live())

    def ask(self, text: str, *, user: str = "ann", **place: Any) -> str:
        """What the model got as the newest message of the person, who wrote `text`."""
        inbox.accept([pipeline.event(text, user=user, **place)])
        self.answer(user, **place)
        return str(self.asked()[-1])

    def asked(self) -> list[str]:
        """The messages of people in the newest request to the model."""
        messages = self.model.requests[-1]["body"]["messages"]
        return [message["content"] for message in messages if message["role"] == "user"]

    def fetches(self) -> list[dict[str, Any]]:
        """What Honcho was asked, once for each fetch: about the person. A second call is about the agent."""
        found = [request for request in self.honcho.requests if request["operation"] == "context"]
        return [request for request in found if "peer_perspective" not in request["query"]]
