"""Replay and discard, for the inbox and the outbox alike: one row or many, asked back first, noted in the history."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action
from unfold.enums import ActionVariant

from gateway_app import dead_letters

from .base import COUNT_CAP, ReadOnlyAdmin, bounded_count, note

SHOWN = 20
"""Rows that the question names; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Deed:
    """Something done to dead letters, in the words of the page that asks whether to."""

    name: str
    verb: str
    done: str
    consequence: str


REPLAY = Deed("replay", "Replay", "Replayed", "Each is tried again, in its old place, with all attempts ahead of it.")
DISCARD = Deed("discard", "Discard", "Discarded", "Each is given up for good. The row stays, marked as discarded.")


class DeadLetterAdmin(ReadOnlyAdmin):
    """An admin whose rows may be dead letters."""

    replay_rows: ClassVar[Callable[..., list[int]]]
    discard_rows: ClassVar[Callable[..., list[int]]]
    actions: ClassVar[list[str]] = ["replay", "discard"]
    actions_detail: ClassVar[list[str]] = ["replay_one", "discard_one"]

    @action(description="Replay dead letters", permissions=["act"])
    def replay(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._ask_or_do(request, queryset, REPLAY, type(self).replay_rows)

    @action(description="Discard dead letters", permissions=["act"])
    def discard(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._ask_or_do(request, queryset, DISCARD, type(self).discard_rows)

    @action(description="Replay", permissions=["act"], icon="replay", variant=ActionVariant.PRIMARY)
    def replay_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._ask_or_do_one(request, object_id, REPLAY, type(self).replay_rows)

    @action(description="Discard", permissions=["act"], icon="delete")
    def discard_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._ask_or_do_one(request, object_id, DISCARD, type(self).discard_rows)

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        row = self.get_object(request, object_id)
        if row is None or row.state != "dead":
            return []
        found: list[Any] = super().get_actions_detail(request, object_id)
        if self.concerned(self.model._default_manager.filter(pk=row.pk), REPLAY).exists():
            return found
        return [action for action in found if not action.action_name.endswith("replay_one")]

    def _ask_or_do(
        self, request: HttpRequest, rows: QuerySet[Any], deed: Deed, function: Callable[..., list[int]]
    ) -> HttpResponse | None:
        if "confirmed" not in request.POST:
            return self._ask(request, rows, deed)
        self._do(request, rows.values_list("pk", flat=True), deed, function)
        return None

    def _ask_or_do_one(
        self, request: HttpRequest, object_id: str, deed: Deed, function: Callable[..., list[int]]
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[no-any-return]
        if request.method != "POST":
            return self._ask(request, self.model._default_manager.filter(pk=row.pk), deed)
        self._do(request, [row.pk], deed, function)
        return HttpResponseRedirect(
            reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk])
        )

    def _ask(self, request: HttpRequest, rows: QuerySet[Any], deed: Deed) -> HttpResponse:
        dead = self.concerned(rows, deed)
        count = bounded_count(dead)
        shown = list(dead.order_by("pk")[:SHOWN])
        context = {
            **self.admin_site.each_context(request),
            "title": f"{deed.verb} dead letters",
            "opts": self.opts,
            "deed": deed,
            "count": count,
            "cap": COUNT_CAP,
            "skipped": bounded_count(rows) - count,
            "letters": [(row, self.why(row)) for row in shown],
            "more": count - len(shown),
            "kept": [
                (name, value) for name in ("action", "_selected_action", "select_across", "index")
                for value in request.POST.getlist(name)
            ],
            "back": request.get_full_path() if request.method == "POST" else "../change/",
        }  # fmt: skip
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "gateway_app/admin/confirm.html", context)

    def _do(self, request: HttpRequest, ids: Iterable[int], deed: Deed, function: Callable[..., list[int]]) -> None:
        """Acts batch by batch, each with its notes in the history in one transaction."""
        done = missed = 0
        for batch in dead_letters.in_batches(ids):
            with transaction.atomic():
                changed = function(ids=batch)
                if changed:
                    note(request, self.model._default_manager.filter(pk__in=changed), f"{deed.done} the dead letter.")
            done += len(changed)
            missed += len(batch) - len(changed)
        if done:
            self.message_user(request, f"{deed.done} {done:,} dead letter{'' if done == 1 else 's'}.", messages.SUCCESS)
        if missed:
            self.message_user(
                request,
                f"{missed:,} row{' was' if missed == 1 else 's were'} no dead letter (any more).",
                messages.WARNING,
            )

    def concerned(self, rows: QuerySet[Any], deed: Deed) -> QuerySet[Any]:
        """Those of `rows` that the deed can be done to."""
        return rows.filter(state="dead")

    def why(self, row: Any) -> str:
        """Why the row was given up."""
        raise NotImplementedError
