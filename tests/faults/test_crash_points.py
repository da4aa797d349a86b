"""A process is killed at every step between the commit of a sign-up and its last effect."""

import pytest
from django.contrib.auth import get_user_model

from coupons.models import Coupon
from events.delivery import sweep
from events.models import Delivery, Event
from points.models import Entry
from tests.conftest import Drain
from tests.faults.world import open_campaign_and_rule, register
from tests.probe.observe import make_due
from tests.processes import run_script, wait_until, worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

SIGKILLED = -9
KILL = "import os, signal\ndef die(*a, **k): os.kill(os.getpid(), signal.SIGKILL)\n"
BEFORE = "\noriginal = {where}.{name}\n{where}.{name} = die\n"
AFTER = """
original = {where}.{name}
def then_die(*args, **kwargs):
    original(*args, **kwargs)
    die()
{where}.{name} = then_die
"""
DRAIN = """
from events.delivery.drain import drain
from tests.conftest import Drain
from tests.probe.observe import make_due
drain("coupons")
drain("points")
"""
# Every step of a drain, in its order: the module, the function, and on which side of it to die.
STEPS = {
    "before the claim": ("events.delivery.drain", "claim", BEFORE),
    "after the claim": ("events.delivery.drain", "claim", AFTER),
    "before the inbox row": ("events.delivery.effects", "_insert_into_inbox", BEFORE),
    "after the inbox row": ("events.delivery.effects", "_insert_into_inbox", AFTER),
    "before the effect": ("events.delivery.effects", "_call", BEFORE),
    "after the effect": ("events.delivery.effects", "_call", AFTER),
    "before the verdict": ("events.delivery.settle", "finish", BEFORE),
    "after the verdict, before the commit": ("events.delivery.settle", "finish", AFTER),
    "after the commit": ("events.delivery.drain", "apply", AFTER),
}


def test_a_crash_between_commit_and_signal_loses_nothing(drain: Drain) -> None:
    inviter = open_campaign_and_rule(drain)
    script = KILL + (
        "import events.outbox\n"
        "events.outbox._Announcement.__call__ = die\n"
        "from accounts.services import register\n"
        "register(email='b@example.com', password='correct-horse-7', "
        f"referral_code='{inviter.referral_code}')\n"
    )

    exit_code = run_script(script)

    assert exit_code == SIGKILLED
    invitee = get_user_model().objects.get(email="b@example.com")
    with worker("coupons", "points"):
        wait_until(lambda: Coupon.objects.filter(user=invitee).count() == 1)
        wait_until(lambda: Entry.objects.filter(account__user=inviter).count() == 1)


@pytest.mark.parametrize("step", STEPS)
def test_a_drain_killed_at_any_step_leads_to_one_coupon_and_one_reward(
    step: str, drain: Drain
) -> None:
    inviter = open_campaign_and_rule(drain)
    invitee = register("b@example.com", inviter)
    where, name, side = STEPS[step]
    script = KILL + f"import {where}\n" + side.format(where=where, name=name) + DRAIN

    exit_code = run_script(script)
    sweep.sweep()
    make_due()
    drain()

    assert exit_code == SIGKILLED
    assert Coupon.objects.filter(user=invitee).count() == 1
    assert Entry.objects.filter(account__user=inviter).count() == 1
    assert set(Delivery.objects.values_list("state", flat=True)) == {"done"}
    assert Event.objects.filter(type="accounts.user_registered").count() == 2
