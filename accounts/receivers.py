"""What accounts does in the background, and when something was decided elsewhere."""

from accounts import risk, settling
from accounts.models import ProcessedEvent
from accounts.signals import (
    ReferralSettlementRequested,
    RiskDecided,
    referral_settlement_requested,
    risk_decided,
)
from events.envelope import Event
from events.receivers import background_receiver
from events.retry import PermanentFailure


@background_receiver(risk_decided, inbox=ProcessedEvent)
def apply_risk_decision(event: Event[RiskDecided]) -> None:
    """Flag or clear the account that somebody judged."""
    decided = event.data
    try:
        risk.apply_decision(
            user_id=decided.user_id, decision=decided.decision, reason=decided.reason
        )
    except ValueError as error:
        raise PermanentFailure(str(error)) from error


@background_receiver(referral_settlement_requested, inbox=ProcessedEvent)
def settle_referrals(event: Event[ReferralSettlementRequested]) -> None:
    """Void or release, a chunk at a time, the referrals that an account's standing concerns."""
    settling.settle_referrals(user_id=event.data.user_id)
