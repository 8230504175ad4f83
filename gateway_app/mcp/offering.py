"""What of a server's tools the agent is offered, and how a call of one goes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway_app.agent.registry import Tool, ToolError
from gateway_app.config.schema.mcp import EVERYWHERE, McpServer
from gateway_app.sessions.source import SessionContext

from . import contents, schemas
from .connection import PATIENCE_SECONDS, Connection
from .naming import is_named, tool_name
from .problem import McpProblem

if TYPE_CHECKING:
    from mcp_types import Tool as Listed

log = logging.getLogger(__name__)

MOST_TOOLS = 64
"""Of one server; some models' servers refuse a request with more than 128 in all."""
LONGEST_DESCRIPTION = 1_500
LONGEST_ERROR = 4_000
"""Characters of a tool's own error."""
SLACK_SECONDS = 2.0
"""What a call may take beside connecting and its own time-out, before the agent gives it up from outside."""

Handler = Callable[..., Awaitable[str]]


def is_offered(server: McpServer, context: SessionContext) -> bool:
    """Whether the tools of `server` are for the chat of `context`."""
    places = {EVERYWHERE, context.platform, f"{context.platform}:{context.chat_id}"}
    return server.enabled and not places.isdisjoint(server.platforms)


def offered(connection: Connection, listed: Sequence[Listed]) -> tuple[Tool, ...]:
    """The tools of the server that may be offered at all, in its order."""
    server = connection.server
    found: dict[str, Tool] = {}
    for tool in listed:
        name = tool_name(server.slug, tool.name)
        if is_named(tool.name, server.tools) and not is_named(tool.name, server.exclude) and name not in found:
            found[name] = _tool(connection, tool, name=name)
    if len(found) > MOST_TOOLS:
        log.warning(
            "MCP server %s has %s tools; the first %s are offered. Choose with `tools` and `exclude`.",
            server.name, len(found), MOST_TOOLS,
        )  # fmt: skip
    return tuple(found.values())[:MOST_TOOLS]


def _tool(connection: Connection, tool: Listed, *, name: str) -> Tool:
    server = connection.server
    reads = tool.annotations is not None and tool.annotations.read_only_hint is True
    return Tool(
        name=name,
        description=_description(server, tool),
        parameters=schemas.offered(tool.input_schema),
        handler=partial(_called, connection, tool.name),
        is_repeatable=server.repeat_reads and reads,
        is_parallel=server.parallel,
        needs_approval=server.needs_approval,
        timeout_seconds=server.timeout + server.connect_timeout + PATIENCE_SECONDS + SLACK_SECONDS,
    )


def _description(server: McpServer, tool: Listed) -> str:
    text = tool.description or tool.title or ""
    clean = "".join(character if character.isprintable() or character == "\n" else " " for character in text).strip()
    short = clean if len(clean) <= LONGEST_DESCRIPTION else f"{clean[:LONGEST_DESCRIPTION]}…"
    return f"(A tool of the MCP server {server.name}.) {short or 'It is not described.'}"


async def _called(connection: Connection, tool: str, args: dict[str, Any], **kwargs: Any) -> str:
    """Calls `tool`. Whose turn it is the server does not learn: it is one and the same for everybody."""
    name = connection.server.name
    try:
        result = await connection.call(tool, args)
    except McpProblem as problem:
        log.warning("MCP server %s: a call of %.60r failed: %s.", name, tool, problem)
        raise ToolError(f"The MCP server {name}: {problem}. {problem.effect}") from None
    text = connection.masked(contents.as_text(result))
    if result.is_error:
        raise ToolError(f"The tool failed. The MCP server {name} says: {text[:LONGEST_ERROR]}")
    return f"{contents.FROM.format(name=name)}\n\n{text}"
