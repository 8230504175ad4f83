"""What goes with a reply: the files that the agent asks for, and the reply as a voice message."""

from __future__ import annotations

import asyncio
import dataclasses
import logging

import aiohttp

from gateway_app.config import live
from gateway_app.config.schema import Config
from gateway_app.media import cache, fetching, outgoing, speech, voice
from gateway_app.media.attachment import MediaProblem, clean_name
from gateway_app.models import MediaFile
from gateway_app.models.media import VoiceMode
from gateway_app.platforms import registry as platforms
from gateway_app.worker.database import in_database

from .attachments import has_voice
from .closing import Outcome
from .opening import OpenTurn

log = logging.getLogger(__name__)

MOST_FILES = 10
"""Of one reply."""
REFUSED = "*(I could not attach “{name}”: {problem}.)*"
"""In the place of the line: for the person, and for the model, which reads it when it is asked next."""


async def enclosed(turn: OpenTurn, outcome: Outcome, *, http: aiohttp.ClientSession) -> Outcome:
    """`outcome` with its files, without the lines that asked for them; each that is not sent is told of in its place.

    Safe to do again: a file is named by its turn and its place, and taken from the cache the second time. Never
    raises `MediaProblem`.
    """
    config = live.config()
    if "MEDIA:" in outcome.reply:
        outcome = await _with_files(turn, outcome, config)
    if config.tts.enabled and outcome.reply:
        outcome = await _with_voice(turn, outcome, config, http=http)
    return outcome


async def _with_files(turn: OpenTurn, outcome: Outcome, config: Config) -> Outcome:
    files: list[MediaFile] = []
    shown: list[str] = []
    told: list[str] = []
    wanted = 0
    for line in outgoing.lines(outcome.reply):
        if not line.wanted:
            shown.append(line.text)
            told.append(line.text)
            continue
        wanted += 1
        try:
            if wanted > MOST_FILES:
                raise MediaProblem(f"a reply has {MOST_FILES} files at most")
            file = await _file(line.wanted, turn, number=wanted, config=config)
        except MediaProblem as problem:
            log.warning(
                "Turn %s of session %s asked to send %r: %s.", turn.turn_id, turn.claim.key, line.wanted, problem
            )
            refusal = REFUSED.format(name=clean_name(outgoing.name_of(line.wanted)), problem=problem)
            shown.append(refusal)
            told.append(refusal)
        else:
            files.append(file)
            told.append(f"MEDIA:{file.reference}")
    if not wanted:
        return outcome
    said = [*outcome.said[:-1], outcome.said[-1] | {"content": "\n".join(told)}]
    return dataclasses.replace(outcome, reply="\n".join(shown).strip(), said=said, files=files)


async def _file(wanted: str, turn: OpenTurn, *, number: int, config: Config) -> MediaFile:
    """Raises `MediaProblem`."""
    most = min(platforms.get(turn.context.platform).largest_file, config.media.max_bytes)
    if not most:
        raise MediaProblem("no files can be sent to this chat")
    key, origin = turn.context.session_key, f"turn/{turn.turn_id}/{number}"
    found = await in_database(outgoing.referred, wanted, session_key=key)
    if found is None and turn.attempts > 1:
        # An attempt before this one may have got so far; the file itself may be gone since.
        before = await in_database(cache.find, cache.reference_for(origin, session_key=key), session_key=key)
        found = before if before and cache.is_kept(before) else None
    if found is None:
        with cache.Spool(most=most) as spool:
            await asyncio.to_thread(outgoing.copy, wanted, spool=spool)
            name = outgoing.name_of(wanted)
            found = await fetching.kept(spool, origin=origin, context=turn.context, name=name)
    if found.size > most:
        raise MediaProblem(f"it has {cache.shown_size(found.size)}, and {cache.shown_size(most)} can be sent here")
    return found


async def _with_voice(turn: OpenTurn, outcome: Outcome, config: Config, *, http: aiohttp.ClientSession) -> Outcome:
    context = turn.context
    if not platforms.get(context.platform).largest_file:
        return outcome
    mode = await in_database(voice.mode_of, session_key=context.session_key)
    if mode is None or (mode is VoiceMode.ON and not has_voice(turn)):
        return outcome
    text = voice.spoken(outcome.reply)
    if not text or len(text) > config.tts.max_chars:
        return outcome
    try:
        with cache.Spool(most=config.media.max_bytes) as spool:
            spool.write(await speech.speak(text, config=config.tts, http=http))
            file = await fetching.kept(
                spool, origin=f"turn/{turn.turn_id}/voice", context=context, name="answer.ogg", is_voice=True
            )
    except MediaProblem as problem:
        log.error("The reply of turn %s is only written: %s.", turn.turn_id, problem)
        return outcome
    return dataclasses.replace(outcome, files=[file, *outcome.files])
