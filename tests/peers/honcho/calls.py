"""What a call is to the Honcho peer, and which there are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from tests.peers.honcho.forms import PageQuery, Read, read

NAMES = {"session_id": "sessions", "peer_id": "peers", "target": "peers", "peer_target": "peers"}
NAMES |= {"peer_perspective": "peers", "observer_id": "peers", "observed_id": "peers", "sender_id": "peers"}

W = "/v3/workspaces/{workspace}"
S, P, C = f"{W}/sessions", f"{W}/peers", f"{W}/conclusions"
ROUTES = {
    "POST /v3/workspaces": "get_or_create_workspace",
    "POST /v3/workspaces/list": "list_workspaces",
    f"PUT {W}": "update_workspace",
    f"DELETE {W}": "delete_workspace",
    f"POST {W}/search": "search",
    f"GET {W}/queue/status": "queue_status",
    f"POST {P}": "get_or_create_peer",
    f"POST {P}/list": "list_peers",
    f"PUT {P}/{{peer}}": "update_peer",
    f"POST {P}/{{peer}}/sessions": "list_peer_sessions",
    f"POST {P}/{{peer}}/search": "search_peer",
    f"GET {P}/{{peer}}/card": "get_card",
    f"PUT {P}/{{peer}}/card": "set_card",
    f"GET {P}/{{peer}}/context": "peer_context",
    f"POST {P}/{{peer}}/representation": "representation",
    f"POST {P}/{{peer}}/chat": "chat",
    f"POST {S}": "get_or_create_session",
    f"POST {S}/list": "list_sessions",
    f"PUT {S}/{{session}}": "update_session",
    f"DELETE {S}/{{session}}": "delete_session",
    f"POST {S}/{{session}}/search": "search_session",
    f"GET {S}/{{session}}/context": "context",
    f"GET {S}/{{session}}/summaries": "summaries",
    f"GET {S}/{{session}}/peers": "list_members",
    f"POST {S}/{{session}}/peers": "add_members",
    f"PUT {S}/{{session}}/peers": "set_members",
    f"DELETE {S}/{{session}}/peers": "remove_members",
    f"GET {S}/{{session}}/peers/{{peer}}/config": "get_member_config",
    f"PUT {S}/{{session}}/peers/{{peer}}/config": "set_member_config",
    f"POST {S}/{{session}}/messages": "create_messages",
    f"POST {S}/{{session}}/messages/list": "list_messages",
    f"POST {S}/{{session}}/messages/upload": "upload",
    f"GET {S}/{{session}}/messages/{{message}}": "get_message",
    f"PUT {S}/{{session}}/messages/{{message}}": "update_message",
    f"POST {C}": "create_conclusions",
    f"POST {C}/list": "list_conclusions",
    f"POST {C}/query": "query_conclusions",
    f"DELETE {C}/{{conclusion}}": "delete_conclusion",
}


def pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))


TABLE = [(*route.split(" "), operation) for route, operation in ROUTES.items()]
COMPILED = [(method, pattern(path), operation) for method, path, operation in TABLE]
OPERATIONS = tuple(ROUTES.values())


@dataclass(slots=True)
class Call:
    """A request as far as it was understood. `params` are the names in its path."""

    operation: str
    params: dict[str, str]
    query: dict[str, str]
    body: Any = None
    form: dict[str, Any] = field(default_factory=dict)

    def read(self, form: type[Read]) -> Read:
        return read(form, {} if self.body is None and not required(form) else self.body)

    def read_query(self, form: type[Read]) -> Read:
        return read(form, self.query, where="query")

    @property
    def workspace(self) -> str:
        return self.params.get("workspace", "")

    def named(self) -> dict[str, list[str]]:
        """The sessions and peers that it names in its path, its query or its body, each once."""
        found: dict[str, list[str]] = {"sessions": [], "peers": []}
        for kind in ("session", "peer"):
            if kind in self.params:
                found[f"{kind}s"].append(self.params[kind])
        collect(self.query, found)
        collect(self.body, found)
        collect(self.form, found)
        if self.operation == "get_or_create_session" and isinstance(self.body, dict):
            found["sessions"].append(str(self.body.get("id")))
        if self.operation == "get_or_create_peer" and isinstance(self.body, dict):
            found["peers"].append(str(self.body.get("id")))
        if self.operation in ("add_members", "set_members", "remove_members") and self.body:
            found["peers"].extend(map(str, self.body))
        return {kind: list(dict.fromkeys(names)) for kind, names in found.items()}


def required(form: type[BaseModel]) -> bool:
    return any(each.is_required() for each in form.model_fields.values())


def collect(value: Any, found: dict[str, list[str]]) -> None:
    if isinstance(value, list):
        for each in value:
            collect(each, found)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key in NAMES and isinstance(inner, str):
                found[NAMES[key]].append(inner)
            elif key == "peers" and isinstance(inner, dict):
                found["peers"].extend(inner)
            elif key != "metadata":
                collect(inner, found)


@dataclass(slots=True)
class Answer:
    """`events`, where it is given, are sent one by one, as of a chat that streams."""

    body: Any = None
    status: int = 200
    events: list[Any] | None = None


def find(method: str, path: str) -> tuple[str, dict[str, str], set[str]]:
    """The operation ("" where there is none) with the names in its path, and the methods that its path has."""
    methods: set[str] = set()
    for wanted, regex, operation in COMPILED:
        match = regex.fullmatch(path)
        if match is None:
            continue
        if wanted == method:
            return operation, match.groupdict(), set()
        methods.add(wanted)
    return "", {}, methods


def page(rows: Iterable[Any], call: Call) -> Answer:
    """One page of them, the last first where the query says `reverse`."""
    query = call.read_query(PageQuery)
    found = list(rows)
    if query.reverse:
        found.reverse()
    start = (query.page - 1) * query.size
    items = [row.as_json() for row in found[start : start + query.size]]
    pages = -(-len(found) // query.size)
    return Answer({"items": items, "total": len(found), "page": query.page, "size": query.size, "pages": pages})
