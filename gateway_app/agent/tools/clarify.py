"""Lets the agent ask the person what they meant. The turn is parked until they answer."""

from __future__ import annotations

from typing import Any

from gateway_app.agent.registry import Tool, ToolError

LONGEST_QUESTION = 2_000
LONGEST_CHOICE = 200
MOST_CHOICES = 8


async def clarify(args: dict[str, Any], **kwargs: Any) -> str:
    """Never run: the call itself is the question."""
    raise ToolError("The question could not be asked. Go on as you think best.")


TOOL = Tool(
    name="clarify",
    description=(
        "Asks the person one question and waits for their answer, which is the result. Only where you cannot go on"
        " sensibly without it. Give choices where there are a few; the person may also answer in other words."
    ),
    parameters={
        "type": "object",
        "properties": {
            "question": {"type": "string", "minLength": 1, "maxLength": LONGEST_QUESTION},
            "choices": {
                "type": "array",
                "items": {"type": "string", "minLength": 1, "maxLength": LONGEST_CHOICE},
                "minItems": 1,
                "maxItems": MOST_CHOICES,
            },
        },
        "required": ["question"],
        "additionalProperties": False,
    },
    handler=clarify,
    is_repeatable=True,
    is_question=True,
)
