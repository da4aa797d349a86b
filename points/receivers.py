"""What points does when something happened elsewhere."""

from collections.abc import Sequence

from accounts.signals import (
    AccountCleared,
    AccountClosed,
    AccountFlagged,
    ReferralApproved,
    ReferralVoided,
    UserRegistered,
    account_cleared,
    account_closed,
    account_flagged,
    referral_approved,
    referral_voided,
    user_registered,
)
from events.envelope import Event
from events.receivers import background_receiver
from points import holding, services
from points.funnel import invite_funnel
from points.models import ProcessedEvent
from points.signals import (
    PointsEarned,
    PointsReversed,
    RewardSkipped,
    points_earned,
    points_reversed,
    reward_skipped,
)


@background_receiver(user_registered, inbox=ProcessedEvent, batch=True)
def reward_inviter(events: Sequence[Event[UserRegistered]]) -> None:
    """Decide whether whoever invited each new user is rewarded."""
    services.reward_inviters(events)


@background_receiver(account_flagged, account_cleared, account_closed, inbox=ProcessedEvent)
def follow_account(event: Event[AccountFlagged | AccountCleared | AccountClosed]) -> None:
    """Freeze, release or close the person's points; decide the rewards that wait for it.

    These are the rewards for those they invited, and the one of whoever invited them.
    """
    holding.follow_account(user_id=event.data.user_id)


@background_receiver(referral_approved, referral_voided, inbox=ProcessedEvent)
def follow_referral(event: Event[ReferralApproved | ReferralVoided]) -> None:
    """Grant the inviter's reward that waited for this, or take it back."""
    holding.follow_referral(
        invitee_id=event.data.invitee_id, inviter_id=event.data.inviter_id, event_id=event.id
    )


@background_receiver(
    points_earned, reward_skipped, points_reversed, inbox=ProcessedEvent, batch=True
)
def project_funnel(
    events: Sequence[Event[PointsEarned] | Event[RewardSkipped] | Event[PointsReversed]],
) -> None:
    """Count what inviting people came to."""
    invite_funnel.apply(events)
