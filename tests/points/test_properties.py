"""Whatever arrives, in whatever order and however often: what always holds for the ledger."""

import pytest
from django.db import transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from points.models import Entry, PointsAccount, RewardDecision
from points.services import reward_inviters
from tests.points.factories import make_rule
from tests.registrations import make_people, refer, registered

INVITERS = 3
INVITEES = 6

caps = st.one_of(st.none(), st.integers(1, 3))
inviter_of = st.lists(st.integers(0, INVITERS - 1), min_size=INVITEES, max_size=INVITEES)
referral_status = st.lists(
    st.sampled_from(["approved", "flagged", "voided"]), min_size=INVITEES, max_size=INVITEES
)
batches = st.lists(
    st.lists(st.integers(0, INVITEES - 1), min_size=1, max_size=INVITEES), min_size=1, max_size=5
)


@pytest.mark.django_db
@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cap=caps, invited_by=inviter_of, statuses=referral_status, batches=batches)
def test_balances_are_the_sums_of_their_entries_and_caps_hold(
    cap: int | None, invited_by: list[int], statuses: list[str], batches: list[list[int]]
) -> None:
    with transaction.atomic():
        make_rule(cap_total=cap, points=7)
        inviters, invitees = make_people(INVITERS), make_people(INVITEES)
        for invitee, by, status in zip(invitees, invited_by, statuses, strict=True):
            refer(invitee, inviters[by], status=status)
        events = [
            registered(invitee, inviter=inviters[by])
            for invitee, by in zip(invitees, invited_by, strict=True)
        ]
        for batch in batches:
            reward_inviters([events[index] for index in batch])

        seen = {index for batch in batches for index in batch}
        assert RewardDecision.objects.count() == len(seen)
        for account in PointsAccount.objects.all():
            _check(account, cap)
        transaction.set_rollback(True)


def _check(account: PointsAccount, cap: int | None) -> None:
    entries = list(Entry.objects.filter(account=account).order_by("number"))
    decisions = RewardDecision.objects.filter(inviter=account.user_id)
    pending = decisions.filter(outcome="pending").aggregate(total=Sum("points"))["total"] or 0
    assert account.balance == account.lifetime_earned == sum(entry.amount for entry in entries)
    assert [entry.number for entry in entries] == list(range(1, account.version + 1))
    assert [entry.balance_after for entry in entries] == [7 * (n + 1) for n in range(len(entries))]
    assert len(entries) == decisions.filter(outcome="granted").count()
    assert account.pending == pending
    if cap is not None:
        assert decisions.filter(outcome__in=["granted", "pending"]).count() <= cap
        refused = decisions.filter(reason="cap_total").exists()
        assert not refused or len(entries) + pending // 7 == cap
