"""Whatever people ask of the tools, the model sees in a session only what was said where that session may look."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_app import inbox
from gateway_app.models import ToolOutput
from gateway_app.sessions.source import ChatType
from tests import pipeline
from tests.pipeline_case import PipelineTestCase

PEOPLE = ("ann", "bob")
PLACES = ("dm", "other dm", "group", "thread")
MARK = re.compile(r"mark(\w+?)x(\d)x(\d)end")

ACTIONS = st.sampled_from(
    ["say", "note", "note here", "notes", "notes here", "do", "to do", "search", "search for theirs", "read on"]
)
STEPS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), ACTIONS), min_size=4, max_size=14)

runs = itertools.count()


@override_settings(TOOL_RESULT_MAX_CHARS=500)
class ToolIsolationTests(PipelineTestCase):
    def test_no_tool_shows_a_session_what_is_not_its_to_see(self) -> None:
        # Seen to fail with a scope filter taken out of each: search._where(), tool_output.read(), todo.read(), and in
        # memory.owner() with one key for all, and with a person's notes in groups.
        @given(STEPS)
        @settings(max_examples=30, deadline=None)
        def run(steps: list[tuple[int, int, str]]) -> None:
            self.run_number = f"r{next(runs)}"
            for person, place, action in steps:
                self.act(person, place, action)

        run()

    def act(self, person: int, place: int, action: str) -> None:
        mark = f"mark{self.run_number}x{person}x{place}end"
        where = self.where(person, place)
        user = f"{PEOPLE[person]}{self.run_number}"
        inbox.accept([pipeline.event(self.text(action, mark, person), user=user, **where)])
        self.answer(user, **where)
        seen = json.dumps(self.model.requests[-1]["body"]["messages"])
        for number, other_person, other_place in MARK.findall(seen):
            self.assertEqual(number, self.run_number)
            self.assertTrue(
                self.may_see((person, place), (int(other_person), int(other_place))),
                f"{PEOPLE[person]} in {PLACES[place]} saw {PEOPLE[int(other_person)]} in {PLACES[int(other_place)]}",
            )

    def where(self, person: int, place: int) -> dict[str, Any]:
        run = self.run_number
        return (
            {"chat_id": f"{PEOPLE[person]}-{run}"},
            {"chat_id": f"{PEOPLE[person]}-{run}-2"},
            {"chat_id": f"group-{run}", "chat_type": ChatType.GROUP},
            {"chat_id": f"group-{run}", "chat_type": ChatType.GROUP, "thread_id": "t"},
        )[place]

    def may_see(self, reader: tuple[int, int], writer: tuple[int, int]) -> bool:
        """Threads are shared by all in them; in a direct message a person has all that is their own."""
        if 3 in (reader[1], writer[1]):
            return reader[1] == writer[1]
        if reader[0] != writer[0]:
            return False
        return reader[1] in (0, 1) or reader == writer

    def text(self, action: str, mark: str, person: int) -> str:
        call: tuple[str, dict[str, Any]]
        match action:
            case "say":
                return f"common words {mark} " + "and more of them " * 20
            case "note" | "note here":
                call = "memory", {"action": "add", "text": f"common {mark} " + "note " * 60}
            case "notes" | "notes here":
                call = "memory", {"action": "list"}
            case "do":
                item = {"id": mark, "content": f"common {mark} " + "work " * 60}
                call = "todo", {"items": [item], "merge": True}
            case "to do":
                call = "todo", {}
            case "search":
                call = "session_search", {"query": "common", "limit": 20}
            case "search for theirs":
                other = PEOPLE[1 - person]
                call = "session_search", {"query": "common", "user_id": other, "session_key": f"agent:main:{other}"}
            case _:
                newest = ToolOutput.objects.order_by("-id").values_list("reference", flat=True).first()
                call = "tool_output", {"reference": newest or "none", "session_id": "any"}
        name, arguments = call
        if action.endswith("here"):
            arguments["scope"] = "session"
        return f"call:{name} {json.dumps(arguments)}"
