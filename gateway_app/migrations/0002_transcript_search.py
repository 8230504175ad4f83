"""Full-text search over transcripts, in what each database has for it."""

from django.db import migrations

TABLE = "gateway_app_transcriptmessage"

SQLITE = [
    f"CREATE VIRTUAL TABLE {TABLE}_fts USING fts5(content, content='{TABLE}', content_rowid='id')",
    f"CREATE TRIGGER {TABLE}_fts_insert AFTER INSERT ON {TABLE} BEGIN"
    f" INSERT INTO {TABLE}_fts(rowid, content) VALUES (new.id, new.content); END",
    f"CREATE TRIGGER {TABLE}_fts_delete AFTER DELETE ON {TABLE} BEGIN"
    f" INSERT INTO {TABLE}_fts({TABLE}_fts, rowid, content) VALUES ('delete', old.id, old.content); END",
    f"CREATE TRIGGER {TABLE}_fts_update AFTER UPDATE OF content ON {TABLE} BEGIN"
    f" INSERT INTO {TABLE}_fts({TABLE}_fts, rowid, content) VALUES ('delete', old.id, old.content);"
    f" INSERT INTO {TABLE}_fts(rowid, content) VALUES (new.id, new.content); END",
]
POSTGRESQL = [f"CREATE INDEX transcript_words ON {TABLE} USING gin (to_tsvector('simple', content))"]


def forwards(apps, schema_editor):
    for statement in SQLITE if schema_editor.connection.vendor == "sqlite" else POSTGRESQL:
        schema_editor.execute(statement)


def backwards(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        for trigger in ("insert", "delete", "update"):
            schema_editor.execute(f"DROP TRIGGER {TABLE}_fts_{trigger}")
        schema_editor.execute(f"DROP TABLE {TABLE}_fts")
    else:
        schema_editor.execute("DROP INDEX transcript_words")


class Migration(migrations.Migration):
    dependencies = [("gateway_app", "0001_initial")]
    operations = [migrations.RunPython(forwards, backwards)]
