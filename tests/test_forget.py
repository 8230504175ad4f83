"""Forgetting a person: here and on the Honcho server, on all slots, and nobody else."""

from __future__ import annotations

import io
from unittest import mock

from django.core.management import CommandError, call_command

from gateway_app.access.audit import verify
from gateway_app.models import AuditEntry, MemoryFlush, MemoryNote, Session
from gateway_app.models.memory import MemoryScope
from gateway_app.sessions import flushes
from gateway_app.sessions.key import session_key
from honcho_app import configuration, generations, names, sending
from honcho_app.manager import Whom
from honcho_app.managers import manager_for
from honcho_app.models import HonchoWrite
from tests import pipeline
from tests.test_flush_honcho import SHARED, HonchoFlushCase


class ForgetTests(HonchoFlushCase):
    def setUp(self) -> None:
        super().setUp()
        for user in ("ann", "bob"):
            self.tell(f"I am {user}", user=user)
            self.tell("remember that", user=user)
            MemoryNote.objects.create(scope=MemoryScope.USER, owner=f"recording::{user}", place=1, text="likes tea")
        self.remember()

    def remember(self) -> None:
        async def write() -> None:
            for user in ("ann", "bob"):
                manager = manager_for(pipeline.context(user))
                assert manager
                await sending.drain(key=manager.honcho_session_key)
                await manager.conclude(Whom.USER, f"about {user}")
                await manager.conclude(Whom.AI, f"brief with {user}")
                await manager.set_profile(Whom.USER, [f"is {user}"])

        pipeline.run(write())

    def forget(self, *options: str, user: str = "ann") -> str:
        out = io.StringIO()
        call_command("honcho", "forget", "recording", user, *options, stdout=out)
        return out.getvalue()

    def texts(self) -> str:
        """All that the server has."""
        with self.peer._lock:
            spaces = list(self.peer._store.workspaces.values())
            cards = [peer.cards for space in spaces for peer in space.peers.values()]
        return str(self.peer.all_messages()) + str(self.conclusions()) + str(cards)

    def test_without_yes_it_only_says_what_would_go(self) -> None:
        said = self.forget()
        self.assertIn("1 notes, 4 messages kept for Honcho", said)
        self.assertIn("Nothing was changed.", said)
        self.assertIn("about ann", self.texts())
        self.assertEqual((MemoryNote.objects.count(), AuditEntry.objects.count()), (2, 0))

    def test_the_person_is_forgotten_on_every_slot_and_nobody_else(self) -> None:
        self.assertIn("Honcho shows nothing of it any more.", self.forget("--yes", "--reason", "asked"))
        left = self.texts()
        for text in ("about ann", "brief with ann", "is ann", "I am ann"):
            self.assertNotIn(text, left)
        for text in ("about bob", "brief with bob", "is bob", "I am bob"):
            self.assertIn(text, left)
        self.assertEqual([note.owner for note in MemoryNote.objects.all()], ["recording::bob"])
        self.assertEqual(set(HonchoWrite.objects.values_list("session__user_id", flat=True)), {"bob"})
        entry = AuditEntry.objects.get()
        self.assertEqual((entry.action, entry.subject, entry.reason), ("memory_forgotten", "ann", "asked"))
        self.assertEqual(verify().faults, [])

    def test_what_is_said_afterwards_goes_into_another_session_there(self) -> None:
        self.forget("--yes")
        self.tell("hello again")
        key = session_key(pipeline.source())
        pipeline.run(sending.drain(key=key))
        name = names.session_name(key, generation=generations.generation(key))
        self.assertNotEqual(name, names.session_name(key))
        said = [message["content"] for message in self.peer.all_messages()[name]]
        self.assertEqual(said, ["hello again", "echo: hello again"])

    def test_what_was_said_before_is_not_saved_by_a_flush_that_waits_runs_or_comes_later(self) -> None:
        self.tell("/new")
        running = flushes.claim_next(seconds=60)
        assert running
        self.tell("something new", "and more", "/new")
        self.forget("--yes")
        self.assertEqual(set(MemoryFlush.objects.values_list("state", "outcome")), {("done", "forgotten")})
        old = Session.objects.filter(user_id="ann").order_by("pk")[0]
        self.tell(f"/resume {old.session_id}", "one more thing")
        self.tell("/new")
        self.flush()
        said = str(self.flush_requests()[-1])
        self.assertIn("one more thing", said)
        self.assertNotIn("I am ann", said)

    def test_what_honcho_still_shows_is_named_and_running_it_again_ends_it(self) -> None:
        self.peer.worker_is_paused = True
        with self.assertRaisesRegex(CommandError, "Honcho still shows session agent-main-recording"):
            self.forget("--yes", "--wait", "0")
        self.peer.worker_is_paused = False
        self.assertIn("Honcho shows nothing of it any more.", self.forget("--yes"))

    def test_while_honcho_is_away_it_says_so_and_can_be_run_again(self) -> None:
        self.peer.fault("refuse")
        with self.assertRaisesRegex(CommandError, "Not forgotten by Honcho: Honcho cannot be reached"):
            self.forget("--yes")
        self.assertFalse(MemoryNote.objects.filter(owner="recording::ann").exists())
        self.peer.clear_faults()
        self.forget("--yes")
        self.assertNotIn("about ann", self.texts())

    def test_what_they_wrote_where_others_wrote_too_stays_and_is_said_to(self) -> None:
        self.tell("in the group", **SHARED)
        self.assertIn("1 sessions that others wrote in too stay", self.forget("--yes"))
        self.assertIn("in the group", str(list(HonchoWrite.objects.values_list("content", flat=True))))

    def test_nobody_and_somebody_who_is_everybody_are_refused(self) -> None:
        with self.assertRaisesRegex(CommandError, "Nobody with the id 'eve'"):
            self.forget(user="eve")
        pinned = configuration.live().model_copy(update={"pin_user_peer": True, "peer_name": "owner"})
        with (
            mock.patch.object(configuration, "live", lambda: pinned),
            self.assertRaisesRegex(CommandError, "makes everybody the peer 'owner'"),
        ):
            self.forget("--yes")
        self.assertIn("about ann", self.texts())

    def test_without_honcho_what_is_kept_here_is_forgotten(self) -> None:
        off = configuration.live().model_copy(update={"enabled": False})
        with mock.patch.object(configuration, "live", lambda: off):
            self.forget("--yes")
        self.assertFalse(MemoryNote.objects.filter(owner="recording::ann").exists())


class CommandTests(HonchoFlushCase):
    def run_command(self, *words: str) -> str:
        out = io.StringIO()
        call_command("honcho", *words, stdout=out)
        return out.getvalue()

    def test_flushes_are_shown_and_those_that_were_given_up_tried_again(self) -> None:
        self.put_aside()
        self.assertIn("waiting", self.run_command("flushes"))
        MemoryFlush.objects.update(state="failed", attempts=3, error="the model was away")
        self.assertIn("the model was away", self.run_command("flushes"))
        self.assertIn("1 will be tried again", self.run_command("flushes", "--retry"))
        self.flush()
        self.assertEqual(self.run_command("flushes"), "No flushes are not done.\n")
        self.assertIn("the agent went through it", self.run_command("flushes", "--all"))

    def test_sessions_are_shown_with_their_names_on_the_server(self) -> None:
        self.tell("hello")
        said = self.run_command("sessions", "recording", "ann")
        self.assertIn(names.session_name(session_key(pipeline.source())), said)
        self.assertIn(self.name("ann"), said)

    def test_the_status_says_whether_the_server_answers(self) -> None:
        self.assertIn("The server answers.", self.run_command("status"))
        self.peer.fault("refuse")
        with self.assertRaisesRegex(CommandError, "Honcho cannot be reached"):
            self.run_command("status")
        off = configuration.live().model_copy(update={"enabled": False})
        with mock.patch.object(configuration, "live", lambda: off):
            self.assertIn("Honcho is not used", self.run_command("status"))
