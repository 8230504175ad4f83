"""What the model peer accepts as a chat completion request: as strict as the strictest of the real servers."""

from __future__ import annotations

import json
import re
from typing import Any

REQUEST_FIELDS = {
    *("model", "messages", "tools", "tool_choice", "parallel_tool_calls", "stream", "stream_options", "max_tokens"),
    *("max_completion_tokens", "temperature", "top_p", "stop", "seed", "user", "metadata", "response_format"),
    "reasoning_effort",
}
MESSAGE_FIELDS = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "tool_calls", "refusal"},
    "tool": {"role", "content", "tool_call_id"},
}
PART_FIELDS = {"text": "text", "image_url": "image_url", "input_audio": "input_audio", "file": "file"}
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
RECALLED = re.compile(r"\s*<memory-context>.*?</memory-context>\s*", re.DOTALL)
SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


class BadRequest(Exception):
    """A request the peer refuses; becomes an error in OpenAI's shape."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}


def read_request(raw: bytes, *, content_type: str) -> dict[str, Any]:
    """The request in `raw`. Raises BadRequest."""
    if content_type != "application/json":
        raise BadRequest(f"Content-Type is {content_type!r}; allowed: application/json.")
    try:
        request = json.loads(raw.decode("utf-8"))
        if SURROGATE_ESCAPE.search(raw):
            json.dumps(request, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise BadRequest("The body holds a lone surrogate or is not UTF-8.") from None
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not JSON: {error}.") from None
    if not isinstance(request, dict):
        raise BadRequest("The body is not an object.")
    for name in request.keys() - REQUEST_FIELDS:
        raise BadRequest(f"Unrecognized request argument supplied: {name}", param=name)
    check_fields(request)
    check_tools(request)
    check_messages(request.get("messages"))
    return request


def check_fields(request: dict[str, Any]) -> None:
    if not isinstance(request.get("model"), str) or not request["model"]:
        raise BadRequest("you must provide a model parameter", param="model")
    for name in ("max_tokens", "max_completion_tokens"):
        if name in request and (type(request[name]) is not int or request[name] < 1):
            raise BadRequest(f"{name} is {request[name]!r}; allowed: a whole number of at least 1.", param=name)
    if not isinstance(request.get("stream", False), bool):
        raise BadRequest("stream must be a boolean.", param="stream")
    if "stream_options" in request and not request.get("stream"):
        raise BadRequest("stream_options is only allowed with stream.", param="stream_options")


def check_tools(request: dict[str, Any]) -> None:
    if "tools" not in request:
        return
    tools = request["tools"]
    if not isinstance(tools, list) or not tools:
        raise BadRequest("tools must be a list that is not empty.", param="tools")
    names = set()
    for place, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
        if not isinstance(function, dict) or not isinstance(function.get("parameters", {}), dict):
            raise BadRequest("a tool must be a function with parameters.", param=f"tools[{place}]")
        name = function.get("name")
        if not isinstance(name, str) or not TOOL_NAME.fullmatch(name) or name in names:
            raise BadRequest(f"tool name {name!r} is invalid or repeated.", param=f"tools[{place}].function.name")
        names.add(name)


def check_messages(messages: object) -> None:
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list that is not empty.", param="messages")
    awaited: set[str] = set()
    spoken = False
    for place, message in enumerate(messages):
        param = f"messages[{place}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role not in MESSAGE_FIELDS:
            raise BadRequest(f"role is {role!r}; allowed: {', '.join(MESSAGE_FIELDS)}.", param=f"{param}.role")
        for name in message.keys() - MESSAGE_FIELDS[role]:
            raise BadRequest(f"a {role} message has no {name}.", param=f"{param}.{name}")
        if role == "tool":
            if message.get("tool_call_id") not in awaited:
                raise BadRequest("a tool message must answer a tool call of the message before.", param=param)
            awaited.remove(message["tool_call_id"])
        elif awaited:
            raise BadRequest(f"tool calls without an answer: {', '.join(sorted(awaited))}.", param=param)
        if role in {"system", "developer"} and spoken:
            raise BadRequest("system messages must come first.", param=param)
        spoken = spoken or role not in {"system", "developer"}
        if role == "assistant" and message.get("tool_calls") is not None:
            awaited = check_calls(message["tool_calls"], param=param)
        check_content(message, param=param)
    if awaited:
        raise BadRequest(f"tool calls without an answer: {', '.join(sorted(awaited))}.", param="messages")
    if messages[-1]["role"] not in {"user", "tool"}:
        raise BadRequest("the last message must be a user's or a tool's.", param="messages")


def check_calls(calls: object, *, param: str) -> set[str]:
    """The ids of an assistant message's tool calls."""
    if not isinstance(calls, list) or not calls:
        raise BadRequest("tool_calls must be a list that is not empty.", param=param)
    ids: set[str] = set()
    for call in calls:
        function = call.get("function") if isinstance(call, dict) and call.get("type") == "function" else None
        if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
            raise BadRequest("a tool call must be a function with arguments as text.", param=param)
        name, identifier = function.get("name"), call.get("id")
        if not isinstance(name, str) or not TOOL_NAME.fullmatch(name):
            raise BadRequest(f"a tool call's name is {name!r}.", param=param)
        if not isinstance(identifier, str) or not identifier or identifier in ids:
            raise BadRequest(f"a tool call's id is {identifier!r}, which is invalid or repeated.", param=param)
        ids.add(identifier)
    return ids


def check_content(message: dict[str, Any], *, param: str) -> None:
    """A tool's result may be an empty text; an assistant may be silent beside tool calls; nobody else may."""
    content = message.get("content")
    if isinstance(content, str):
        if content or message["role"] == "tool" or message.get("tool_calls"):
            return
        raise BadRequest("content is empty.", param=f"{param}.content")
    if content is None and message["role"] == "assistant" and message.get("tool_calls"):
        return
    if not isinstance(content, list) or not content or message["role"] == "tool":
        raise BadRequest(f"content is a {type(content).__name__}; allowed: text.", param=f"{param}.content")
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in PART_FIELDS or not isinstance(part.get(PART_FIELDS[kind]), str if kind == "text" else dict):
            raise BadRequest(f"a content part of type {kind!r} is malformed.", param=f"{param}.content")


def last_user_text(request: dict[str, Any]) -> str:
    """The text of the last user message; empty where there is none. What was recalled for it is not what was said."""
    for message in reversed(request["messages"]):
        if message["role"] == "user":
            return RECALLED.sub("", text_of(message["content"]))
    return ""


def text_of(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")
