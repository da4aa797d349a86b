"""The small world the fault tests break: a campaign, a reward rule, an inviter."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from accounts.services import register as register_account
from coupons.models import Campaign
from points.models import RewardRule
from tests.conftest import Drain

PASSWORD = "correct-horse-7"


def open_campaign_and_rule(drain: Drain) -> Any:
    """Open a welcome campaign and a reward rule; return an inviter who has their own coupon."""
    yesterday = timezone.now() - timedelta(days=1)
    Campaign.objects.create(
        name="Welcome",
        trigger="registration",
        status="active",
        starts_at=yesterday,
        amount=500,
        currency="EUR",
        valid_days=30,
    )
    RewardRule.objects.create(version=1, points=100, active_from=yesterday)
    inviter = register("a@example.com")
    drain()
    return inviter


def register(email: str, inviter: Any = None) -> Any:
    """Register a person, invited or not; return the account."""
    code = inviter.referral_code if inviter else ""
    return register_account(email=email, password=PASSWORD, referral_code=code).user
