"""A repair killed anywhere and begun again ends as one that was left alone."""

import random
from datetime import timedelta

import pytest
from django.db.models import F

from coupons.models import Campaign, Coupon, IssueDecision
from coupons.queries import WELCOME_RECEIVER
from events.delivery import sweep
from events.operations import reconcile, repair
from events.operations.reconcile import Scope, findings
from tests.faults.checks import check_everything
from tests.faults.forks import in_child
from tests.faults.stimuli import drain_everything, register_invited, set_scene
from tests.faults.test_replay_under_kills import dying_before_statement
from tests.probe.observe import make_due

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

PEOPLE = 6
KILLS = 6
LAST_STATEMENT = 120  # a whole repair with what follows sends some more
EVERYTHING = Scope(grace=timedelta(0))


def test_a_repair_killed_at_random_and_begun_again_makes_every_effect_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconcile, "CHUNK_SIZE", 2)
    monkeypatch.setattr(repair, "CHUNK_SIZE", 1)
    scene = set_scene()
    for _ in range(PEOPLE):
        register_invited(scene)
    drain_everything()

    for _ in range(KILLS):
        _lose_some_coupons()
        # pytest-randomly has seeded `random`: --randomly-seed= kills at the same statements again.
        number = random.randint(1, LAST_STATEMENT)  # noqa: S311
        in_child(dying_before_statement(number, _repair_everything))
        sweep.sweep()
        make_due()
        _repair_everything()

        assert [str(finding) for finding in check_everything()] == []
        assert list(findings(EVERYTHING)) == []


def _lose_some_coupons() -> None:
    """Delete every second coupon with its decision, as if the receiver had never run."""
    lost = list(Coupon.objects.order_by("pk").values_list("decision", flat=True)[::2])
    Coupon.objects.filter(decision__in=lost).delete()
    IssueDecision.objects.filter(pk__in=lost).delete()
    Campaign.objects.update(issued_count=F("issued_count") - len(lost))


def _repair_everything() -> None:
    """Do what an operator does, and deliver."""
    for _ in findings(EVERYTHING, repair=True):
        pass
    drain_everything()


def test_the_effects_are_lost_before_each_repair() -> None:
    scene = set_scene()
    register_invited(scene)
    drain_everything()

    _lose_some_coupons()

    assert {(f.audit, f.kind) for f in findings(EVERYTHING)} == {(WELCOME_RECEIVER, "missing")}
