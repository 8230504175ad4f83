from __future__ import annotations

from typing import Annotated, Any, Literal

from gateway_app.config.kinds import Flag, HttpUrl, Number, Text, Whole, Word, Words
from gateway_app.config.mappings import Prices
from gateway_app.config.setting import Section, setting

OPENAI = "https://api.openai.com/v1"


def _base_url(values: dict[str, Any]) -> str:
    return OPENAI if values["api_key"] else ""


def _limit_field(values: dict[str, Any]) -> str:
    at_openai = str(values["base_url"]).startswith("https://api.openai.com/")
    return "max_completion_tokens" if at_openai else "max_tokens"


class Model(Section):
    key = "model"
    heading = "Model"

    api_key: Text = setting("OPENAI_API_KEY", is_secret=True)
    """Sent to the model's server as a bearer token; empty for servers that ask for none."""
    base_url: HttpUrl = setting(
        "OPENAI_BASE_URL",
        work_out=_base_url,
        default_words="`https://api.openai.com/v1` where there is a key, else none",
    )
    """The model server's address with its `/v1`: any that speaks `/chat/completions`. A key without one means
    OpenAI's."""
    name: Text = setting("HERMES_MODEL", "gpt-5-mini")
    """The model's name as its server knows it."""
    fallbacks: Words = setting("HERMES_MODEL_FALLBACKS", ())
    """Models tried in order when HERMES_MODEL fails in a way another model may not."""
    allowed: Words = setting("HERMES_MODEL_ALLOWED", (), is_live=True)
    """Further models that people may choose for their conversation with /model, by name."""
    auxiliary: Text = setting("HERMES_MODEL_AUXILIARY", is_live=True)
    """The model that sums up long conversations, and goes through those that are put aside: a small and quick one.
    Empty: the one that answers."""
    timeout_seconds: Number = setting("HERMES_MODEL_TIMEOUT_SECONDS", 120, least=0.1)
    """Longest silence of the model's server: to the first byte, and between two bytes of a stream."""
    connect_seconds: Number = setting("HERMES_MODEL_CONNECT_SECONDS", 10, least=0.1)
    """Longest wait for a connection; far shorter than the above, since a server that is there accepts at once."""
    retries: Whole = setting("HERMES_MODEL_RETRIES", 3, most=20)
    """Times one model is asked again after a failure that may pass; a time-out is repeated once at most."""
    backoff_seconds: Number = setting("HERMES_MODEL_BACKOFF_SECONDS", 0.5)
    """A retry waits at random between 0 and this, which doubles with each failure."""
    backoff_max_seconds: Number = setting("HERMES_MODEL_BACKOFF_MAX_SECONDS", 20)
    """The most that the above becomes."""
    retry_after_max_seconds: Number = setting("HERMES_MODEL_RETRY_AFTER_MAX_SECONDS", 60)
    """Longest Retry-After of the model's server that is waited out; beyond it the next model is asked."""
    reply_max_bytes: Whole = setting("HERMES_MODEL_REPLY_MAX_BYTES", 8 * 1024 * 1024, least=1024)
    """An answer larger than this on the wire is damaged or hostile; 4,096 streamed tokens take about 1 MB."""
    context_tokens: Whole = setting("HERMES_MODEL_CONTEXT_TOKENS", 32_000, least=512)
    """Prompt, tools, history, message and reply fit in this: the older part of a longer history is summed up, or left
    out."""
    max_output_tokens: Whole = setting("HERMES_MODEL_MAX_OUTPUT_TOKENS", 4_096, least=16)
    """Longest reply that the model is asked for; longer ones are cut off by its server."""
    limit_field: Annotated[Literal["max_tokens", "max_completion_tokens"], Word] = setting(
        "HERMES_MODEL_LIMIT_FIELD",
        work_out=_limit_field,
        default_words="`max_completion_tokens` at api.openai.com, else `max_tokens`",
    )
    """The request's name for the limit above: OpenAI's newer models refuse the old one, others know no other."""
    stream_usage: Flag = setting("HERMES_MODEL_STREAM_USAGE", True)
    """Asks for token counts at the end of a stream; off for old servers that refuse `stream_options`."""
    tools: Flag = setting("HERMES_MODEL_TOOLS", True)
    """Off for models that cannot call tools, such as the demonstration model."""
    prices: Prices = setting("HERMES_MODEL_PRICES", (), is_live=True)
    """What a million tokens cost, in a currency of your choice; turns of a model that is here record their cost.
    `cached` may be left out: then it is as `input`."""
    is_demonstration: Flag = setting("HERMES_DEMONSTRATION_MODEL", False)
    """Set by the all-in-one when it serves its own small model, so that pages can say so."""
    system_prompt: Text = setting(
        "HERMES_SYSTEM_PROMPT", "You are Hermes, a helpful assistant in a chat. Answer briefly and clearly."
    )
    """Who the agent is: the beginning of what the model is told before every conversation. A file SOUL.md in
    HERMES_HOME takes its place."""
