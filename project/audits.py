"""What checkouts owe to events, and a look whether it is there."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from coupons.signals import CouponRedemptionRolledBack
from events.envelope import Event
from events.operations.audits import Flaw, FlawKind, audit
from points.signals import PointsSpendRolledBack
from project.models import Checkout, CheckoutState
from project.signals import CheckoutRefused, CheckoutStarted

SPEND_RECEIVER = "project.spend_points"
GIVE_BACK_RECEIVER = "project.give_coupon_back"
UNDO_BY_REDEMPTION_RECEIVER = "project.undo_checkout_of_redemption"
UNDO_BY_SPENDING_RECEIVER = "project.undo_checkout_of_spending"


@audit(SPEND_RECEIVER)
def audit_spending(events: Sequence[Event[CheckoutStarted]]) -> Iterator[Flaw]:
    """A checkout that was started is decided: its points are spent, or it is refused."""
    pending = Checkout.objects.filter(state=CheckoutState.PENDING)
    started = {event.data.checkout_id: event for event in events}
    found = pending.filter(pk__in=list(started))
    yield from _missing(((c, started[c.pk]) for c in found), "is still pending")


@audit(GIVE_BACK_RECEIVER)
def audit_refusals(events: Sequence[Event[CheckoutRefused]]) -> Iterator[Flaw]:
    """The coupon of a checkout that was refused is given back."""
    applied = Checkout.objects.filter(
        state=CheckoutState.REFUSED, redemption__rolled_back_at__isnull=True
    )
    refused = {event.data.checkout_id: event for event in events}
    found = applied.filter(pk__in=list(refused))
    yield from _missing(((c, refused[c.pk]) for c in found), "is refused and keeps its coupon")


@audit(UNDO_BY_REDEMPTION_RECEIVER)
def audit_undoing_by_redemption(
    events: Sequence[Event[CouponRedemptionRolledBack]],
) -> Iterator[Flaw]:
    """A completed checkout whose coupon was given back is undone."""
    completed = Checkout.objects.filter(state=CheckoutState.COMPLETED)
    by_half = {event.data.redemption_id: event for event in events}
    found = completed.filter(redemption__in=list(by_half))
    yield from _missing(((c, by_half[c.redemption_id]) for c in found), _NOT_UNDONE)


@audit(UNDO_BY_SPENDING_RECEIVER)
def audit_undoing_by_spending(events: Sequence[Event[PointsSpendRolledBack]]) -> Iterator[Flaw]:
    """A completed checkout whose points were given back is undone."""
    completed = Checkout.objects.filter(state=CheckoutState.COMPLETED)
    by_half = {event.data.spend_entry_id: event for event in events}
    found = completed.filter(spending__in=list(by_half))
    yield from _missing(((c, by_half[c.spending_id]) for c in found if c.spending_id), _NOT_UNDONE)


_NOT_UNDONE = "lost one of its halves and is still completed"


def _missing(found: Iterable[tuple[Checkout, Event[Any]]], what: str) -> Iterator[Flaw]:
    for checkout, event in found:
        yield Flaw(event_id=event.id, kind=FlawKind.MISSING, what=f"Checkout {checkout.pk} {what}.")
