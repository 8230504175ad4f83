from __future__ import annotations


class ToolError(Exception):
    """What a tool tells the model on purpose. The message is shown as it is: one sentence, and nothing secret."""
