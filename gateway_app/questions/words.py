"""Plain words that decide about an approval, while one is asked for."""

from __future__ import annotations

LONGEST = 12
"""Characters; nothing longer is looked up."""
APPROVE = frozenset({"approve", "yes", "ok", "okay", "confirm", "y", "👍"})
DENY = frozenset({"deny", "no", "reject", "cancel", "n", "👎"})
SCOPES = frozenset({"session", "always"})


def decision(text: str) -> tuple[str, str]:
    """The command that a text stands for, and its argument; empty where it is no such word."""
    if len(text) > LONGEST * 2:
        return "", ""
    word = text.strip().strip(".!").casefold()
    if word in SCOPES:
        return "approve", word
    if word in APPROVE:
        return "approve", ""
    return ("deny", "") if word in DENY else ("", "")
