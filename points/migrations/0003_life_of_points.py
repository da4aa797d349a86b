from itertools import islice

import django.db.models.deletion
from django.apps.registry import Apps
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from points.append_only import protect

_CHUNK_SIZE = 500


def protect_entries(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Protect the ledger anew: SQLite has lost its triggers, PostgreSQL gets one for TRUNCATE."""
    protect(schema_editor, "points_entry")


def fill_lots(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make the lots. Until now points could only be earned, so all of each is left."""
    entries = apps.get_model("points", "Entry").objects.filter(kind="earn").order_by("pk")
    lot = apps.get_model("points", "Lot")
    lots = (
        lot(
            entry_id=entry.pk,
            account_id=entry.account_id,
            expires_at=entry.expires_at,
            occurred_at=entry.occurred_at,
            number=entry.number,
            remaining=entry.amount,
        )
        for entry in entries.iterator(chunk_size=_CHUNK_SIZE)
    )
    while chunk := list(islice(lots, _CHUNK_SIZE)):
        lot.objects.bulk_create(chunk)


class Migration(migrations.Migration):
    """Add lots, and what the life of points after the reward needs."""

    dependencies = [
        ("points", "0002_append_only_entries"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Lot",
            fields=[
                (
                    "entry",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="as_lot",
                        serialize=False,
                        to="points.entry",
                        verbose_name="credit",
                    ),
                ),
                (
                    "expires_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="expires at"),
                ),
                ("occurred_at", models.DateTimeField(verbose_name="occurred at")),
                ("number", models.BigIntegerField(verbose_name="number")),
                ("remaining", models.BigIntegerField(verbose_name="remaining")),
            ],
            options={
                "verbose_name": "lot",
                "verbose_name_plural": "lots",
            },
        ),
        migrations.AlterModelOptions(
            name="pointsaccount",
            options={
                "permissions": [
                    ("spend_points", "Can spend people's points, and undo that"),
                    ("adjust_points", "Can adjust points"),
                ],
                "verbose_name": "points account",
                "verbose_name_plural": "points accounts",
            },
        ),
        migrations.RemoveConstraint(
            model_name="entry",
            name="points_entry_kind_has_its_sign",
        ),
        migrations.RemoveIndex(
            model_name="entry",
            name="points_entry_expiring",
        ),
        migrations.AlterField(
            model_name="rewarddecision",
            name="reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("hold_period", "the waiting time is not over"),
                    ("referral_flagged", "the referral is under review"),
                    ("inviter_flagged", "the inviter's account is under review"),
                    ("no_active_rule", "no rule was active"),
                    ("inviter_closed", "the inviter's account is closed"),
                    ("cap_total", "the inviter has all the rewards there are"),
                    ("cap_period", "the inviter has all the rewards of the period"),
                    ("referral_voided", "the referral was declared void"),
                ],
                max_length=40,
                verbose_name="reason",
            ),
        ),
        migrations.AddIndex(
            model_name="rewarddecision",
            index=models.Index(
                condition=models.Q(("outcome", "pending")),
                fields=["id"],
                name="points_decision_pending",
            ),
        ),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("amount__gt", 0), ("kind__in", ["earn", "spend_rollback"])),
                    models.Q(("amount__lt", 0), ("kind", "spend")),
                    models.Q(("amount__lte", 0), ("kind", "expire")),
                    ("kind", "reversal"),
                    models.Q(("kind", "adjust"), models.Q(("amount", 0), _negated=True)),
                    _connector="OR",
                ),
                name="points_entry_kind_has_its_sign",
            ),
        ),
        migrations.AddConstraint(
            model_name="rewardrule",
            constraint=models.CheckConstraint(
                condition=models.Q(("points__lte", 1000000000)),
                name="points_rewardrule_points_limited",
                violation_error_message="Points are at most 1,000,000,000.",
            ),
        ),
        migrations.AddField(
            model_name="lot",
            name="account",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="lots",
                to="points.pointsaccount",
                verbose_name="account",
            ),
        ),
        migrations.AddIndex(
            model_name="lot",
            index=models.Index(
                condition=models.Q(("remaining__gt", 0)),
                fields=["account", "expires_at", "occurred_at", "number"],
                name="points_lot_order",
            ),
        ),
        migrations.AddIndex(
            model_name="lot",
            index=models.Index(
                condition=models.Q(("expires_at__isnull", False), ("remaining__gt", 0)),
                fields=["expires_at"],
                name="points_lot_expiring",
            ),
        ),
        migrations.AddConstraint(
            model_name="lot",
            constraint=models.CheckConstraint(
                condition=models.Q(("remaining__gte", 0)), name="points_lot_not_negative"
            ),
        ),
        migrations.RunPython(protect_entries, migrations.RunPython.noop),
        migrations.RunPython(fill_lots, migrations.RunPython.noop),
    ]
