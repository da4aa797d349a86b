from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# Each delivery that is done leaves two dead entries in the index of what is open. A vacuum comes
# when so great a share of the table is dead: until then whoever counts what is open passes them.
# PostgreSQL's default is 0.2. Its vacuum would leave indexes out where few pages have dead rows,
# and these are few: they lie together, as they are of the latest deliveries.
OPTIONS = {"autovacuum_vacuum_scale_factor": "0.02", "vacuum_index_cleanup": "on"}


def vacuum_sooner(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Let the delivery table be vacuumed ten times as often, unless the site has its own options.

    It waits for no reader or writer, but for a VACUUM or a CREATE INDEX CONCURRENTLY under way.
    """
    if schema_editor.connection.vendor != "postgresql":
        return
    chosen = _chosen(schema_editor)
    for name, value in OPTIONS.items():
        if name not in chosen:
            schema_editor.execute(f"ALTER TABLE events_delivery SET ({name} = {value})")


def vacuum_as_other_tables(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Undo it, but for what the site has chosen since."""
    if schema_editor.connection.vendor != "postgresql":
        return
    chosen = _chosen(schema_editor)
    for name, value in OPTIONS.items():
        if chosen.get(name) == value:
            schema_editor.execute(f"ALTER TABLE events_delivery RESET ({name})")


def _chosen(schema_editor: BaseDatabaseSchemaEditor) -> dict[str, str]:
    """Return the options that the table has."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE oid = 'events_delivery'::regclass")
        (options,) = cursor.fetchone()
    return dict(option.split("=", 1) for option in options or [])


class Migration(migrations.Migration):
    """Vacuum deliveries when a fiftieth of them is dead, indexes included."""

    dependencies = (("events", "0011_retrying_by_cause"),)

    operations = (migrations.RunPython(vacuum_sooner, vacuum_as_other_tables),)
