"""The audit's rows can be added and nothing else, whatever the application tries: the database itself refuses."""

from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

TABLE = "gateway_app_auditentry"

POSTGRESQL = [
    """
    CREATE OR REPLACE FUNCTION gateway_app_audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'audit entries are never changed or deleted' USING ERRCODE = 'integrity_constraint_violation';
    END
    $$
    """,
    f"""
    CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {TABLE}
    FOR EACH STATEMENT EXECUTE FUNCTION gateway_app_audit_is_append_only()
    """,
]
SQLITE = [
    f"""
    CREATE TRIGGER audit_is_never_{done} BEFORE {deed} ON {TABLE}
    BEGIN SELECT RAISE(ABORT, 'audit entries are never changed or deleted'); END
    """
    for deed, done in (("UPDATE", "changed"), ("DELETE", "deleted"))
]


def create(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement, params=None)


def drop(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"DROP TRIGGER audit_is_append_only ON {TABLE}")
        schema_editor.execute("DROP FUNCTION gateway_app_audit_is_append_only()")
    else:
        schema_editor.execute("DROP TRIGGER audit_is_never_changed")
        schema_editor.execute("DROP TRIGGER audit_is_never_deleted")


class Migration(migrations.Migration):
    dependencies = [("gateway_app", "0004_access")]

    operations = [migrations.RunPython(create, drop)]
