"""Would this sender be allowed in this chat, and why: the decision, and every layer with what it says."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from gateway_app.access.gatekeeper import gatekeeper
from gateway_app.access.ladder import Rung, deciding, ladder
from gateway_app.access.rules import LONGEST_ID
from gateway_app.sessions.source import ChatType, SessionSource

from .access import platform_choices, reasoned, verdict

CHAT_TYPES = [
    (ChatType.DM, "direct message"),
    (ChatType.GROUP, "group"),
    (ChatType.CHANNEL, "channel"),
    (ChatType.THREAD, "thread"),
]


class QuestionForm(forms.Form):
    platform = forms.ChoiceField(widget=UnfoldAdminSelectWidget)
    chat_type = forms.ChoiceField(label="Chat", choices=CHAT_TYPES, widget=UnfoldAdminSelectWidget, required=False)
    chat_id = forms.CharField(required=False, max_length=LONGEST_ID, widget=UnfoldAdminTextInputWidget)
    user_id = forms.CharField(
        label="Sender's id", required=False, max_length=LONGEST_ID, widget=UnfoldAdminTextInputWidget
    )
    user_id_alt = forms.CharField(
        label="Sender's other id", required=False, max_length=LONGEST_ID, widget=UnfoldAdminTextInputWidget,
        help_text="A second id that outlives the first, where the platform has one.",
    )  # fmt: skip
    is_bot = forms.BooleanField(label="The sender is a bot", required=False, widget=UnfoldBooleanWidget)
    is_mention = forms.BooleanField(label="The message addresses the agent", required=False, widget=UnfoldBooleanWidget)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["platform"].choices = platform_choices()  # type: ignore[attr-defined]

    def source(self) -> SessionSource:
        given = self.cleaned_data
        chat_type = ChatType(given.pop("chat_type") or ChatType.DM)
        chat_id = given.pop("chat_id") or (given["user_id"] if chat_type is ChatType.DM else "")
        return SessionSource(chat_type=chat_type, chat_id=chat_id, **given)


def simulated(request: HttpRequest) -> dict[str, Any]:
    """The page's context. The question stands in the address, so that it can be passed on."""
    is_asked = "platform" in request.GET
    form = QuestionForm(request.GET if is_asked else None, initial={"chat_type": ChatType.DM})
    if not is_asked or not form.is_valid():
        return {"form": form}
    rungs = ladder(form.source(), gatekeeper.facts(), at=gatekeeper.moment())
    decision = deciding(rungs)
    return {
        "form": form,
        "decision": decision,
        "because": reasoned(decision),
        "rungs": [_shown(rung, rung.decision is decision) for rung in rungs],
    }


def _shown(rung: Rung, decides: bool) -> dict[str, Any]:
    return {
        "layer": rung.layer,
        "verdict": verdict(rung.decision) if rung.decision else "",
        "says": reasoned(rung.decision) if rung.decision else rung.remark,
        "decides": decides,
    }
