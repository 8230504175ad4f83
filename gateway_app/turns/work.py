"""What a turn does besides its reply, as people are shown it: which tools it calls, and what was said and thought
in between.

The same entries are made while the turn runs and, afterwards, from its journal. Arguments are cut, and what looks like
a secret is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway_app.agent.model_reply import ModelReply, ToolCall
from gateway_app.mcp.references import SECRET_NAME
from gateway_app.media import outgoing
from gateway_app.models.turn import StepKind

from .journal import Step

PREVIEW_CHARS = 40
"""Characters of a call's first argument on its line: enough to recognise it."""
VERBOSE_CHARS = 200
"""Characters of all arguments, where they are shown."""
SAID_CHARS = 500
THOUGHT_CHARS = 2_000
"""Characters of what was said and thought in between; of a thought the end is shown."""
MOST_ENTRIES = 40
"""The newest; a turn may make hundreds of calls."""
HIDDEN = "…"
"""In place of what looks like a secret."""
SECRET_VALUE = re.compile(
    rf"(?i)(?P<name>[\w-]*(?:{SECRET_NAME.pattern})[\w-]*[\"']?\s*[=:]\s*[\"']?(?:(?:bearer|basic)\s+)?|\bbearer\s+)"
    r"[^\s&\"',;]+|(?<=//)[^\s/@]+(?=@)|\bsk-[\w-]{8,}"
)
"""Within a text: `api_key=…`, `Authorization: …`, `https://user:password@…`."""
TELLING = ("query", "url", "command", "path", "message", "text", "name", "title", "action")
"""Arguments that tell the most of a call, the best first; without one it is the first that is text."""

Entry = dict[str, Any]
"""`kind` is `tool` (with `name`, `detail`, `state`, `count`), `said` or `thought` (with `text`)."""


@dataclass(slots=True)
class Call:
    """A line of its own: calls in a row that look the same share one, with a count."""

    name: str
    detail: str
    count: int = 1
    open: int = 0
    """Calls of the line that have no result yet."""
    is_failed: bool = False

    @property
    def entry(self) -> Entry:
        state = "running" if self.open else "failed" if self.is_failed else "done"
        return {"kind": "tool", "name": self.name, "detail": self.detail, "state": state, "count": self.count}

    def __str__(self) -> str:
        detail = f": {self.detail}" if self.detail else ""
        return f"⚙ {self.name}{detail}{f' (×{self.count})' if self.count > 1 else ''}"


class Work:
    """Collects it. `mode` says which calls count, as the setting `tool_progress` does."""

    def __init__(self, mode: str, *, shows_reasoning: bool = False) -> None:
        self._mode = mode
        self._shows_reasoning = shows_reasoning
        self._entries: list[Call | Entry] = []
        self._open: dict[str, Call] = {}
        self._thought: Entry | None = None

    @property
    def entries(self) -> list[Entry]:
        return [found.entry if isinstance(found, Call) else found for found in self._entries[-MOST_ENTRIES:]]

    @property
    def calls(self) -> list[Call]:
        return [found for found in self._entries if isinstance(found, Call)]

    def begin(self, call: ToolCall) -> bool:
        """Takes a call that begins; returns whether it is shown."""
        self._thought = None
        if self._mode == "off":
            return False
        if call.id in self._open:
            return True  # it began before, under a worker that has died or a turn that was parked
        last = self._entries[-1] if self._entries else None
        name, detail = call.name, self._detail(call)
        if not isinstance(last, Call) or last.name != name or (self._mode != "new" and last.detail != detail):
            last = Call(name, detail, count=0)
            self._entries.append(last)
        last.count += 1
        last.open += 1
        self._open[call.id] = last
        return True

    def end(self, call_id: str, *, content: str) -> bool:
        """Takes a call's result; returns whether the call is shown."""
        found = self._open.pop(call_id, None)
        if found is None:
            return False
        found.open -= 1
        found.is_failed |= content.startswith('{"error":')
        return True

    def say(self, text: str) -> None:
        """Takes what was said before calls."""
        said = outgoing.unasked(text).strip()
        if self._mode != "off" and said:
            self._entries.append({"kind": "said", "text": _cut(said, SAID_CHARS)})

    def think(self, text: str) -> bool:
        """Takes what the model thinks, all of it since it was asked; returns whether that is shown."""
        if not self._shows_reasoning or not text.strip():
            return False
        if self._thought is None:
            self._thought = {"kind": "thought", "text": ""}
            self._entries.append(self._thought)
        self._thought["text"] = text.strip()[-THOUGHT_CHARS:]
        return True

    def end_thought(self) -> None:
        """What is thought from here on is another thought."""
        self._thought = None

    def _detail(self, call: ToolCall) -> str:
        if self._mode == "new":
            return ""
        values = arguments_of(call)
        if self._mode == "verbose":
            return _cut(json.dumps(values, ensure_ascii=False), VERBOSE_CHARS) if values else ""
        texts = [values[name] for name in TELLING if isinstance(values.get(name), str)]
        texts += [value for value in values.values() if isinstance(value, str) and value != HIDDEN]
        return _cut(" ".join(texts[0].split()), PREVIEW_CHARS) if texts else ""


def of_journal(steps: Iterable[Step], *, mode: str, shows_reasoning: bool) -> Work:
    """The work that a journal tells of, up to its last reply that called tools."""
    work = Work(mode, shows_reasoning=shows_reasoning)
    for step in steps:
        if step.kind is StepKind.MODEL_REPLY:
            reply = ModelReply.from_json(step.payload)
            work.think(reply.thought)
            work.end_thought()
            if reply.tool_calls:
                work.say(reply.text)
            for call in reply.tool_calls:
                work.begin(call)
        elif step.kind is StepKind.TOOL_RESULT:
            work.end(step.payload["tool_call_id"], content=step.payload["content"])
    return work


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """The call's arguments without what looks like a secret; nothing where they cannot be read."""
    try:
        found = json.loads(call.arguments)
    except (ValueError, RecursionError):
        return {}
    return _without_secrets(found) if isinstance(found, dict) else {}


def _without_secrets(value: Any, *, depth: int = 0) -> Any:
    if depth > 4:
        return HIDDEN
    if isinstance(value, dict):
        return {
            name: HIDDEN if SECRET_NAME.search(name) else _without_secrets(inner, depth=depth + 1)
            for name, inner in value.items()
        }
    if isinstance(value, str):
        return SECRET_VALUE.sub(lambda found: f"{found['name'] or ''}{HIDDEN}", value)
    if isinstance(value, list):
        return [_without_secrets(inner, depth=depth + 1) for inner in value]
    return value


def lines(calls: Sequence[Call]) -> str:
    """The calls as a message of a chat."""
    return "\n".join(str(call) for call in calls[-MOST_ENTRIES:])


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
