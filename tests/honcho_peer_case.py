"""The test case of the Honcho peer: the peer, and clients of Honcho's own."""

from __future__ import annotations

import json
import unittest
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import httpx
from honcho import Honcho, Peer, Session
from honcho.api_types import SessionPeerConfig
from honcho.http.exceptions import (
    HonchoError,
)

from tests.peers.honcho import HonchoPeer

WORKSPACE = "tenant"


class PeerTestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.peer = HonchoPeer()
        self.peer.start()
        self.addCleanup(self.peer.stop)
        self.honcho = self.client()

    def client(self, *, timeout: float = 10, max_retries: int = 0, **fields: Any) -> Honcho:
        """A client of Honcho's own, whose connections are closed with the test."""
        connections = httpx.Client(timeout=timeout)
        self.addCleanup(connections.close)
        fields = {"api_key": "a-key", "workspace_id": WORKSPACE, **fields}
        return Honcho(
            base_url=self.peer.url, timeout=timeout, max_retries=max_retries, http_client=connections, **fields
        )

    def people(self, session_id: str = "chat") -> tuple[Session, Peer, Peer]:
        """A session with a person who is observed, and a bot that observes."""
        ann, bot = self.honcho.peer("ann"), self.honcho.peer("bot")
        session = self.honcho.session(
            session_id,
            peers=[
                (ann, SessionPeerConfig(observe_me=True, observe_others=False)),
                (bot, SessionPeerConfig(observe_me=False, observe_others=True)),
            ],
        )
        return session, ann, bot

    def texts(self, session_id: str = "chat") -> list[str]:
        return [message["content"] for message in self.peer.messages(session_id)]

    def refused(self, use: Callable[[], Any], kind: type[HonchoError], *, saying: str = "") -> HonchoError:
        with self.assertRaises(kind) as caught:
            use()
        self.assertIn(saying, str(caught.exception))
        return caught.exception

    def raw(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """A call that Honcho's client would not make."""
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.peer.url}/v3/workspaces{path}"
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
