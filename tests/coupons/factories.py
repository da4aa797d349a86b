"""Campaigns and coupons to test with."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

import codes
from accounts.models import User
from accounts.signals import UserRegistered, user_registered
from coupons.models import CODE_LENGTH, Campaign, Coupon, IssueDecision


def campaign_columns(**given: Any) -> dict[str, Any]:
    """Return the columns of a live registration campaign: 10 % off for 30 days."""
    columns: dict[str, Any] = {
        "name": "Welcome",
        "trigger": "registration",
        "status": "active",
        "starts_at": timezone.now() - timedelta(days=7),
        "basis_points": 1000,
        "valid_days": 30,
    }
    return columns | given


def make_campaign(**given: Any) -> Campaign:
    """Return a new campaign; what matters is given, the rest makes it a live one."""
    return Campaign.objects.create(**campaign_columns(**given))


def make_decision(campaign: Campaign, user: User, **given: Any) -> IssueDecision:
    """Return a decision to issue a coupon, without the coupon."""
    return IssueDecision.objects.create(
        **({"campaign": campaign, "user": user, "outcome": "issued"} | given)
    )


def make_coupon(campaign: Campaign, user: User, **given: Any) -> Coupon:
    """Return a coupon that is usable now, with the campaign's benefit."""
    now = timezone.now()
    columns: dict[str, Any] = {
        "decision": make_decision(campaign, user),
        "campaign": campaign,
        "user": user,
        "code": codes.generate(CODE_LENGTH),
        "valid_from": now - timedelta(days=1),
        "valid_until": now + timedelta(days=1),
        **campaign.terms_of_benefit(),
    }
    return Coupon.objects.create(**(columns | given))


def publish_registration(user: User, inviter: User | None = None) -> None:
    """Publish that somebody registered, so that the receivers owe them something."""
    with transaction.atomic():
        user_registered.publish(
            UserRegistered(user_id=user.pk, inviter_id=inviter.pk if inviter else None)
        )
