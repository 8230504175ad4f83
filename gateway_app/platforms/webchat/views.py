"""The web chat's pages and what their script calls. Every request checks who asks and whose conversation it is."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.http.response import StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from gateway_app import doorbell
from gateway_app.config import live
from gateway_app.inbox import clean
from gateway_app.media.attachment import Attachment, MediaProblem
from gateway_app.models import WebConversation
from gateway_app.worker.database import in_database

from . import attached, conversations, files, stream
from .conversations import Cursor, Denied, TooFast
from .feed import feed

log = logging.getLogger(__name__)

DATABASE_IS_AWAY = "The gateway cannot reach its database at the moment, so this was not taken. Please try again soon."
NO_SUCH_CONVERSATION = "There is no such conversation of yours."
LONGEST_VALUE = 64
"""Characters of a button's value."""
NO_SUCH_FILE = "There is no such file in this conversation, or it is not kept any more."
SIGNED_OUT = "You are signed out; nothing was taken."

View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]

_background: set[asyncio.Task[None]] = set()


class BadRequest(Exception):
    """What was sent cannot be taken; the text says why."""


def page(view: View) -> View:
    """A page for whoever is signed in, called with `user`; anybody else is sent to sign in and back."""

    @functools.wraps(view)
    async def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        user = await in_database(_user, request)
        if user is None:
            return redirect_to_login(request.get_full_path())
        try:
            return await view(request, user=user, **kwargs)
        except WebConversation.DoesNotExist:
            return render(request, "webchat/missing.html", {"reason": NO_SUCH_CONVERSATION}, status=404)

    return guarded


def call(view: View) -> View:
    """A call of the page's script: as `page`, but what goes wrong is answered as JSON, `{"error": "a sentence"}`."""

    @functools.wraps(view)
    async def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        try:
            user = await in_database(_user, request)
            if user is None:
                return error(SIGNED_OUT, status=401)
            return await view(request, user=user, **kwargs)
        except WebConversation.DoesNotExist:
            return error(NO_SUCH_CONVERSATION, status=404)
        except Denied as refusal:
            return error(str(refusal), status=403)
        except TooFast as refusal:
            return error(str(refusal), status=429, headers={"Retry-After": str(refusal.seconds)})
        except MediaProblem as problem:
            return error(str(problem), status=400)
        except BadRequest as reason:
            return error(str(reason), status=400)
        except DatabaseError as failure:
            log.error("The web chat has no database (%s).", type(failure).__name__)
            return error(DATABASE_IS_AWAY, status=503)

    return guarded


@require_GET
@page
async def index(request: HttpRequest, *, user: User) -> HttpResponseBase:
    """Leads to the conversation used last."""
    conversation = await in_database(conversations.newest, user)
    return HttpResponseRedirect(reverse("webchat:conversation", args=[conversation.chat_id]))


@require_POST
@page
async def start(request: HttpRequest, *, user: User) -> HttpResponseBase:
    """Begins a conversation."""
    conversation = await in_database(conversations.start, user)
    return HttpResponseRedirect(reverse("webchat:conversation", args=[conversation.chat_id]))


@require_GET
@page
async def conversation(request: HttpRequest, *, user: User, chat_id: str) -> HttpResponseBase:
    """One conversation's page."""
    return await in_database(_conversation_page, request, user, chat_id)


def _conversation_page(request: HttpRequest, user: User, chat_id: str) -> HttpResponse:
    shown = conversations.owned(user, chat_id)
    newest, news = conversations.newest_page(chat_id)
    is_allowed = conversations.decision_for(user).is_allowed
    state = {
        "chat": chat_id,
        "items": newest.items,
        "before": str(newest.before),
        "hasEarlier": newest.has_earlier,
        "cursor": str(news.cursor),
        "running": news.running,
        "asked": news.asked,
        "isAllowed": is_allowed,
        "maxChars": settings.INBOX_MAX_CHARS,
        "ticket": files.ticket(user),
        "maxBytes": live.config().media.max_bytes,
        "maxFiles": files.MOST_FILES,
        "commands": conversations.commands(user, shown) if is_allowed else [],
    }
    return render(
        request,
        "webchat/conversation.html",
        {
            "conversation": shown,
            "conversations": conversations.listed(user),
            "state": state,
            "is_demonstration": settings.MODEL_IS_DEMONSTRATION,
            "model": settings.HERMES_MODEL,
            "denial": "" if is_allowed else conversations.denial(user),
        },
    )


@require_GET
@call
async def messages(request: HttpRequest, *, user: User, chat_id: str) -> HttpResponseBase:
    """Earlier messages: those before the cursor `before`."""
    await in_database(conversations.owned, user, chat_id)
    before = Cursor.parse(request.GET.get("before", ""))
    earlier = await in_database(conversations.page, chat_id, before=before)
    return JsonResponse({"items": earlier.items, "before": str(earlier.before), "hasEarlier": earlier.has_earlier})


@require_GET
@call
async def work(request: HttpRequest, *, user: User, chat_id: str, turn_id: int) -> HttpResponseBase:
    """What a turn of the conversation did besides its reply."""
    await in_database(conversations.owned, user, chat_id)
    return JsonResponse({"entries": await in_database(conversations.work_of, chat_id, turn_id=turn_id)})


@require_POST
@call
async def post(request: HttpRequest, *, user: User, chat_id: str) -> HttpResponseBase:
    """Takes a message, `{"id": …, "text": …, "files": […]}`; 202 means that it is kept and will be answered.

    `files` are references of what was uploaded; with some the text may be empty.
    """
    fields = body(request)
    client_id, text = fields.get("id"), fields.get("text")
    if not isinstance(client_id, str) or not conversations.CLIENT_ID.fullmatch(client_id):
        raise BadRequest("The message has no usable id: 8 to 64 letters, digits, - and _ are allowed.")
    references = fields.get("files", [])
    if not isinstance(references, list) or not all(isinstance(each, str) for each in references):
        raise BadRequest("The files are no list of references.")
    if len(references) > files.MOST_FILES:
        raise BadRequest(f"A message may have {files.MOST_FILES} files at most.")
    if not isinstance(text, str) or not (clean(text).strip() or references):
        raise BadRequest("The message is empty.")
    posted = await in_database(_post, user, chat_id, client_id=client_id, text=text, references=references)
    stream.publisher().put(stream.key(chat_id), stream.CHANGED)
    if posted.rings:
        in_background(asyncio.to_thread(doorbell.ring, posted.rings))
    if posted.chats:
        in_background(asyncio.to_thread(doorbell.ring_delivery, posted.chats))
    return JsonResponse({"item": posted.item, "title": posted.title}, status=202)


def _post(user: User, chat_id: str, *, client_id: str, text: str, references: list[str]) -> conversations.Posted:
    attachments: tuple[Attachment, ...] = ()
    if references:
        attachments = files.attachments(user, conversations.owned(user, chat_id), references)
        text = attached.written(text, attachments)
    return conversations.post(user, chat_id, client_id=client_id, text=text, attachments=attachments)


@require_POST
@call
async def upload(request: HttpRequest, *, user: User, chat_id: str, upload_id: str) -> HttpResponseBase:
    """Keeps the request's body as a file for a message that is being written, named by `name`."""
    if not conversations.CLIENT_ID.fullmatch(upload_id):
        raise BadRequest("The file has no usable id: 8 to 64 letters, digits, - and _ are allowed.")
    conversation = await in_database(conversations.owned, user, chat_id)
    try:
        found = await files.upload(
            user,
            conversation,
            upload_id=upload_id,
            name=request.GET.get("name", ""),
            stream=request,
        )
    except MediaProblem as problem:
        raise BadRequest(f"This file cannot be taken: {problem}.") from None
    return JsonResponse(
        {"file": attached.item(found.reference, name=found.name, kind=found.kind, size=found.size)}, status=201
    )


@require_GET
@call
async def media(request: HttpRequest, *, user: User, chat_id: str, reference: str) -> HttpResponseBase:
    """A file of the conversation."""
    conversation = await in_database(conversations.owned, user, chat_id)
    try:
        found = await in_database(files.find, user, conversation, reference)
        return await files.response(found, wanted=request.headers.get("Range", ""))
    except files.NotFound:
        return error(NO_SUCH_FILE, status=404)


@require_POST
@call
async def press(request: HttpRequest, *, user: User, chat_id: str) -> HttpResponseBase:
    """Takes the press of a button below a question, `{"value": …}`, and says what came of it."""
    value = body(request).get("value")
    if not isinstance(value, str) or len(value) > LONGEST_VALUE:
        raise BadRequest("No button is named.")
    pressed = await in_database(conversations.press, user, chat_id, value=value)
    stream.publisher().put(stream.key(chat_id), stream.CHANGED)
    if pressed.rings:
        in_background(asyncio.to_thread(doorbell.ring, pressed.rings))
    return JsonResponse({"text": pressed.text.replace("`", "")}, status=200 if pressed.is_settled else 409)


@require_POST
@call
async def rename(request: HttpRequest, *, user: User, chat_id: str) -> HttpResponseBase:
    """Gives the conversation another title, `{"title": …}`."""
    title = body(request).get("title")
    if not isinstance(title, str) or not clean(title).strip():
        raise BadRequest("The title is empty.")
    return JsonResponse({"title": await in_database(conversations.rename, user, chat_id, title=title)})


@require_GET
@call
async def events(request: HttpRequest, *, user: User, chat_id: str) -> HttpResponseBase:
    """The conversation's events from the cursor in Last-Event-ID, or in `after` for a page that has just loaded."""
    await in_database(conversations.owned, user, chat_id)
    cursor = Cursor.parse(request.headers.get("Last-Event-ID") or request.GET.get("after", ""))
    return StreamingHttpResponse(
        feed(chat_id=chat_id, cursor=cursor),
        content_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


def body(request: HttpRequest) -> dict[str, Any]:
    """The request's JSON object. Raises `BadRequest`."""
    try:
        found = json.loads(request.body)
    except (ValueError, RecursionError):
        raise BadRequest("The request is not JSON.") from None
    if not isinstance(found, dict):
        raise BadRequest("The request is not a JSON object.")
    return found


def error(text: str, *, status: int, headers: dict[str, str] | None = None) -> JsonResponse:
    return JsonResponse({"error": text}, status=status, headers=headers)


def in_background(work: Coroutine[Any, Any, None]) -> None:
    """Has `work` done without keeping the person waiting: a ring that is lost is rung again by the sweep."""
    task = asyncio.create_task(work)
    _background.add(task)
    task.add_done_callback(_background.discard)


def _user(request: HttpRequest) -> User | None:
    """Whoever is signed in; reads the session and the user from the database."""
    return request.user if request.user.is_authenticated else None
