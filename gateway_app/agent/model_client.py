"""A small client for any server that speaks OpenAI's `/chat/completions`."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from django.conf import settings
from yarl import URL

from gateway_app.agent.model_errors import (
    ModelError,
    ModelErrorKind,
    error_from_answer,
    retry_after_seconds,
    safe_detail,
)
from gateway_app.agent.model_reply import Draft, ModelReply, ToolCall
from gateway_app.agent.model_stream import DONE, EventParser
from gateway_app.agent.thinking import Piece
from gateway_app.config.errors import wrong

__all__ = ["ModelClient", "ModelConfig", "ModelError", "ModelErrorKind", "ModelReply", "ToolCall", "client"]

logger = logging.getLogger(__name__)

ENCODED_MAX = 16
"""Lists of tools that are kept as JSON: there is one for each platform, and for each set of MCP servers."""
ERROR_BODY_MAX_BYTES = 65_536
"""An error's report is read up to here; the rest of its body is not worth the wait."""

END_SECONDS = 1.0
"""The wait, once the model has finished, for the usage and for the body's end, which lets the connection be kept."""

NETWORK_ERRORS = (aiohttp.ClientError, OSError)
"""What aiohttp raises for a peer that fails. Time-outs are among them: TimeoutError is an OSError."""

encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True)
class ModelConfig:
    """Which models are asked, where, and how patiently. Times are in seconds."""

    base_url: str
    """Up to and without `/chat/completions`; a query, as Azure's `?api-version=…`, is kept."""
    models: tuple[str, ...]
    """In order of preference: each is asked where those before it failed in a way it may not."""
    api_key: str = field(default="", repr=False)
    timeout_seconds: float = 120
    connect_seconds: float = 10
    retries: int = 3
    backoff_seconds: float = 0.5
    backoff_max_seconds: float = 20
    retry_after_max_seconds: float = 60
    max_output_tokens: int = 4096
    limit_field: str = "max_tokens"
    stream_usage: bool = True
    reply_max_bytes: int = 8 * 1024 * 1024

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("models is empty; allowed: one name or more.")

    @classmethod
    def from_settings(cls) -> ModelConfig:
        """Raises ImproperlyConfigured where no model server is configured."""
        if not settings.OPENAI_BASE_URL:
            raise wrong("OPENAI_BASE_URL", "", "the address of a model server, for example http://127.0.0.1:8080/v1")
        return cls(
            base_url=settings.OPENAI_BASE_URL,
            models=tuple(dict.fromkeys([settings.HERMES_MODEL, *settings.MODEL_FALLBACKS])),
            api_key=settings.OPENAI_API_KEY,
            timeout_seconds=settings.MODEL_TIMEOUT_SECONDS,
            connect_seconds=settings.MODEL_CONNECT_SECONDS,
            retries=settings.MODEL_RETRIES,
            backoff_seconds=settings.MODEL_BACKOFF_SECONDS,
            backoff_max_seconds=settings.MODEL_BACKOFF_MAX_SECONDS,
            retry_after_max_seconds=settings.MODEL_RETRY_AFTER_MAX_SECONDS,
            max_output_tokens=settings.MODEL_MAX_OUTPUT_TOKENS,
            limit_field=settings.MODEL_LIMIT_FIELD,
            stream_usage=settings.MODEL_STREAM_USAGE,
            reply_max_bytes=settings.MODEL_REPLY_MAX_BYTES,
        )


class ModelClient:
    """Asks models for replies. Holds no lock and nothing of a call: any number may be under way at once.

    `http` stays the caller's, who gives it a connector wide enough for the calls in flight and closes it.
    """

    def __init__(
        self,
        *,
        http: aiohttp.ClientSession,
        config: ModelConfig,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._http = http
        self._config = config
        self._sleep = sleep
        self._encoded: dict[int, tuple[Sequence[Mapping[str, Any]], str]] = {}
        """Lists of tools by their identity, with the JSON that they are."""
        base = URL(config.base_url)
        self._url = (base / "chat" / "completions").with_query(base.query)
        # Replies are small and streams must not wait for a compressor's window.
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if config.api_key:
            self._headers["Authorization"] = f"Bearer {config.api_key}"
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=config.connect_seconds, sock_read=config.timeout_seconds
        )

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        models: Sequence[str] = (),
        tools: Sequence[Mapping[str, Any]] = (),
        effort: str = "",
        on_delta: Callable[[str], Awaitable[None]] | None = None,
        on_restart: Callable[[], Awaitable[None]] | None = None,
        on_thought: Callable[[str], None] | None = None,
    ) -> ModelReply:
        """The model's reply to `messages` (plain dicts in OpenAI's shape), with `tools` on offer.

        `models` are asked in their order instead of the configured ones. `effort` says how long they are to think: low,
        medium or high; empty leaves it to them.

        With `on_delta` the reply is streamed, and each new piece of its text passed on as it comes. Where an
        attempt fails after some text was passed on, `on_restart` is awaited before the first piece of the next
        attempt: what was passed on until then is void. Without an `on_restart` nothing more is passed on, and
        only the reply returned is complete. Either way nobody is shown a text twice. What these two raise ends
        the call. The text of the pieces since the last restart is the reply's `text`. What the model thinks goes to
        `on_thought`, piece by piece.

        Raises ModelError once every retry and every model that may help has been tried: the preferred model's.
        """
        audience = Audience(on_delta, on_restart, on_thought) if on_delta else None
        body = self._encode(messages, tools, effort=effort, streamed=audience is not None)
        failures: list[ModelError] = []
        for model in models or self._config.models:
            try:
                return await self._ask(model, body, audience)
            except ModelError as error:
                failures.append(error)
                if not error.remedy.next_model:
                    break
        raise failures[0]

    def _encode(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], *, effort: str, streamed: bool
    ) -> bytes:
        """The request without its opening brace and model, which change from attempt to attempt."""
        request: dict[str, Any] = {"messages": list(messages), self._config.limit_field: self._config.max_output_tokens}
        if effort:
            request["reasoning_effort"] = effort
        if streamed:
            request["stream"] = True
            if self._config.stream_usage:
                request["stream_options"] = {"include_usage": True}
        offered = f',"tools":{self._encode_tools(tools)}' if tools else ""
        # "replace": a lone surrogate in a message must not make it one that no server accepts.
        return f"{encode_json(request)[1:-1]}{offered}}}".encode("utf-8", "replace")

    def _encode_tools(self, tools: Sequence[Mapping[str, Any]]) -> str:
        """They are most of a short request, and the very same objects with each request of a platform's."""
        known = self._encoded.get(id(tools))
        if known is None:
            if len(self._encoded) >= ENCODED_MAX:
                self._encoded.clear()
            known = self._encoded[id(tools)] = (tools, encode_json(list(tools)))
        return known[1]

    async def _ask(self, model: str, body: bytes, audience: Audience | None) -> ModelReply:
        """Asks one model until it replies or its retries are used up."""
        request = f'{{"model":{encode_json(model)},'.encode() + body
        failures = 0
        while True:
            try:
                return await self._attempt(model, request, audience)
            except ModelError as error:
                failures += 1
                if audience:
                    audience.void()
                wait = self._wait_after(error, failures)
                remedy = "giving up on it" if wait is None else f"asking again in {wait:.1f} s"
                logger.warning("Model %s failed (attempt %d), %s: %s", model, failures, remedy, error)
                if wait is None:
                    raise
            await self._sleep(wait)

    def _wait_after(self, error: ModelError, failures: int) -> float | None:
        """Seconds until the same model is asked again, or None where it is not.

        Full jitter, so that turns which failed together do not come back together. What the server names is
        the least wait; where it names more than the bound, asking earlier would be as futile as waiting long.
        """
        named = error.retry_after or 0.0
        if failures > min(error.remedy.retries, self._config.retries) or named > self._config.retry_after_max_seconds:
            return None
        ceiling = min(self._config.backoff_max_seconds, self._config.backoff_seconds * 2 ** (failures - 1))
        return named + random.uniform(0, ceiling)  # noqa: S311 - jitter, not a secret

    async def _attempt(self, model: str, request: bytes, audience: Audience | None) -> ModelReply:
        started = time.perf_counter()
        draft = Draft(api_key=self._config.api_key)
        async with await self._post(request) as response:
            if not 200 <= response.status < 300:
                raise await self._refusal(response)
            if audience and response.content_type == "text/event-stream":
                await self._read_stream(response, draft, audience)
            else:
                piece = draft.add(await self._read_whole(response))
                if audience:
                    await audience.tell(piece)
        rest = draft.close()
        reply = draft.finish(model=model, seconds=time.perf_counter() - started, prompt_bytes=len(request))
        if audience:
            await audience.tell(rest)
            await audience.close()
        return reply

    async def _post(self, request: bytes) -> aiohttp.ClientResponse:
        try:
            return await self._http.post(
                self._url, data=request, headers=self._headers, timeout=self._timeout, allow_redirects=False
            )
        except NETWORK_ERRORS as error:
            raise self._network_error(error) from error

    async def _refusal(self, response: aiohttp.ClientResponse) -> ModelError:
        body = b""
        try:
            async with aclosing(self._pieces(response)) as pieces:
                async for piece in pieces:
                    body += piece
                    if len(body) >= ERROR_BODY_MAX_BYTES:
                        break
        except ModelError:
            pass  # The status alone says enough.
        return error_from_answer(
            response.status,
            body,
            api_key=self._config.api_key,
            retry_after=retry_after_seconds(response.headers.get("Retry-After"), now=time.time()),
        )

    async def _read_whole(self, response: aiohttp.ClientResponse) -> bytes:
        async with aclosing(self._pieces(response)) as pieces:
            return b"".join([piece async for piece in pieces])

    async def _read_stream(self, response: aiohttp.ClientResponse, draft: Draft, audience: Audience) -> None:
        """Reads events until the one that ends the stream.

        A stream that breaks off or falls silent is an error, unless the model had said that it was finished: then
        only its usage is lost.
        """
        parser = EventParser()
        async with aclosing(self._events(response, parser)) as events:
            while True:
                try:
                    async with asyncio.timeout(END_SECONDS if draft.finish_reason else None):
                        data = await anext(events, None)
                    piece = draft.add(data) if data and data != DONE else Piece()
                except (ModelError, TimeoutError):
                    if draft.finish_reason:
                        return
                    raise
                if data is None:
                    break
                if data == DONE:
                    await self._drain(response)
                    return
                await audience.tell(piece)
        if not draft.finish_reason:
            raise ModelError(ModelErrorKind.INVALID_REPLY, "the stream ended before the reply did")

    async def _events(self, response: aiohttp.ClientResponse, parser: EventParser) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._pieces(response)) as pieces:
            async for piece in pieces:
                for data in parser.feed(piece):
                    yield data
        for data in parser.close():
            yield data

    async def _pieces(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        """The body as it arrives, up to the bound. Only in here do the network's errors become ours."""
        size = 0
        while True:
            try:
                piece = await response.content.readany()
            except NETWORK_ERRORS as error:
                raise self._network_error(error) from error
            if not piece:
                return
            size += len(piece)
            if size > self._config.reply_max_bytes:
                raise ModelError(
                    ModelErrorKind.INVALID_REPLY, f"the answer is longer than {self._config.reply_max_bytes} bytes"
                )
            yield piece

    async def _drain(self, response: aiohttp.ClientResponse) -> None:
        try:
            async with asyncio.timeout(END_SECONDS):
                while await response.content.readany():
                    pass
        except NETWORK_ERRORS:
            pass  # The reply is whole; this connection is just not used again.

    def _network_error(self, error: Exception) -> ModelError:
        """Time-outs by what they are; a reply cut short or unreadable as damaged; the rest as no connection."""
        detail = safe_detail(f"{type(error).__name__}: {error}", api_key=self._config.api_key)
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return ModelError(ModelErrorKind.CONNECTION, detail)
        if isinstance(error, TimeoutError):
            return ModelError(ModelErrorKind.TIMEOUT, f"silent for {self._config.timeout_seconds:g} s")
        if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ClientResponseError):
            return ModelError(ModelErrorKind.INVALID_REPLY, detail)
        return ModelError(ModelErrorKind.CONNECTION, detail)


class Audience:
    """Whoever reads a reply while it is written; sees to it that nobody is shown a second text after a void one."""

    def __init__(
        self,
        on_delta: Callable[[str], Awaitable[None]],
        on_restart: Callable[[], Awaitable[None]] | None,
        on_thought: Callable[[str], None] | None,
    ) -> None:
        self._on_delta = on_delta
        self._on_restart = on_restart
        self._on_thought = on_thought
        self._told = False
        self._void = False

    def void(self) -> None:
        """What was told belongs to a failed attempt."""
        self._void = self._told

    async def tell(self, piece: Piece) -> None:
        if piece.thought and self._on_thought:
            self._on_thought(piece.thought)
        if piece.text and await self._restarted():
            self._told = True
            await self._on_delta(piece.text)

    async def close(self) -> None:
        """The reply is complete: a voided text does not stay even where nothing was told after it."""
        await self._restarted()

    async def _restarted(self) -> bool:
        """Takes back what is void; false where that cannot be done."""
        if self._void and self._on_restart:
            self._void = self._told = False
            await self._on_restart()
        return not self._void


@functools.lru_cache(maxsize=4)
def client(http: aiohttp.ClientSession) -> ModelClient:
    """The process's model client on its HTTP session. Raises ImproperlyConfigured where no model server is set."""
    return ModelClient(http=http, config=ModelConfig.from_settings())
