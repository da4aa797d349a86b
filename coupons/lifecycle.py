"""What staff do with a campaign: begin it, brake it, end it, copy it, change its stock."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from uuid_utils.compat import uuid7

from coupons.campaigns import MAX_STOCK, Campaign, CampaignStatus
from coupons.refusals import Refused
from coupons.signals import (
    CampaignEnded,
    CampaignResumed,
    SoldOutRetryRequested,
    campaign_ended,
    campaign_resumed,
    sold_out_retry_requested,
)
from coupons.states import EffectiveStatus, effective_status
from coupons.translations import NAME_LENGTH


@transaction.atomic
def activate(*, campaign_id: UUID, by: Any = None) -> Campaign:
    """Let a draft decide about registrations from now on, within its time.

    Raises Refused (wrong_status, time_over, validity_over) and Campaign.DoesNotExist, as all of
    these do. `by` is the member of staff, for the history.
    """
    campaign = _move(campaign_id, {CampaignStatus.DRAFT}, CampaignStatus.ACTIVE, by)
    _refuse_if_over(campaign)
    return campaign


@transaction.atomic
def pause(*, campaign_id: UUID, by: Any = None) -> Campaign:
    """Stop issuing at once. What is owed already is held until `resume` or `end`.

    Raises Refused (wrong_status).
    """
    return _move(campaign_id, {CampaignStatus.ACTIVE}, CampaignStatus.PAUSED, by)


@transaction.atomic
def resume(*, campaign_id: UUID, by: Any = None) -> Campaign:
    """Let a paused campaign go on; what the pause held back is issued in the background.

    Raises Refused (wrong_status).
    """
    campaign = _move(campaign_id, {CampaignStatus.PAUSED}, CampaignStatus.ACTIVE, by)
    campaign_resumed.publish(CampaignResumed(campaign_id=campaign.pk))
    return campaign


@transaction.atomic
def end(*, campaign_id: UUID, by: Any = None) -> Campaign:
    """End a campaign for good; what it held back is skipped in the background.

    Coupons that are out stay valid. Registrations from before that are delivered late still get
    theirs. Raises Refused (wrong_status).
    """
    running = {CampaignStatus.ACTIVE, CampaignStatus.PAUSED}
    campaign = _move(campaign_id, running, CampaignStatus.ENDED, by)
    campaign_ended.publish(CampaignEnded(campaign_id=campaign.pk))
    return campaign


@transaction.atomic
def archive(*, campaign_id: UUID, by: Any = None) -> Campaign:
    """Put an ended campaign away. Raises Refused (wrong_status)."""
    return _move(campaign_id, {CampaignStatus.ENDED}, CampaignStatus.ARCHIVED, by)


@transaction.atomic
def clone_campaign(*, campaign_id: UUID, by: Any = None) -> Campaign:
    """Return a draft with the terms of a campaign, to be changed and activated. None is issued."""
    clone = Campaign.objects.get(pk=campaign_id)
    clone.pk = uuid7()
    clone._state.adding = True
    clone.name = (_("Copy of %(name)s") % {"name": clone.name})[:NAME_LENGTH]
    clone.status = CampaignStatus.DRAFT
    clone.issued_count = 0
    clone.created_at = timezone.now()
    clone.save()
    clone.status_changes.update(changed_by=by)
    return clone


def change_stock(*, campaign_id: UUID, stock: int | None) -> None:
    """Set how many coupons a campaign has in all; None: as many as are wanted.

    It issues nothing to those who were refused: see `retry_sold_out`. Raises Refused
    (stock_out_of_range, stock_below_issued).
    """
    if stock is not None and not 0 <= stock <= MAX_STOCK:
        sentence = _("A stock is a number from 0 to %(most)d.") % {"most": MAX_STOCK}
        raise Refused("stock_out_of_range", sentence)
    enough = Q() if stock is None else Q(issued_count__lte=stock)
    if not Campaign.objects.filter(enough, pk=campaign_id).update(stock=stock):
        campaign = Campaign.objects.get(pk=campaign_id)
        sentence = _("More coupons are issued than that: %(count)d.")
        raise Refused("stock_below_issued", sentence % {"count": campaign.issued_count})


@transaction.atomic
def retry_sold_out(*, campaign_id: UUID) -> None:
    """Issue coupons, in the background, to those who were refused for want of stock.

    The earliest registrations come first, while stock lasts and until the campaign ends. Raises
    Refused (wrong_status, sold_out).
    """
    status = effective_status(Campaign.objects.get(pk=campaign_id), at=timezone.now())
    if status == EffectiveStatus.SOLD_OUT:
        raise Refused("sold_out", _("There is no stock left. Raise it first."))
    if status != EffectiveStatus.LIVE:
        raise _wrong_status(str(EffectiveStatus(status).label))
    sold_out_retry_requested.publish(SoldOutRetryRequested(campaign_id=campaign_id))


def _move(campaign_id: UUID, old: set[CampaignStatus], new: CampaignStatus, by: Any) -> Campaign:
    """Change the status where it is one of the old ones: of two at once, one succeeds."""
    row = Campaign.objects.filter(pk=campaign_id, status__in=old)
    if not row.update(status=new):
        raise _wrong_status(Campaign.objects.get(pk=campaign_id).get_status_display())
    campaign = Campaign.objects.get(pk=campaign_id)
    campaign.status_changes.create(status=new, changed_by=by)
    return campaign


def _wrong_status(status: str) -> Refused:
    sentence = _("This can't be done while the campaign is: %(status)s.")
    return Refused("wrong_status", sentence % {"status": status})


def _refuse_if_over(campaign: Campaign) -> None:
    now = timezone.now()
    if campaign.ends_at is not None and campaign.ends_at <= now:
        raise Refused("time_over", _("The campaign's time is over. Change its end first."))
    if campaign.valid_until is not None and campaign.valid_until <= now:
        raise Refused(
            "validity_over", _("Its coupons would be expired already. Change their validity first.")
        )
