from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class Compression(models.Model):
    """How the model gets a session's older messages from now on. The messages themselves stay as they are.

    It sees the messages up to `head_until`, then `summary` for those up to `last_message`, then the newer ones; of tool
    results up to `pruned_until` only how long they were.
    """

    session = models.ForeignKey("Session", on_delete=models.CASCADE, related_name="compressions")
    head_until = models.BigIntegerField(help_text="The last message of the session's beginning that is kept; 0: none.")
    last_message = models.BigIntegerField(help_text="The last message that the summary stands for; 0: none.")
    pruned_until = models.BigIntegerField(help_text="The last message whose tool results are left out; 0: none.")
    summary = models.TextField(blank=True)
    model = models.CharField(max_length=128, blank=True, help_text="That wrote the summary.")
    prompt_tokens = models.IntegerField(default=0)
    completion_tokens = models.IntegerField(default=0)
    is_void = models.BooleanField(db_default=False, help_text="Some of what it stands for was taken back since.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(head_until=0, last_message=0, summary="")
                | models.Q(last_message__gt=models.F("head_until")) & ~models.Q(summary=""),
                name="compression_summary_stands_for_messages",
            ),
        ]

    def __str__(self) -> str:
        return self.summary[:60] or "tool results left out"
