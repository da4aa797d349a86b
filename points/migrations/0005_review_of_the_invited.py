from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

_MOST = 1_000_000_000


def limit_caps(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Lower caps that nobody can reach to the highest there are from now on."""
    rules = apps.get_model("points", "RewardRule").objects
    for cap in ("cap_total", "cap_per_period"):
        rules.filter(**{f"{cap}__gt": _MOST}).update(**{cap: _MOST})


class Migration(migrations.Migration):
    """Add why a reward waits for the invited person, and limits that every database has."""

    dependencies = [
        ("points", "0004_funnel"),
    ]

    operations = [
        migrations.AlterField(
            model_name="rewarddecision",
            name="reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("hold_period", "the waiting time is not over"),
                    ("referral_flagged", "the referral is under review"),
                    ("inviter_flagged", "the inviter's account is under review"),
                    ("invitee_flagged", "the invited person's account is under review"),
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
        migrations.RunPython(limit_caps, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="rewardrule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("version__lte", _MOST),
                    models.Q(
                        ("cap_total__isnull", True), ("cap_total__lte", _MOST), _connector="OR"
                    ),
                    models.Q(
                        ("cap_per_period__isnull", True),
                        ("cap_per_period__lte", _MOST),
                        _connector="OR",
                    ),
                ),
                name="points_rewardrule_counts_limited",
                violation_error_message="Version and caps are at most 1,000,000,000.",
            ),
        ),
    ]
