"""`manage.py chat`: talk to the agent from a terminal."""

from __future__ import annotations

import asyncio
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor

from gateway_app.platforms.cli.conversation import NotAllowed, ask, source_of_terminal
from gateway_app.sessions.routing import context_of
from gateway_app.worker.database import close_database_threads
from honcho_app.context import only_session
from honcho_app.managers import manager_for


class Command(BaseCommand):
    help = (
        "Talks to the agent. With a text it prints the answer and exits (0 if there was one, 1 if not);"
        " without one it reads lines until Ctrl-D. The turn runs in this process, so no worker need be up."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("text", nargs="?", help="what to say; left out, the command reads lines from the terminal")
        parser.add_argument(
            "--conversation", default="main", help="the name of the conversation to go on with (default: main)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.OPENAI_BASE_URL:
            raise CommandError(
                "No model is configured. Set OPENAI_BASE_URL (with its /v1) and OPENAI_API_KEY, or keep"
                " `make run` going in another terminal: it serves a small demonstration model."
            )
        self._ensure_tables()
        source = source_of_terminal(conversation=options["conversation"])
        memory = manager_for(context_of(source, session_id=""))
        try:
            with only_session(memory):
                if options["text"] is not None:
                    self._say(options["text"], source)
                else:
                    self._talk(source)
        finally:
            close_database_threads()

    def _talk(self, source: Any) -> None:
        self.stdout.write(f"Conversation {source.chat_name!r} with {settings.HERMES_MODEL}. Ctrl-D ends it.")
        while True:
            try:
                text = input("you> ").strip()
            except (EOFError, KeyboardInterrupt):
                self.stdout.write("")
                return
            if not text:
                continue
            try:
                self._say(text, source)
            except CommandError as error:
                self.stderr.write(str(error))

    def _say(self, text: str, source: Any) -> None:
        if not text.strip():
            raise CommandError("There is nothing to say: the text is empty.")
        try:
            answer = asyncio.run(ask(text, source=source))
        except NotAllowed as error:
            raise CommandError(str(error)) from error
        for part in answer.texts:
            (self.stdout if answer.is_answered else self.stderr).write(part)
        if not answer.is_answered:
            raise CommandError("The message was not answered.")

    def _ensure_tables(self) -> None:
        """Makes the embedded database's tables on its first use; another database is the operator's to migrate."""
        connection = connections[DEFAULT_DB_ALIAS]
        executor = MigrationExecutor(connection)
        if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return
        if connection.vendor != "sqlite":
            raise CommandError("The database's tables are not up to date. Run `manage.py migrate` first.")
        call_command("migrate", verbosity=0)
