"""What people are told about their pairing."""

from __future__ import annotations

from datetime import datetime

TURNED_AWAY = (
    "Too many requests: several people are waiting to be let in just now, so I have no code for you yet."
    " Please write again in ten minutes or later."
)
APPROVED = "Welcome! You have been let in: from now on I read what you write to me. What can I do for you?"


def code(code: str, *, platform: str, until: datetime, minutes: int) -> str:
    """The reply to somebody unknown. It holds the code, so that it is a secret until it is sent."""
    return (
        "Hello! I do not know you yet, so I have not read your message. Your pairing code is\n\n"
        f"`{code}`\n\n"
        f"It is good for {minutes} minutes, until {until:%H:%M} UTC. Please give it to whoever runs this gateway. They"
        " let you in on the page Pairing of the admin, or with\n\n"
        f"`manage.py gateway pairing approve {platform} {code}`"
    )
