"""Database triggers that refuse UPDATE, DELETE and TRUNCATE on a table, for migrations.

On SQLite a migration that alters a column makes the table anew, which loses its triggers: such a
migration runs `protect` again afterwards. A test tries an UPDATE on the migrated database.
"""

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

_ACTIONS = ("UPDATE", "DELETE", "TRUNCATE")


def protect(schema_editor: BaseDatabaseSchemaEditor, table: str) -> None:
    """Make the database refuse to change or delete rows. Both fail with an IntegrityError."""
    unprotect(schema_editor, table)
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(_POSTGRESQL_FUNCTION, params=None)
    create = _CREATE[schema_editor.connection.vendor]
    for action in _ACTIONS:
        if action in create:
            schema_editor.execute(create[action].format(table=table, name=_name(table, action)))


def unprotect(schema_editor: BaseDatabaseSchemaEditor, table: str) -> None:
    """Take the triggers away, where they are."""
    drop = _DROP[schema_editor.connection.vendor]
    for action in _ACTIONS:
        schema_editor.execute(drop.format(table=table, name=_name(table, action)))


def _name(table: str, action: str) -> str:
    return f"{table}_refuse_{action.lower()}"


# 23001 is restrict_violation: drivers report it as an integrity error, as SQLite does by itself.
_POSTGRESQL_FUNCTION = """
    CREATE OR REPLACE FUNCTION points_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = '23001';
    END $$
"""

_POSTGRESQL = (
    "CREATE TRIGGER {{name}} BEFORE {action} ON {{table}} "
    "FOR EACH {each} EXECUTE FUNCTION points_refuse_change()"
)
_SQLITE = (
    "CREATE TRIGGER {{name}} BEFORE {action} ON {{table}} "
    "BEGIN SELECT RAISE(ABORT, '{{table}} is append-only'); END"
)

_CREATE = {
    "postgresql": {
        "UPDATE": _POSTGRESQL.format(action="UPDATE", each="ROW"),
        "DELETE": _POSTGRESQL.format(action="DELETE", each="ROW"),
        "TRUNCATE": _POSTGRESQL.format(action="TRUNCATE", each="STATEMENT"),
    },
    "sqlite": {  # it has no TRUNCATE
        "UPDATE": _SQLITE.format(action="UPDATE"),
        "DELETE": _SQLITE.format(action="DELETE"),
    },
}

_DROP = {
    "postgresql": "DROP TRIGGER IF EXISTS {name} ON {table}",
    "sqlite": "DROP TRIGGER IF EXISTS {name}",
}
