"""What the Telegram peer does and tells where it runs as a command: `/_/…`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from tests.peers.telegram import TelegramPeer


async def control(peer: TelegramPeer, request: web.BaseRequest, what: str) -> web.Response:
    since = int(request.query.get("since", 0))
    match request.method, what:
        case "POST", "push":
            found = await request.json()
            numbers = [peer.push_text(**text) for text in found.get("texts", [])]
            numbers += [peer.push(body) for body in found.get("updates", [])]
            numbers += [peer.push_press(**press) for press in found.get("presses", [])]
            numbers += [peer.push(body.encode()) for body in found.get("raw", [])]
            return web.json_response({"update_ids": numbers})
        case "POST", "fault":
            found = await request.json()
            peer.clear_faults() if found.get("clear") else peer.fault(**found)
            return web.json_response({})
        case "GET", "stats":
            return web.json_response(peer.stats)
        case "GET", "messages":
            found = [message | {"bytes": len(message.get("bytes", b""))} for message in peer.messages(since=since)]
            return web.json_response(found)
        case "GET", "updates":
            return web.json_response(peer.updates(since=since))
    return web.json_response({"error": f"nothing at /_/{what}"}, status=404)
