from __future__ import annotations

import secrets

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


def new_chat_id() -> str:
    """An id that nobody guesses, though every request checks the owner anyway."""
    return secrets.token_urlsafe(16)


class WebConversation(models.Model):
    """One conversation of the web chat. Its messages are the inbox and outbox rows of its `chat_id`."""

    chat_id = models.CharField(max_length=32, unique=True, default=new_chat_id)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="web_conversations", db_index=False
    )
    title = models.CharField(max_length=120, blank=True, db_default="")
    created_at = models.DateTimeField(db_default=Now())
    active_at = models.DateTimeField(db_default=Now(), help_text="When its owner last wrote; the list's order.")

    class Meta:
        indexes = [models.Index(fields=["owner", "-active_at"], name="web_conversations_of_owner")]

    def __str__(self) -> str:
        return self.title or "New conversation"
