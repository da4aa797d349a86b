"""The database ends our session before any one statement: whatever was begun is whole or absent."""

from itertools import count

import pytest

from accounts.models import User
from events.delivery.drain import drain
from events.models import Delivery, DeliveryState
from events.receivers import Guarantee, get_receiver
from tests.faults.any_receiver import Case, problems_after, receiver_cases, recover
from tests.faults.checks import check_everything
from tests.faults.cuts import session_ended_before
from tests.faults.stimuli import set_scene
from tests.faults.world import register
from tests.probe.observe import let_leases_expire

FEWEST = 8  # statements that registering or draining takes at least: else the count is wrong

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,
    pytest.mark.database("postgres"),
]


def test_a_sign_up_whose_session_ends_at_any_statement_is_complete_or_absent() -> None:
    inviter = set_scene().inviter
    stored = []
    for number in count(1):
        email = f"b{number}@example.com"
        with session_ended_before(number) as cut:
            register(email, inviter)
        if not cut.is_made:
            break
        stored.append(User.objects.filter(email=email).exists())
        recover()
        assert check_everything() == []

    assert len(stored) > FEWEST
    assert stored == sorted(stored)  # absent up to the commit, complete after it
    assert set(stored) == {False, True}


def one_of_each_shape() -> list[Case]:
    """Return a receiver of each way to be run: what it sends by itself is its own affair."""
    shapes: dict[tuple[Guarantee, bool], Case] = {}
    for case in receiver_cases():
        receiver = get_receiver(case.receiver)
        shapes.setdefault((receiver.guarantee, receiver.batch), case)
    return list(shapes.values())


@pytest.mark.long
@pytest.mark.parametrize("case", one_of_each_shape(), ids=str)
def test_a_drain_whose_session_ends_at_any_statement_is_made_good(case: Case) -> None:
    receiver = get_receiver(case.receiver)
    states = {DeliveryState.DONE}
    if receiver.guarantee is Guarantee.AT_MOST_ONCE:
        states.add(DeliveryState.DEAD)
    cuts: list[bool] = []

    def drain_with_a_cut(owed: list[Delivery]) -> None:
        with session_ended_before(len(cuts) + 1) as cut:
            drain(receiver.queue)
        cuts.append(cut.is_made)
        let_leases_expire()
        recover()

    while not cuts or cuts[-1]:
        assert problems_after(case, drain_with_a_cut, states=states) == [], f"cut {len(cuts)}"

    assert len(cuts) > FEWEST
