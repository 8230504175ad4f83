"""The forms of Honcho's calls, with the server's limits, and how a refused one is answered."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tests.peers.honcho.store import Refusal

ID = r"^[a-zA-Z0-9_-]+$"
METADATA_KEYS_MAX, METADATA_DEPTH_MAX = 100, 5
CONTENT_MAX, CONCLUSION_MAX, CONCLUSION_TOKENS_MAX = 25_000, 65_535, 8192
UPLOAD_MAX_BYTES = 5 * 1024 * 1024


def check_depth(metadata: dict[str, Any], depth: int = 1) -> None:
    if depth > METADATA_DEPTH_MAX:
        raise ValueError(f"Metadata nesting exceeds maximum depth of {METADATA_DEPTH_MAX}")
    for value in metadata.values():
        if isinstance(value, dict):
            check_depth(value, depth + 1)


def check_metadata(found: Any) -> Any:
    if isinstance(found, dict):
        if len(found) > METADATA_KEYS_MAX:
            raise ValueError(f"Metadata exceeds maximum of {METADATA_KEYS_MAX} top-level keys")
        check_depth(found)
    return found


def check_observers(peers: dict[str, Observation]) -> dict[str, Observation]:
    for name in peers:
        check_name(name)
    return peers


def check_name(name: str) -> str:
    if not 1 <= len(name) <= 512 or not re.fullmatch(ID, name):
        raise ValueError(f"Name must match pattern {ID} and have 1 to 512 characters")
    return name


def without_nul(text: str) -> str:
    return text.replace("\x00", "")


def in_utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


Id = Annotated[str, Field(min_length=1, max_length=512, pattern=ID)]
Name = Annotated[str, AfterValidator(check_name)]
Metadata = Annotated[dict[str, Any], BeforeValidator(check_metadata)]
Moment = Annotated[datetime | None, AfterValidator(in_utc)]
Settings = dict[str, Any]
"""A configuration. The server merges or replaces what it is given; it reads none of ours but the observation."""


class Form(BaseModel):
    """The server ignores what it does not know in a body."""


class Observation(Form):
    model_config = ConfigDict(extra="forbid")

    observe_me: bool | None = None
    observe_others: bool | None = None


Members = Annotated[dict[str, Observation], AfterValidator(check_observers)]


class WorkspaceForm(Form):
    id: Id
    metadata: Metadata | None = None
    configuration: Settings | None = None


class PeerForm(WorkspaceForm):
    pass


class SessionForm(WorkspaceForm):
    peers: Members | None = None


class UpdateForm(Form):
    metadata: Metadata | None = None
    configuration: Settings | None = None


class MessageForm(Form):
    content: Annotated[str, Field(max_length=CONTENT_MAX), AfterValidator(without_nul)]
    peer_id: Name
    metadata: Metadata | None = None
    configuration: Settings | None = None
    created_at: Moment = None


class MessagesForm(Form):
    messages: list[MessageForm] = Field(min_length=1, max_length=100)


class UploadForm(Form):
    peer_id: Name
    metadata: Metadata | None = None
    created_at: Moment = None


class MessageUpdateForm(Form):
    metadata: Metadata | None = None


class FiltersForm(Form):
    filters: dict[str, Any] | None = None


class SearchForm(FiltersForm):
    query: str
    limit: int = Field(default=10, ge=1, le=100)


class CardForm(Form):
    peer_card: list[Annotated[str, AfterValidator(without_nul)]]


class RepresentationForm(Form):
    session_id: str | None = None
    target: str | None = None
    search_query: str | None = None
    search_top_k: int | None = Field(default=None, ge=1, le=100)
    search_max_distance: float | None = Field(default=None, ge=0, le=1)
    max_conclusions: int | None = Field(default=25, ge=1, le=100)


class ChatForm(Form):
    query: str = Field(min_length=1, max_length=10_000)
    stream: bool = False
    target: str | None = None
    session_id: str | None = None
    reasoning_level: Literal["minimal", "low", "medium", "high", "max"] = "low"


def check_conclusion(content: str) -> str:
    if len(content) > CONCLUSION_TOKENS_MAX * 4:
        raise ValueError(f"Content exceeds the maximum of {CONCLUSION_TOKENS_MAX} tokens")
    return content


class ConclusionForm(Form):
    content: Annotated[
        str,
        Field(min_length=1, max_length=CONCLUSION_MAX),
        AfterValidator(without_nul),
        AfterValidator(check_conclusion),
    ]
    observer_id: str
    observed_id: str
    session_id: str | None = None


class ConclusionsForm(Form):
    conclusions: list[ConclusionForm] = Field(min_length=1, max_length=100)


class ConclusionQueryForm(FiltersForm):
    query: str
    top_k: int = Field(default=10, ge=1, le=100)
    distance: float | None = Field(default=None, ge=0, le=1)


class PageQuery(Form):
    page: int = Field(default=1, ge=1)
    size: int = Field(default=50, ge=1, le=100)
    reverse: bool = False


class TargetQuery(Form):
    target: str | None = None


class ContextQuery(Form):
    summary: bool = True
    tokens: int | None = Field(default=None, ge=0, le=100_000)
    limit_to_session: bool = False
    peer_target: str | None = None
    peer_perspective: str | None = None
    search_query: str | None = None
    search_top_k: int | None = Field(default=None, ge=1, le=100)
    search_max_distance: float | None = Field(default=None, ge=0, le=1)
    include_most_frequent: bool = False
    max_conclusions: int | None = Field(default=None, ge=1, le=100)


class PeerContextQuery(TargetQuery):
    search_query: str | None = None
    search_top_k: int | None = Field(default=None, ge=1, le=100)
    max_conclusions: int | None = Field(default=None, ge=1, le=100)


class QueueQuery(Form):
    observer_id: str | None = None
    sender_id: str | None = None
    session_id: str | None = None


Read = TypeVar("Read", bound=BaseModel)


def read(form: type[Read], found: Any, *, where: str = "body") -> Read:
    """Raises Refusal, with the whole input in it as the real server's has it."""
    try:
        return form.model_validate(found)
    except ValidationError as error:
        raise refused(error, where=where) from None


def refused(error: ValidationError, *, where: str) -> Refusal:
    details = []
    for each in error.errors(include_url=False):
        detail = {**each, "loc": [where, *each["loc"]]}
        if "ctx" in detail:
            detail["ctx"] = {name: {} if isinstance(value, Exception) else value for name, value in each["ctx"].items()}
        details.append(detail)
    return Refusal(details, status=422)
