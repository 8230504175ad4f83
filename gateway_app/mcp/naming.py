"""The names under which the agent knows the tools of MCP servers: `mcp_<server>_<tool>`.

A name follows from the server's and the tool's alone, not from what else is connected, since a turn may be gone on with
in another process. No tool of the gateway begins so, and no server's name has a `_` here, so nobody can take the name
of another's tool.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

PREFIX = "mcp_"
LONGEST = 64
"""Characters of a function's name that models' servers take."""
NOT_TAKEN = re.compile(r"[^A-Za-z0-9_-]")


def tool_name(slug: str, tool: str) -> str:
    """The name of `tool` of the server `slug`; one that had to be changed ends with a hash of what it was."""
    clean = NOT_TAKEN.sub("_", tool)
    room = LONGEST - len(PREFIX) - len(slug) - 1
    if clean != tool or not clean or len(clean) > room:
        clean = f"{clean[: room - 9]}_{hashlib.sha256(tool.encode()).hexdigest()[:8]}"
    return f"{PREFIX}{slug}_{clean}"


def is_named(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of `patterns` is `name`, or a beginning of it with `*` after it."""
    return any(name.startswith(each[:-1]) if each.endswith("*") else name == each for each in patterns)
