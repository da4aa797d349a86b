from django.db import migrations, models

from online_indexes import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("points", "0005_review_of_the_invited"),
    ]

    operations = [
        AddIndexOnline(
            model_name="rewarddecision",
            index=models.Index(fields=["occurred_at"], name="points_decision_by_time"),
        ),
    ]
