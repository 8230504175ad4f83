"""How the model peer behaves: the script a test gives it, and the answers that follow from it."""

from __future__ import annotations

import itertools
import json
import re
import threading
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

CALL_LINE = re.compile(r"call:([a-zA-Z0-9_-]+)\s*(\{.*\})?")


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """One way to answer. The default is a correct answer at once. Times are in seconds.

    Without `answer` and `tool_calls`, a line `call:<tool> {json}` in the last user message calls that tool if
    it is on offer, a tool's result is answered with `tool said: <result>`, and all else with `echo: <text>`.
    """

    delay: float = 0
    together: int = 0
    """Calls that must be under way at once before any is answered; a caller that sends fewer waits for ever."""
    status: int = 200
    error: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the error object that goes with a status of 400 or more: message, type, param, code."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """Sent as it is instead of an answer; in JSON, text."""
    content_type: str = "application/json"
    """Of `body`."""
    answer: str | None = None
    """`{text}` stands for the last user message."""
    is_brief: bool = False
    """Answers a tool's result with the lines of the last user message that called no tool."""
    thought: str = ""
    """What the model thinks before, as servers tell it apart from the answer."""
    tool_calls: tuple[Mapping[str, str], ...] = ()
    """`{"name": …, "arguments": …}` each, and an `id` where it matters."""
    rounds: int = 0
    """Rounds in which the tools are called, before the text; 0 for every time. `{round}` in arguments is its number."""
    finish_reason: str | None = None
    usage: bool = True
    cached_tokens: int = 0
    """Of the prompt's, as the usage reports them."""
    streams: bool = True
    """Off: a request for a stream is answered whole."""
    piece_chars: int = 8
    """Text per chunk of a stream."""
    piece_delay: float = 0
    slice_bytes: int = 0
    """Writes the body in slices of this size, wherever they cut; 0 writes it as it falls."""
    cut: Literal["", "end", "drop", "hang"] = ""
    """Stops after `cut_after` pieces: ends the body properly, drops the connection, or falls silent for ever."""
    cut_after: int = 0
    """Pieces: the chunks of a stream, the halves of a whole answer. 0 cuts before the status line."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Behaviour:
        body = value.get("body")
        return cls(
            **{
                **value,
                "tool_calls": tuple(value.get("tool_calls", ())),
                "body": None if body is None else body.encode(),
            }
        )


@dataclass(kw_only=True)
class Rule:
    """A behaviour for some calls: for a model, for user messages that contain a text, for so many times."""

    behaviour: Behaviour
    times: int | None = None
    model: str | None = None
    contains: str = ""

    def fits(self, *, model: str, text: str) -> bool:
        return self.times != 0 and self.model in (None, model) and self.contains in text


class Script:
    """The rules, the first that fits of which decides, and the default where none does. May be used by any thread."""

    def __init__(self, default: Behaviour | None = None) -> None:
        self._lock = threading.Lock()
        self._default = default or Behaviour()
        self._rules: list[Rule] = []
        self._goes_on = threading.Event()
        self._goes_on.set()

    @property
    def is_held(self) -> bool:
        return not self._goes_on.is_set()

    def hold(self) -> None:
        """From now on calls are taken and not answered, until `release()`."""
        self._goes_on.clear()

    def release(self) -> None:
        self._goes_on.set()

    def set(self, *, default: Behaviour | None = None, rules: Iterable[Rule] = ()) -> None:
        """Replaces the whole script."""
        with self._lock:
            self._default = default or Behaviour()
            self._rules = list(rules)

    def add(self, *, times: int | None = 1, model: str | None = None, contains: str = "", **behaviour: Any) -> None:
        """Adds a rule behind those there are; `behaviour` are the fields of its Behaviour."""
        with self._lock:
            rule = Rule(behaviour=Behaviour(**behaviour), times=times, model=model, contains=contains)
            self._rules.append(rule)

    def set_from_json(self, value: Mapping[str, Any]) -> None:
        """`{"default": {…}, "rules": [{"behaviour": {…}, "times": 1, "model": …, "contains": …}]}`.

        Raises TypeError or ValueError for unknown or malformed fields.
        """
        if unknown := value.keys() - {"default", "rules"}:
            raise ValueError(f"unknown: {', '.join(unknown)}; allowed: default, rules")
        rules = [
            Rule(**{**rule, "behaviour": Behaviour.from_json(rule["behaviour"])}) for rule in value.get("rules", ())
        ]
        self.set(default=Behaviour.from_json(value.get("default", {})), rules=rules)

    def choose(self, *, model: str, text: str) -> Behaviour:
        if not self._rules:
            return self._default
        with self._lock:
            for rule in self._rules:
                if rule.fits(model=model, text=text):
                    if rule.times is not None:
                        rule.times -= 1
                    return rule.behaviour
        return self._default


def compose(request: dict[str, Any], behaviour: Behaviour, *, text: str) -> tuple[str, list[dict[str, Any]]]:
    """The text and the tool calls that answer `request`."""
    if behaviour.tool_calls or behaviour.answer is not None:
        answer = (behaviour.answer or "").replace("{text}", text)
        if not behaviour.rounds:
            return answer, [tool_call(**call) for call in behaviour.tool_calls]
        done = rounds_done(request["messages"])
        if done >= behaviour.rounds:
            return answer, []
        numbered = [
            {**call, "arguments": call["arguments"].replace("{round}", str(done))} for call in behaviour.tool_calls
        ]
        return "", [tool_call(**call) for call in numbered]
    last = request["messages"][-1]
    if last["role"] == "tool":
        said = "\n".join(line for line in text.splitlines() if not CALL_LINE.match(line))
        return said if behaviour.is_brief else f"tool said: {last['content']}", []
    offered = {tool["function"]["name"] for tool in request.get("tools", ())}
    calls = [
        tool_call(name=found[1], arguments=found[2] or "{}")
        for found in (CALL_LINE.finditer(text) if offered else ())
        if found[1] in offered
    ]
    return ("", calls) if calls else (f"echo: {text}", [])


def rounds_done(messages: list[dict[str, Any]]) -> int:
    """How often tools were called since a person wrote last."""
    since = itertools.takewhile(lambda message: message["role"] != "user", reversed(messages))
    return sum(bool(message.get("tool_calls")) for message in since)


def tool_call(*, name: str, arguments: str, id: str | None = None) -> dict[str, Any]:
    identifier = f"call_{uuid.uuid4().hex[:12]}" if id is None else id
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


HEAD = b'{"id":"chatcmpl-peer","object":"chat.completion","created":1700000000,"model":'
CHUNK_HEAD = b'data: {"id":"chatcmpl-peer","object":"chat.completion.chunk","created":1700000000,"model":'


def whole_body(
    request: dict[str, Any], behaviour: Behaviour, text: str, calls: list[dict[str, Any]], *, size: int
) -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = calls
    if behaviour.thought:
        message["reasoning_content"] = behaviour.thought
    rest: dict[str, Any] = {"choices": [{"index": 0, "message": message, "finish_reason": reason(behaviour, calls)}]}
    if behaviour.usage:
        rest["usage"] = usage(size, text, behaviour)
    return HEAD + json.dumps(request["model"]).encode() + b"," + json.dumps(rest, ensure_ascii=False).encode()[1:]


def stream_events(
    request: dict[str, Any], behaviour: Behaviour, text: str, calls: list[dict[str, Any]], *, size: int
) -> list[bytes]:
    """The events of a stream: text in pieces, each call's arguments in halves, the reason, the usage, the end."""
    head = CHUNK_HEAD + json.dumps(request["model"]).encode() + b","

    def event(**fields: Any) -> bytes:
        return head + json.dumps(fields, ensure_ascii=False).encode()[1:] + b"\n\n"

    def delta(finish_reason: str | None = None, **fields: Any) -> bytes:
        return event(choices=[{"index": 0, "delta": fields, "finish_reason": finish_reason}])

    step = behaviour.piece_chars
    thought = behaviour.thought
    events = [delta(reasoning_content=thought[start : start + step]) for start in range(0, len(thought), step)]
    events += [delta(content=text[start : start + step]) for start in range(0, len(text), step)]
    for index, call in enumerate(calls):
        arguments = call["function"]["arguments"]
        middle = len(arguments) // 2
        opening = {**call, "index": index, "function": {**call["function"], "arguments": arguments[:middle]}}
        events.append(delta(tool_calls=[opening]))
        events.append(delta(tool_calls=[{"index": index, "function": {"arguments": arguments[middle:]}}]))
    events.append(delta(reason(behaviour, calls)))
    if behaviour.usage and request.get("stream_options", {}).get("include_usage"):
        events.append(event(choices=[], usage=usage(size, text, behaviour)))
    return [*events, b"data: [DONE]\n\n"]


def reason(behaviour: Behaviour, calls: list[dict[str, Any]]) -> str:
    return behaviour.finish_reason or ("tool_calls" if calls else "stop")


def usage(size: int, text: str, behaviour: Behaviour) -> dict[str, Any]:
    """Counts a client can check: a token for each 5 bytes of request and each 3 characters of answer."""
    prompt, completion = size // 5, len(text) // 3
    counts: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
    if behaviour.cached_tokens:
        counts["prompt_tokens_details"] = {"cached_tokens": behaviour.cached_tokens}
    return counts | {"total_tokens": prompt + completion}
