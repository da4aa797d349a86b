"""The event monitor's pages: what they show, what their buttons do, and who may."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from events.interventions import Intervention, InterventionState
from events.models import Attempt, Delivery, DeliveryState, ReceiverState
from events.noted import Minute, SeenWorker
from events.operations import staged
from events.operations.minutes import Point
from project.alarms.models import Alarm
from project.monitor import charts
from project.roles import make_roles
from tests.probe.signals import Happened, happened

pytestmark = pytest.mark.django_db

RECORD = "probe.record"
ERROR = "OSError: the CRM is away"
GROUP = {"fingerprint": "f00d"}


@pytest.fixture
def dead() -> list[Delivery]:
    """Return three dead deliveries of one cause."""
    happened.publish_many(Happened(key=f"person {n}", number=n) for n in range(3))
    Delivery.objects.exclude(receiver=RECORD).delete()
    Delivery.objects.update(
        state=DeliveryState.DEAD, due_at=None, died_at=Now(), last_error=ERROR, **GROUP
    )
    deliveries = list(Delivery.objects.order_by("pk"))
    now = timezone.now()
    Attempt.objects.create(
        delivery=deliveries[-1],
        number=16,
        started_at=now,
        ended_at=now,
        error_class="OSError",
        traceback="Traceback <most recent>",
        **GROUP,
    )
    return deliveries


@pytest.fixture
def on_call(client: Client) -> User:
    """Return somebody who is on call, logged in."""
    return log_in(client, "on-call")


def log_in(client: Client, role: str) -> User:
    """Log somebody of a role in."""
    make_roles(apps)
    user = User.objects.create_user(f"{role}@example.com", "irrelevant", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client.force_login(user)
    return user


def read(client: Client, name: str, *args: object, **query: str) -> str:
    """Return the text of a page, without its tags."""
    answer = client.get(reverse(name, args=args), query)
    assert answer.status_code == 200, answer.status_code
    return without_tags(answer.content.decode())


def without_tags(html: str) -> str:
    """Return the words of a page."""
    return " ".join(
        unescape(re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", html, flags=re.S)).split()
    )


def shown(client: Client) -> dict[str, str]:
    """Return what the page about the group would send."""
    html = client.get(reverse("monitor-failures", args=[RECORD]), GROUP).content.decode()
    fields = re.findall(r'name="(fingerprint|at|count)" value="([^"]*)"', html)
    assert len(fields) == 3
    return {name: unescape(value) for name, value in fields}


# --- What is shown --------------------------------------------------------------------------------


def test_the_dashboard_shows_receivers_failures_queues_workers_and_alarms(
    client: Client, on_call: User, dead: list[Delivery]
) -> None:
    Alarm.objects.create(receiver=RECORD, kind="dead")
    ReceiverState.objects.create(
        name="probe.call_once", paused_at=timezone.now(), paused_by="ada", pause_reason="x"
    )
    SeenWorker.objects.create(name="a", host="web-1 (7)", queues={"probe": "", "outside": "stuck!"})
    SeenWorker.objects.create(
        name="b", host="web-2 (8)", queues={}, seen_at=timezone.now() - timedelta(minutes=2)
    )

    text = read(client, "monitor")

    assert f"dead {RECORD} since" in text
    assert re.search(rf"{RECORD} 0 – 0 0 0 3 0\.0 – –", text)
    assert "probe.call_once paused" in text
    assert f"{ERROR} {RECORD} 3 0 3" in text
    assert "probe 1 0 0 served" in text
    assert "outside 1 0 0 stuck: stuck!" in text
    assert "coupons 0 0 0 no worker serves it" in text
    assert "web-1 (7): there" in text
    assert "web-2 (8): not seen since" in text


def test_what_was_noted_is_drawn_and_in_a_table(client: Client, on_call: User) -> None:
    minute = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=3)
    Minute.objects.create(receiver=RECORD, at=minute, done=40, failed=2, due=5, oldest_due_age_s=9)
    Minute.objects.create(receiver="probe.greet", at=minute, done=1)

    html = client.get(reverse("monitor-parts")).content.decode()
    of_one = client.get(reverse("monitor-receiver-parts", args=[RECORD])).content.decode()

    assert html.count('class="monitor-failed"') == 2  # in the hour and in the day
    assert "at most 43 per minute" in html
    assert f"{minute:%H:%M} 41 2 5 9" in without_tags(html)
    assert f"{minute:%H:%M} 40 2 5 9" in without_tags(of_one)


def test_a_look_asks_no_more_however_much_is_dead_or_noted(
    client: Client, on_call: User, dead: list[Delivery]
) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as asked:
            client.get(reverse("monitor-parts"))
        return len(asked)

    Delivery.objects.filter(pk=dead[0].pk).update(state="pending", due_at=Now())
    before = count()
    for number, delivery in enumerate(dead):
        Delivery.objects.filter(pk=delivery.pk).update(fingerprint=str(number))
        Alarm.objects.create(receiver=f"r{number}", kind="dead")
        Intervention.objects.create(
            kind="replay", receiver=f"r{number}", size=1, asked_by="a", reason="b"
        )
        SeenWorker.objects.create(name=str(number), host="h", queues={})

    assert count() == before <= 25


def test_a_group_shows_its_latest_error_and_what_died(
    client: Client, on_call: User, dead: list[Delivery]
) -> None:
    text = read(client, "monitor-failures", RECORD, **GROUP)

    assert ERROR in text
    assert "Dead 3 Retrying 0 Affected 3" in text
    assert "Traceback <most recent>" in text
    assert "person 0" in text


def test_an_intervention_whose_set_is_pruned_says_so(client: Client, on_call: User) -> None:
    ended = Intervention.objects.create(
        kind="replay", receiver=RECORD, size=3, asked_by="ada", reason="x",
        state=InterventionState.GIVEN_UP, ended_at=timezone.now(),
    )  # fmt: skip

    text = read(client, "monitor-intervention", ended.pk)

    assert "What became of the 3 deliveries is no longer kept." in text
    assert "3 of 3" not in text


def test_a_cause_shows_what_is_tried_again_apart_from_what_is_dead(
    client: Client, on_call: User, dead: list[Delivery]
) -> None:
    Delivery.objects.filter(pk=dead[0].pk).update(state=DeliveryState.PENDING, due_at=Now())

    text = read(client, "monitor-failures", RECORD, **GROUP)

    assert f"{ERROR} {RECORD} 2 1 2" in read(client, "monitor")
    assert "Dead 2 Retrying 1 Next try" in text
    assert "These 2 deliveries, and none that dies later" in text
    assert text.index("Those that died first") < text.index("Those that are tried next")
    assert dead[0].key in text[text.index("Those that are tried next") :]


def test_what_is_going_on_stands_above_what_died_long_ago(
    client: Client, on_call: User, dead: list[Delivery]
) -> None:
    going_on = {"state": DeliveryState.PENDING, "due_at": Now(), "died_at": None}
    Delivery.objects.filter(pk=dead[0].pk).update(fingerprint="now", last_error="Now", **going_on)

    text = read(client, "monitor")

    assert text.index("Now") < text.index(ERROR)


def test_where_nothing_is_dead_there_is_nothing_to_replay(
    client: Client, on_call: User, dead: list[Delivery]
) -> None:
    Delivery.objects.update(state=DeliveryState.PENDING, due_at=Now(), died_at=None)

    page = client.get(reverse("monitor-failures", args=[RECORD]), GROUP).content.decode()

    assert "Nothing is dead of it" in page
    assert 'name="at"' not in page
    assert "Those that died first" not in page


# --- Past alarms ----------------------------------------------------------------------------------

ALARMS = "admin:project_alarm_changelist"


def past_alarms() -> None:
    """Make three alarms, two of which are over."""
    now = timezone.now()
    began = now - timedelta(hours=2)
    for receiver, more in (
        ("probe.record", {"kind": "dead", "worst": 10_001, "ended_at": now}),
        ("probe.call_once", {"kind": "overdue", "worst": 75, "threshold_s": 60, "ended_at": now}),
        ("probe.still", {"kind": "dead"}),
    ):
        Alarm.objects.create(receiver=receiver, began_at=began, **more)


def test_past_alarms_say_what_since_when_until_when_and_how_many(
    client: Client, on_call: User
) -> None:
    past_alarms()

    text = read(client, ALARMS)

    assert "10,000+ dead" in text
    assert "75.0 s" in text
    assert "2:00:00" in text
    assert "probe.still" in text


def test_alarms_are_searched_and_filtered(client: Client, on_call: User) -> None:
    past_alarms()

    def found(**query: str) -> set[str]:
        rows = client.get(reverse(ALARMS), query).context["cl"].result_list
        return {alarm.receiver for alarm in rows}

    assert found(q="call") == {"probe.call_once"}
    assert found(over="no") == {"probe.still"}
    assert found(over="yes", kind__exact="dead") == {"probe.record"}


def test_alarms_are_read_by_those_who_may_open_the_monitor_and_changed_by_nobody(
    client: Client,
) -> None:
    past_alarms()
    alarm = Alarm.objects.earliest("pk")
    change = reverse("admin:project_alarm_change", args=[alarm.pk])
    log_in(client, "marketing")
    assert client.get(reverse(ALARMS)).status_code == 403

    superuser = User.objects.create_superuser("root@example.com", "irrelevant")
    client.force_login(superuser)

    assert client.get(change).status_code == 200
    assert client.post(change, {"receiver": "x"}).status_code == 403
    assert client.get(reverse("admin:project_alarm_add")).status_code == 403


def test_the_monitor_leads_to_past_alarms(client: Client, on_call: User) -> None:
    happened.publish(Happened(key="li", number=1))

    assert reverse(ALARMS) in client.get(reverse("monitor")).content.decode()
    page = client.get(reverse("monitor-receiver", args=[RECORD])).content.decode()
    assert f"{reverse(ALARMS)}?q={RECORD}" in page


def test_a_group_that_is_gone_says_so(client: Client, on_call: User) -> None:
    assert "Nothing fails of this cause" in read(client, "monitor-failures", RECORD, **GROUP)


@pytest.mark.parametrize("name", ["monitor-receiver", "monitor-receiver-parts"])
def test_an_unknown_receiver_is_not_found(client: Client, on_call: User, name: str) -> None:
    assert client.get(reverse(name, args=["probe.recrod"])).status_code == 404


def test_without_scripts_the_page_is_loaded_anew(client: Client, on_call: User) -> None:
    html = client.get(reverse("monitor")).content.decode()

    assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in html
    assert f'data-parts="{reverse("monitor-parts")}"' in html


# --- What buttons do ------------------------------------------------------------------------------


def test_a_press_freezes_what_is_shown_and_leads_to_its_progress(
    client: Client, on_call: User, dead: list[Delivery]
) -> None:
    address = reverse("monitor-begin-replay", args=[RECORD])
    answer = client.post(address, {**shown(client), "reason": "The CRM is back"})

    begun = Intervention.objects.get()
    assert answer.headers["Location"] == reverse("monitor-intervention", args=[begun.pk])
    assert (begun.kind, begun.size, begun.operator) == ("replay", 3, on_call)
    text = read(client, "monitor-intervention", begun.pk)
    assert "0 of 3" in text
    assert "begun" in text
    assert "on-call@example.com: The CRM is back" in text
    assert "These are being intervened in" in read(client, "monitor-failures", RECORD, **GROUP)


def test_a_second_press_leads_to_the_first(
    client: Client, on_call: User, dead: list[Delivery]
) -> None:
    address, sent = reverse("monitor-begin-replay", args=[RECORD]), shown(client)
    places = {client.post(address, {**sent, "reason": "x"}).headers["Location"] for _ in range(2)}

    assert places == {reverse("monitor-intervention", args=[Intervention.objects.get().pk])}


def test_a_skip_is_begun_too(client: Client, on_call: User, dead: list[Delivery]) -> None:
    address = reverse("monitor-begin-skip", args=[RECORD])
    client.post(address, {**shown(client), "reason": "hopeless"})
    staged.advance_all()

    assert set(Delivery.objects.values_list("state", "skip_reason")) == {("skipped", "hopeless")}


def test_what_was_not_shown_is_not_frozen(
    client: Client, on_call: User, dead: list[Delivery]
) -> None:
    sent = {**shown(client), "reason": "x"}
    happened.publish(Happened(key="later", number=9))
    Delivery.objects.filter(receiver=RECORD, key="later").update(
        state=DeliveryState.DEAD,
        due_at=None,
        died_at=timezone.now() + timedelta(seconds=1),
        **GROUP,
    )
    client.post(reverse("monitor-begin-replay", args=[RECORD]), sent)

    frozen = Intervention.objects.get().items.values_list("delivery__key", flat=True)
    assert sorted(frozen) == ["person 0", "person 1", "person 2"]


def test_a_group_that_was_moved_on_or_has_grown_is_not_touched(
    client: Client, on_call: User, dead: list[Delivery]
) -> None:
    address, sent = reverse("monitor-begin-replay", args=[RECORD]), shown(client)
    grown = client.post(address, {**sent, "count": "2", "reason": "x"}, follow=True)
    Delivery.objects.update(state="pending", due_at=Now(), died_at=None)
    gone = client.post(address, {**sent, "reason": "x"}, follow=True)

    assert "More have died of this meanwhile" in without_tags(grown.content.decode())
    assert "none of them is dead any more" in without_tags(gone.content.decode())
    assert not Intervention.objects.exists()


def test_a_press_without_a_reason_does_nothing(
    client: Client, on_call: User, dead: list[Delivery]
) -> None:
    address = reverse("monitor-begin-replay", args=[RECORD])
    answer = client.post(address, {**shown(client), "reason": " "}, follow=True)

    assert "Say why" in without_tags(answer.content.decode())
    assert not Intervention.objects.exists()


@pytest.mark.parametrize(
    "sent",
    [
        {"at": "yesterday"},
        {"at": "2026-13-45T00:00:00Z"},
        {"at": "2026-11-26T10:00:00"},
        {"count": "-1"},
        {"count": "9" * 30},
        {"count": ""},
    ],
)
def test_what_no_page_of_ours_sends_is_a_bad_request(
    client: Client, on_call: User, dead: list[Delivery], sent: dict[str, str]
) -> None:
    address = reverse("monitor-begin-replay", args=[RECORD])
    answer = client.post(address, {**shown(client), "reason": "x", **sent})

    assert answer.status_code == 400
    assert not Intervention.objects.exists()


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [
        (RECORD, "f" * 17),
        (RECORD, "f\0"),
        ("r" * 101, "f00d"),
        ("probe.recrod", "f00d"),
    ],
    ids=["long fingerprint", "NUL", "long name", "unknown name"],
)
def test_what_can_be_no_group_is_not_found(
    client: Client, on_call: User, dead: list[Delivery], name: str, fingerprint: str
) -> None:
    sent = {**shown(client), "fingerprint": fingerprint, "reason": "x"}

    answer = client.post(reverse("monitor-begin-replay", args=[name]), sent)

    assert answer.status_code == 404
    assert not Intervention.objects.exists()


def test_a_nul_is_no_cause(client: Client, on_call: User) -> None:
    address = reverse("monitor-failures", args=[RECORD])

    assert client.get(address, {"fingerprint": "f\0"}).status_code == 400


def test_a_stopped_one_is_gone_on_with_or_given_up(
    client: Client, on_call: User, dead: list[Delivery]
) -> None:
    begin = reverse("monitor-begin-replay", args=[RECORD])
    client.post(begin, {**shown(client), "reason": "x"})
    begun = Intervention.objects.get()
    Intervention.objects.update(state=InterventionState.STOPPED, error=ERROR)
    page = read(client, "monitor-intervention", begun.pk)
    assert f"It stopped, because one failed again: {ERROR}" in page

    client.post(reverse("monitor-go-on", args=[begun.pk]), {"reason": "try ten"})
    begun.refresh_from_db()
    assert (begun.state, begun.decision) == (InterventionState.RUNNING, "try ten")

    client.post(reverse("monitor-give-up", args=[begun.pk]), {"reason": "no use"})
    late = client.post(reverse("monitor-go-on", args=[begun.pk]), {"reason": "yes"}, follow=True)
    begun.refresh_from_db()
    assert begun.state == InterventionState.GIVEN_UP
    assert "it has moved on meanwhile" in without_tags(late.content.decode())
    said = list(LogEntry.objects.order_by("pk").values_list("change_message", flat=True))
    assert said == ["Began (3): x", "Went on: try ten", "Gave up: no use"]


def test_a_receiver_is_paused_and_resumed_with_a_reason(client: Client, on_call: User) -> None:
    client.post(reverse("monitor-pause", args=[RECORD]), {"reason": "repairs"})
    assert "Paused since" in (text := read(client, "monitor-receiver", RECORD))
    assert "on-call@example.com: repairs" in text

    client.post(reverse("monitor-resume", args=[RECORD]), {"reason": "mended"})
    assert "Paused since" not in read(client, "monitor-receiver", RECORD)
    said = list(LogEntry.objects.order_by("pk").values_list("change_message", flat=True))
    assert said == ["Paused: repairs", "Resumed: mended"]


# --- Who may --------------------------------------------------------------------------------------


def test_support_may_replay_but_neither_skip_nor_pause(
    client: Client, dead: list[Delivery]
) -> None:
    log_in(client, "support")
    sent = {**shown(client), "reason": "x"}

    assert client.post(reverse("monitor-begin-skip", args=[RECORD]), sent).status_code == 403
    assert client.post(reverse("monitor-pause", args=[RECORD]), sent).status_code == 403
    assert client.post(reverse("monitor-begin-replay", args=[RECORD]), sent).status_code == 302


def test_a_traceback_is_shown_to_those_who_may_view_attempts(
    client: Client, on_call: User, dead: list[Delivery]
) -> None:
    Permission.objects.get(codename="view_attempt").group_set.clear()

    text = read(client, "monitor-failures", RECORD, **GROUP)

    assert "Traceback" not in text
    assert "The latest of them" not in text
    assert ERROR in text


def test_what_may_not_be_begun_may_not_be_decided(client: Client, dead: list[Delivery]) -> None:
    log_in(client, "support")
    skip = Intervention.objects.create(
        kind="skip", receiver=RECORD, size=1, asked_by="a", reason="b"
    )

    answer = client.post(reverse("monitor-give-up", args=[skip.pk]), {"reason": "x"})

    assert answer.status_code == 403
    assert "Give up" not in read(client, "monitor-intervention", skip.pk)


def test_an_open_page_is_told_that_its_reader_is_logged_out(client: Client) -> None:
    assert client.get(reverse("monitor-parts")).status_code == 403


@pytest.mark.parametrize(("age_s", "height"), [(0.3, "3.0"), (10.0, "100.0"), (400.0, "100.0")])
def test_a_moment_of_waiting_draws_no_bar_as_high_as_that_of_minutes(
    age_s: float, height: str
) -> None:
    point = Point(at=timezone.now(), done=1, failed=0, due=1, oldest_due_age_s=age_s)

    _, ages = charts.hour([point]).charts

    assert [bar.height for bar in ages.bars] == [height]
