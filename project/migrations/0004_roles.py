"""The groups marketing, support, on-call and auditor."""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations

from project.roles import make_roles


def create_roles(apps: Any, schema_editor: Any) -> None:
    # Django makes permissions after all migrations have run; these groups need them now.
    for app_config in apps.get_app_configs():
        app_config.models_module = True
        create_permissions(app_config, verbosity=0, using=schema_editor.connection.alias, apps=apps)
        app_config.models_module = None
    make_roles(apps)


class Migration(migrations.Migration):
    dependencies = [
        ("project", "0003_mails"),
        ("accounts", "0004_second_factor"),
        ("coupons", "0004_lists_and_stock"),
        ("points", "0005_review_of_the_invited"),
        ("relay", "0003_received_by_age"),
        ("events", "0006_tallies"),
        ("account", "0009_emailaddress_unique_primary_email"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("django_q", "0018_task_success_index"),
        ("knox", "0009_extend_authtoken_field"),
        ("mfa", "0003_authenticator_type_uniq"),
    ]

    operations = [migrations.RunPython(create_roles, migrations.RunPython.noop)]
