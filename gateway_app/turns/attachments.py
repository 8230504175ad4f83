"""Takes the files of a turn's messages in before the model is asked: what it gets of them is part of the message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

import aiohttp

from gateway_app import lanes
from gateway_app.config import live
from gateway_app.config.schema import Config
from gateway_app.media import fetching, showing, vision
from gateway_app.media.attachment import Attachment, Kind, MediaProblem, named
from gateway_app.media.showing import Shown
from gateway_app.models import InboundMessage
from gateway_app.models.inbox import InboundState
from gateway_app.statements import Statement, execute
from gateway_app.worker.database import in_database

from . import compression
from .opening import OpenTurn
from .waiting import Waiting, of_albums, said

log = logging.getLogger(__name__)

INBOX = InboundMessage._meta.db_table
MOST_FILES = 20
"""Of one turn; those beyond are only mentioned."""
AT_ONCE = 4
MOST_WAITS = 10
"""For the rest of an album: no platform's has more than ten pictures."""
BYTES_PER_TOKEN = 4
"""As `sessions.tokens` estimates."""


async def take_in(turn: OpenTurn, *, sees: bool, http: aiohttp.ClientSession) -> None:
    """Fetches the turn's files and makes what the model gets of them part of it. A file that cannot be had costs
    nothing but itself: the model and the person are told. `sees` says whether the first model takes images. Raises
    `LaneLost`.
    """
    config = live.config()
    if any(message.attachments for message in turn.messages):
        await _gather_albums(turn, seconds=config.media.album_seconds)
        await _take_in(turn, sees=sees, config=config, http=http)
    if sees and config.media.images:
        await _recall(turn, config)


async def _gather_albums(turn: OpenTurn, *, seconds: float) -> None:
    """Waits for the rest of the albums that the turn shows a part of, until nothing more comes."""
    albums = {each.album for message in turn.messages for each in message.attachments if each.album}
    for _ in range(MOST_WAITS if albums and not turn.steps else 0):
        await asyncio.sleep(seconds)
        if not await in_database(_take_albums, turn, albums):
            return


def _take_albums(turn: OpenTurn, albums: Collection[str]) -> int:
    with lanes.fenced(turn.claim):
        lanes.hold(turn.claim)
        found = of_albums(albums, lane_id=turn.claim.lane_id, participant=turn.source.participant)
        if found:
            execute(
                Statement(
                    f"UPDATE {INBOX} SET state = %s, turn_id = %s WHERE id IN ({', '.join(['%s'] * len(found))})",
                    [InboundState.RUNNING.value, turn.turn_id, *(message.row_id for message in found)],
                )
            )
    turn.messages += found
    return len(found)


async def _take_in(turn: OpenTurn, *, sees: bool, config: Config, http: aiohttp.ClientSession) -> None:
    files = [(message, named(each)) for message in turn.messages for each in message.attachments][:MOST_FILES]
    room = max(turn.room, 0) * BYTES_PER_TOKEN // 2
    most_chars = min(config.media.text_max_bytes, room) // max(len(files), 1)
    places = asyncio.Semaphore(AT_ONCE)

    async def shown(attachment: Attachment) -> Shown:
        async with places:
            try:
                found = await fetching.fetch(attachment, context=turn.context, http=http)
            except MediaProblem as problem:
                log.warning("A file of turn %s was not taken: %s.", turn.turn_id, problem)
                return showing.failed(attachment, problem)
            return await showing.show(found, sees=sees, most_chars=most_chars, config=config, http=http)

    every = await asyncio.gather(*(shown(attachment) for _, attachment in files))
    texts: dict[int, list[str]] = {}
    for (message, _), each in zip(files, every, strict=True):
        texts.setdefault(message.row_id, []).append(each.text)
    turn.asked = "\n\n".join(_with_files(message, texts.get(message.row_id, [])) for message in turn.messages)
    turn.images = [each.image for each in every if each.image]
    turn.preface = [each.told for each in every if each.told]
    turn.room -= vision.TOKENS * len(turn.images)
    turn.history = await in_database(compression.read_history, turn)


def _with_files(message: Waiting, texts: list[str]) -> str:
    left_out = len(message.attachments) - len(texts)
    more = [f"[{left_out} more files came with this message, and were not looked at.]"] if left_out else []
    return "\n".join([said(message), *texts, *more])


async def _recall(turn: OpenTurn, config: Config) -> None:
    """Shows the newest images of earlier messages once more, as long as they are kept."""
    places = vision.mentioned(turn.history.messages, most=config.media.images)
    if not places:
        return
    most = config.media.image_max_bytes
    files = await in_database(vision.of_sessions, places, session_key=turn.context.session_key, most=most)
    if files:
        turn.history.messages[:] = await asyncio.to_thread(vision.recalled, turn.history.messages, places, files)


def has_voice(turn: OpenTurn) -> bool:
    """Whether somebody spoke to the agent."""
    return any(each.kind is Kind.VOICE for message in turn.messages for each in message.attachments)
