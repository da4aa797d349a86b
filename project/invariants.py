"""What must always hold of checkouts: both halves, or neither."""

from collections.abc import Iterator

from django.db.models import Exists, OuterRef, Q, QuerySet

from events.models import Delivery, DeliveryState
from events.operations.checksum import register_effects
from events.operations.ids import AsKey
from events.operations.invariants import Breach, Circumstances, breaches_in, invariant
from points.models import Entry
from project.models import Checkout, CheckoutState

register_effects(
    Checkout,
    fields=["id", "order_ref", "user_id", "redemption_id", "points", "spending_id", "state"],
)


@invariant("I4", "A checkout takes the coupon and the points, or neither.")
def check_checkouts(circumstances: Circumstances) -> Iterator[Breach]:
    """Look at every checkout about which nothing is left to be delivered."""
    applied = Q(redemption__rolled_back_at__isnull=True)
    given_back = Exists(Entry.objects.filter(reverses=OuterRef("spending")))
    settled = _settled()
    for wrong, what in (
        (settled.filter(state=CheckoutState.PENDING), "checkouts were delivered, but not decided"),
        (
            settled.filter(Q(state=CheckoutState.COMPLETED) & (~applied | given_back)),
            "completed checkouts have lost one of their halves",
        ),
        (
            settled.filter(Q(state=CheckoutState.REFUSED) & applied)
            | settled.filter(Q(state=CheckoutState.UNDONE) & (applied | ~given_back)),
            "checkouts that came to nothing kept one of their halves",
        ),
    ):
        yield from breaches_in(
            wrong, what=what, hint="`manage.py explain --user EMAIL` tells the story of one."
        )


def _settled() -> QuerySet[Checkout]:
    """Return the checkouts of people to whom the project owes nothing, and of whom all was done.

    What an operator skipped is not done: somebody has decided to see to it by hand.
    """
    of_the_owner = Delivery.objects.filter(queue="project", key=OuterRef("owner"))
    not_done = of_the_owner.filter(Q(finished_at__isnull=True) | Q(state=DeliveryState.SKIPPED))
    return Checkout.objects.annotate(owner=AsKey("user_id")).filter(~Exists(not_done))
