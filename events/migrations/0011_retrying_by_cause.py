from django.db import migrations, models

from online_indexes import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("events", "0010_dead_by_cause"),
    ]

    operations = [
        AddIndexOnline(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(
                    ("state", "pending"), models.Q(("fingerprint", ""), _negated=True)
                ),
                fields=["receiver", "fingerprint", "due_at", "key"],
                name="delivery_retrying_by_cause",
            ),
        ),
    ]
