"""A model server for tests and benchmarks: OpenAI's `/v1/chat/completions` and `/v1/models` over real sockets.

In a test: `with ModelPeer() as peer:` serves `peer.base_url` from a thread. As a command, for tests that kill
processes and for benchmarks: `python -m tests.peers.model --delay 2` prints its base URL as the first line of
its output and serves until SIGTERM; `GET /_/requests`, `GET /_/stats` and `POST /_/script` stand for the
attributes. It answers as its script says (see `model_script`) and refuses what a strict server would.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from collections import Counter, deque
from typing import Any

from aiohttp import web

from tests.peers.forms import SentFile, read_form
from tests.peers.model_requests import BadRequest, last_user_text, read_request
from tests.peers.model_script import Behaviour, Script, compose, stream_events, whole_body
from tests.peers.serving import PeerServer

TEXTS_MAX = 100_000
"""Different user messages counted one by one; those beyond are counted together, so that memory stays bounded."""
OTHER_TEXTS = "(others)"


class Records:
    """What the peer saw. May be read by any thread."""

    def __init__(self, *, keep: int) -> None:
        self._lock = threading.Lock()
        self._requests: deque[dict[str, Any]] = deque(maxlen=keep)
        self._by_text: Counter[str] = Counter()
        self._calls = self._answered = self._refused = self._in_flight = self._max_in_flight = 0

    def begin(self, record: dict[str, Any]) -> None:
        with self._lock:
            self._requests.append(record)
            self._calls += 1
            self._in_flight += 1
            self._max_in_flight = max(self._max_in_flight, self._in_flight)

    def name(self, record: dict[str, Any], *, request: dict[str, Any], text: str) -> None:
        with self._lock:
            record.update(model=request["model"], stream=request.get("stream", False), text=text, body=request)
            self._by_text[text if text in self._by_text or len(self._by_text) < TEXTS_MAX else OTHER_TEXTS] += 1

    def end(self, record: dict[str, Any], *, status: int | None) -> None:
        """`status` is None for a call that was cut off by either side."""
        with self._lock:
            record["status"] = status
            self._in_flight -= 1
            self._answered += status == 200
            self._refused += status is not None and status >= 400

    def requests(self) -> list[dict[str, Any]]:
        with self._lock:
            return [dict(record) for record in self._requests]

    def stats(self) -> dict[str, Any]:
        with self._lock:
            return {
                "calls": self._calls,
                "answered": self._answered,
                "refused": self._refused,
                "cut": self._calls - self._answered - self._refused - self._in_flight,
                "in_flight": self._in_flight,
                "max_in_flight": self._max_in_flight,
                "by_text": dict(self._by_text),
            }


class ModelPeer(PeerServer):
    """The server. `models`, if given, are the only ones it knows; `api_key`, if given, the only key it takes.

    The last `keep` requests are kept in full. After `stop()`, `start()` serves on the same port again.
    """

    def __init__(
        self,
        *,
        models: tuple[str, ...] = (),
        api_key: str = "",
        keep: int = 1000,
        host: str = "127.0.0.1",
        port: int = 0,
        default: Behaviour | None = None,
    ) -> None:
        super().__init__(host=host, port=port)
        self.models, self.api_key = models, api_key
        self.script = Script(default)
        self.records = Records(keep=keep)
        self.heard, self.sound = "hello from a voice", b"OggS" + bytes(60)
        self.audio_status = 200
        self.audio: list[dict[str, Any]] = []
        """Calls of `/v1/audio/…`, oldest first."""

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def announced(self) -> str:
        return self.base_url

    @property
    def requests(self) -> list[dict[str, Any]]:
        """`at`, `path`, `headers`, `peer_port`, `status`, and, if well-formed, `model`, `stream`, `text`, `body`."""
        return self.records.requests()

    @property
    def stats(self) -> dict[str, Any]:
        return self.records.stats()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        match request.method, request.path:
            case "POST", "/v1/chat/completions":
                return await self._complete(request)
            case "POST", "/v1/audio/transcriptions":
                return await self._transcribe(request)
            case "POST", "/v1/audio/speech":
                return await self._speak(request)
            case "GET", "/v1/models":
                listed = [{"id": model, "object": "model", "owned_by": "peer"} for model in self.models]
                return web.json_response({"object": "list", "data": listed})
            case "GET", "/_/requests":
                return web.json_response(self.requests)
            case "GET", "/_/stats":
                return web.json_response(self.stats)
            case "POST", "/_/script":
                try:
                    self.script.set_from_json(await request.json())
                except (TypeError, ValueError, KeyError) as error:
                    return web.json_response({"error": {"message": repr(error)}}, status=400)
                return web.json_response({})
        return error_response(BadRequest(f"nothing at {request.path}", status=404))

    async def _transcribe(self, request: web.BaseRequest) -> web.StreamResponse:
        """Writes down what `heard` says; the call is kept in `audio`."""
        form = await read_form(request)
        file = form.get("file")
        if not isinstance(file, SentFile) or not file.body or not form.get("model") or "." not in file.name:
            return error_response(BadRequest("a file with an ending and a model are needed.", param="file"))
        self.audio.append({"what": "transcription", "key": request.headers.get("Authorization", ""), **form})
        if self.audio_status != 200:
            return web.json_response({"error": {"message": "scripted"}}, status=self.audio_status)
        return web.json_response({"text": self.heard})

    async def _speak(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers `sound`; the call is kept in `audio`."""
        found = await request.json()
        if not all(isinstance(found.get(name), str) and found[name] for name in ("model", "voice", "input")):
            return error_response(BadRequest("model, voice and input are needed.", param="input"))
        self.audio.append({"what": "speech", "key": request.headers.get("Authorization", ""), **found})
        if self.audio_status != 200:
            return web.json_response({"error": {"message": "scripted"}}, status=self.audio_status)
        return web.Response(body=self.sound, content_type="audio/ogg")

    async def _complete(self, request: web.BaseRequest) -> web.StreamResponse:
        raw = await request.read()
        record: dict[str, Any] = {
            "at": time.time(),
            "path": request.path_qs,
            "headers": dict(request.headers),
            "status": None,
        }
        if request.transport is not None:
            record["peer_port"] = request.transport.get_extra_info("peername")[1]
        self.records.begin(record)
        status: int | None = None
        try:
            response, whole = await self._answer(request, raw, record)
            status = response.status if whole else None
            return response
        except BadRequest as refusal:
            status = refusal.status
            return error_response(refusal)
        finally:
            self.records.end(record, status=status)

    async def _answer(
        self, request: web.BaseRequest, raw: bytes, record: dict[str, Any]
    ) -> tuple[web.StreamResponse, bool]:
        """The response, and whether it was sent to its end."""
        if self.api_key and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            raise BadRequest("Incorrect API key provided.", code="invalid_api_key", status=401)
        call = read_request(raw, content_type=request.content_type)
        text = last_user_text(call)
        self.records.name(record, request=call, text=text)
        if self.models and call["model"] not in self.models:
            found = f"The model `{call['model']}` does not exist."
            raise BadRequest(found, param="model", code="model_not_found", status=404)
        behaviour = self.script.choose(model=call["model"], text=text)
        if behaviour.delay:
            await asyncio.sleep(behaviour.delay)
        while self.script.is_held:
            await asyncio.sleep(0.01)
        while self.records.stats()["max_in_flight"] < behaviour.together:
            await asyncio.sleep(0.01)
        if behaviour.status >= 400 and behaviour.body is None:
            error = {"message": "scripted", "type": "scripted", "param": None, "code": None, **behaviour.error}
            return web.json_response({"error": error}, status=behaviour.status, headers=behaviour.headers), True
        streamed = bool(call.get("stream")) and behaviour.streams
        if behaviour.body is not None:
            pieces, content_type, streamed = [behaviour.body], behaviour.content_type, False
        elif streamed:
            answer, calls = compose(call, behaviour, text=text)
            pieces = stream_events(call, behaviour, answer, calls, size=len(raw))
            content_type = "text/event-stream"
        else:
            answer, calls = compose(call, behaviour, text=text)
            pieces = [whole_body(call, behaviour, answer, calls, size=len(raw))]
            content_type = "application/json"
        if not (streamed or behaviour.cut or behaviour.slice_bytes):
            headers = {"Content-Type": content_type, **behaviour.headers}
            return web.Response(body=pieces[0], status=behaviour.status, headers=headers), True
        return await send_pieces(request, behaviour, pieces, content_type=content_type)


async def send_pieces(
    request: web.BaseRequest, behaviour: Behaviour, pieces: list[bytes], *, content_type: str
) -> tuple[web.StreamResponse, bool]:
    """Sends a body piece by piece, as far as `behaviour` lets it."""
    response = web.StreamResponse(status=behaviour.status, headers={"Content-Type": content_type, **behaviour.headers})
    if behaviour.cut:
        if len(pieces) == 1:
            middle = len(pieces[0]) // 2
            pieces = [pieces[0][:middle], pieces[0][middle:]]
        pieces = pieces[: behaviour.cut_after]
    if behaviour.cut_after or behaviour.cut in {"", "end"}:
        await response.prepare(request)
        if not behaviour.piece_delay:
            pieces = [b"".join(pieces)]
        for piece in pieces:
            for part in sliced(piece, behaviour.slice_bytes):
                await response.write(part)
                if behaviour.slice_bytes:
                    await asyncio.sleep(0)
            if behaviour.piece_delay:
                await asyncio.sleep(behaviour.piece_delay)
    if behaviour.cut == "hang":
        await asyncio.Event().wait()
    if behaviour.cut == "drop":
        if request.transport is not None:
            request.transport.close()
        # The connection ends here; raising what a client's own departure raises keeps aiohttp from answering.
        raise asyncio.CancelledError
    await response.write_eof()
    return response, not behaviour.cut


def sliced(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)] if size else [data]


def error_response(refusal: BadRequest) -> web.Response:
    return web.json_response({"error": refusal.error}, status=refusal.status)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.peers.model", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--models", default="", help="comma-separated; all others are then unknown")
    parser.add_argument("--api-key", default="", help="the only key taken")
    parser.add_argument("--keep", type=int, default=1000, help="requests kept for /_/requests")
    parser.add_argument("--delay", type=float, default=0, help="seconds before each answer")
    parser.add_argument("--piece-delay", type=float, default=0, help="seconds between the pieces of a stream")
    parser.add_argument("--answer", help="instead of the echo; {text} stands for the last user message")
    parser.add_argument("--script", default="", help="JSON, as POST /_/script takes it; replaces the three above")
    options = parser.parse_args()
    peer = ModelPeer(
        models=tuple(filter(None, options.models.split(","))),
        api_key=options.api_key,
        keep=options.keep,
        host=options.host,
        port=options.port,
        default=Behaviour(delay=options.delay, piece_delay=options.piece_delay, answer=options.answer),
    )
    if options.script:
        peer.script.set_from_json(json.loads(options.script))
    peer.serve_as_command()


if __name__ == "__main__":
    main()
