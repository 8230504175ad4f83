"""Tools of MCP servers: connections to them, and what of theirs the agent is offered.

What a server says, names and descriptions of its tools as well as results, is somebody else's text. It is bounded,
cleaned, and marked as data before the model gets it.
"""
