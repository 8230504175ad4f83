"""What the Honcho peer does and tells where it runs as a command: `/_/…`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from tests.peers.honcho.server import HonchoPeer


async def control(peer: HonchoPeer, request: web.BaseRequest, what: str) -> web.Response:
    """GET `stats`, `requests?since=`, `messages?workspace=&session=`, `conclusions?workspace=`, `faults`;
    POST `fault` (a `Fault`'s fields, or `{"clear": true}`), `reset`, `derive`, and `set` with any of `delay` (seconds),
    `worker_is_paused`, `worker_delay` (seconds), `chat_answer` and `api_key`."""
    query = request.query
    match request.method, what:
        case "GET", "stats":
            return web.json_response(peer.stats)
        case "GET", "requests":
            return web.json_response(peer.records.requests(since=int(query.get("since", 0))))
        case "GET", "messages":
            if "session" in query:
                return web.json_response(peer.messages(query["session"], workspace=query.get("workspace", "")))
            return web.json_response(peer.all_messages(workspace=query.get("workspace", "")))
        case "GET", "conclusions":
            return web.json_response(peer.conclusions(workspace=query.get("workspace", "")))
        case "GET", "faults":
            return web.json_response([fault.as_json() for fault in peer.faults])
        case "POST", "fault":
            found = await request.json()
            try:
                peer.clear_faults() if found.get("clear") else peer.fault(**found)
            except (TypeError, ValueError) as error:
                return web.json_response({"error": str(error)}, status=400)
            return web.json_response({})
        case "POST", "reset":
            peer.reset()
            return web.json_response({})
        case "POST", "derive":
            peer.derive()
            return web.json_response({})
        case "POST", "set":
            found = await request.json()
            for name in ("delay", "worker_is_paused", "worker_delay", "chat_answer", "api_key"):
                if name in found:
                    setattr(peer, name, found[name])
            return web.json_response({})
    return web.json_response({"error": f"nothing at /_/{what}"}, status=404)
