from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class ToolOutput(models.Model):
    """The whole of a tool's result that was too long for the model, which reads on by its reference."""

    session = models.ForeignKey("Session", on_delete=models.CASCADE, related_name="tool_outputs", db_index=False)
    turn = models.ForeignKey("Turn", on_delete=models.CASCADE, related_name="tool_outputs")
    reference = models.CharField(max_length=32)
    text = models.TextField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["session", "reference"], name="tool_output_once_per_session")]
        indexes = [models.Index(fields=["session", "-id"], name="tool_output_newest_first")]

    def __str__(self) -> str:
        return f"output {self.reference}"
