"""A person's conversations and their messages, from the inbox and the outbox. Synchronous."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import BooleanField, Exists, ExpressionWrapper, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from gateway_app.access.decision import Decision
from gateway_app.access.gatekeeper import gatekeeper
from gateway_app.access.limits import Limited
from gateway_app.commands import menu
from gateway_app.commands.invocation import parse
from gateway_app.inbox import accept, clean
from gateway_app.media.attachment import Attachment
from gateway_app.models import InboundMessage, Lane, OutboundPart, Turn, TurnStep, WebConversation
from gateway_app.models.inbox import OPEN_STATES
from gateway_app.models.lane import LaneKind
from gateway_app.models.turn import OPEN_TURN_STATES, StepKind, TurnState
from gateway_app.platforms import registry
from gateway_app.platforms.base import InboundEvent
from gateway_app.questions import pressing
from gateway_app.questions.pressing import Pressed
from gateway_app.sealing import PLACEHOLDER
from gateway_app.sessions.key import delivery_key, session_key
from gateway_app.sessions.source import ChatType, SessionContext, SessionSource
from gateway_app.turns import journal, work
from gateway_app.turns.display import display_of

from . import attached
from .asked import Asked, asked_in

LISTED = 200
"""Conversations in the list; older ones keep their address."""
PAGE_MESSAGES = 50
NEWS_MESSAGES = 200
TITLE_CHARS = 60
CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")

Item = dict[str, Any]
"""A message as the page gets it: `id`, `from` (`you` or `agent`), `text`, `at`, and its state."""


class Denied(Exception):
    """No list allows the person to speak to the agent; the text tells them so."""


class TooFast(Exception):
    """The person writes more than the inbound limits allow; the text tells them so."""

    def __init__(self, limited: Limited) -> None:
        super().__init__(limited.text)
        self.seconds = limited.seconds
        """Until the next message is taken."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a page has: everything up to these places in the conversation's inbox and outbox, in its final state."""

    inbound: int = 0
    outbound: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """The cursor that `str()` gave; the beginning for anything else."""
        match = re.fullmatch(r"(\d{1,18})\.(\d{1,18})", text)
        return cls(int(match[1]), int(match[2])) if match else cls()

    def __str__(self) -> str:
        return f"{self.inbound}.{self.outbound}"


@dataclass(frozen=True, slots=True)
class News:
    """Messages in the order they came, and where that leaves the page."""

    items: list[Item]
    cursor: Cursor
    running: int
    """The turn that is being worked on, 0 where there is none."""
    is_complete: bool
    asked: list[Asked]
    """What the conversation's turns ask and asked, as far as the page is to know; see `news`."""


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of messages in the order they came, and the cursor that leads to the ones before."""

    items: list[Item]
    before: Cursor
    has_earlier: bool


@dataclass(frozen=True, slots=True)
class Posted:
    """A message that is safe in the inbox now, or was before."""

    item: Item
    title: str
    rings: list[SessionContext]
    chats: list[str]
    """Delivery lanes to ring for."""


def source_of(user: User, conversation: WebConversation) -> SessionSource:
    """The source of what `user` writes; lists of allowed people name them by their user name."""
    return SessionSource(
        platform="webchat",
        chat_id=conversation.chat_id,
        chat_type=ChatType.DM,
        chat_name=conversation.title,
        user_id=user.get_username(),
        user_name=user.get_full_name() or user.get_username(),
    )


def decision_for(user: User) -> Decision:
    """Whether `user` may speak to the agent."""
    return gatekeeper.decide(source_of(user, WebConversation(owner=user)))


def commands(user: User, conversation: WebConversation) -> list[dict[str, Any]]:
    """The slash commands that the person may run in the conversation, as its page shows them."""
    return [
        {
            "name": command.name,
            "aliases": command.aliases,
            "usage": command.usage,
            "text": menu.described(command),
            "group": command.group,
        }
        for command in menu.shown_to(source_of(user, conversation))
    ]


def denial(user: User) -> str:
    """What a person is told whom nothing lets in."""
    name = user.get_username()
    return (
        f"You are signed in as {name}, but nobody has allowed you to talk to the agent yet."
        f" An operator can: with `manage.py gateway access allow webchat {name}`, or by WEBCHAT_ALLOWED_USERS."
    )


def listed(user: User) -> list[WebConversation]:
    """The person's conversations, the one used last first."""
    return list(WebConversation.objects.filter(owner=user).order_by("-active_at", "-id")[:LISTED])


def owned(user: User, chat_id: str) -> WebConversation:
    """Raises `WebConversation.DoesNotExist` also where it belongs to somebody else."""
    return WebConversation.objects.get(owner=user, chat_id=chat_id)


def newest(user: User) -> WebConversation:
    """The conversation that the person used last; made if there is none."""
    return WebConversation.objects.filter(owner=user).order_by("-active_at", "-id").first() or start(user)


def start(user: User) -> WebConversation:
    """An empty conversation: one that was never written in, if there is one, else a new one."""
    for conversation in WebConversation.objects.filter(owner=user, title="").order_by("-id")[:5]:
        inbound, _ = _lanes(conversation.chat_id)
        if not InboundMessage.objects.filter(lane_id=inbound).exists():
            WebConversation.objects.filter(pk=conversation.pk).update(active_at=Now())
            return conversation
    return WebConversation.objects.create(owner=user)


def rename(user: User, chat_id: str, *, title: str) -> str:
    """Gives the conversation a title of at most 120 characters and returns it as it is kept."""
    conversation = owned(user, chat_id)
    conversation.title = " ".join(clean(title).split())[:120]
    conversation.save(update_fields=["title"])
    return conversation.title


def post(user: User, chat_id: str, *, client_id: str, text: str, attachments: tuple[Attachment, ...] = ()) -> Posted:
    """Puts `text` into the inbox, which describes the `attachments` as well. The page's `client_id` names it within the
    conversation: the same one again changes nothing. Raises `Denied`, `TooFast`, and `DoesNotExist` as `owned` does.
    The caller rings after this returns.
    """
    conversation = owned(user, chat_id)
    event = InboundEvent(
        event_id=f"{chat_id}/{client_id}",
        source=source_of(user, conversation),
        text=text,
        message_id=client_id,
        attachments=attachments,
    )
    with transaction.atomic():
        accepted = accept([event])
        if event.event_id in accepted.denied:
            raise Denied(denial(user))
        if event.event_id in accepted.limited:
            raise TooFast(accepted.limited[event.event_id])
        if event.event_id in accepted.event_ids:
            WebConversation.objects.filter(pk=conversation.pk).update(active_at=Now())
            if not conversation.title and parse(text) is None:  # a command says nothing of what it is about
                conversation.title = title_from(clean(text))
                WebConversation.objects.filter(pk=conversation.pk, title="").update(title=conversation.title)
    row = InboundMessage.objects.filter(platform="webchat", account="", event_id=event.event_id).values(*INBOUND).get()
    return Posted(inbound_item(row), str(conversation), accepted.rings, accepted.chats)


def press(user: User, chat_id: str, *, value: str) -> Pressed:
    """Takes the press of a button in the conversation. Raises `DoesNotExist` as `owned` does."""
    return pressing.press(value, source=source_of(user, owned(user, chat_id)))


def title_from(text: str) -> str:
    """The beginning of the first line, cut between words."""
    line = " ".join(text.strip().partition("\n")[0].split())
    if len(line) <= TITLE_CHARS:
        return line
    cut = line[:TITLE_CHARS].rsplit(" ", 1)[0] if " " in line[:TITLE_CHARS] else line[:TITLE_CHARS]
    return cut.rstrip(",.;:") + "…"


def newest_page(chat_id: str) -> tuple[Page, News]:
    """The newest messages, and the news without items that events go on from."""
    inbound, outbound = _lanes(chat_id)
    ends = Cursor(_tail(InboundMessage, inbound), _tail(OutboundPart, outbound))
    shown = page(chat_id, before=Cursor(ends.inbound + 1, ends.outbound + 1))
    first_open = (
        InboundMessage.objects.filter(lane_id=inbound, seq__lte=ends.inbound, state__in=OPEN_STATES)
        .order_by("seq")
        .values_list("seq", flat=True)
        .first()
    )
    cursor = Cursor(first_open - 1 if first_open else ends.inbound, ends.outbound)
    running, _ = _open_turn(inbound)
    return shown, News([], cursor, running, is_complete=True, asked=asked_in(inbound))


def page(chat_id: str, *, before: Cursor) -> Page:
    """The messages just before `before`."""
    inbound, outbound = _lanes(chat_id)
    rows = InboundMessage.objects.filter(lane_id=inbound, seq__lt=before.inbound).order_by("-seq")
    parts = with_work(OutboundPart.objects.filter(lane_id=outbound, seq__lt=before.outbound)).order_by("-seq")
    items = _sorted(rows.values(*INBOUND)[: PAGE_MESSAGES + 1], parts.values(*OUTBOUND)[: PAGE_MESSAGES + 1])
    kept = items[-PAGE_MESSAGES:]
    seqs = {whose: [item["seq"] for item in kept if item["from"] == whose] for whose in ("you", "agent")}
    return Page(
        kept,
        Cursor(min(seqs["you"], default=before.inbound), min(seqs["agent"], default=before.outbound)),
        has_earlier=len(items) > len(kept),
    )


def news(chat_id: str, *, after: Cursor, is_asked: bool = False) -> News:
    """What a page that has `after` lacks: new messages, and those that were not final then.

    Questions are looked for only where a turn waits with one, or the page says that one `is_asked` as far as it knows.
    """
    inbound, outbound = _lanes(chat_id)
    rows = list(
        InboundMessage.objects.filter(lane_id=inbound, seq__gt=after.inbound)
        .order_by("seq")
        .values(*INBOUND)[:NEWS_MESSAGES]
    )
    parts = list(
        with_work(OutboundPart.objects.filter(lane_id=outbound, seq__gt=after.outbound))
        .order_by("seq")
        .values(*OUTBOUND)[:NEWS_MESSAGES]
    )
    settled = after.inbound
    for row in rows:
        if row["state"] in OPEN_STATES:
            break
        settled = row["seq"]
    cursor = Cursor(settled, parts[-1]["seq"] if parts else after.outbound)
    is_complete = len(parts) < NEWS_MESSAGES and (len(rows) < NEWS_MESSAGES or settled == after.inbound)
    running, is_parked = _open_turn(inbound)
    asked = asked_in(inbound) if is_parked or is_asked else []
    return News(_sorted(rows, parts), cursor, running, is_complete, asked)


INBOUND = ("id", "seq", "text", "accepted_at", "message_id", "state", "attachments")
OUTBOUND = (
    "id", "seq", "text", "created_at", "reply_to", "turn_id", "turn__state", "is_sealed", "is_reply", "has_work",
    "media__reference", "media__name", "media__kind", "media__size",
)  # fmt: skip


def with_work(parts: QuerySet[OutboundPart]) -> QuerySet[OutboundPart]:
    """The parts with what `outbound_item()` says of their turn's work, where that is shown."""
    display = display_of(registry.get("webchat"))
    is_reply = Q(idempotency_key__startswith="turn/")
    is_first = is_reply & Q(idempotency_key__endswith="/0")
    steps = Q(kind=StepKind.TOOL_RESULT) if display.tool_progress != "off" else Q(pk=None)
    if display.shows_reasoning:
        steps |= Q(kind=StepKind.MODEL_REPLY, payload__has_key="thought")
    has_work = Exists(TurnStep.objects.filter(steps, turn_id=OuterRef("turn_id")))
    return parts.annotate(
        is_reply=ExpressionWrapper(is_reply, BooleanField()),
        has_work=ExpressionWrapper(is_first & has_work, BooleanField()),
    )


def work_of(chat_id: str, *, turn_id: int) -> list[dict[str, Any]]:
    """What a turn of the conversation did, from its journal; nothing for any other turn."""
    display = display_of(registry.get("webchat"))
    inbound, _ = _lanes(chat_id)
    if not Turn.objects.filter(pk=turn_id, lane_id=inbound).exists():
        return []
    mode, steps = display.tool_progress, journal.load(turn_id=turn_id)
    return work.of_journal(steps, mode=mode, shows_reasoning=display.shows_reasoning).entries


def inbound_item(row: dict[str, Any]) -> Item:
    text, files = attached.shown(row["text"], row["attachments"])
    return {
        "id": f"in-{row['id']}",
        "from": "you",
        "seq": row["seq"],
        "text": text,
        "files": files,
        "at": row["accepted_at"].isoformat(timespec="microseconds"),
        "client": row["message_id"],
        "state": row["state"],
    }


def outbound_item(row: dict[str, Any]) -> Item:
    file = attached.sent(row)
    return {
        "id": f"out-{row['id']}",
        "from": "agent",
        "seq": row["seq"],
        "text": "" if file else PLACEHOLDER if row["is_sealed"] else row["text"],
        "files": file,
        "at": row["created_at"].isoformat(timespec="microseconds"),
        "turn": row["turn_id"],
        "is_failure": row["turn__state"] in {TurnState.FAILED, TurnState.DEAD},
        "is_reply": row["is_reply"],
        "has_work": row["has_work"],
    }


def _sorted(rows: Iterable[dict[str, Any]], parts: Iterable[dict[str, Any]]) -> list[Item]:
    items = [inbound_item(row) for row in rows] + [outbound_item(row) for row in parts]
    # At the same moment the question comes before its answer.
    return sorted(items, key=lambda item: (item["at"], item["from"] == "agent", item["seq"]))


def _lanes(chat_id: str) -> tuple[int, int]:
    """The lanes of the person's messages and of what is sent to them; 0, which no lane is, where there is none yet."""
    session = session_key(SessionSource(platform="webchat", chat_id=chat_id, chat_type=ChatType.DM))
    delivery = delivery_key(platform="webchat", account="", chat_id=chat_id)
    both = Q(kind=LaneKind.TURNS, key=session) | Q(kind=LaneKind.DELIVERY, key=delivery)
    found = dict(Lane.objects.filter(both).values_list("kind", "pk"))
    return found.get(LaneKind.TURNS, 0), found.get(LaneKind.DELIVERY, 0)


def _tail(model: type[InboundMessage] | type[OutboundPart], lane_id: int) -> int:
    return model.objects.filter(lane_id=lane_id).aggregate(tail=Max("seq"))["tail"] or 0


def _open_turn(lane_id: int) -> tuple[int, bool]:
    """The turn that is being worked on, 0 where there is none, and whether one waits for the person."""
    found = Turn.objects.filter(lane_id=lane_id, state__in=OPEN_TURN_STATES).values_list("pk", "state").first()
    if found is None:
        return 0, False
    turn_id, state = found
    return (0, True) if state == TurnState.PARKED else (turn_id, False)
