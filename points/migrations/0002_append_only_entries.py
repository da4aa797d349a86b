from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from points.append_only import protect, unprotect


def protect_entries(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make the ledger append-only for everybody, not only for this program."""
    protect(schema_editor, "points_entry")


def unprotect_entries(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Undo it."""
    unprotect(schema_editor, "points_entry")


class Migration(migrations.Migration):
    """Protect the ledger by triggers."""

    dependencies = (("points", "0001_initial"),)

    operations = (migrations.RunPython(protect_entries, unprotect_entries),)
