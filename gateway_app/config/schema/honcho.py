from __future__ import annotations

from gateway_app.config.kinds import Flag, HttpUrl, Number, Text, Whole
from gateway_app.config.setting import Section, setting


class Honcho(Section):
    key = "honcho"
    heading = "Honcho (memory)"

    base_url: HttpUrl = setting("HONCHO_BASE_URL", is_live=True)
    """The Honcho server, without `/v3`. Empty: memory is off, unless `honcho.json` says where a server is. No other is
    ever asked: text of people goes nowhere by omission."""
    api_key: Text = setting("HONCHO_API_KEY", is_secret=True, is_live=True)
    """The server's key for the whole workspace; a server without authentication needs none."""
    workspace: Text = setting("HONCHO_WORKSPACE", "hermes", is_live=True)
    """The workspace that holds all memory. Who shares one is kept apart by the gateway, who does not by the server."""
    host: Text = setting("HONCHO_HOST", "hermes", is_live=True)
    """Whose block under `hosts` in `honcho.json` is meant."""
    shared_file: Text = setting("HONCHO_CONFIG_FILE", "~/.honcho/config.json", is_live=True)
    """Read in the place of `honcho.json` where HERMES_HOME has none: the file that Honcho's tools share."""
    read_timeout_seconds: Number = setting("HERMES_HONCHO_READ_TIMEOUT_SECONDS", 3, least=0.1, most=60, is_live=True)
    """Longest that a call which only reads may take."""
    write_timeout_seconds: Number = setting(
        "HERMES_HONCHO_WRITE_TIMEOUT_SECONDS", 10, least=0.1, most=120, is_live=True
    )
    """Longest that a call which writes may take. The server may need 5 s for a lock alone."""
    reasoning: Flag = setting("HERMES_HONCHO_REASONING", False, is_live=True)
    """The agent may ask Honcho's own model about a person (`honcho_reasoning`). Each call takes many seconds, and costs
    what the server pays for its model."""
    reasoning_timeout_seconds: Number = setting(
        "HERMES_HONCHO_REASONING_TIMEOUT_SECONDS", 60, least=1, most=600, is_live=True
    )
    """Longest that Honcho's own model may think about a question (`honcho_reasoning`)."""
    retry_after_max_seconds: Number = setting("HERMES_HONCHO_RETRY_AFTER_MAX_SECONDS", 60, least=1, is_live=True)
    """Longest wait that a busy server's `Retry-After` is obeyed for."""
    read_threads: Whole = setting("HERMES_HONCHO_READ_THREADS", 16, least=1, most=100)
    """Calls that read at once, in one process. More wait, within their time limit."""
    write_threads: Whole = setting("HERMES_HONCHO_WRITE_THREADS", 4, least=1, most=100)
    """Calls that write at once, in one process; apart from those that read, so that a backlog keeps nobody waiting."""
    write_settle_seconds: Number = setting("HERMES_HONCHO_WRITE_SETTLE_SECONDS", 30, least=0.05, is_live=True)
    """How long a request to write whose answer did not come may still be carried out by the server. What it has of the
    messages is looked up after that, before they are sent again; sooner, a slow server would have them twice."""
    write_backoff_seconds: Number = setting("HERMES_HONCHO_WRITE_BACKOFF_SECONDS", 2, least=0.01, is_live=True)
    """The wait after a failure to write, which doubles with each further one, with jitter."""
    write_backoff_max_seconds: Number = setting("HERMES_HONCHO_WRITE_BACKOFF_MAX_SECONDS", 60, least=0.1, is_live=True)
    """The longest that this wait becomes. However long a server is away nothing is given up: it waits in the
    database."""
    write_keep_days: Number = setting("HERMES_HONCHO_WRITE_KEEP_DAYS", 7, least=0.01, is_live=True)
    """How long a message that was written is kept here too, for operators to see what became of it."""
    managers: Whole = setting("HERMES_HONCHO_MANAGERS", 500, least=1, is_live=True)
    """Sessions whose Honcho objects a process keeps at hand; beyond it the least recently used are let go."""
    manager_idle_seconds: Number = setting("HERMES_HONCHO_MANAGER_IDLE_SECONDS", 1800, least=1, is_live=True)
    """After so long without a call they are let go as well."""
