from __future__ import annotations

from typing import Annotated, Literal

from gateway_app.config.kinds import Number, Word, Words
from gateway_app.config.setting import Section, setting


class Approvals(Section):
    """What the agent does only where a person says so."""

    key = "approvals"
    heading = "Approvals"

    mode: Annotated[Literal["manual", "off"], Word] = setting("HERMES_APPROVALS_MODE", "manual", is_live=True)
    """Off: nobody is asked, and tools that need an approval just run. What `deny` names is not run in either mode."""
    tools: Words = setting("HERMES_APPROVALS_TOOLS", (), is_live=True)
    """Tools that run only where the person approves the call, by name, beside those of MCP servers that need it;
    `mcp_shop_*` is all that begin so, and `*` all that there are."""
    deny: Words = setting("HERMES_APPROVALS_DENY", (), is_live=True)
    """Tools that are never run, whoever approves; named in the same way. They are not offered either."""
    timeout_seconds: Number = setting(
        "HERMES_APPROVALS_TIMEOUT_SECONDS", 1800, key="approvals.timeout", least=1, is_live=True
    )
    """How long a person has to approve a call; then it is not run. Nothing waits for them but their own conversation,
    and people look at their telephone every half hour rather than every minute."""
    clarify_timeout_seconds: Number = setting(
        "HERMES_CLARIFY_TIMEOUT_SECONDS", 1800, key="clarify.timeout", least=1, is_live=True
    )
    """How long a person has to answer a question of the agent's; then it goes on as it thinks best."""
