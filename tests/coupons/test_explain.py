"""What `explain` says of a person's coupons: each state and each reason in a sentence."""

import pytest
from django.utils import timezone

from accounts.models import User
from coupons.explain import SENTENCES, tell
from coupons.models import Coupon, DecisionReason
from coupons.redeeming import redeem, roll_back
from events.operations.story import Subject, Told
from tests.coupons.factories import make_campaign, make_coupon, make_decision
from tests.registrations import make_person

pytestmark = pytest.mark.django_db


def told_of(person: User) -> Told:
    """Return what is told of a person."""
    return tell(Subject(key=str(person.pk), event_types=frozenset(), done_receivers=frozenset()))


def remarks_of(person: User) -> list[str]:
    """Return what is said to "where is it?"."""
    return [remark.text for remark in told_of(person).remarks]


def facts_of(person: User) -> list[str]:
    """Return what happened, in order of time."""
    return [fact.text for fact in sorted(told_of(person).facts, key=lambda fact: fact.at)]


def test_every_reason_has_a_sentence() -> None:
    assert SENTENCES.keys() == set(DecisionReason)


@pytest.mark.parametrize(
    ("outcome", "reason", "said"),
    [
        ("held", "account_flagged", "is held back: the account is under review. It is issued when"),
        ("held", "referral_flagged", "is held back: the invitation is under review."),
        ("skipped", "sold_out", "No coupon is owed by campaign “Welcome”: the campaign is sold"),
        ("skipped", "returning_person", "not for people who come back."),
        ("voided", "account_closed", "the account is closed. A closed account keeps no"),
    ],
)
def test_a_decision_without_a_coupon(outcome: str, reason: str, said: str) -> None:
    person = make_person()
    make_decision(make_campaign(), person, outcome=outcome, reason=reason)

    [remark] = remarks_of(person)

    assert said in remark


def test_a_redemption_and_its_undoing() -> None:
    person = make_person()
    coupon = make_coupon(make_campaign(currency="EUR"), person)
    used = redeem(code=coupon.code, order_ref="A-1", order_amount=4990, by=person)
    roll_back(redemption_id=used.pk, by=person)
    redeem(code=coupon.code, order_ref="A-2", order_amount=1000, by=person)

    short = f"…{coupon.code[-4:]}"
    assert facts_of(person) == [
        f"coupons: campaign “Welcome” issued coupon {short}, now redeemed",
        f"coupons: {short} was redeemed for order A-1: 4.99 EUR off",
        "coupons: its redemption for order A-1 was rolled back",
        f"coupons: {short} was redeemed for order A-2: 1.00 EUR off",
    ]
    assert remarks_of(person) == [f"There is a coupon of campaign “Welcome”: {short}, redeemed."]


def test_a_suspended_coupon() -> None:
    coupon = make_coupon(make_campaign(), make_person(), suspended_at=timezone.now())

    assert f"coupons: …{coupon.code[-4:]} was suspended" in facts_of(coupon.user)
    assert "when the review of the account ends well" in remarks_of(coupon.user)[0]


def test_a_revoked_coupon() -> None:
    coupon = make_coupon(make_campaign(), make_person(), status="revoked")
    decision = coupon.decision
    decision.outcome, decision.reason = "voided", "referral_voided"
    decision.decided_at = timezone.now()
    decision.save()

    [remark] = remarks_of(coupon.user)

    assert "revoked. It was taken back: the invitation does not count." in remark
    assert facts_of(coupon.user)[-1].endswith("was revoked: the invitation does not count")


def test_the_number_of_queries_does_not_grow_with_that_of_coupons(
    django_assert_num_queries: object,
) -> None:
    person = make_person()
    for _ in range(5):
        coupon: Coupon = make_coupon(make_campaign(), person)
        redeem(code=coupon.code, order_ref="A", order_amount=100, by=person)

    with django_assert_num_queries(2):  # type: ignore[operator]
        told_of(person)
