"""What points tells about a person."""

from datetime import timedelta

import pytest
from django.utils import timezone

from events.operations.story import Subject
from points.explain import tell
from points.models import PointsAccount
from points.spending import spend
from tests.points.factories import credit, make_decision, make_rule
from tests.registrations import make_people, make_person

pytestmark = pytest.mark.django_db

MOMENT = timezone.now().replace(year=2999, month=3, day=1)


def remarks(user_id: object) -> list[str]:
    """Return what is said about somebody's points."""
    subject = Subject(key=str(user_id), event_types=frozenset(), done_receivers=frozenset())
    return [remark.text for remark in tell(subject).remarks]


def test_a_balance_is_told_with_what_is_about_to_become_of_it() -> None:
    person = make_person()
    credit(person, 10, expires_at=MOMENT)
    credit(person, 20, expires_at=timezone.now() - timedelta(hours=1))
    PointsAccount.objects.update(pending=7, frozen_at=timezone.now())

    assert remarks(person.pk) == [
        "The points balance is 10, 7 more are held back; the next ones lapse on 2999-03-01; "
        "the account is frozen: points come in, but can't be spent."
    ]


def test_a_closed_account_and_a_deficit_are_told() -> None:
    person = make_person()
    credit(person, 10)
    PointsAccount.objects.update(balance=-5, closed_at=timezone.now())

    assert remarks(person.pk) == [
        "The points balance is -5; what comes next repays what was taken back too late; "
        "the account is closed."
    ]


def test_entries_are_told_in_words() -> None:
    person = make_person()
    credit(person, 10)
    spend(user_id=person.pk, amount=4, order_ref="order-1", actor_id=None)
    subject = Subject(key=str(person.pk), event_types=frozenset(), done_receivers=frozenset())

    texts = [fact.text for fact in tell(subject).facts]

    assert texts == [
        "points: spent -4 (order-1), balance 6",
        "points: earned +10 (referral), balance 10",
    ]


@pytest.mark.parametrize(
    ("outcome", "reason", "said"),
    [
        ("pending", "inviter_flagged", " yet: the inviter's account is under review."),
        ("pending", "invitee_flagged", " yet: the invited person's account is under review."),
        ("pending", "hold_period", " yet: the waiting time is not over."),
        ("voided", "referral_voided", ": the referral was declared void."),
        ("skipped", "inviter_closed", ": the inviter's account is closed."),
    ],
)
def test_a_reward_that_is_not_there_is_told_with_its_reason(
    outcome: str, reason: str, said: str
) -> None:
    make_rule()
    inviter, invitee = make_people(2)
    make_decision(inviter, invitee, outcome=outcome, reason=reason)

    assert remarks(inviter.pk) == [f"No reward for inviting account {invitee.pk}{said}"]
