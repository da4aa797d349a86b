"""What coupons forgets in time: the texts of lists that named nobody."""

from datetime import timedelta

from django.utils import timezone

from coupons.bulk_issues import BulkIssueRow
from events.operations.chunks import in_short_transaction

KEPT_FOR = timedelta(days=30)
EVERY_MINUTES = 24 * 60
LINES_AT_ONCE = 200  # in one transaction


def forget_old_lines() -> None:
    """Blank the texts of lists that are 30 days old. Workers call this daily, by schedule."""
    while in_short_transaction(_forget_some):
        pass


def _forget_some() -> int:
    old = BulkIssueRow.objects.filter(bulk_issue__created_at__lte=timezone.now() - KEPT_FOR)
    chosen = list(old.exclude(given="").order_by().values_list("pk", flat=True)[:LINES_AT_ONCE])
    return BulkIssueRow.objects.filter(pk__in=chosen).update(given="")
