"""Whoever is on call is told once when a receiver falls behind or gives up, and once when not."""

import json
from collections.abc import Callable
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from django.core import mail
from django.core.checks import run_checks
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from events.models import Delivery, DeliveryState, Event
from events.operations.glance import glance
from events.operations.pausing import pause
from events.operations.prune import prune
from events.operations.replay import replay_chosen
from project.alarms import watching
from project.alarms.models import Alarm, AlarmKind
from project.alarms.watching import watch
from project.signals import alarm_began
from relay import services
from tests.conftest import Drain, Misbehave, Publish
from tests.probe.models import Fault
from tests.relay.partner import running

pytestmark = pytest.mark.django_db(transaction=True)

RECORD = "probe.record"
ON_CALL = "on-call@example.com"
THRESHOLD_S = 60

GrowOld = Callable[[float], None]


@pytest.fixture(autouse=True)
def _alarms(settings: Settings) -> None:
    """Let only one receiver be watched for age."""
    settings.ALARM_MAILS = [ON_CALL]
    settings.ALARM_OVERDUE_S = 0
    settings.ALARM_OVERDUE_S_BY_RECEIVER = [f"{RECORD}={THRESHOLD_S}"]


@pytest.fixture
def grow_old(publish: Publish) -> GrowOld:
    """Return a function that lets an event's delivery be due for so many seconds."""
    publish(1)

    def run(age_s: float) -> None:
        due = Delivery.objects.filter(receiver=RECORD, state=DeliveryState.PENDING)
        due.update(due_at=Now() - timedelta(seconds=age_s))

    return run


def overdue(receiver: str = RECORD) -> Alarm:
    """Return an alarm that was raised earlier."""
    return Alarm.objects.create(receiver=receiver, kind=AlarmKind.OVERDUE, threshold_s=THRESHOLD_S)


def told(drain: Drain) -> list[str]:
    """Return the subjects of the mails that have been sent, once receivers of alarms have run."""
    drain()
    return [str(each.subject) for each in mail.outbox]


def published(type_: str) -> int:
    """Return how many events of a type there are."""
    return Event.objects.filter(type=type_).count()


def test_a_receiver_that_falls_behind_is_told_of_once_and_once_more_when_it_has_caught_up(
    grow_old: GrowOld, drain: Drain
) -> None:
    grow_old(THRESHOLD_S + 5)
    for _ in range(3):
        watch()
    drain()  # works the backlog off, and mails
    for _ in range(3):
        watch()

    assert told(drain) == [f"Alarm: {RECORD} falls behind", f"Over: {RECORD} has caught up"]
    assert [each.to for each in mail.outbox] == [[ON_CALL]] * 2
    assert "has been due for 65 s" in mail.outbox[0].body
    assert f"http://127.0.0.1:8000/admin/monitor/receivers/{RECORD}/" in mail.outbox[0].body
    alarm = Alarm.objects.get()
    assert (alarm.receiver, alarm.kind) == (RECORD, AlarmKind.OVERDUE)
    assert alarm.ended_at


def test_dead_deliveries_are_told_of_once_until_none_is_left(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(1, "permanent")
    misbehave(2, "permanent")
    publish(1)
    drain()
    watch()
    publish(2)
    drain()
    watch()
    Fault.objects.all().delete()
    replay_chosen(Delivery.objects.filter(state=DeliveryState.DEAD))
    drain()
    watch()

    mine = [subject for subject in told(drain) if RECORD in subject and "batch" not in subject]
    assert mine == [f"Alarm: dead deliveries to {RECORD}", f"Over: dead deliveries to {RECORD}"]


def test_an_alarm_keeps_how_bad_it_was_at_its_worst(grow_old: GrowOld) -> None:
    for age_s in (THRESHOLD_S + 5, THRESHOLD_S + 300, THRESHOLD_S + 60, 0):
        grow_old(age_s)
        watch()

    alarm = Alarm.objects.get()
    assert alarm.ended_at
    assert alarm.worst == THRESHOLD_S + 300


def test_more_dead_deliveries_than_before_are_kept_with_the_alarm(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    for number in (1, 2, 3):
        misbehave(number, "permanent")
    publish(1)
    drain()
    watch()
    publish(2, key="mei")
    publish(3, key="wu")
    drain()

    watch()

    assert Alarm.objects.get(receiver=RECORD).worst == 3


def test_an_alarm_of_a_former_release_begins_to_be_noted(grow_old: GrowOld) -> None:
    raised = overdue()
    grow_old(THRESHOLD_S + 5)

    watch()

    raised.refresh_from_db()
    assert raised.worst == THRESHOLD_S + 5


def test_alarms_that_have_been_over_for_long_are_pruned() -> None:
    long_ago = timezone.now() - timedelta(days=100)
    overdue("probe.still_on")
    Alarm.objects.update(began_at=long_ago)
    over = overdue("probe.over")
    Alarm.objects.filter(pk=over.pk).update(began_at=long_ago, ended_at=long_ago)
    lately = overdue("probe.lately")
    Alarm.objects.filter(pk=lately.pk).update(ended_at=timezone.now())

    pruned = prune(timezone.now() - timedelta(days=90))

    assert pruned.others["alarms"] == 1
    kept = set(Alarm.objects.values_list("receiver", flat=True))
    assert kept == {"probe.still_on", "probe.lately"}


def test_what_is_due_for_less_is_no_alarm(grow_old: GrowOld) -> None:
    grow_old(THRESHOLD_S - 5)
    watch()

    assert not Alarm.objects.exists()


def test_an_alarm_is_not_over_just_below_its_threshold(grow_old: GrowOld) -> None:
    for age_s in (THRESHOLD_S + 5, THRESHOLD_S - 5, THRESHOLD_S + 5):
        grow_old(age_s)
        watch()
    assert Alarm.objects.get().ended_at is None

    grow_old(THRESHOLD_S / 2 - 5)
    watch()
    assert Alarm.objects.get().ended_at


def test_the_threshold_is_each_receivers_own(grow_old: GrowOld, settings: Settings) -> None:
    settings.ALARM_OVERDUE_S_BY_RECEIVER = [f"{RECORD}=100", "probe.call_outside=0"]
    settings.ALARM_OVERDUE_S = 50
    Delivery.objects.update(due_at=Now() - timedelta(seconds=75))

    watch()

    raised = set(Alarm.objects.values_list("receiver", flat=True))
    assert "probe.record_batch" in raised  # by the default
    assert not raised & {RECORD, "probe.call_outside"}


@pytest.mark.parametrize("theirs", [[], [f"{RECORD}=0"], [f"{RECORD}={THRESHOLD_S * 9}"]])
def test_a_worker_of_another_threshold_ends_it_by_that_of_the_one_that_began_it(
    grow_old: GrowOld, settings: Settings, theirs: list[str]
) -> None:
    grow_old(THRESHOLD_S + 5)
    watch()
    settings.ALARM_OVERDUE_S_BY_RECEIVER = theirs

    for age_s in (THRESHOLD_S + 5, THRESHOLD_S / 2 + 5):
        grow_old(age_s)
        watch()
    assert Alarm.objects.get().ended_at is None

    grow_old(THRESHOLD_S / 2 - 5)
    watch()
    assert Alarm.objects.get().ended_at


def test_a_release_that_cannot_read_what_is_overdue_does_not_end_it(
    grow_old: GrowOld,
) -> None:
    overdue()
    grow_old(THRESHOLD_S + 5)
    Delivery.objects.filter(receiver=RECORD).update(version=99)

    watch()

    assert Alarm.objects.get().ended_at is None


def test_what_another_worker_ends_during_a_look_is_not_begun_anew(
    grow_old: GrowOld, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow_old(THRESHOLD_S + 5)
    watch()
    ours, theirs = watching.open_alarms, glance

    def between(read: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            found = read()
            monkeypatch.setattr(watching, "open_alarms", ours)
            monkeypatch.setattr(watching, "glance", theirs)
            drain()
            watch()  # another worker: it has caught up
            return found

        return run

    monkeypatch.setattr(watching, "open_alarms", between(ours))
    monkeypatch.setattr(watching, "glance", between(theirs))
    watch()

    assert Alarm.objects.get().ended_at
    assert published("project.alarm_began") == published("project.alarm_ended") == 1


def test_a_receiver_that_somebody_paused_raises_no_alarm_and_ends_none(
    grow_old: GrowOld,
) -> None:
    grow_old(THRESHOLD_S + 5)
    pause(RECORD, by="ada", reason="repairs")
    watch()
    assert not Alarm.objects.exists()

    raised = overdue()
    watch()
    raised.refresh_from_db()
    assert raised.ended_at is None


def test_an_alarm_of_a_receiver_that_is_gone_is_over_once_nothing_is_owed_to_it(
    grow_old: GrowOld,
) -> None:
    raised = overdue("probe.former")
    former = Delivery.objects.filter(receiver=RECORD)
    former.update(receiver="probe.former")

    watch()
    raised.refresh_from_db()
    assert raised.ended_at is None  # another release may know it, and have workers

    Delivery.objects.filter(receiver="probe.former").delete()
    watch()
    raised.refresh_from_db()
    assert raised.ended_at


@pytest.mark.parametrize("age_s", [THRESHOLD_S + 5, 0], ids=["begins", "ends"])
def test_of_workers_that_see_it_at_once_one_tells(grow_old: GrowOld, age_s: float) -> None:
    grow_old(age_s)
    if not age_s:
        overdue()
    barrier = Barrier(4)

    def look() -> None:
        barrier.wait()
        watch()
        connection.close()

    threads = [Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Alarm.objects.count() == 1
    assert published("project.alarm_began" if age_s else "project.alarm_ended") == 1


def test_an_endpoint_that_asks_for_alarms_is_told_signed(
    grow_old: GrowOld, drain: Drain, settings: Settings
) -> None:
    settings.RELAY_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    settings.RELAY_ALLOW_HTTP = True
    with running() as pager:
        services.create_endpoint(
            name="Pager",
            url=pager.url,
            event_types=["project.alarm_began", "project.alarm_ended"],
            owner_email="owner@example.com",
        )
        grow_old(THRESHOLD_S + 5)
        watch()
        drain()
        watch()
        drain()

        bodies = [json.loads(each.body) for each in pager.received]
        told = [(body["type"], body["data"]["receiver"]) for body in bodies]
        assert told == [("project.alarm_began.v1", RECORD), ("project.alarm_ended.v1", RECORD)]
        assert all("webhook-signature" in each.headers for each in pager.received)


def test_nobody_is_mailed_where_nobody_is_named(
    grow_old: GrowOld, drain: Drain, settings: Settings
) -> None:
    settings.ALARM_MAILS = []
    grow_old(THRESHOLD_S + 5)
    watch()

    assert told(drain) == []
    assert published("project.alarm_began") == 1


def test_what_is_not_committed_is_not_told(
    grow_old: GrowOld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(alarm_began, "publish", fail)
    grow_old(THRESHOLD_S + 5)

    with pytest.raises(OSError, match="disk full"):
        watch()

    assert not Alarm.objects.exists()  # so that the next look begins it anew


# --- Settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "id_"),
    [
        ("ALARM_OVERDUE_S_BY_RECEIVER", [f"{RECORD}=soon"], "usher.E014"),
        ("ALARM_OVERDUE_S_BY_RECEIVER", [RECORD], "usher.E014"),
        ("ALARM_OVERDUE_S_BY_RECEIVER", [f"{RECORD}=-1"], "usher.E014"),
        ("ALARM_OVERDUE_S", -1, "usher.E014"),
        ("ALARM_OVERDUE_S_BY_RECEIVER", ["probe.recrod=60"], "usher.E015"),
        ("ALARM_MAILS", ["on-call"], "usher.E016"),
    ],
)
def test_a_mistyped_setting_is_an_error(
    name: str, value: object, id_: str, settings: Settings
) -> None:
    setattr(settings, name, value)

    (error,) = [each for each in run_checks() if each.id == id_]

    assert error.hint


def test_settings_as_they_should_be_are_no_error() -> None:
    assert not [each for each in run_checks() if each.id in {"usher.E014", "usher.E015"}]


def test_the_front_page_names_open_alarms_to_whom_may_open_the_monitor(
    admin_client: Client,
) -> None:
    overdue()
    Alarm.objects.create(receiver="probe.greet", kind=AlarmKind.DEAD, ended_at=timezone.now())

    html = admin_client.get("/admin/").content.decode()

    assert html.count('class="monitor-alarm"') == 1
    assert f'href="{reverse("monitor-receiver", args=[RECORD])}"' in html


def test_the_front_page_names_no_alarm_to_other_staff(client: Client) -> None:
    overdue()
    client.force_login(User.objects.create_user("clerk@example.com", "irrelevant", is_staff=True))

    html = client.get("/admin/").content.decode()

    assert "monitor-alarm" not in html


@pytest.mark.parametrize(("receiver", "leads"), [(RECORD, True), ("long.gone", False)])
def test_an_alarm_leads_to_its_receiver_if_that_is_known(
    receiver: str, leads: bool, admin_client: Client
) -> None:
    alarm = overdue(receiver)

    for page in ("/admin/", f"/admin/project/alarm/{alarm.pk}/change/"):
        html = admin_client.get(page).content.decode()

        assert receiver in html
        assert (f'href="/admin/monitor/receivers/{receiver}/"' in html) == leads
