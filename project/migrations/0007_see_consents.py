"""The groups support and auditor may see what people agreed to."""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations


def let_see_consents(apps: Any, schema_editor: Any) -> None:
    # Django makes permissions after all migrations have run; these groups need this one now.
    config = apps.get_app_config("accounts")
    config.models_module = True
    create_permissions(config, verbosity=0, using=schema_editor.connection.alias, apps=apps)
    config.models_module = None
    permissions = apps.get_model("auth", "Permission").objects
    new = permissions.get(content_type__app_label="accounts", codename="view_consent")
    # Groups are the site's own: one that no longer sees people's history sees no consents either.
    groups = apps.get_model("auth", "Group").objects.filter(
        name__in=["support", "auditor"],
        permissions__content_type__app_label="accounts",
        permissions__codename="view_statuschange",
    )
    for group in groups:
        group.permissions.add(new)


class Migration(migrations.Migration):
    dependencies = [
        ("project", "0006_alarms"),
        ("accounts", "0005_consents_and_names"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [migrations.RunPython(let_see_consents, migrations.RunPython.noop)]
