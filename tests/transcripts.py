"""Checks that a list of messages is one that every OpenAI-compatible server takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def faults(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """What strict servers refuse: a call without its one result right behind it, a result without its call, people or
    agents that speak twice in a row, an end without the agent's word. What a person says behind a tool's result, while
    the agent works, is in its place."""
    found: list[str] = []
    open_calls: list[str] = []
    before = "assistant"
    for number, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            if message["tool_call_id"] in open_calls:
                open_calls.remove(message["tool_call_id"])
            else:
                found.append(f"message {number} is a result without an open call")
        elif open_calls:
            found.append(f"message {number} comes before the results of {open_calls}")
        elif role == before:
            found.append(f"message {number} is another one of {role}")
        if role == "assistant":
            open_calls = [call["id"] for call in message.get("tool_calls") or ()]
        before = role
    if open_calls:
        found.append(f"no results of {open_calls}")
    if messages and before != "assistant":
        found.append(f"it ends with {before}")
    return found
