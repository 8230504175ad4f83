"""The public web, and nothing else: which addresses the agent may reach, and a connection that reaches no other.

A name is resolved once for each connection. What it resolves to is judged, and that very address is connected to: a
name that says one thing when it is asked and another when it is used gains nothing. The last look is at the address
that a socket is opened for, whatever led there.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection
from typing import Any

import aiohttp
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from .tool_error import ToolError

PORTS = frozenset({80, 443, 8080, 8443})
"""Where the web is served; behind other ports are mail servers, databases and such, which a URL must not speak to."""
LONGEST_URL = 2_000
NUMERIC = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)\.?")
"""The last part of a host that the system's resolver takes for an address: also `2130706433`, `127.1` and `0x7f.1`."""

GLOBAL_V6 = ipaddress.ip_network("2000::/3")
"""All that is routed of IPv6. Local, multicast, mapped and translated addresses are outside of it."""
REFUSED = [
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's host, public by its number
        "192.0.0.0/24",  # protocol assignments; clouds serve their metadata there
        "192.88.99.0/24",  # 6to4 relays
        "2001::/23",  # protocol assignments, Teredo among them
        "2002::/16",  # 6to4: leads to any IPv4 address
        "3fff::/20",  # documentation
    )
]


def checked(text: str | URL) -> URL:
    """A URL that may be fetched as far as it can be judged by itself. Raises `ToolError`."""
    try:
        url = URL(text) if isinstance(text, str) else text
        host, port = url.host or "", url.port
    except ValueError:
        raise ToolError("This is no URL.") from None
    if len(str(url)) > LONGEST_URL:
        raise ToolError(f"The URL has {len(str(url)):,} characters; allowed: {LONGEST_URL:,}.")
    if url.scheme not in ("http", "https") or not host or port is None:
        raise ToolError("Only http:// and https:// addresses can be fetched.")
    if url.user is not None or url.password is not None:
        raise ToolError("A URL with a user name or a password in it is not fetched.")
    return url.with_fragment(None)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet's."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if any(found.version == network.version and found in network for network in REFUSED):
        return False
    if isinstance(found, ipaddress.IPv6Address):
        # Also ::ffff:10.0.0.1 and 64:ff9b::a00:1, which are IPv4 addresses in disguise, are outside.
        return found in GLOBAL_V6 and found.is_global
    return found.is_global and not found.is_multicast and not found.is_reserved


class Guard:
    """Lets the connections of one request through to public addresses alone.

    `private_hosts` are hosts, `name` or `name:port`, that may be anywhere, on any port.
    """

    def __init__(self, url: URL, *, private_hosts: Collection[str]) -> None:
        """Raises `ToolError` for a port or a host that is refused before anything is asked."""
        host, port = (url.host or "").lower(), url.port
        self.has_refused = False
        named = {name.lower() for name in private_hosts}
        self._lets_all = host in named or f"{host}:{port}" in named
        if self._lets_all:
            return
        if port not in PORTS:
            raise ToolError(f"Port {port} is not fetched from; allowed: {', '.join(map(str, sorted(PORTS)))}.")
        if ":" not in host and NUMERIC.fullmatch(host.rpartition(".")[2] or host) and not _is_plain_v4(host):
            raise ToolError("An address that is written in an unusual way is not fetched.")

    def connector(self) -> aiohttp.TCPConnector:
        """For one session and one request; nothing of it is used again."""
        return aiohttp.TCPConnector(
            resolver=_Resolver(self), socket_factory=self._open, use_dns_cache=False, force_close=True
        )

    def lets(self, address: str) -> bool:
        """Whether this address may be connected to; remembers where one may not."""
        is_fine = self._lets_all or is_public(address)
        self.has_refused = self.has_refused or not is_fine
        return is_fine

    def _open(self, address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, where = address
        if not self.lets(str(where[0])):
            raise OSError("refused")
        return socket.socket(family=family, type=kind, proto=protocol)


class _Resolver(ThreadedResolver):
    """The system's, in a thread; keeps to itself what the guard does not let through."""

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        if not all(self._guard.lets(entry["host"]) for entry in found):
            # One private address among public ones is a trick, or a mistake; neither is to be picked from.
            raise OSError("refused")
        return found


def _is_plain_v4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
