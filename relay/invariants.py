"""What must always hold of the relay."""

from collections.abc import Iterator

from django.db.models import Exists, OuterRef, Q

from events.models import Delivery, Event
from events.operations.checksum import register_effects
from events.operations.invariants import Breach, Circumstances, breaches_in, invariant
from relay.risk import RiskCheck, RiskCheckState
from relay.services import SEND_RECEIVER
from relay.signals import risk_check_timed_out

register_effects(
    RiskCheck, fields=["id", "user_id", "event_id", "state", "decision"], event_field="event_id"
)

_TELL = "No code path leads here. Keep a copy of the database and look at what wrote the rows."


@invariant("I10", "What is sent out names its endpoint, and a risk check times out once.")
def check_relay(circumstances: Circumstances) -> Iterator[Breach]:
    """I10, as far as it is about what leaves the house."""
    yield from breaches_in(
        Delivery.objects.filter(receiver=SEND_RECEIVER, target=""),
        what="deliveries to endpoints name none",
        hint=_TELL,
    )
    timed_out = Event.objects.filter(
        type=risk_check_timed_out.type, causation_id=OuterRef("event_id")
    )
    late = Q(state__in=[RiskCheckState.TIMED_OUT, RiskCheckState.ANSWERED_LATE])
    yield from breaches_in(
        RiskCheck.objects.filter(late).filter(~Exists(timed_out)),
        what="risk checks have timed out, and no event says so",
        hint=_TELL,
    )
    yield from breaches_in(
        RiskCheck.objects.exclude(late).filter(Exists(timed_out)),
        what="an event says that risk checks have timed out, which they have not",
        hint=_TELL,
    )
