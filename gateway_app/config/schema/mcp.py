from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from gateway_app.config import addresses
from gateway_app.config.entries import Arguments, Entry, Secrets, reader
from gateway_app.config.errors import Wrong
from gateway_app.config.kinds import Flag, Kind, Number, Text, Words
from gateway_app.config.setting import Section, setting

from .platforms import PLATFORMS

EVERYWHERE = "*"
SERVERS_WORDS = "mapping of names to `{command: …}` or `{url: …}`"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,23}")
"""The name is part of its tools' names, for which models take 64 characters at the most."""
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""Headers that the client has to write itself."""


def _read_name(value: Any) -> str:
    if not NAME.fullmatch(str(value)):
        raise Wrong("names of at most 24 letters, digits, - and _, with a letter or a digit first")
    return str(value)


def _read_endpoint(value: Any) -> str:
    addresses.read_url(value, schemes=("http", "https"))
    return str(value).strip()


def _read_places(value: tuple[str, ...]) -> tuple[str, ...]:
    for place in value:
        platform, _, chat = place.partition(":")
        if place != EVERYWHERE and (platform not in PLATFORMS or (":" in place and not chat)):
            raise Wrong(f"* or {', '.join(PLATFORMS)}, also with the id of one chat, as telegram:-100123")
    return value


class McpServer(Entry):
    """One server. `${NAME}` in `args`, `env`, `url` and `headers` stands for the variable `NAME` of the gateway's
    environment or `.env`, and `${file:/path}` for what a file holds.
    """

    name: Annotated[str, Kind("text", _read_name)]
    command: Text = ""
    """The program of a server that speaks over its standard input and output; each worker process starts its own.
    Either this or `url`."""
    args: Arguments = ()
    """The program's arguments."""
    env: Secrets = Field(default_factory=dict)
    """The program's environment. Of the gateway's own it gets only PATH, HOME, the language and the time zone."""
    cwd: Text = ""
    """The folder it runs in; empty: HERMES_HOME."""
    url: Annotated[str, Kind("URL, `http://`, `https://`", _read_endpoint)] = ""
    """The address of a server that speaks streamable HTTP."""
    headers: Secrets = Field(default_factory=dict)
    """Sent with each request, for example `{Authorization: "Bearer ${GITHUB_TOKEN}"}`."""
    enabled: Flag = True
    """Off: the server is not started, and nothing of it is offered."""
    tools: Words = (EVERYWHERE,)
    """Its tools that may be offered, by the names that it gives them; `*` is all, `get_*` all that begin so."""
    exclude: Words = ()
    """Its tools that are not offered whatever `tools` says, named in the same way."""
    platforms: Annotated[Words, AfterValidator(_read_places)] = (EVERYWHERE,)
    """Where its tools are offered: platforms, single chats as `telegram:-100123`, or `*` for everywhere."""
    timeout: Number = Field(60, ge=0.1, le=3600)
    """Longest that one call may take, in seconds."""
    connect_timeout: Number = Field(30, ge=0.1, le=600)
    """Longest that the server may take to start and to name its tools, in seconds."""
    parallel: Flag = False
    """Calls of one reply run at once; otherwise one after the other."""
    repeat_reads: Flag = False
    """Calls of tools that the server marks as reading only may be made again after a crash. The mark is only the
    server's word."""
    needs_approval: Flag = False
    """Its tools run only where the person approves the call."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.command) == bool(self.url):
            raise Wrong("either command or url")
        if self.command and self.headers:
            raise Wrong("headers only beside url")
        if self.url and (self.args or self.env or self.cwd):
            raise Wrong("args, env and cwd only beside command")
        if not all(VARIABLE.fullmatch(name) for name in self.env):
            raise Wrong("in env names of letters, digits and _")
        if not all(HEADER.fullmatch(name) and name.lower() not in OWN_HEADERS for name in self.headers):
            raise Wrong(f"in headers names of HTTP headers, but for {', '.join(sorted(OWN_HEADERS))}")
        return self

    @property
    def summary(self) -> str:
        how = "command" if self.command else addresses.shown(self.url)
        return f"{self.name} ({how}{'' if self.enabled else ', off'})"

    @property
    def slug(self) -> str:
        """The name as it stands in its tools' names: without `_`, which ends it there."""
        return self.name.replace("_", "-")


_read_servers = reader(McpServer, words=SERVERS_WORDS)


def _read_distinct(value: Any) -> tuple[McpServer, ...]:
    found = _read_servers(value)
    if len({server.slug.lower() for server in found}) < len(found):
        raise Wrong("names that differ in more than capitals, - and _", found="two servers of one name")
    return found


Servers = Annotated[tuple[McpServer, ...], Kind(SERVERS_WORDS, _read_distinct)]


class Mcp(Section):
    heading = "MCP servers"

    servers: Servers = setting("HERMES_MCP_SERVERS", (), key="mcp_servers", is_secret=True, is_live=True)
    """Servers whose tools the agent may call, by names of your choice."""
