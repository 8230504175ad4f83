"""Slash commands: what the gateway itself answers in a chat. A command is a module here that has a `COMMAND`."""
