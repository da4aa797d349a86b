"""When a campaign ran, as far as its history tells. Audits and invariants go by it."""

from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from operator import or_

from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Max, Q

from coupons.campaigns import Campaign, CampaignStatus

_EDITED = ("Starts at", "Ends at", "Trigger")  # as the admin's log names the fields


def spans_of_running(campaign: Campaign) -> Sequence[tuple[datetime, datetime | None]]:
    """Return when it was active or paused, each end exclusive; None: to this day."""
    changes = list(campaign.status_changes.all())
    if not changes or changes[-1].status != campaign.status:
        return []  # an UPDATE went past save(): the history does not tell
    ends: list[datetime | None] = [change.changed_at for change in changes[1:]]
    return [
        (change.changed_at, until)
        for change, until in zip(changes, [*ends, None], strict=True)
        if change.status in {CampaignStatus.ACTIVE, CampaignStatus.PAUSED}
    ]


def edits_of_when_and_for_whom() -> dict[str, datetime]:
    """Return when staff last edited a campaign's time or trigger, by campaign.

    What it was before is not kept: of earlier registrations nothing can be said. An ended campaign
    that is prolonged owes nothing to those who came in between.
    """
    edits = LogEntry.objects.filter(
        reduce(or_, (Q(change_message__contains=f'"{label}"') for label in _EDITED)),
        content_type__app_label=Campaign._meta.app_label,
        content_type__model=Campaign._meta.model_name,
        action_flag=CHANGE,
    )
    latest = edits.order_by().values_list("object_id").annotate(Max("action_time"))
    return {str(object_id): edited_at for object_id, edited_at in latest}
