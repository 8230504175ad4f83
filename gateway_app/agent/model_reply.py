"""A model's reply: its shape, its place in the journal, and how it is put together from what a server sends."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from gateway_app.agent.model_errors import ModelError, ModelErrorKind, error_in_reply
from gateway_app.agent.thinking import Piece, Thinking

BYTES_PER_TOKEN = 4
"""For estimates only, where a server does not report usage. English prose has a little over four."""

TOKENS_MAX = 2**31 - 1
"""Counts are cut to what an integer column holds."""

CALLS_MAX = 1_000
"""Tool calls of one reply. No model asks for as many; each would be a row with an answer of its own."""

LONGEST_THOUGHT = 20_000
"""Characters that are kept of what a model thought: it is only shown, and never sent back."""

NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")
NAME_MAX_CHARS = 64
"""A call is sent back to the server with its result, and servers refuse a name of other characters, or a longer one."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool the model asks for. `arguments` is JSON text as the model wrote it, and so may be invalid."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ModelReply:
    """One complete answer of a model: text, tool calls or both.

    `model` is the configured name of the model that answered; `seconds` is how long the attempt that
    succeeded took; `usage_estimated` says that the server reported no token counts and these are guesses.
    """

    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    usage_estimated: bool = False
    cached_tokens: int = 0
    """Of the prompt's tokens, those that the server had in its cache, where it says so."""
    thought: str = ""
    """What the model thought before, where it says so: no part of the reply, and never sent back."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON for the journal; `from_json` gives the same reply back."""
        return {
            "text": self.text,
            "tool_calls": [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in self.tool_calls],
            "finish_reason": self.finish_reason,
            "model": self.model,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "seconds": self.seconds,
            "usage_estimated": self.usage_estimated,
            "cached_tokens": self.cached_tokens,
            **({"thought": self.thought} if self.thought else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelReply:
        names = {known.name for known in fields(cls)}
        calls = tuple(ToolCall(**call) for call in value["tool_calls"])
        return cls(**{name: value[name] for name in names if name in value} | {"tool_calls": calls})

    def to_message(self) -> dict[str, Any]:
        """The assistant message that stands for this reply in the next request."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": sendable(call.arguments)},
                }
                for call in self.tool_calls
            ]
        return message


@dataclass(slots=True)
class DraftCall:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class Draft:
    """A reply under assembly. A whole answer is read like a stream of one chunk, so both are read by the same rules."""

    def __init__(self, *, api_key: str = "") -> None:
        self.finish_reason = ""
        self._api_key = api_key
        self._text: list[str] = []
        self._thought: list[str] = []
        self._thinking = Thinking()
        self._held = ""
        self._calls: list[DraftCall] = []
        self._by_index: dict[int, DraftCall] = {}
        self._usage: tuple[int, int] | None = None
        self._cached = 0
        self._answered = False

    def add(self, data: bytes) -> Piece:
        """Takes in one chunk (or the whole answer) and returns what it adds.

        Raises ModelError: the error a server reports in it, or INVALID_REPLY for what is no chunk.
        """
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            raise invalid("an answer that is not JSON") from None
        if not isinstance(chunk, dict):
            raise invalid(f"a {type(chunk).__name__} where an object belongs")
        if chunk.get("error"):
            raise error_in_reply(chunk["error"], api_key=self._api_key)
        self._read_usage(chunk.get("usage"))
        choices = chunk.get("choices") or []
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
            raise invalid("choices that are not a list of objects")
        return self._read_choice(choices[0]) if choices else Piece()

    def close(self) -> Piece:
        """What was held back, as it might have become something else; nothing comes any more."""
        held, self._held = self._held, ""
        piece = self._thinking.take(storable(held))
        rest = self._thinking.close()
        return self._kept(Piece(piece.text + rest.text, piece.thought + rest.thought))

    def _kept(self, piece: Piece) -> Piece:
        self._text.append(piece.text)
        self._thought.append(piece.thought)
        return piece

    def _read_choice(self, choice: Mapping[str, Any]) -> Piece:
        self._answered = True
        message = choice.get("delta") or choice.get("message") or {}
        if not isinstance(message, dict):
            raise invalid("a message that is not an object")
        text = self._held + text_of(message.get("content")) + text_of(message.get("refusal"))
        # The two halves of a character beyond the basic plane may come as escapes in two chunks.
        self._held = text[-1] if text and "\ud800" <= text[-1] <= "\udbff" else ""
        piece = self._thinking.take(storable(text[:-1] if self._held else text))
        if thought := storable(thought_of(message)):
            piece = Piece(piece.text, thought + piece.thought)
        self._kept(piece)
        fragments = message.get("tool_calls") or []
        if not isinstance(fragments, list):
            raise invalid("tool calls that are not a list")
        for fragment in fragments:
            self._read_call(fragment, is_whole="message" in choice)
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            self.finish_reason = reason[:40]
        return piece

    def _read_call(self, fragment: object, *, is_whole: bool) -> None:
        if not isinstance(fragment, dict) or not isinstance(function := fragment.get("function") or {}, dict):
            raise invalid("a tool call that is not an object")
        identifier, name = fragment.get("id") or "", function.get("name") or ""
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            arguments = json.dumps(arguments)
        if not isinstance(identifier, str) or not isinstance(name, str) or not isinstance(arguments, str | None):
            raise invalid("a tool call whose id, name or arguments are not text")
        if is_whole:  # in an answer that is no stream, two calls with one id are two calls
            self._calls.append(call := DraftCall())
        else:
            call = self._call_for(fragment.get("index"), identifier, name)
        call.id = call.id or storable(identifier)
        call.name = call.name or storable(name)
        call.arguments.append(arguments or "")

    def _call_for(self, index: object, identifier: str, name: str) -> DraftCall:
        """The call a fragment belongs to.

        Its index decides. Some servers leave the index out, some give every call the same one: then a
        fragment with another id, or without an id but with a name, begins a new call.
        """
        if isinstance(index, int):
            call = self._by_index.get(index)
            begins = call is None or bool(identifier and call.id and identifier != call.id)
        else:
            call = self._calls[-1] if self._calls else None
            begins = call is None or bool(identifier != call.id if identifier else name)
        if call is None or begins:
            call = DraftCall()
            self._calls.append(call)
        if isinstance(index, int):
            self._by_index[index] = call
        return call

    def _read_usage(self, usage: object) -> None:
        if isinstance(usage, dict):
            prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
            if type(prompt) is int and type(completion) is int and min(prompt, completion) >= 0:
                self._usage = min(prompt, TOKENS_MAX), min(completion, TOKENS_MAX)
                details = usage.get("prompt_tokens_details")
                cached = details.get("cached_tokens") if isinstance(details, dict) else None
                self._cached = min(max(cached, 0), self._usage[0]) if type(cached) is int else 0

    def finish(self, *, model: str, seconds: float, prompt_bytes: int) -> ModelReply:
        """The complete reply. Raises ModelError: EMPTY_REPLY, REFUSED or INVALID_REPLY."""
        self.close()
        if not self._answered:
            raise invalid("an answer without choices")
        text = "".join(self._text)
        calls = self._finish_calls()
        if not text.strip() and not calls:
            if self.finish_reason == "content_filter":
                raise ModelError(ModelErrorKind.REFUSED, "the answer was withheld by a content filter")
            raise ModelError(
                ModelErrorKind.EMPTY_REPLY, f"neither text nor tool calls ({self.finish_reason or 'no'} finish reason)"
            )
        completion_bytes = len(text.encode()) + sum(len(call.name) + len(call.arguments) for call in calls)
        prompt_tokens, completion_tokens = self._usage or (estimated(prompt_bytes), estimated(completion_bytes))
        return ModelReply(
            text=text,
            tool_calls=calls,
            finish_reason=self.finish_reason or ("tool_calls" if calls else "stop"),
            model=model,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            seconds=seconds,
            usage_estimated=self._usage is None,
            cached_tokens=self._cached,
            thought="".join(self._thought).strip()[:LONGEST_THOUGHT],
        )

    def _finish_calls(self) -> tuple[ToolCall, ...]:
        if len(self._calls) > CALLS_MAX:
            raise invalid(f"{len(self._calls):,} tool calls at once")
        calls: dict[str, ToolCall] = {}
        for draft in self._calls:
            if not draft.name:
                raise invalid("a tool call without a name")
            # Results are matched to calls by id, so a missing or repeated one is replaced.
            identifier = draft.id if draft.id and draft.id not in calls else f"call_{uuid.uuid4().hex[:24]}"
            arguments = storable("".join(draft.arguments)).strip()
            name = NOT_IN_NAMES.sub("_", draft.name)[:NAME_MAX_CHARS]
            calls[identifier] = ToolCall(id=identifier, name=name, arguments=arguments or "{}")
        return tuple(calls.values())


def text_of(content: object) -> str:
    """The text of a `content`: a string, nothing, or a list of parts of which the textual ones count."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        return "".join(text for text in texts if isinstance(text, str))
    raise invalid(f"content that is a {type(content).__name__}")


def thought_of(message: Mapping[str, Any]) -> str:
    """What a message says beside its content of what the model thinks; servers have two names for it."""
    found = message.get("reasoning_content") or message.get("reasoning")
    return found if isinstance(found, str) else ""


def sendable(arguments: str) -> str:
    """`arguments` as a server takes them back: some fail on what is no JSON object, whoever wrote it."""
    try:
        is_object = isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        is_object = False
    return arguments if is_object else "{}"


def storable(text: str) -> str:
    """`text` without what no database column and no platform takes: NUL, and lone halves of surrogate pairs."""
    if not text.isascii():
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "")


def estimated(size: int) -> int:
    """A guess at the tokens in `size` bytes."""
    return -(-size // BYTES_PER_TOKEN)


def invalid(found: str) -> ModelError:
    return ModelError(ModelErrorKind.INVALID_REPLY, f"the server sent {found}")
