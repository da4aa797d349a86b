"""`explain` tells the story of a user or an event, and ends with what is late and what to do."""

import json
import re
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from accounts import services
from accounts.models import User
from coupons.models import Coupon, IssueDecision
from coupons.queries import WELCOME_RECEIVER
from events.models import Delivery, Event, ReceiverState
from events.operations.tellers import ask_tellers
from tests.conftest import Drain, Misbehave, Publish
from tests.coupons.factories import make_campaign
from tests.faults.world import PASSWORD, open_campaign_and_rule, register
from tests.probe.observe import delivery
from tests.registrations import flag

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
# What no language translates: commands, names with a dot in them, ids, the app that a fact is of.
UNTRANSLATED = re.compile(
    r"`[^`]*`|[\w-]+(\.\w+)+|[0-9a-f-]{36}|^[\d: .Z-]+\w+: |Welcome|Broken|coupons"
)


def explain(*arguments: str) -> list[str]:
    """Run the command; return the lines it printed."""
    out = StringIO()
    call_command("explain", *arguments, stdout=out)
    return out.getvalue().splitlines()


def verdict(*arguments: str) -> tuple[str, str, str]:
    """Run the command; return what its last three lines say."""
    what, because, do = explain(*arguments)[-3:]
    assert (what[:9], because[:9], do[:9]) == ("VERDICT  ", "BECAUSE  ", "DO       ")
    return what[9:], because[9:], do[9:]


def document(*arguments: str) -> dict[str, Any]:
    """Run the command; return its JSON document."""
    (found,) = [json.loads("\n".join(explain(*arguments, "--json")))]
    return dict(found)


@pytest.fixture
def person(drain: Drain) -> User:
    """Return somebody who was invited, and of whom nothing is delivered yet."""
    invited: User = register("b@example.com", open_campaign_and_rule(drain))
    return invited


@pytest.fixture
def coupon_delivery(person: User) -> Delivery:
    """Return the delivery that brings the person's coupon; the others are out of the way."""
    Delivery.objects.filter(key=str(person.pk)).exclude(receiver=WELCOME_RECEIVER).update(
        state="done", due_at=None, finished_at=Now(), attempts=1
    )
    return Delivery.objects.get(key=str(person.pk), receiver=WELCOME_RECEIVER)


def change(delivery: Delivery, **columns: Any) -> None:
    """Change a delivery behind everybody's back."""
    Delivery.objects.filter(pk=delivery.pk).update(**columns)


def test_a_healthy_story_says_where_everything_is(person: User, drain: Drain) -> None:
    drain()

    lines = explain("--user", "B@example.com ")

    what, because, do = verdict("--user", "b@example.com")
    assert what == "Nothing is late: everything that was published is delivered."
    assert f"There is a coupon of campaign “Welcome”: …{coupon_code(person)[-4:]}" in because
    assert do == "Nothing."
    assert lines[0] == f"Account {person.pk}, key {person.pk}"
    story = [line.partition("Z  ")[2] or line for line in lines[1:]]
    assert story[0] == "accounts: the account was made"
    assert any(line.startswith("accounts.user_registered v1, event ") for line in story)
    assert any(f"→ {WELCOME_RECEIVER}: done 0." in line for line in story)
    assert any(line.startswith("coupons: campaign “Welcome” issued coupon …") for line in story)
    assert any(line.startswith("coupons.coupon_issued v1, event ") for line in story)
    assert any(line.startswith("points: reward of account ") for line in story)
    assert not any("@" in line or coupon_code(person) in line for line in lines)


def test_what_commits_while_the_story_is_read_is_in_it_whole(
    person: User, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask_before_all_is_delivered(*arguments: Any) -> Any:
        told = ask_tellers(*arguments)
        drain()
        return told

    where = "events.operations.explain.ask_tellers"
    monkeypatch.setattr(where, ask_before_all_is_delivered)

    lines = explain("--user", "b@example.com")

    assert any(line.partition("Z  ")[2].startswith("coupons.coupon_issued") for line in lines)
    assert "There is a coupon of campaign “Welcome”" in lines[-2]


def coupon_code(person: User) -> str:
    """Return the code of a person's coupon."""
    return Coupon.objects.get(user=person).code


def test_dead(coupon_delivery: Delivery) -> None:
    change(coupon_delivery, state="dead", due_at=None, attempts=16, last_error="Broken: so much")

    what, because, do = verdict("--user", "b@example.com")

    assert what == (
        f"The delivery of accounts.user_registered to {WELCOME_RECEIVER} is dead after 16 attempts."
    )
    assert because.startswith("The last error: Broken: so much.")
    event_id = coupon_delivery.event_id
    assert f"`manage.py replay --event {event_id} --receiver {WELCOME_RECEIVER}`" in do


def test_what_it_says_to_do_about_a_dead_one_helps(coupon_delivery: Delivery, drain: Drain) -> None:
    change(coupon_delivery, state="dead", due_at=None, attempts=16, last_error="Broken: so much")
    _, _, do = verdict("--user", "b@example.com")

    call_command(*do.split("`")[1].removeprefix("manage.py ").split(), stdout=StringIO())
    drain()

    assert verdict("--user", "b@example.com")[0].startswith("Nothing is late")


def test_retrying_later(publish: Publish, drain: Drain, misbehave: Misbehave) -> None:
    misbehave(1, "raise")
    event = publish(1)
    Delivery.objects.exclude(receiver="probe.record").delete()
    drain()

    lines = explain("--event", str(event.id))
    what, because, do = verdict("--event", str(event.id))

    assert "to probe.record is tried again in " in what
    assert "tests.probe.receivers.Broken: told to fail by …@…" in because
    assert f"replay --event {event.id} --receiver probe.record --state pending`" in do
    assert any("attempt 1 failed after 0." in line and "…@…" in line for line in lines)


def test_done_after_a_replay(publish: Publish, drain: Drain, misbehave: Misbehave) -> None:
    fault = misbehave(1, "raise")
    event = publish(1)
    Delivery.objects.exclude(receiver="probe.record").delete()
    drain()
    fault.delete()
    call_command(
        "replay", "--event", str(event.id), "--receiver", "probe.record", "--state", "pending"
    )
    drain()

    lines = explain("--event", str(event.id))

    assert any("(1 attempt since a replay)" in line for line in lines)
    assert any("attempt 1 failed after 0." in line for line in lines)


def test_asked_for_later(publish: Publish, drain: Drain) -> None:
    event = publish(1)
    Delivery.objects.exclude(receiver="probe.record").delete()
    Delivery.objects.update(due_at=Now() + HOUR)

    _, because, _ = verdict("--event", str(event.id))

    assert because == "The receiver asked for it to wait."


def test_paused(coupon_delivery: Delivery) -> None:
    ReceiverState.objects.create(
        name=WELCOME_RECEIVER, paused_at=Now(), paused_by="Ada", pause_reason="wrong terms"
    )

    what, because, do = verdict("--user", "b@example.com")

    assert what.endswith("waits, for its receiver is paused.")
    assert because.startswith("Paused by Ada since ")
    assert "wrong terms" in because
    assert do.startswith(f"`manage.py resume {WELCOME_RECEIVER}`")


@pytest.mark.parametrize("is_parked", [True, False])
def test_behind_a_dead_letter(
    is_parked: bool, publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(1, "permanent")
    first = publish(1)
    drain()
    second = publish(2)
    Delivery.objects.exclude(receiver="probe.record").delete()
    if is_parked:
        drain()

    what, because, do = verdict("--event", str(second.id))

    assert what.endswith(f"to probe.record waits behind an earlier one: event {first.id}.")
    assert "is dead after 1 attempt." in because
    assert "PermanentFailure: never" in because
    assert f"replay --event {first.id} --receiver probe.record`" in do


@pytest.mark.parametrize(
    ("unknown", "said"),
    [
        ({"receiver": "gone.away"}, "the receiver gone.away"),
        ({"type": "gone.happened"}, "gone.happened version 1"),
        ({"version": 99}, "accounts.user_registered version 99"),
    ],
)
def test_unknown_to_this_release(
    unknown: dict[str, Any], said: str, coupon_delivery: Delivery
) -> None:
    change(coupon_delivery, **unknown)
    # What the receiver lacks now may have been pruned.
    ReceiverState.objects.create(name=WELCOME_RECEIVER, pruned_before=Now())

    what, because, do = verdict("--user", "b@example.com")

    assert what.endswith("is parked.")
    assert because.startswith(f"This release does not know {said}; ")
    assert do.startswith("Deploy the release that does; or give it up: `manage.py skip --event ")


def test_unconfirmed_address(settings: Any) -> None:
    settings.SIGNUP_EMAIL_VERIFICATION = settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    services.register(email="b@example.com", password=PASSWORD)

    what, because, do = verdict("--user", "b@example.com")

    assert what == "Nothing is late: nothing was published."
    assert because.startswith("The sign-up waits for the person to confirm the e-mail address.")
    assert do == "The person follows the link in the mail; logging in sends another one."


def test_staff_who_never_signed_up() -> None:
    User.objects.create_superuser("b@example.com", PASSWORD)

    assert verdict("--user", "b@example.com")[1].startswith("A staff account that never signed up")


def test_a_registration_without_its_event() -> None:
    User.objects.create_user("b@example.com", PASSWORD)
    User.objects.update(registered_at=Now())

    what, because, do = verdict("--user", "b@example.com")

    assert what == "The story breaks off before anything could be delivered."
    assert because == "The account is registered, but the event that says so is not there."
    assert "check_invariants" in do


@pytest.mark.parametrize(
    ("campaign", "said"),
    [
        ({"stock": 0}, "No coupon is owed by campaign “Offer”: the campaign is sold out."),
        ({"status": "paused"}, "No coupon is owed by campaign “Offer”: the campaign is paused."),
        ({"status": "draft"}, "No coupon is owed: no campaign ran when the person registered."),
    ],
)
def test_no_coupon_is_owed(campaign: dict[str, Any], said: str, drain: Drain) -> None:
    make_campaign(name="Offer", **campaign)
    register("b@example.com")
    drain()

    what, because, do = verdict("--user", "b@example.com")

    assert what.startswith("Nothing is late")
    assert said in because
    assert do == "Nothing."


def test_a_coupon_that_is_held_back(person: User, drain: Drain) -> None:
    flag(person)
    drain()

    _, because, _ = verdict("--user", "b@example.com")

    assert "The account is flagged" in because
    assert "A coupon of campaign “Welcome” is held back: the account is under review." in because


def test_a_coupon_that_was_lost(person: User, drain: Drain) -> None:
    drain()
    Coupon.objects.filter(user=person).delete()

    what, because, do = verdict("--user", "b@example.com")

    assert what.startswith("The story breaks off")
    assert "A coupon of campaign “Welcome” was decided on, but is not there." in because
    assert "check_invariants" in do


def test_nobody_claims(coupon_delivery: Delivery) -> None:
    change(coupon_delivery, due_at=Now() - HOUR, queue="of another release")

    what, because, do = verdict("--user", "b@example.com")

    assert "is due for 36" in what
    assert what.endswith("s, and nobody claims it.")
    assert because.startswith("No worker seems to serve the queue coupons.")
    assert do == "Start one: `manage.py worker coupons`"


def test_workers_are_busy(coupon_delivery: Delivery, publish: Publish) -> None:
    change(coupon_delivery, due_at=Now() - HOUR)
    publish(1)
    change(
        delivery("record"),
        receiver="coupons.project_funnel",
        queue="of another release",
        state="running",
        due_at=None,
        lease_token=uuid4(),
        lease_expires_at=Now() + HOUR,
    )

    _, because, _ = verdict("--user", "b@example.com")

    assert because.startswith("The workers of the queue coupons are busy")


def test_about_to_be_run(coupon_delivery: Delivery) -> None:
    what, _, do = verdict("--user", "b@example.com")

    assert what.endswith("is about to be run.")
    assert do == "Nothing."


@pytest.mark.parametrize(
    ("ends_in", "said"),
    [(HOUR, "is being run."), (-HOUR, "was claimed by a worker that died or overslept.")],
)
def test_running(ends_in: timedelta, said: str, coupon_delivery: Delivery) -> None:
    change(
        coupon_delivery,
        state="running",
        due_at=None,
        lease_token=uuid4(),
        lease_expires_at=Now() + ends_in,
    )

    assert verdict("--user", "b@example.com")[0].endswith(said)


def test_waiting_for_nothing(coupon_delivery: Delivery) -> None:
    change(coupon_delivery, state="waiting", due_at=None)

    what, _, do = verdict("--user", "b@example.com")

    assert what.endswith("waits, though nothing stands before it any more.")
    assert do == "Start one: `manage.py worker coupons`"


def test_skipped(coupon_delivery: Delivery) -> None:
    change(
        coupon_delivery,
        state="skipped",
        due_at=None,
        finished_at=Now(),
        skipped_by="Ada",
        skip_reason="a test account",
    )

    what, because, do = verdict("--user", "b@example.com")

    assert what.endswith("was skipped by Ada.")
    assert because.startswith("The reason given: a test account.")
    assert "--state skipped`" in do


def test_a_delivery_that_is_missing(coupon_delivery: Delivery) -> None:
    coupon_delivery.delete()

    what, because, do = verdict("--user", "b@example.com")

    assert what == (
        f"{WELCOME_RECEIVER} was never given accounts.user_registered: there is no delivery."
    )
    assert "did not know the receiver" in because
    assert do.startswith(f"`manage.py backfill {WELCOME_RECEIVER} --since ")


def test_the_first_broken_link_counts_and_the_others_are_counted(
    person: User, coupon_delivery: Delivery
) -> None:
    Delivery.objects.filter(key=str(person.pk)).update(
        state="pending", due_at=Now() + HOUR, finished_at=None
    )
    change(coupon_delivery, state="dead", due_at=None, last_error="Broken")

    what, _, _ = verdict("--user", "b@example.com")

    assert f"{WELCOME_RECEIVER} is dead" in what
    assert what.endswith(" (Not done besides: 4.)")


def test_an_inviter_sees_what_is_late_about_the_people_invited(person: User) -> None:
    others = Delivery.objects.filter(key=str(person.pk))
    others.update(state="dead", due_at=None, last_error="of no concern to the inviter")
    late = Delivery.objects.get(receiver="points.reward_inviter", key=str(person.pk))
    change(late, state="pending", due_at=Now() - HOUR)

    what, _, _ = verdict("--user", "a@example.com")

    assert "to points.reward_inviter is due for 36" in what
    assert any(f"about {person.pk}" in line for line in explain("--user", "a@example.com"))


def test_the_story_of_an_event_has_its_cause_and_what_it_caused(person: User, drain: Drain) -> None:
    drain()
    issued = Event.objects.get(type="coupons.coupon_issued", key=str(person.pk))

    of_effect = document("--event", str(issued.event_id))
    of_cause = document("--event", str(issued.causation_id))

    types = [event["type"] for event in of_cause["events"]]
    assert types[0] == "accounts.user_registered"
    assert {"coupons.coupon_issued", "points.points_earned"} <= set(types)
    assert types == [event["type"] for event in of_effect["events"]]
    assert any(fact["text"].startswith("coupons: campaign “Welcome”") for fact in of_cause["facts"])


def test_the_json_document(coupon_delivery: Delivery) -> None:
    found = document("--user", "b@example.com")

    assert set(found["verdict"]) == {"state", "what", "because", "do", "others", "remedy"}
    assert found["verdict"]["state"] == "underway"
    (event,) = found["events"]
    assert event["id"] == str(coupon_delivery.event_id)
    stop = next(d for d in event["deliveries"] if d["receiver"] == WELCOME_RECEIVER)
    assert (stop["state"], stop["finished_at"]) == ("pending", None)
    assert "example.com" not in json.dumps(found)


DEAD = {"state": "dead", "due_at": None, "attempts": 16, "last_error": "Broken"}
SKIPPED = {
    "state": "skipped",
    "due_at": None,
    "finished_at": Now(),
    "skipped_by": "…",
    "skip_reason": "…",
}


@pytest.mark.parametrize(
    "columns", [{}, DEAD, SKIPPED, {"due_at": Now() - HOUR}, {"due_at": Now() + HOUR}]
)
def test_a_story_in_chinese(columns: dict[str, Any], coupon_delivery: Delivery) -> None:
    change(coupon_delivery, **columns)

    lines = explain("--user", "b@example.com", "--language", "zh-hans")

    what, because, do = lines[-3:]
    assert (what[:2], because[:2], do[:2]) == ("结论", "原因", "处理")
    for line in lines:
        rest = UNTRANSLATED.sub("", line)
        assert not re.search("[A-Za-z]{3,}", rest), line


def test_commands_speak_english_whatever_the_page_before_did(coupon_delivery: Delivery) -> None:
    with translation.override("zh-hans"):
        assert verdict("--user", "b@example.com")[0].endswith("is about to be run.")


@pytest.mark.parametrize("unknown", [("--user", "nobody@example.com"), ("--event", str(uuid4()))])
def test_an_unknown_subject_is_wrong_usage(unknown: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match="There is no ") as refusal:
        explain(*unknown)

    assert refusal.value.returncode == 2


def test_the_number_of_queries_does_not_grow_with_the_story(
    person: User, publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    drain()
    few = queries_of("--user", "b@example.com")
    inviter = User.objects.get(email="a@example.com")
    for number in range(5):
        register(f"p{number}@example.com", inviter)
        make_campaign()
    drain()

    assert IssueDecision.objects.count() > 10
    assert queries_of("--user", "b@example.com") == few
    assert queries_of("--user", "a@example.com") <= few + 2


def queries_of(*arguments: str) -> int:
    """Return how many statements the command takes."""
    with CaptureQueriesContext(connection) as queries:
        explain(*arguments)
    return len(queries)
