"""Campaign rows are what decisions, issuing and compensation take turns on."""

from datetime import datetime

from django.db.models import Exists, OuterRef, Q

from coupons.campaigns import Campaign, CampaignStatus, CampaignStatusChange


def lock_campaigns(which: Q) -> list[Campaign]:
    """Lock campaigns in order of id, and return them with their history of statuses."""
    campaigns = Campaign.objects.select_for_update(no_key=True)  # what refers to it need not wait
    return list(campaigns.filter(which).order_by("pk").prefetch_related("status_changes"))


def may_have_run_since(moment: datetime) -> Q:
    """Return the condition of campaigns that run, or whose status changed after the moment."""
    changed_since = CampaignStatusChange.objects.filter(
        campaign=OuterRef("pk"), changed_at__gt=moment
    )
    running = Q(status__in=[CampaignStatus.ACTIVE, CampaignStatus.PAUSED])
    return running | Q(Exists(changed_since))
