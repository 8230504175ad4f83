from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway_app.config.kinds import Flag, Folder, HttpUrl, Number, Text, Whole, Words
from gateway_app.config.setting import Section, setting

SEEING = (
    "gpt-4o*",
    "gpt-4.1*",
    "gpt-5*",
    "o3*",
    "o4-*",
    "claude-*",
    "gemini-*",
    "gemma-3*",
    "gemma3*",
    "llama-4*",
    "pixtral*",
    "*llava*",
    "*vision*",
    "*-vl*",
    "*vl:*",
)
MIB = 1024 * 1024


def _roots(values: dict[str, Any]) -> tuple[str, ...]:
    return ("outbox",)


class Media(Section):
    key = "media"
    heading = "Media"

    folder: Folder = setting("HERMES_MEDIA_FOLDER", Path("cache/media"))
    """Where files are kept; a relative one is in `HERMES_HOME`. Several hosts need one that all of them see."""
    storage: Text = setting("HERMES_MEDIA_STORAGE", "django.core.files.storage.FileSystemStorage")
    """Another storage of Django's, by its class. Any but the default one takes its options from its own settings."""
    max_bytes: Whole = setting("HERMES_MEDIA_MAX_BYTES", 128 * MIB, least=1, is_live=True)
    """Largest file that is taken from a person or sent to one. Telegram lets bots fetch 20 MB and send 50 MB."""
    person_max_bytes: Whole = setting("HERMES_MEDIA_PERSON_MAX_BYTES", 1024 * MIB, least=1, is_live=True)
    """Most that is kept of one person's files; those that come beyond it are not taken until older ones are let go."""
    keep_hours: Number = setting("HERMES_MEDIA_KEEP_HOURS", 24, least=0.01, is_live=True)
    """How long a file is kept after it came. What was said about it stays in the conversation."""
    fetch_seconds: Number = setting("HERMES_MEDIA_FETCH_SECONDS", 60, least=0.1, is_live=True)
    """Longest that one file may take on its way from the platform; the message is then answered without it."""
    album_seconds: Number = setting("HERMES_MEDIA_ALBUM_SECONDS", 0.8, most=30, is_live=True)
    """How long the rest of an album is waited for: platforms send each picture as a message of its own."""
    vision_models: Words = setting("HERMES_VISION_MODELS", SEEING, is_live=True)
    """Models that can look at images, `*` standing for anything; the others are told that there is one."""
    image_max_bytes: Whole = setting("HERMES_IMAGE_MAX_BYTES", 5 * MIB, least=1, is_live=True)
    """Largest image that a model is given. Common servers refuse larger ones."""
    images: Whole = setting("HERMES_IMAGES", 4, most=100, is_live=True)
    """Images of earlier messages that a model is given again, the newest; each is paid for with every message."""
    text_max_bytes: Whole = setting("HERMES_MEDIA_TEXT_MAX_BYTES", 100 * 1024, is_live=True)
    """Most of a document's text that becomes part of the conversation."""
    outgoing_roots: Words = setting(
        "HERMES_MEDIA_ROOTS", work_out=_roots, default_words="`outbox`, in `HERMES_HOME`", is_live=True
    )
    """Folders whose files the agent may send; a relative one is in `HERMES_HOME`. Whoever may speak to the agent can
    ask it for any file in them."""


class SpeechToText(Section):
    key = "stt"
    heading = "Voice messages"

    enabled: Flag = setting("HERMES_STT", False, is_live=True)
    """Has voice messages and sound files written down, by a server that speaks OpenAI's `/audio/transcriptions`."""
    base_url: HttpUrl = setting("HERMES_STT_BASE_URL", is_live=True)
    """Its address with `/v1`. Empty: the model's server, with its key."""
    api_key: Text = setting("HERMES_STT_API_KEY", is_secret=True, is_live=True)
    """Sent to HERMES_STT_BASE_URL as a bearer token."""
    model: Text = setting("HERMES_STT_MODEL", "whisper-1", is_live=True)
    """The model that listens."""
    echo_transcripts: Flag = setting("HERMES_STT_ECHO", True, is_live=True)
    """Shows people what was understood, above the answer."""
    timeout_seconds: Number = setting("HERMES_STT_TIMEOUT_SECONDS", 120, least=0.1, is_live=True)
    """Longest wait for one transcript; the message is then answered without it."""


class TextToSpeech(Section):
    key = "tts"
    heading = "Voice replies"

    enabled: Flag = setting("HERMES_TTS", False, is_live=True)
    """Lets people ask for spoken answers with `/voice`, from a server that speaks OpenAI's `/audio/speech`."""
    base_url: HttpUrl = setting("HERMES_TTS_BASE_URL", is_live=True)
    """Its address with `/v1`. Empty: the model's server, with its key."""
    api_key: Text = setting("HERMES_TTS_API_KEY", is_secret=True, is_live=True)
    """Sent to HERMES_TTS_BASE_URL as a bearer token."""
    model: Text = setting("HERMES_TTS_MODEL", "tts-1", is_live=True)
    """The model that speaks."""
    voice: Text = setting("HERMES_TTS_VOICE", "alloy", is_live=True)
    """The voice, as its server calls it."""
    max_chars: Whole = setting("HERMES_TTS_MAX_CHARS", 4_000, least=1, is_live=True)
    """Longest answer that is spoken; a longer one is only written. OpenAI takes 4,096."""
    timeout_seconds: Number = setting("HERMES_TTS_TIMEOUT_SECONDS", 30, least=0.1, is_live=True)
    """Longest wait for one recording; the answer is then only written."""
