from __future__ import annotations

from gateway_app.config.kinds import Number, Whole, Words
from gateway_app.config.setting import Section, setting


class Tools(Section):
    key = "tools"
    heading = "Tools"

    timeout_seconds: Number = setting("HERMES_TOOL_TIMEOUT_SECONDS", 120, least=0.1)
    """Longest that one tool may run where it has no limit of its own; then it is stopped and the model is told."""
    parallel: Whole = setting("HERMES_TOOLS_PARALLEL", 8, least=1, most=64)
    """Tools that one turn runs at once, of those that only read; others run one after the other."""
    max_calls: Whole = setting("HERMES_TOOLS_MAX_CALLS", 32, least=1, most=1000)
    """Tools that one reply of the model may call; what is beyond is not run, and the model is told."""
    result_max_chars: Whole = setting("HERMES_TOOL_RESULT_MAX_CHARS", 20_000, least=500)
    """Longest result that the model gets whole; of a longer one it gets the two ends, and may look at the rest."""
    disabled: Words = setting("HERMES_TOOLS_DISABLED", (), is_live=True)
    """Tools that the agent may not call anywhere, by name; `mcp_time_*` is all that begin so."""
    web_fetch_private_hosts: Words = setting("HERMES_WEB_FETCH_PRIVATE_HOSTS", (), is_live=True)
    """Hosts of your own network, `name` or `name:port`, that the agent may fetch pages from. Everything that can be
    reached there is then shown to whoever may speak to it. All other private addresses are refused."""
