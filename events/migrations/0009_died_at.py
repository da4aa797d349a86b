from django.db import migrations, models


class Migration(migrations.Migration):
    """Alone: its lock on deliveries is held for a moment."""

    dependencies = [
        ("events", "0008_monitor"),
    ]

    operations = [
        migrations.AddField(
            model_name="delivery",
            name="died_at",
            field=models.DateTimeField(
                blank=True,
                help_text="While it is dead: since when.",
                null=True,
                verbose_name="died at",
            ),
        ),
    ]
