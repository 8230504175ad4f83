"""The contract between the pipeline and a platform. A platform is a folder here with an `adapter.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from gateway_app.media.attachment import Attachment, Kind, MediaProblem
from gateway_app.sessions.source import SessionContext, SessionSource

if TYPE_CHECKING:
    import aiohttp

    from gateway_app.platforms.lease import ListenerLease


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundEvent:
    """One message as an adapter read it. `event_id` names it for ever on its platform account."""

    event_id: str
    source: SessionSource
    text: str
    message_id: str = ""
    attachments: tuple[Attachment, ...] = ()
    """Files that came with it; `text` describes them as well. Their bytes are fetched when it has its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableEvent:
    """An event that could not be read; recorded so that an operator sees it, and never asked for again."""

    event_id: str
    platform: str
    account: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingFile:
    """A file on its way to a platform. `stream` is closed by whoever asked for the send."""

    name: str
    kind: Kind
    content_type: str
    size: int
    stream: BinaryIO


@dataclass(frozen=True, slots=True, kw_only=True)
class ButtonPress:
    """Somebody pressed a button below a message of ours. `value` is the button's; `source` is whoever pressed it."""

    query_id: str
    """What the platform calls the press, for an answer to it."""
    source: SessionSource
    value: str
    message_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingPart:
    """One send: `text` fits the platform's limit; the same `idempotency_key` means the same part."""

    part_id: int
    idempotency_key: str
    account: str
    chat_id: str
    thread_id: str
    reply_to: str
    text: str
    attempts: int
    """This attempt's number, from 1."""
    unknown_outcomes: int
    """Earlier attempts that may have reached the platform."""
    buttons: tuple[tuple[str, str], ...] = ()
    """The label of each button below the text, and the value that a press of it brings back; the text says the same,
    for platforms that have none."""
    media_id: int | None = None
    """The file that is sent instead of the text, which describes it."""
    file: OutgoingFile | None = None
    """The same, opened for this attempt."""
    replaces: str = ""
    """The platform's id of a message that the part takes the place of, where the platform can edit."""
    removes: str = ""
    """The platform's id of a message that is deleted once the part was sent."""
    is_ours: Callable[[], bool] = lambda: True
    """Asked at the last moment before the request is written: whether no other worker can be sending the part."""


class SendError(Exception):
    """A send that failed for certain: the platform did not take the part.

    `permanent` ones are not tried again. `retry_after` (seconds) is the platform's own word; with
    `closes_account` nothing is sent for the whole account until then.
    """

    def __init__(
        self, reason: str, *, permanent: bool = False, retry_after: float | None = None, closes_account: bool = False
    ) -> None:
        super().__init__(reason)
        self.permanent = permanent
        self.retry_after = retry_after
        self.closes_account = closes_account


class MessageGone(SendError):
    """The message to edit is not there any more, or is one that cannot be edited."""


class UnknownOutcome(Exception):
    """The connection broke after the part was handed over: it may or may not have been taken."""


class Platform(ABC):
    """What the pipeline needs of a platform. One instance per process; it keeps no state of any chat."""

    name: ClassVar[str]
    is_pushed: ClassVar[bool] = True
    """Workers send. Off where a reader fetches its parts itself, as the command line does."""
    is_streamed: ClassVar[bool] = False
    """`stream()` shows the reply while it is written."""
    can_edit: ClassVar[bool] = False
    """`edit()` and `delete()` change what was sent, so that a reply can have a preview while it is written."""
    tool_progress: ClassVar[str] = "off"
    """Which lines say what tools do, where nobody has set it: `off`, `new`, `all` or `verbose`. They are
    shown where the platform is streamed or can edit."""
    shows: ClassVar[str] = ""
    """What the model is told of how its answers are shown here, so that it writes nothing that is not."""
    can_pair: ClassVar[bool] = False
    """Somebody unknown who writes a direct message may be answered with a pairing code. Off where whoever writes has an
    account with us, and where an answer may reach somebody who never wrote, as with e-mail."""
    is_limited: ClassVar[bool] = True
    """The inbound limits hold. Off where whoever writes could change them as well."""
    largest_file: ClassVar[int] = 0
    """Bytes of the largest file that `send()` takes; 0 where it takes none."""
    answers_requests: ClassVar[bool] = False
    """Each event comes in a request, whose answer says whether it was turned away; no notice is sent for that."""

    def accounts(self) -> list[str]:
        """The accounts (credentials) that this installation has for the platform; empty where it is not set up."""
        return [""]

    @abstractmethod
    def split(self, text: str) -> list[str]:
        """`text` in parts that the platform takes; joined they show every character of it."""

    @abstractmethod
    async def send(self, part: OutgoingPart, *, http: aiohttp.ClientSession) -> str:
        """Hands one part over and returns the platform's id for it. Raises `SendError` or `UnknownOutcome`.

        Where the platform has an idempotency key, `part.idempotency_key` is given to it. Where it has none and
        `part.unknown_outcomes` is not 0, the text says visibly that it may be a repetition.
        """

    async def download(
        self, attachment: Attachment, *, account: str, write: Callable[[bytes], object], http: aiohttp.ClientSession
    ) -> None:
        """Hands the bytes of a file that somebody sent to `write`, whose errors end it. Raises `MediaProblem`."""
        raise MediaProblem("files cannot be fetched from this platform")

    async def edit(self, part: OutgoingPart, *, http: aiohttp.ClientSession) -> None:
        """Has the message `part.replaces` show `part.text`; that it does so already is no error.

        Raises `MessageGone`, or what `send()` raises. To edit twice does no harm, so nothing is said of repetitions.
        """
        raise NotImplementedError

    async def delete(self, part: OutgoingPart, *, message_id: str, http: aiohttp.ClientSession) -> None:  # noqa: B027
        """Takes a message of ours out of the chat of `part`, if that can be done. Never raises."""

    def edit_distance(self, context: SessionContext) -> float:
        """Seconds that must lie between two edits in the chat, whatever the configuration says."""
        return 0.0

    async def show_typing(self, context: SessionContext, *, http: aiohttp.ClientSession) -> None:  # noqa: B027
        """Tells the chat that an answer is on its way; called every few seconds while a turn runs. Never raises."""

    async def stream(self, context: SessionContext, *, turn_id: int, text: str) -> None:  # noqa: B027
        """Shows the reply so far (`text` is all of it). Called at most every 50 ms. Never raises."""

    def stream_work(self, context: SessionContext, *, turn_id: int, entries: list[dict[str, Any]]) -> None:  # noqa: B027
        """Shows what the turn has done so far: all `entries` of `turns/work.py`. Never raises."""

    def prepare_to_listen(self) -> None:  # noqa: B027
        """Imports what only `listen()` needs; called once, before the lease is claimed, in a thread."""

    async def listen(self, *, lease: ListenerLease, http: aiohttp.ClientSession) -> None:
        """Receives events and accepts them until cancelled; only platforms that poll or hold a socket have it."""
        raise NotImplementedError
