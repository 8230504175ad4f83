"""`/voice`: whether answers are spoken as well."""

from __future__ import annotations

from gateway_app.config import live
from gateway_app.media import voice
from gateway_app.models.media import VoiceMode

from .base import Call, Command, Effect, Held

NOT_SET_UP = "Voice replies are not set up here. Whoever runs the gateway can do so, with HERMES_TTS."
ALLOWED = "`/voice on` answers voice messages with voice, `/voice all` speaks all answers, `/voice off` only writes."
WORDS = {
    "on": (VoiceMode.ON, "🔊 I answer voice messages with voice as well, from now on."),
    "all": (VoiceMode.ALL, "🔊 I speak all my answers, from now on. They are written as well."),
    "off": (None, "🔇 I only write, from now on."),
}
STATES = {
    None: "I only write here.",
    VoiceMode.ON: "I answer voice messages with voice here.",
    VoiceMode.ALL: "I speak all my answers here.",
}


async def choose(call: Call) -> str | Effect:
    """Sets it for this conversation and those that follow it, or says how it is."""
    if not live.config().tts.enabled:
        return NOT_SET_UP
    wanted, key = call.arguments.strip().lower(), call.context.session_key
    if wanted and wanted not in WORDS:
        return f"That is no way to answer. {ALLOWED}"

    def change(held: Held) -> str:
        if not wanted:
            return f"{STATES[voice.mode_of(session_key=key)]} {ALLOWED}"
        mode, answer = WORDS[wanted]
        voice.choose(mode, session_key=key, user_id=call.context.user_id)
        return answer

    return change


COMMAND = Command(name="voice", summary="answers with voice as well: on, off or all.", run=choose)
