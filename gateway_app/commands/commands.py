"""`/commands`: every command that the person may use here, with what it does, in pages."""

from __future__ import annotations

from .base import Call, Command, Group

PAGE = 12
"""Commands in one answer, which is about a screen of a phone."""
USAGE = "`/commands` lists the commands that you may use here, and `/commands 2` the next page of them."
MOST_DIGITS = 3


def grouped(call: Call) -> list[tuple[Group, list[Command]]]:
    """What the person may run here, by group."""
    found = {group: [each for each in call.permitted if each.group is group] for group in Group}
    return [(group, commands) for group, commands in found.items() if commands]


def show(call: Call) -> str:
    """One page."""
    wanted = call.arguments or "1"
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) <= MOST_DIGITS and int(wanted)):
        return USAGE
    page = int(wanted)
    listed = [(group, command) for group, commands in grouped(call) for command in commands]
    pages = -(-len(listed) // PAGE)
    if page > pages:
        return f"There is no page {page}. {USAGE}"
    lines: list[str] = []
    shown = None
    for group, command in listed[(page - 1) * PAGE : page * PAGE]:
        if group is not shown:
            lines += ["", f"**{group}**"] if lines else [f"**{group}**"]
            shown = group
        lines.append(f"- `{command.form}` {command.summary}")
    more = f" `/commands {page + 1}` shows the next." if page < pages else ""
    return "\n".join([*lines, "", f"Page {page} of {pages}.{more}"])


def explained(command: Command) -> str:
    """All that there is to say of one command."""
    lines = [f"`{command.form}` {command.summary}"]
    if command.aliases:
        lines.append(f"Also: {', '.join(f'/{alias}' for alias in command.aliases)}")
    at_once = "It is answered at once, also while I work." if command.is_control else "It waits its turn while I work."
    return "\n".join([*lines, at_once])


COMMAND = Command(
    name="commands",
    summary="lists all commands that you may use here, with what they do.",
    group=Group.FACTS,
    usage="[<page>]",
    answer=show,
)
