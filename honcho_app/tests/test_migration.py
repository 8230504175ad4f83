"""Memory files of before Honcho: brought to it once, under their owner and under nobody else."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from django.db.models import F
from django.test import SimpleTestCase, override_settings

from honcho_app import configuration, migration
from honcho_app.models import MemoryUpload
from honcho_app.tests.case import HonchoCase
from tests import pipeline


class EntryTests(SimpleTestCase):
    def test_entries_are_told_apart_by_the_sign_or_an_empty_line_and_each_is_one(self) -> None:
        self.assertEqual(migration.entries("one\n§\ntwo\nlines\n\nthree § one\n"), ["one", "two\nlines", "three"])
        self.assertEqual(migration.entries(" \n§\n"), [])
        self.assertEqual([len(entry) for entry in migration.entries("x" * 8_000 + "y" * 4_000)], [8_000, 4_000])


class MigrationTests(HonchoCase):
    def setUp(self) -> None:
        super().setUp()
        self.home = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(override_settings(HERMES_HOME=self.home))
        (self.home / "memories").mkdir()
        self.write("memories/USER.md", "is called Anna\n§\nlives in Oslo\n")
        self.write("memories/MEMORY.md", "the server is in the cellar")
        self.write("SOUL.md", "You are brief.")

    def write(self, name: str, text: str) -> None:
        (self.home / name).write_text(text)

    def configure(self, **values: Any) -> None:
        """honcho.json, as far as it says whose the files are."""
        config = configuration.live().model_copy(update=values)
        self.enterContext(mock.patch.object(configuration, "live", lambda: config))

    def upload(self) -> None:
        pipeline.run(migration.upload_due())

    def conclusions(self) -> list[tuple[str, str, str]]:
        with self.peer._lock:
            found = [each for space in self.peer._store.workspaces.values() for each in space.conclusions]
            return sorted((each.observer_id, each.observed_id, each.content) for each in found)

    def test_each_is_uploaded_once_under_the_pinned_person(self) -> None:
        self.configure(pin_user_peer=True, peer_name="anna")
        self.upload()
        expected = [
            ("anna", "anna", "is called Anna"),
            ("anna", "anna", "lives in Oslo"),
            ("anna", "anna", "the server is in the cellar"),
            ("anna", "hermes", "You are brief."),
        ]
        self.assertEqual(self.conclusions(), expected)
        self.write("memories/USER.md", "something else")
        MemoryUpload.objects.update(tried_at=F("tried_at") - timedelta(days=1))
        self.upload()
        self.assertEqual(self.conclusions(), expected)
        self.assertEqual(set(MemoryUpload.objects.values_list("state", "peer")), {("done", "anna")})

    def test_where_nobody_is_named_as_their_owner_they_are_nobodys(self) -> None:
        for values in ({}, {"peer_name": "anna"}, {"user_peer_aliases": {"telegram:5": "ben"}, "peer_name": "anna"}):
            with self.subTest(values):
                self.configure(**values)
                self.upload()
        self.assertEqual((self.conclusions(), MemoryUpload.objects.count()), ([], 0))

    def test_an_alias_names_the_owner_as_well(self) -> None:
        self.configure(peer_name="anna", user_peer_aliases={"telegram:5": "anna"})
        self.upload()
        self.assertEqual({observer for observer, *_ in self.conclusions()}, {"anna"})

    def test_one_that_fails_is_seen_and_tried_again_later_and_nothing_of_it_is_there_twice(self) -> None:
        self.configure(pin_user_peer=True, peer_name="anna")
        self.peer.fault("drop", operation="create_conclusions", times=1)
        self.upload()
        failed = MemoryUpload.objects.get(state="failed")
        self.assertIn("Honcho", failed.error)
        self.upload()
        self.assertEqual(MemoryUpload.objects.filter(state="failed").count(), 1)
        MemoryUpload.objects.update(tried_at=F("tried_at") - timedelta(hours=2))
        self.upload()
        self.assertEqual(MemoryUpload.objects.filter(state="failed").count(), 0)
        self.assertEqual(len(self.conclusions()), 4)
