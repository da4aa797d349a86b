"""Campaign rows are what decisions, issuing and compensation take turns on."""

from datetime import datetime

from django.db.models import Exists, OuterRef, Q

from coupons.campaigns import Campaign, CampaignStatus, CampaignStatusChange, Trigger


def lock_campaigns(which: Q) -> list[Campaign]:
    """Lock campaigns in order of id, and return them with their history of statuses."""
    campaigns = Campaign.objects.select_for_update(no_key=True)  # what refers to it need not wait
    return list(campaigns.filter(which).order_by("pk").prefetch_related("status_changes"))


def may_decide_registrations(first: datetime, last: datetime) -> Q:
    """Return the condition of campaigns that may have run at a registration of that time.

    Both ends are inclusive. It does not tell that they ran: their status may have been another one.
    """
    changed_since = CampaignStatusChange.objects.filter(
        campaign=OuterRef("pk"), changed_at__gt=first
    )
    running = Q(status__in=[CampaignStatus.ACTIVE, CampaignStatus.PAUSED])
    in_time = Q(ends_at__isnull=True) | Q(ends_at__gt=first)
    may_have_run = (running | Q(Exists(changed_since))) & in_time
    return may_have_run & Q(starts_at__lte=last, trigger=Trigger.REGISTRATION)
