"""Indexes of deliveries, and when those died that are dead."""

from typing import Any

from django.db import migrations, models
from django.db.models.functions import Coalesce, Now

from online_indexes import AddIndexOnline, RemoveIndexOnline

_CHUNK_SIZE = 500


def fill_in_deaths(apps: Any, schema_editor: Any) -> None:
    """What is dead died at its last attempt. Each chunk commits by itself."""
    Delivery, Attempt = (apps.get_model("events", name) for name in ("Delivery", "Attempt"))
    last = Attempt.objects.filter(delivery=models.OuterRef("pk")).order_by("-ended_at")
    died_at = Coalesce(models.Subquery(last.values("ended_at")[:1]), Now())
    untimed = Delivery.objects.filter(state="dead", died_at=None).order_by("pk")
    ids = untimed.values_list("pk", flat=True)
    done = 0
    while chunk := list(ids.filter(pk__gt=done)[:_CHUNK_SIZE]):
        untimed.order_by().filter(pk__in=chunk).update(died_at=died_at)
        done = chunk[-1]


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("events", "0009_died_at"),
    ]

    operations = [
        AddIndexOnline(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("state", "skipped")), fields=["-id"], name="delivery_skipped"
            ),
        ),
        AddIndexOnline(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("state", "dead")),
                fields=["receiver", "fingerprint", "died_at", "key"],
                name="delivery_dead_by_cause",
            ),
        ),
        migrations.RunPython(fill_in_deaths, migrations.RunPython.noop),
        RemoveIndexOnline(
            model_name="delivery",
            name="delivery_dead",
        ),
    ]
