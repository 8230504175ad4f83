from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class TodoList(models.Model):
    """What the agent has set itself to do in a session: `{"id", "content", "status"}` each, in its order."""

    session = models.OneToOneField("Session", on_delete=models.CASCADE, related_name="todo_list")
    items = models.JSONField(default=list)
    updated_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{len(self.items)} things to do"
