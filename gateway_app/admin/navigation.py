"""The admin's menu and tabs: what each person may see, and how many pairings and dead letters wait for a decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from gateway_app import dead_letters
from gateway_app.access import pairing
from gateway_app.dead_letters import Box
from gateway_app.models import InboundMessage, OutboundPart, Question
from gateway_app.models.question import QuestionState
from honcho_app.models import HonchoWrite

from .base import COUNT_CAP, bounded_count

DEAD = "state__exact=dead"
UNREADABLE = "state__exact=rejected"
SETTLED = "state=decided"


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """The menu, in django-unfold's form. One bounded count per box and queue is all it asks of the database."""
    return [
        {
            "items": [{"title": "Dashboard", "icon": "monitoring", "link": reverse("admin:index")}],
        },
        {
            "title": "Conversations",
            "items": [
                _item(request, "Sessions", "forum", "session"),
                _item(request, "Search", "search", "transcriptmessage"),
                _questions(request),
                _item(request, "Notes", "sticky_note_2", "memorynote"),
                _item(request, "Memory flushes", "save", "memoryflush"),
                _writes(request),
                _item(request, "Summaries", "compress", "compression"),
            ],
        },
        {
            "title": "Access",
            "items": [
                _pairing(request),
                _item(request, "People", "group", "person"),
                _item(request, "Rules", "rule", "accessrule", without_path=_simulator()),
                _item(request, "Tool permissions", "build_circle", "toolpermission"),
                {
                    "title": "Simulator",
                    "icon": "help",
                    "link": _simulator(),
                    "active": request.path == _simulator(),
                    "permission": _permission("gateway_app.view_accessrule"),
                },
                _item(request, "Audit", "policy", "auditentry"),
            ],
        },
        {
            "title": "Pipeline",
            "items": [
                _item(request, "Inbox", "inbox", "inboundmessage", without=DEAD),
                _item(request, "Turns", "neurology", "turn"),
                _item(request, "Outbox", "outbox", "outboundpart", without=DEAD),
                _dead_letters(request),
                _item(request, "Lanes", "view_week", "lane"),
            ],
        },
        {
            "title": "Platforms",
            "items": [
                _item(request, "Listeners", "hearing", "listener"),
                _item(request, "Channels", "tag", "channel"),
                _item(request, "Send gates", "front_hand", "sendgate"),
            ],
        },
        {
            "title": "System",
            "items": [
                _item(request, "Heartbeats", "ecg_heart", "heartbeat"),
                _item(request, "Schedule", "schedule", "periodictask", app="django_celery_beat"),
                _item(request, "Operators' actions", "history", "logentry", app="admin"),
                _item(request, "Users", "person", "user", app="auth"),
                _item(request, "Groups", "group", "group", app="auth"),
            ],
        },
    ]


def tabs(request: HttpRequest) -> list[dict[str, Any]]:
    """Tabs over the pairing queue, and over the inbox's and the outbox's lists."""
    return [
        {
            "models": ["gateway_app.pairingrequest"],
            "items": [
                _tab(request, "Waiting", "pairingrequest", others=[SETTLED]),
                _tab(request, "Settled", "pairingrequest", SETTLED),
            ],
        },
        {
            "models": ["gateway_app.inboundmessage", "gateway_app.outboundpart"],
            "items": [
                _tab(request, "Inbox", "inboundmessage"),
                _tab(request, "Unreadable", "inboundmessage", UNREADABLE),
                _tab(request, "Dead, incoming", "inboundmessage", DEAD),
                _tab(request, "Outbox", "outboundpart"),
                _tab(request, "Dead, outgoing", "outboundpart", DEAD),
            ],
        },
    ]


def dead_letter_counts(request: HttpRequest) -> tuple[int, int]:
    """Dead letters in the inbox and the outbox, as far as the person may see them and up to `COUNT_CAP` each."""
    return (
        _count(InboundMessage) if _may(request, "gateway_app.view_inboundmessage") else 0,
        _count(OutboundPart) if _may(request, "gateway_app.view_outboundpart") else 0,
    )


def _count(box: Box) -> int:
    return dead_letters.dead_rows(box)[:COUNT_CAP].count()


def pending_count(request: HttpRequest) -> int:
    """People who wait to be let in, as far as the person may see them and up to `COUNT_CAP`."""
    return bounded_count(pairing.pending()) if _may(request, "gateway_app.view_pairingrequest") else 0


def _pairing(request: HttpRequest) -> dict[str, Any]:
    item = _item(request, "Pairing", "how_to_reg", "pairingrequest")
    if waiting := pending_count(request):
        item["badge"] = f"{waiting:,}"
    return item


def _questions(request: HttpRequest) -> dict[str, Any]:
    item = _item(request, "Questions", "contact_support", "question")
    pending = Question.objects.filter(state=QuestionState.PENDING)
    if waiting := bounded_count(pending) if _may(request, "gateway_app.view_question") else 0:
        item["badge"] = f"{waiting:,}"
    return item


def _writes(request: HttpRequest) -> dict[str, Any]:
    item = _item(request, "Memory writes", "cloud_upload", "honchowrite", app="honcho_app")
    if dead := _count(HonchoWrite) if _may(request, "honcho_app.view_honchowrite") else 0:
        item["badge"] = f"{dead:,}"
    return item


def _dead_letters(request: HttpRequest) -> dict[str, Any]:
    inbound, outbound = dead_letter_counts(request)
    model = "outboundpart" if (outbound and not inbound) else "inboundmessage"
    if not _may(request, f"gateway_app.view_{model}"):
        model = "outboundpart"
    item = _item(request, "Dead letters", "mark_email_unread", model, query=DEAD)
    item["active"] = any(request.path == _list(name) for name in ("inboundmessage", "outboundpart")) and _has(
        request, DEAD
    )
    if inbound + outbound:
        item["badge"] = f"{inbound + outbound:,}"
    return item


def _item(
    request: HttpRequest,
    title: str,
    icon: str,
    model: str,
    *,
    app: str = "gateway_app",
    query: str = "",
    without: str = "",
    without_path: str = "",
) -> dict[str, Any]:
    path = _list(model, app)
    return {
        "title": title,
        "icon": icon,
        "link": f"{path}?{query}" if query else path,
        "active": request.path.startswith(path)
        and not (without and _has(request, without))
        and request.path != without_path,
        "permission": _permission(f"{app}.view_{model}"),
    }


def _tab(
    request: HttpRequest, title: str, model: str, query: str = "", *, others: Sequence[str] = (DEAD, UNREADABLE)
) -> dict[str, Any]:
    path = _list(model)
    special = any(_has(request, other) for other in others)
    return {
        "title": title,
        # A callable, since django-unfold takes the menu's entry with the same text for another name of the tab.
        "link": lambda request: f"{path}?{query}" if query else path,
        "active": request.path == path and (_has(request, query) if query else not special),
        "permission": _permission(f"gateway_app.view_{model}"),
    }


def _permission(name: str) -> Callable[[HttpRequest], bool]:
    return lambda request: _may(request, name)


def _may(request: HttpRequest, name: str) -> bool:
    """Who may act may see."""
    return request.user.has_perm(name) or request.user.has_perm(name.replace(".view_", ".change_"))


def _has(request: HttpRequest, query: str) -> bool:
    name, _, value = query.partition("=")
    return request.GET.get(name) == value


def _simulator() -> str:
    return reverse("admin:gateway_app_accessrule_simulator")


def _list(model: str, app: str = "gateway_app") -> str:
    return reverse(f"admin:{app}_{model}_changelist")
