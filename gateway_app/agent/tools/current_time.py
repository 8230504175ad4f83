"""Tells the model what time it is."""

from __future__ import annotations

import json
import zoneinfo
from typing import Any

from django.utils import timezone

from gateway_app.agent.registry import Tool, error


async def current_time(args: dict[str, Any], **kwargs: Any) -> str:
    """The time in `args["timezone"]`, UTC where none is given."""
    name = str(args.get("timezone") or "UTC")
    try:
        zone = zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return error(f"{name!r} is no time zone; use an IANA name such as Europe/Paris.")
    moment = timezone.now().astimezone(zone)
    return json.dumps(
        {"time": moment.isoformat(timespec="seconds"), "weekday": moment.strftime("%A"), "timezone": name}
    )


TOOL = Tool(
    name="current_time",
    description="The current date and time in a time zone.",
    parameters={
        "type": "object",
        "properties": {
            "timezone": {"type": "string", "description": "IANA name, such as Europe/Paris; UTC if left out"}
        },
        "additionalProperties": False,
    },
    handler=current_time,
    is_repeatable=True,
    is_parallel=True,
)
