"""People: who they are, how they stand, what lets them in or keeps them out, and what can be done about it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from gateway_app.access import people, rules
from gateway_app.access.gatekeeper import gatekeeper
from gateway_app.access.ladder import ladder
from gateway_app.access.standing import because, sources, standing, standings
from gateway_app.models import AccessRule, PairingRequest, Person
from gateway_app.models.access import Effect, SubjectKind
from honcho_app import people as memory_people

from .access import AccessAdmin, Deed, actor, audit_of, reasoned, ruled, verdict, warn_of
from .base import BoundedChangeList, PlatformFilter, link, shorten, when

RELATED = 50
"""Rules and pairings that a person's page lists."""


class PeopleList(BoundedChangeList):
    """Reads how everybody on the page stands at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        people_shown: list[Any] = list(self.result_list)
        for person, found in zip(people_shown, standings(people_shown), strict=True):
            person.standing = found
        self.result_list: Any = people_shown


@admin.register(Person)
class PersonAdmin(AccessAdmin):
    change_form_template = "gateway_app/admin/person.html"
    list_display = ["called", "platform", "user_id_short", "direct", "group", "why", "seen"]
    list_filter = [PlatformFilter]
    search_fields = ["user_id"]
    search_help_text = "Id, or a part of a name"
    fieldsets = [(None, {"fields": [("name", "platform"), ("user_id", "user_id_alt"), ("first_seen", "seen")]})]
    actions = ["allow", "revoke", "ban", "lift"]
    actions_detail = ["allow_one", "revoke_one", "ban_one", "lift_one"]

    def has_rule_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Bans are rules; who may not write those may not ban."""
        return all(request.user.has_perm(f"gateway_app.{what}_accessrule") for what in ("add", "delete"))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[BoundedChangeList]:
        return PeopleList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term:
            return queryset, False
        by_id = Q(user_id__startswith=search_term) | Q(user_id_alt__startswith=search_term)
        return queryset.filter(by_id | Q(name__icontains=search_term)), False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        extra = {**(extra_context or {}), "show_save": False}
        person = self.get_object(request, object_id)
        if person:
            extra |= self._standing(person) | self._related(request, person)
        response: HttpResponse = super().change_view(request, object_id, form_url, extra)
        return response

    def _standing(self, person: Person) -> dict[str, Any]:
        facts, at = gatekeeper.facts(), gatekeeper.moment()
        asked = sources(platform=person.platform, user_id=person.user_id, user_id_alt=person.user_id_alt)
        found: dict[tuple[bool, str], dict[str, Any]] = {}
        for place, source in zip(("direct messages", "groups"), asked, strict=True):
            for rung in ladder(source, facts, at=at)[:-1]:
                if rung.decision:
                    key = (rung.decision.is_allowed, rung.decision.rule)
                    grounds = found.setdefault(key, {"decision": rung.decision, "places": []})
                    grounds["places"] += [place] * (place not in grounds["places"])
        stands = standing(platform=person.platform, user_id=person.user_id, user_id_alt=person.user_id_alt)
        shown = [
            {
                "verdict": verdict(each["decision"]),
                "why": reasoned(each["decision"]),
                "places": " and ".join(each["places"]),
            }
            for each in found.values()
        ]
        return {"direct": ruled(stands.direct), "group": ruled(stands.group), "grounds": shown}

    def _related(self, request: HttpRequest, person: Person) -> dict[str, Any]:
        ids = [identity for identity in (person.user_id, person.user_id_alt) if identity]
        found: dict[str, Any] = {"audit": audit_of(person.user_id)}
        if request.user.has_perm("gateway_app.view_accessrule"):
            rows = AccessRule.objects.filter(
                subject=SubjectKind.USER, platform__in=["", person.platform], subject_id__in=ids
            )
            found["rules"] = [
                {
                    "row": row,
                    "link": link(AccessRule, row.pk),
                    "ends": when(row.expires_at),
                    "since": when(row.changed_at),
                }
                for row in rows.order_by("-is_active", "-pk")[:RELATED]
            ]
            asked = {"platform": person.platform, "user_id": person.user_id, "user_id_alt": person.user_id_alt}
            found["simulator"] = f"{reverse('admin:gateway_app_accessrule_simulator')}?{urlencode(asked)}"
        if request.user.has_perm("gateway_app.view_memorynote"):
            found["known"] = memory_people.known_of(platform=person.platform, user_id=person.user_id)
        if request.user.has_perm("gateway_app.view_pairingrequest"):
            pairings = PairingRequest.objects.filter(platform=person.platform, user_id=person.user_id)
            found["pairings"] = [
                {"row": row, "link": link(PairingRequest, row.pk), "at": when(row.requested_at)}
                for row in pairings.order_by("-pk")[:RELATED]
            ]
        return found

    @action(description="Allow", permissions=["act"])
    def allow(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self.ask_or_do(request, queryset, self._allowance())

    @action(description="Revoke", permissions=["act"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self.ask_or_do(request, queryset, self._revocation())

    @action(description="Ban", permissions=["rule"])
    def ban(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self.ask_or_do(request, queryset, self._ban_deed())

    @action(description="Lift bans", permissions=["rule"])
    def lift(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self.ask_or_do(request, queryset, self._lifting())

    @action(description="Allow", permissions=["act"], icon="check", variant=ActionVariant.PRIMARY)
    def allow_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.ask_or_do_one(request, object_id, self._allowance())

    @action(description="Revoke", permissions=["act"], icon="undo")
    def revoke_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.ask_or_do_one(request, object_id, self._revocation())

    @action(description="Ban", permissions=["rule"], icon="block")
    def ban_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.ask_or_do_one(request, object_id, self._ban_deed())

    @action(description="Lift bans", permissions=["rule"], icon="lock_open")
    def lift_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.ask_or_do_one(request, object_id, self._lifting())

    def _allowance(self) -> Deed:
        told = "A rule is written for the person's id. It holds in direct messages and in groups, until it is revoked."
        return Deed(title="Allow these people?", verb="Allow", consequence=told, act=self._allow)

    def _revocation(self) -> Deed:
        told = (
            "Every allowance that names the person on the platform is taken back, approved pairings among them. Lists"
            " of the configuration, wildcards and rules for every platform stay: you are told if one lets them in."
        )
        return Deed(title="Revoke these allowances?", verb="Revoke", consequence=told, act=self._revoke, is_danger=True)

    def _ban_deed(self) -> Deed:
        told = "A ban comes before everything else: nothing lets them in while it stands. It holds within two seconds."
        return Deed(title="Ban these people?", verb="Ban", consequence=told, act=self._ban, is_danger=True)

    def _lifting(self) -> Deed:
        told = "Bans that name the person on the platform are taken back. That alone lets nobody in."
        return Deed(title="Lift these bans?", verb="Lift", consequence=told, act=self._lift)

    def _allow(self, request: HttpRequest, row: Person, reason: str) -> None:
        self._put(request, row, Effect.ALLOW, "allowed", reason)
        self._warn_of_denial(request, row)

    def _ban(self, request: HttpRequest, row: Person, reason: str) -> None:
        self._put(request, row, Effect.DENY, "banned", reason)

    def _put(self, request: HttpRequest, row: Person, effect: Effect, became: str, reason: str) -> None:
        """Writes a rule, unless one is in force: its note and its end are somebody's, and stay."""
        found = self._rules_of(row, effect).filter(Q(expires_at__isnull=True) | Q(expires_at__gt=Now())).first()
        if found:
            end = f", until {found.expires_at:%Y-%m-%d %H:%M} UTC" if found.expires_at else ""
            self.message_user(
                request, f"{self.line(row)} is {became} already, by rule #{found.pk}{end}.", messages.INFO
            )
            return
        subject_id = row.user_id_alt or row.user_id
        put = rules.put(
            effect=effect, platform=row.platform, subject_id=subject_id, name=row.name, by=actor(request), reason=reason
        )
        self.message_user(request, f"{self.line(row)} is {became} by rule #{put.rule.pk}.", messages.SUCCESS)

    def _rules_of(self, row: Person, effect: Effect) -> QuerySet[AccessRule]:
        return AccessRule.objects.filter(
            effect=effect, subject=SubjectKind.USER, platform=row.platform, is_active=True,
            subject_id__in=people.identities(platform=row.platform, user_id=row.user_id),
        ).order_by("pk")  # fmt: skip

    def _revoke(self, request: HttpRequest, row: Person, reason: str) -> None:
        removal = rules.revoke(platform=row.platform, user_id=row.user_id, by=actor(request), reason=reason)
        count = len(removal.removed)
        if count:
            taken = "the allowance" if count == 1 else f"{count} allowances"
            self.message_user(request, f"Took {taken} of {self.line(row)} back.", messages.SUCCESS)
        else:
            self.message_user(request, f"There was no allowance that names {self.line(row)}.", messages.WARNING)
        warn_of(self, request, self.line(row), removal.standing)

    def _lift(self, request: HttpRequest, row: Person, reason: str) -> None:
        lifted = 0
        for ban in self._rules_of(row, Effect.DENY):
            lifted += len(rules.remove(rule_id=ban.pk, by=actor(request), reason=reason).removed)
        if lifted:
            self.message_user(
                request, f"Lifted {lifted} ban{'' if lifted == 1 else 's'} of {self.line(row)}.", messages.SUCCESS
            )
        else:
            self.message_user(request, f"There was no ban that names {self.line(row)}.", messages.WARNING)
        self._warn_of_denial(request, row)

    def _warn_of_denial(self, request: HttpRequest, row: Person) -> None:
        found = standing(platform=row.platform, user_id=row.user_id, user_id_alt=row.user_id_alt).direct
        if not found.is_allowed:
            self.message_user(request, f"{self.line(row)} may still not speak: {because(found)}.", messages.WARNING)

    def line(self, row: Person) -> str:
        """Names are what people call themselves, and two may look alike: the id stands beside it."""
        name = f"{shorten(row.name, length=40)} " if row.name else ""
        return f"{name}({row.platform} {shorten(row.user_id, length=40)})"

    def subject(self, row: Person) -> str:
        return row.user_id

    @display(description="Name")
    def called(self, row: Person) -> str:
        return shorten(row.name, length=40) or "–"

    @display(description="Id")
    def user_id_short(self, row: Person) -> str:
        return shorten(row.user_id, length=32)

    @display(description="Direct")
    def direct(self, row: Any) -> SafeString:
        return verdict(row.standing.direct)

    @display(description="Groups")
    def group(self, row: Any) -> SafeString:
        return verdict(row.standing.group)

    @display(description="Why")
    def why(self, row: Any) -> SafeString | str:
        decision = row.standing.direct if row.standing.direct.is_allowed else row.standing.group
        return reasoned(decision if decision.is_allowed else row.standing.direct)

    @display(description="First seen")
    def first_seen(self, row: Person) -> SafeString | str:
        return when(row.first_seen_at)

    @display(description="Last seen")
    def seen(self, row: Person) -> str:
        return f"{row.last_seen_at:%Y-%m-%d}"
