"""Memory of many sessions in several workers; `make chaos` has ten times as many calls, and does without its guard."""

from __future__ import annotations

import unittest
from typing import Any

from django.db import connection

from tests.chaos.case import ChaosTestCase
from tests.chaos.memories import Owners, crossing
from tests.chaos.scenarios import memory

OWNERS = Owners(
    sessions={"ann-dm": ("1", "1"), "ann-group": ("1", "-9"), "bob-dm": ("2", "2")},
    peers={"ann": "1", "bob": "2"},
    ai="hermes",
)


def seen(operation: str = "search", *, sessions: str = "", peers: str = "", body: Any = None) -> str:
    request = {"operation": operation, "sessions": sessions.split(), "peers": peers.split(), "body": body, "query": {}}
    return crossing(request, OWNERS)


class RoutingTests(ChaosTestCase):
    fleet_options = memory.FLEET

    if connection.vendor in memory.DATABASES:

        def test_each_call_of_a_memory_tool_reaches_its_own_session_though_workers_die(self) -> None:
            self.prove(memory.some_memories)


class CountingTests(unittest.TestCase):
    """Nothing crossed is worth something only if it could have been seen."""

    def test_requests_about_one_person_are_right(self) -> None:
        for right in (
            {"sessions": "ann-dm", "peers": "ann hermes"},
            {"peers": "ann", "body": {"query": "own1at1n5end tea"}},
            {"peers": "ann", "sessions": "ann-group", "body": {"query": "own1at-9n5end tea"}},
            {"operation": "get_or_create_workspace", "body": {"id": "hermes"}},
            {"operation": "get_or_create_peer", "peers": "hermes"},
        ):
            with self.subTest(right=right):
                self.assertEqual(seen(**right), "")

    def test_all_others_are_seen(self) -> None:
        for wrong in (
            {},
            {"sessions": "ann-dm", "peers": "bob"},
            {"sessions": "ann-dm bob-dm"},
            {"sessions": "ann-dm ann-group"},
            {"sessions": "somebody"},
            {"peers": "ann bob"},
            {"peers": "ann", "body": {"query": "own2at2n5end tea"}},
            {"sessions": "ann-dm", "body": {"messages": [{"content": "own1at-9n5end"}]}},
            {"body": {"query": "own1at1n1end own2at2n1end"}, "peers": "ann"},
            {"operation": "delete_conclusion", "peers": "ann"},
        ):
            with self.subTest(wrong=wrong):
                self.assertNotEqual(seen(**wrong), "")
