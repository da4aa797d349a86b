"""What accounts does when something was decided elsewhere."""

from accounts import risk
from accounts.models import ProcessedEvent
from accounts.signals import RiskDecided, risk_decided
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
