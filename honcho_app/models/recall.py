from __future__ import annotations

from django.db import models


class Recall(models.Model):
    """What Honcho remembers, fetched for the next message of one person in one session: any worker puts it beside that.

    Nothing but a copy: where there is none it is fetched again. Written only by `honcho_app.recall_cache`.
    """

    honcho_session_key = models.CharField(max_length=1024)
    peer = models.CharField(max_length=100, help_text="Honcho's name for the person: the only one whose memory it is.")
    session_id = models.CharField(max_length=64, help_text="The session that it was fetched for; the next has its own.")
    turn = models.BigIntegerField(help_text="The turn that it was asked for; none for an older one comes after.")
    turns = models.IntegerField(db_default=0, help_text="That have ended since it was fetched.")
    text = models.TextField(blank=True, db_default="", help_text="Without the fence around it.")
    fetched_at = models.DateTimeField(null=True, blank=True, help_text="Empty: nothing was, for the session.")
    fence = models.BigIntegerField(db_default=1, help_text="Raised by each start of a fetch.")
    lease_until = models.DateTimeField(null=True, blank=True, help_text="A fetch is under way until then.")

    class Meta:
        verbose_name = "recalled memory"
        verbose_name_plural = "recalled memories"
        constraints = [
            models.UniqueConstraint(fields=["honcho_session_key", "peer"], name="recall_once_per_person_and_session")
        ]

    def __str__(self) -> str:
        return self.text[:60] or "nothing"
