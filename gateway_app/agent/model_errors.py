"""What can go wrong with a model call, how each is answered, and what the person in the chat is told."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

DETAIL_MAX_CHARS = 300
"""A server's own words are quoted up to here: enough to act on, too little to fill a log."""

EVERY_TIME = sys.maxsize


class ModelErrorKind(StrEnum):
    BAD_REQUEST = "bad_request"
    AUTHENTICATION = "authentication"
    QUOTA = "quota"
    NOT_FOUND = "not_found"
    UNSUPPORTED = "unsupported"
    CONTEXT_TOO_LONG = "context_too_long"
    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"
    SERVER = "server"
    CONNECTION = "connection"
    TIMEOUT = "timeout"
    INVALID_REPLY = "invalid_reply"
    EMPTY_REPLY = "empty_reply"


@dataclass(frozen=True, slots=True)
class Remedy:
    """The answer to one kind of error."""

    retries: int
    """Times the same model is asked again at most; the configuration may allow fewer."""
    next_model: bool
    """Whether another model of the same server may do better."""
    explanation: str


REMEDIES: Mapping[ModelErrorKind, Remedy] = {
    ModelErrorKind.BAD_REQUEST: Remedy(
        0,
        False,
        "The language model did not accept this request. Rephrasing it, or starting a new conversation, may help.",
    ),
    ModelErrorKind.AUTHENTICATION: Remedy(
        0,
        False,
        "The language model refused this gateway's credentials. Only the person who runs the gateway can fix that.",
    ),
    ModelErrorKind.QUOTA: Remedy(
        0,
        True,
        "The gateway's account with the language model is used up. Only the person who runs the gateway can fix that.",
    ),
    ModelErrorKind.NOT_FOUND: Remedy(
        0, True, "The configured language model was not found. Only the person who runs the gateway can fix that."
    ),
    ModelErrorKind.UNSUPPORTED: Remedy(
        0,
        True,
        "The configured language model cannot do what this takes. Only the person who runs the gateway can fix that.",
    ),
    ModelErrorKind.CONTEXT_TOO_LONG: Remedy(
        0, True, "This conversation has become too long for the language model. Please start a new one."
    ),
    ModelErrorKind.REFUSED: Remedy(
        0, False, "The language model's provider declined to answer this under its content rules."
    ),
    ModelErrorKind.RATE_LIMITED: Remedy(
        EVERY_TIME, True, "The language model is receiving too many requests at the moment."
    ),
    ModelErrorKind.SERVER: Remedy(
        EVERY_TIME, True, "The language model's server reported an error. Please try again later."
    ),
    # Every model of the list is behind the one address that could not be reached.
    ModelErrorKind.CONNECTION: Remedy(
        EVERY_TIME, False, "The language model's server could not be reached. Please try again later."
    ),
    # Each further try may cost the whole timeout again, and a person is waiting.
    ModelErrorKind.TIMEOUT: Remedy(1, True, "The language model did not answer in time. Please try again later."),
    ModelErrorKind.INVALID_REPLY: Remedy(
        EVERY_TIME, True, "The language model's answer was damaged or incomplete. Please try again."
    ),
    ModelErrorKind.EMPTY_REPLY: Remedy(EVERY_TIME, True, "The language model gave an empty answer. Please try again."),
}


class ModelError(Exception):
    """A model call that failed.

    `status` is the HTTP status where there was one. `detail` is for the log: bounded, one line, without
    the key. `retry_after` is the wait in seconds the server asked for. `explanation` is for the chat.
    """

    def __init__(
        self,
        kind: ModelErrorKind,
        detail: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail[:DETAIL_MAX_CHARS]
        self.status = status
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.kind} ({self.status}): {self.detail}" if self.status else f"{self.kind}: {self.detail}"

    @property
    def remedy(self) -> Remedy:
        return REMEDIES[self.kind]

    @property
    def explanation(self) -> str:
        if self.kind is not ModelErrorKind.RATE_LIMITED:
            return self.remedy.explanation
        return f"{self.remedy.explanation} Please try again {spoken_wait(self.retry_after)}."


def spoken_wait(seconds: float | None) -> str:
    if seconds is None:
        return "in a few minutes"
    if seconds < 90:
        return f"in {max(1, round(seconds))} seconds"
    return f"in about {round(seconds / 60)} minutes" if seconds < 90 * 60 else f"in about {round(seconds / 3600)} hours"


def error_from_answer(status: int, body: bytes, *, api_key: str = "", retry_after: float | None = None) -> ModelError:
    """The error behind an HTTP answer that is not a success; `body` may be anything."""
    return error_from_report(status, read_report(body), api_key=api_key, retry_after=retry_after)


def error_in_reply(report: object, *, api_key: str = "") -> ModelError:
    """The error that some servers report inside a reply or stream whose HTTP status was 200."""
    fields = report if isinstance(report, dict) else {"message": str(report)}
    code = fields.get("code")
    return error_from_report(code if isinstance(code, int) and 400 <= code <= 599 else 502, fields, api_key=api_key)


def error_from_report(
    status: int, report: Mapping[str, Any], *, api_key: str = "", retry_after: float | None = None
) -> ModelError:
    message = safe_detail(str(report.get("message") or "no reason given"), api_key=api_key)
    return ModelError(error_kind(status, report, message), message, status=status, retry_after=retry_after)


def read_report(body: bytes) -> Mapping[str, Any]:
    """The error object in `body`: OpenAI's shape, the usual deviations from it, or else its plain text as message."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {"message": body[:1000].decode("utf-8", "replace")}
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict):
        inner = value.get("error", value)
        if isinstance(inner, dict):
            return {**inner, "message": inner.get("message") or inner.get("detail")}
        return {"message": inner}
    return {"message": value}


CONTEXT_WORDS = re.compile(
    r"context.?(length|window|size)|maximum context|prompt is too long|too many tokens|reduce the length", re.IGNORECASE
)
UNSUPPORTED_WORDS = re.compile(r"unsupported|not support", re.IGNORECASE)
QUOTA_WORDS = re.compile(r"insufficient_quota|billing|credit", re.IGNORECASE)


def error_kind(status: int, report: Mapping[str, Any], message: str) -> ModelErrorKind:
    """What an error is: decided by its code where servers agree on one, by its words where they do not."""
    code = f"{report.get('code')} {report.get('type')}".lower()
    refers_to_model = report.get("param") == "model" or re.search(r"model_not|invalid_model|unknown_model", code)
    if status in {400, 413, 422, 500} and (CONTEXT_WORDS.search(code) or CONTEXT_WORDS.search(message)):
        return ModelErrorKind.CONTEXT_TOO_LONG
    if status in {400, 403, 422} and refers_to_model:
        return ModelErrorKind.NOT_FOUND
    if status in {400, 403} and re.search(r"content_(filter|policy)", code):
        return ModelErrorKind.REFUSED
    if status in {400, 422} and (UNSUPPORTED_WORDS.search(code) or UNSUPPORTED_WORDS.search(message)):
        return ModelErrorKind.UNSUPPORTED
    if status == 402 or (status == 429 and QUOTA_WORDS.search(code)):
        return ModelErrorKind.QUOTA
    return kind_of_status(status)


def kind_of_status(status: int) -> ModelErrorKind:
    match status:
        case 401 | 403 | 407:
            return ModelErrorKind.AUTHENTICATION
        case 404 | 405 | 410:
            return ModelErrorKind.NOT_FOUND
        case 413:
            return ModelErrorKind.CONTEXT_TOO_LONG
        case 429:
            return ModelErrorKind.RATE_LIMITED
        case 408 | 409 | 425:
            return ModelErrorKind.SERVER
        case _ if status < 400:
            # A redirect is not followed: it would carry the key and the conversation to another address.
            return ModelErrorKind.NOT_FOUND
        case _:
            return ModelErrorKind.SERVER if status >= 500 else ModelErrorKind.BAD_REQUEST


KEY_SHAPES = re.compile(r"(?i)\bbearer\s+\S+|\b(?:sk|pk|rk|gsk|xai|key)[-_][\w*.\-]{6,}")


def safe_detail(text: str, *, api_key: str = "") -> str:
    """`text` on one line, bounded, with the key and whatever looks like one taken out."""
    if api_key:
        text = text.replace(api_key, "[key]")
    text = KEY_SHAPES.sub("[key]", text)
    line = " ".join("".join(character if character.isprintable() else " " for character in text[:4000]).split())
    return line if len(line) <= DETAIL_MAX_CHARS else line[: DETAIL_MAX_CHARS - 1] + "…"


def retry_after_seconds(value: str | None, *, now: float) -> float | None:
    """Seconds from `now` (Unix time) to what a Retry-After header names, as seconds or HTTP-date; None if nothing."""
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value.strip()):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)
