"""What the Telegram peer takes: the Bot API's rules for what the gateway calls, as strict as the real one."""

from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

from aiohttp import web

from tests.peers.forms import read_form

TEXT_LIMIT = 4096
LONGEST_DATA = 64
"""Bytes of a button's `callback_data`."""
LONGEST_NOTICE = 200
"""Characters of an answer to a press."""
ACTIONS = frozenset({"typing", "upload_photo", "upload_document", "choose_sticker", "find_location", "record_voice"})
ENTITY_TYPES = frozenset({"bold", "italic", "underline", "strikethrough", "spoiler", "code", "pre", "blockquote"})
TAGS = frozenset({"b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "code", "pre", "a", "blockquote", "span"})
COMPLEX = frozenset(
    {"entities", "reply_parameters", "link_preview_options", "allowed_updates", "reply_markup", "commands", "scope"}
)
"""Parameters that a form carries as JSON text."""

FILE_PARAMETERS = {"sendPhoto": "photo", "sendDocument": "document", "sendVoice": "voice", "sendAudio": "audio"}
SENDING = frozenset({"chat_id", "message_thread_id", "caption", "reply_parameters", "disable_notification"})

SCOPES = {
    "default": frozenset[str](),
    "all_private_chats": frozenset[str](),
    "all_group_chats": frozenset[str](),
    "all_chat_administrators": frozenset[str](),
    "chat": frozenset({"chat_id"}),
    "chat_administrators": frozenset({"chat_id"}),
    "chat_member": frozenset({"chat_id", "user_id"}),
}
MOST_COMMANDS = 100

PARAMETERS: dict[str, frozenset[str]] = {
    "getMyCommands": frozenset({"scope", "language_code"}),
    "setMyCommands": frozenset({"commands", "scope", "language_code"}),
    "deleteMyCommands": frozenset({"scope", "language_code"}),
    "getMe": frozenset[str](),
    "deleteWebhook": frozenset({"drop_pending_updates"}),
    "getUpdates": frozenset({"offset", "limit", "timeout", "allowed_updates"}),
    "sendChatAction": frozenset({"chat_id", "message_thread_id", "action"}),
    "editMessageText": frozenset(
        {"chat_id", "message_id", "text", "parse_mode", "entities", "link_preview_options", "reply_markup"}
    ),
    "deleteMessage": frozenset({"chat_id", "message_id"}),
    "sendMessage": frozenset(
        {
            "chat_id",
            "message_thread_id",
            "text",
            "parse_mode",
            "entities",
            "link_preview_options",
            "reply_parameters",
            "disable_notification",
            "protect_content",
            "reply_markup",
        }
    ),
    "getFile": frozenset({"file_id"}),
    **{method: SENDING | {parameter} for method, parameter in FILE_PARAMETERS.items()},
    "answerCallbackQuery": frozenset({"callback_query_id", "text", "show_alert"}),
    "editMessageReplyMarkup": frozenset({"chat_id", "message_id", "reply_markup"}),
}


class BadCall(Exception):
    """An error answer of the Bot API."""

    def __init__(self, description: str, *, code: int = 400, **parameters: Any) -> None:
        super().__init__(description)
        self.code = code
        self.body: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
        if parameters:
            self.body["parameters"] = parameters


async def read_parameters(request: web.BaseRequest, method: str) -> dict[str, Any]:
    """A call's parameters, from JSON, a form or the address. The real API ignores unknown ones; this one does not."""
    if request.content_type == "application/json":
        try:
            found = json.loads((await request.read()).decode())
        except UnicodeDecodeError:
            raise BadCall("Bad Request: strings must be encoded in UTF-8") from None
        except ValueError:
            raise BadCall("Bad Request: can't parse JSON object") from None
        if not isinstance(found, dict):
            raise BadCall("Bad Request: JSON object expected")
    else:
        found = dict(request.query) | await read_form(request)
        for name in COMPLEX & found.keys():
            try:
                found[name] = json.loads(found[name])
            except ValueError:
                raise BadCall(f"Bad Request: can't parse {name} JSON object") from None
    if unknown := found.keys() - PARAMETERS[method]:
        raise BadCall(f"Bad Request: unknown parameters {sorted(unknown)}")
    _check_unicode(found)
    return found


def whole_number(parameters: dict[str, Any], name: str, *, default: int, least: int, most: int) -> int:
    found = parameters.get(name, default)
    try:
        number = int(found)
    except (TypeError, ValueError):
        raise BadCall(f"Bad Request: parameter {name} must be a number") from None
    if not least <= number <= most:
        raise BadCall(f"Bad Request: {name} is {number}; allowed: {least} to {most}")
    return number


def check_text(parameters: dict[str, Any]) -> str:
    """The text as it is shown. Raises `BadCall` for one that is empty, too long, or does not fit its entities."""
    text = parameters.get("text")
    if not isinstance(text, str):
        raise BadCall("Bad Request: message text is empty")
    mode, entities = parameters.get("parse_mode"), parameters.get("entities")
    if mode and entities:
        raise BadCall("Bad Request: parse_mode and entities exclude each other")
    if mode:
        text = _parsed(text, mode)
    units = utf16(text)
    for entity in entities or []:
        _check_entity(entity, units)
    if not text.strip():
        raise BadCall("Bad Request: message text is empty")
    if len(units) // 2 > TEXT_LIMIT:
        raise BadCall("Bad Request: message is too long")
    return text


def check_markup(parameters: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The rows of an inline keyboard. Raises `BadCall` for one that Telegram does not take."""
    markup = parameters.get("reply_markup") or {"inline_keyboard": []}
    if not isinstance(markup, dict) or not isinstance(rows := markup.get("inline_keyboard"), list):
        raise BadCall("Bad Request: object expected as reply markup")
    for row in rows:
        if not isinstance(row, list) or not row:
            raise BadCall('Bad Request: field "inline_keyboard" must be an Array of Arrays')
        for button in row:
            match button:
                case {"text": str(text), "callback_data": str(data), **rest} if text.strip() and not rest:
                    if not 1 <= len(data.encode()) <= LONGEST_DATA:
                        raise BadCall("Bad Request: BUTTON_DATA_INVALID")
                case _:
                    raise BadCall("Bad Request: can't parse inline keyboard button")
    return rows


def check_notice(parameters: dict[str, Any]) -> None:
    if len(str(parameters.get("text", ""))) > LONGEST_NOTICE:
        raise BadCall("Bad Request: MESSAGE_TOO_LONG")


def check_action(parameters: dict[str, Any]) -> None:
    if parameters.get("action") not in ACTIONS:
        raise BadCall("Bad Request: wrong parameter action in request")


def result(found: Any) -> bytes:
    return json.dumps({"ok": True, "result": found}).encode()


def read_scope(parameters: dict[str, Any]) -> dict[str, Any]:
    """Whom a call about commands is about. Raises `BadCall`."""
    scope = parameters.get("scope", {"type": "default"})
    if not isinstance(scope, dict) or scope.get("type") not in SCOPES:
        raise BadCall("Bad Request: can't parse BotCommandScope: unsupported scope type")
    if scope.keys() - {"type"} != SCOPES[scope["type"]]:
        raise BadCall("Bad Request: can't parse BotCommandScope: wrong fields")
    return scope


def read_commands(parameters: dict[str, Any]) -> list[dict[str, str]]:
    """The commands of a call of setMyCommands. Raises `BadCall`."""
    commands = parameters.get("commands")
    if not isinstance(commands, list):
        raise BadCall("Bad Request: can't parse commands JSON object")
    if len(commands) > MOST_COMMANDS:
        raise BadCall("Bad Request: BOT_COMMANDS_TOO_MUCH")
    for command in commands:
        if not isinstance(command, dict) or set(command) != {"command", "description"}:
            raise BadCall("Bad Request: can't parse BotCommand")
        if not re.fullmatch(r"[a-z0-9_]{1,32}", str(command["command"])):
            raise BadCall("Bad Request: BOT_COMMAND_INVALID")
        if not 1 <= len(str(command["description"])) <= 256:
            raise BadCall("Bad Request: BOT_COMMAND_DESCRIPTION_INVALID")
    if len({command["command"] for command in commands}) < len(commands):
        raise BadCall("Bad Request: BOT_COMMAND_INVALID")
    return commands


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le")


def _check_unicode(value: Any) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadCall("Bad Request: strings must be encoded in UTF-8") from None
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_unicode(item)


def _check_entity(entity: Any, units: bytes) -> None:
    match entity:
        case {"type": str(kind), "offset": int(offset), "length": int(length)} if kind in ENTITY_TYPES:
            if unknown := entity.keys() - {"type", "offset", "length"} - ({"language"} if kind == "pre" else set()):
                raise BadCall(f"Bad Request: can't parse entities: unexpected {sorted(unknown)}")
            if offset < 0 or length <= 0 or (offset + length) * 2 > len(units):
                raise BadCall(f"Bad Request: can't parse entities: {kind} at {offset} of length {length} is outside")
            for edge in (offset, offset + length):
                if 0xDC <= (units[edge * 2 + 1] if edge * 2 < len(units) else 0) <= 0xDF:
                    raise BadCall("Bad Request: can't parse entities: an entity ends in the middle of a UTF-16 symbol")
        case _:
            raise BadCall("Bad Request: can't parse entities: can't parse MessageEntity")


def _parsed(text: str, mode: str) -> str:
    if mode == "HTML":
        parser = _Html()
        parser.feed(text)
        parser.close()
        if parser.open:
            raise BadCall(f"Bad Request: can't parse entities: Can't find end tag corresponding to {parser.open[-1]}")
        return "".join(parser.shown)
    if mode == "MarkdownV2":
        plain = re.sub(r"\\(.)", "", text)
        for mark in "*_`":
            if plain.count(mark) % 2:
                raise BadCall("Bad Request: can't parse entities: Can't find end of an entity")
        if found := re.search(r"[>#+\-=|{}.!]", re.sub(r"`[^`]*`", "", plain)):
            raise BadCall(f"Bad Request: can't parse entities: Character {found[0]!r} is reserved and must be escaped")
        return re.sub(r"\\(.)|[*_`]", r"\1", text)
    raise BadCall("Bad Request: unsupported parse_mode")


class _Html(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.open: list[str] = []
        self.shown: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in TAGS:
            raise BadCall(f'Bad Request: can\'t parse entities: Unsupported start tag "{tag}"')
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            raise BadCall(f'Bad Request: can\'t parse entities: Unmatched end tag "{tag}"')

    def handle_data(self, data: str) -> None:
        if "<" in data:
            raise BadCall("Bad Request: can't parse entities: Unexpected end tag")
        self.shown.append(data)

    def handle_entityref(self, name: str) -> None:
        self.shown.append(unescape(f"&{name};"))

    def handle_charref(self, name: str) -> None:
        self.shown.append(unescape(f"&#{name};"))
