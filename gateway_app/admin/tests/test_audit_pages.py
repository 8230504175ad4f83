"""The audit's pages: nobody changes a row, everybody who may finds it, and the files are safe to open."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from typing import Any
from unittest import mock

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection, connections
from django.test import AsyncClient, TransactionTestCase
from django.test.utils import CaptureQueriesContext

from gateway_app.access import rules
from gateway_app.admin import audit_export
from gateway_app.models import AuditEntry
from hermes_site.audit_in_tests import without_triggers

from .access_case import ANN, AccessCase, list_of, page_of
from .test_actions import person

AUDIT = list_of("auditentry")


def rule(subject_id: str, **values: Any) -> AuditEntry:
    rules.allow(platform="telegram", subject_id=subject_id, **{"by": ANN, **values})
    return AuditEntry.objects.latest("pk")


class ReadingTests(AccessCase):
    def test_a_row_shows_before_and_after_side_by_side(self) -> None:
        rule("77", note="old <b>")
        row = rule("77", note="new", reason="a reason")
        content = self.content(page_of(row))
        self.assertIn('class="hermes-differs"><th scope="row">note</th><td>old &lt;b&gt;</td><td>new</td>', content)
        self.assertIn("a reason", content)
        self.assertIn(row.hash, content)

    def test_filters_and_search(self) -> None:
        first, second = rule("77"), rule("88", by=ANN.__class__("ben", ANN.door))
        rules.deny(platform="telegram", subject_id="99", by=ANN)
        cases: list[tuple[dict[str, str], list[int]]] = [
            ({}, [3, 2, 1]),
            ({"actor": "ben"}, [2]),
            ({"subject": "77"}, [1]),
            ({"action__exact": "rule_added"}, [3, 2, 1]),
            ({"action__exact": "role_changed"}, []),
            ({"door__exact": "admin"}, []),
            ({"platform": "telegram"}, [3, 2, 1]),
            ({"hours": "1"}, [3, 2, 1]),
            ({"hours": "nonsense"}, [3, 2, 1]),
            ({"q": "88"}, [2]),
            ({"q": str(first.pk)}, [1]),
            ({"q": "ben"}, [2]),
        ]
        self.assertEqual((first.pk, second.pk), (1, 2))
        for query, expected in cases:
            with self.subTest(query):
                content = self.content(AUDIT, **query)
                shown = [number for number in (3, 2, 1) if f"#{number}<" in content]
                self.assertEqual(shown, expected)

    def test_a_long_list_costs_as_many_queries_as_a_short_one(self) -> None:
        costs = []
        for number in range(20):
            rule(str(number))
            if number in (3, 19):
                with CaptureQueriesContext(connection) as queries:
                    self.content(AUDIT)
                costs.append(len(queries))
        self.assertEqual(costs[0], costs[1])
        self.assertLessEqual(costs[0], 14)

    def test_nobody_adds_edits_or_deletes_a_row(self) -> None:
        row = rule("77")
        self.client.force_login(User.objects.create_superuser("root"))
        self.assertEqual(self.client.get(f"{AUDIT}add/").status_code, 403)
        self.assertEqual(self.client.post(page_of(row), {"reason": "x"}).status_code, 403)
        self.assertEqual(self.client.post(page_of(row, "delete"), {"post": "yes"}).status_code, 403)
        self.client.post(AUDIT, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
        self.assertEqual(AuditEntry.objects.get().reason, "")

    def test_who_may_not_see_it_sees_neither_rows_nor_files_nor_the_verdict(self) -> None:
        row = rule("77")
        self.sign_in("view_person")
        for path in (AUDIT, page_of(row), f"{AUDIT}verify/", f"{AUDIT}export/csv/", f"{AUDIT}export/json/"):
            self.assertEqual(self.client.get(path).status_code, 403, path)


class VerdictTests(AccessCase):
    def test_a_whole_chain_is_said_to_be_whole(self) -> None:
        row = rule("77")
        content = self.content(f"{AUDIT}verify/")
        self.assertIn("The chain is whole", content)
        self.assertIn(row.hash, content)

    def test_a_row_that_was_tampered_with_is_named(self) -> None:
        rule("77")
        rule("88")
        with without_triggers(connection):
            AuditEntry.objects.filter(pk=1).update(actor="nobody")
        content = self.content(f"{AUDIT}verify/")
        self.assertIn("The audit was tampered with", content)
        self.assertIn("Row 1 was changed", content)


class ExportTests(AccessCase):
    def export(self, form: str, **query: str) -> str:
        response = self.client.get(f"{AUDIT}export/{form}/", query)
        self.assertEqual(response.status_code, 200)
        self.assertIn(f'.{form}"', response["Content-Disposition"])
        return b"".join(response.streaming_content).decode()

    def test_csv_and_json_hold_what_the_filters_leave(self) -> None:
        rule("77")
        rule("88", reason='line\nbreak, and "quotes"')
        rows = list(csv.DictReader(io.StringIO(self.export("csv"))))
        self.assertEqual([row["subject"] for row in rows], ["77", "88"])
        self.assertEqual(rows[1]["reason"], 'line\nbreak, and "quotes"')
        self.assertEqual(json.loads(rows[0]["after"])["subject_id"], "77")
        found = json.loads(self.export("json", subject="88"))
        self.assertEqual([(row["id"], row["subject"], row["before"]) for row in found], [(2, "88", None)])
        self.assertEqual(found[0]["hash"], AuditEntry.objects.get(pk=2).hash)
        self.assertEqual(json.loads(self.export("json", subject="nobody")), [])

    def test_a_cell_that_a_spreadsheet_would_run_is_made_harmless(self) -> None:
        for number, start in enumerate("=+-@\t\r"):
            rule(str(number), reason=f"{start}HYPERLINK(1)")
        rule("-100123")
        rows = list(csv.DictReader(io.StringIO(self.export("csv"), newline="")))
        for row in rows:
            for cell in row.values():
                self.assertFalse(cell.startswith(audit_export.FORMULA), cell)
        self.assertEqual(rows[0]["reason"], "'=HYPERLINK(1)")
        self.assertEqual(rows[-1]["subject"], "'-100123")

    def test_rows_are_read_chunk_by_chunk(self) -> None:
        for number in range(5):
            rule(str(number))
        with mock.patch.object(audit_export, "CHUNK", 2), CaptureQueriesContext(connection) as queries:
            self.assertEqual(len(json.loads(self.export("json"))), 5)
            self.assertEqual(self.export("csv").count("\r\n"), 6)
        reads = [query["sql"] for query in queries if '"previous_hash"' in query["sql"]]
        self.assertTrue(all("LIMIT 2" in sql or "LIMIT 1" in sql for sql in reads), reads)

    def test_more_rows_than_a_file_takes_are_refused_and_said(self) -> None:
        for number in range(3):
            rule(str(number))
        with mock.patch.object(audit_export, "MOST_ROWS", 2):
            response = self.client.get(f"{AUDIT}export/csv/", {"actor": "ann"}, follow=True)
            self.assertRedirects(response, f"{AUDIT}?actor=ann")
            self.assertContains(response, "One file takes 2 rows")
            self.assertEqual(len(json.loads(self.export("json", subject="1"))), 1)

    def test_there_are_no_other_forms(self) -> None:
        self.assertEqual(self.client.get(f"{AUDIT}export/xml/").status_code, 404)

    def test_the_list_leads_to_a_file_of_what_it_shows(self) -> None:
        rule("77")
        self.assertIn(f"{AUDIT}export/csv/?actor=ann", self.content(AUDIT, actor="ann"))


class StreamingTests(TransactionTestCase):
    def test_on_the_event_loop_the_file_comes_piece_by_piece(self) -> None:
        user = person("view_auditentry")
        for number in range(5):
            rule(str(number))

        async def pieces() -> list[bytes]:
            client = AsyncClient()
            await client.aforce_login(user)
            response = await client.get(f"{AUDIT}export/json/")
            self.assertTrue(response.is_async)
            found = [piece async for piece in response.streaming_content]
            await sync_to_async(connections.close_all)()  # of the thread in which views run
            return found

        with mock.patch.object(audit_export, "CHUNK", 2):
            found = asyncio.run(pieces())
        self.assertEqual(len(found), 4)
        self.assertEqual(len(json.loads(b"".join(found))), 5)
