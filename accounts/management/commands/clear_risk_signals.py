"""`manage.py clear_risk_signals`: delete what was noticed and has expired. Run it once a day."""

from typing import Any

from django.core.management.base import BaseCommand

from accounts.risk import delete_expired_signals


class Command(BaseCommand):
    """Delete expired risk signals."""

    help = "Deletes risk signals that have expired, such as hashed network addresses."

    def handle(self, *args: Any, **options: Any) -> None:
        """Delete and say how many."""
        count = delete_expired_signals()
        if options["verbosity"]:
            self.stdout.write(f"{count} expired risk signals deleted.")
