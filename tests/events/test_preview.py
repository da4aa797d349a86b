"""`replay --preview` shows what would change, and changes nothing."""

import hashlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any, cast

import pytest
from django.apps import apps
from django.core import mail
from django.core.mail import send_mail
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import F

from accounts.models import User
from events.envelope import Event
from events.management import previewing
from events.models import Attempt, Delivery, DeliveryState
from events.models import Event as EventRow
from events.operations.offline import CutOff, offline
from events.operations.preview import Outcome, Preview, preview
from events.operations.selection import Selection
from events.operations.written import RowChange
from events.receivers import (
    Guarantee,
    Receiver,
    connect_receiver,
    disconnect_receiver,
    get_receiver,
)
from events.retry import RetrySchedule
from tests.conftest import Drain, Misbehave, Publish
from tests.faults.stimuli import paused
from tests.faults.world import open_campaign_and_rule, register
from tests.probe.models import Effect, Fault, ProcessedEvent
from tests.probe.observe import effects
from tests.probe.signals import Happened, followed, happened

pytestmark = pytest.mark.django_db(transaction=True)

NAME = "probe.temporary"
Do = Callable[[Event[Happened]], None]
PreviewOf = Callable[[Do], Preview]


@pytest.fixture
def preview_of(publish: Publish) -> Iterator[PreviewOf]:
    """Return a function that previews a receiver of the test's own on a new event."""

    def run(function: Do) -> Preview:
        connect_receiver(
            Receiver(
                name=NAME,
                queue="probe",
                function=function,
                signals=(happened,),
                inbox=ProcessedEvent,
                batch=False,
                guarantee=Guarantee.EXACTLY_ONCE,
                retry=RetrySchedule(),
                time_limit_s=10,
            )
        )
        publish(1)
        before = checksum()
        (found,) = preview(Selection(state=DeliveryState.PENDING, receiver=NAME))
        assert checksum() == before
        return found

    yield run
    disconnect_receiver(NAME)


def checksum() -> str:
    """Return a digest of every row of every table."""
    digest = hashlib.sha256()
    with connection.cursor() as cursor:
        for table in sorted(connection.introspection.table_names(cursor)):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608
            rows = sorted(map(repr, cursor.fetchall()))
            digest.update(f"{table}{rows}".encode())
    return digest.hexdigest()


def run(*arguments: str) -> tuple[int, str]:
    """Run the command; return its exit code and what it printed."""
    out = StringIO()
    try:
        call_command("replay", "--preview", *arguments, stdout=out, stderr=StringIO())
    except SystemExit as end:
        return cast(int, end.code), out.getvalue()
    return 0, out.getvalue()


def written(found: Preview) -> list[tuple[str, str]]:
    """Return the model and the kind of each change but the inbox's."""
    kinds = [
        (row.model, "insert" if row.before is None else "delete" if row.after is None else "update")
        for row in found.rows
    ]
    return [pair for pair in kinds if pair[0] != "probe.ProcessedEvent"]


def test_it_prints_the_rows_that_would_change_and_writes_nothing(publish: Publish) -> None:
    event = publish(7)
    before = checksum()

    code, text = run("--state", "pending", "--receiver", "probe.record")

    assert code == 0
    assert f"probe.record  {event.id}  would change\n" in text
    assert "insert probe.ProcessedEvent" in text
    assert "insert probe.Effect" in text
    assert "number=7" in text
    assert "insert events.Event" in text  # what it would publish
    assert "1 deliveries previewed: 1 would change.\nNothing was written." in text
    assert checksum() == before
    assert effects("record") == []


def test_the_rows_are_those_that_a_drain_then_writes(drain: Drain) -> None:
    inviter = open_campaign_and_rule(drain)
    register("b@example.com", inviter)
    counted = ("coupons", "points")
    foreseen = Counter(
        row.model
        for found in preview(Selection(state=DeliveryState.PENDING))
        for row in found.rows
        if row.before is None and row.model.startswith(counted)
    )
    there = rows_by_model(counted)

    with (
        paused(get_receiver("coupons.project_funnel")),
        paused(get_receiver("points.project_funnel")),
    ):
        drain()  # without what only follows from these

    assert foreseen == rows_by_model(counted) - there
    assert foreseen["coupons.Coupon"] == 1
    assert foreseen["points.Entry"] == 1


def rows_by_model(labels: tuple[str, ...]) -> Counter[str]:
    """Count the rows of some apps' models."""
    return Counter(
        {
            model._meta.label: model._default_manager.count()
            for model in apps.get_models()
            if model._meta.label.startswith(labels)
        }
    )


def test_an_applied_event_would_change_nothing(publish: Publish, drain: Drain) -> None:
    publish(1)
    drain()

    code, text = run("--state", "done", "--receiver", "probe.record")

    assert code == 0
    assert "applied already" in text
    assert "insert" not in text
    assert effects("record") == [1]


def test_receivers_that_call_out_are_listed_and_not_run(publish: Publish) -> None:
    publish(1)

    found = list(preview(Selection(state=DeliveryState.PENDING)))

    outside = {p.receiver: p for p in found if p.outcome is Outcome.CALLS_OUT}
    assert set(outside) == {"probe.call_outside", "probe.call_once"}
    assert outside["probe.call_once"].detail == "it is at_most_once, and was not run"
    assert effects("call_outside") == effects("call_once") == []


@pytest.mark.parametrize("kind", ["raise", "permanent", "exit"])
def test_a_failure_is_shown_with_its_error_and_ends_in_exit_code_1(
    kind: str, publish: Publish, misbehave: Misbehave
) -> None:
    misbehave(1, kind)
    publish(1)
    publish(2, key="another")
    before = checksum()

    code, text = run("--state", "pending", "--receiver", "probe.record")

    assert code == 1
    assert "would fail: " in text
    assert "@example.com" not in text
    assert "2 deliveries previewed" in text  # the others are previewed all the same
    assert checksum() == before


def test_a_receiver_that_asks_for_later_does_not_fail(
    publish: Publish, misbehave: Misbehave
) -> None:
    misbehave(1, "later")
    publish(1)

    code, text = run("--state", "pending", "--receiver", "probe.record")

    assert code == 0
    assert "would ask to be tried later: in 0.05 s" in text


def test_what_this_release_does_not_know_would_wait(publish: Publish) -> None:
    publish(1)
    Delivery.objects.filter(receiver="probe.record").update(receiver="probe.renamed")
    Delivery.objects.filter(receiver="probe.record_batch").update(version=99)

    found = {p.receiver: p for p in preview(Selection(state=DeliveryState.PENDING))}

    assert found["probe.renamed"].outcome is Outcome.WAITS
    assert found["probe.record_batch"].outcome is Outcome.WAITS
    assert "v99" in found["probe.record_batch"].detail


def test_a_batch_receiver_runs_on_each_delivery_by_itself(publish: Publish) -> None:
    publish(1)
    publish(2)

    found = list(preview(Selection(state=DeliveryState.PENDING, receiver="probe.record_batch")))

    assert [written(p) for p in found] == [[("probe.Effect", "insert")]] * 2


def test_writes_in_bulk_are_seen(preview_of: PreviewOf) -> None:
    Fault.objects.bulk_create(Fault(number=number, kind="slow") for number in (10, 20, 30))

    def write(event: Event[Happened]) -> None:
        Fault.objects.bulk_create([Fault(number=40, kind="slow"), Fault(number=50, kind="slow")])
        assert Fault.objects.filter(number__in=[10, 20]).update(number=F("number") + 1) == 2
        assert Fault.objects.filter(number=30).delete()[0] == 1

    found = preview_of(write)

    kinds = Counter(written(found))
    assert kinds == {
        ("probe.Fault", "insert"): 2,
        ("probe.Fault", "update"): 2,
        ("probe.Fault", "delete"): 1,
    }
    updated = [row for row in found.rows if row.before and row.after]
    assert [(row.before, row.after) for row in updated] == [
        ({"number": 10}, {"number": 11}),
        ({"number": 20}, {"number": 21}),
    ]


def test_writes_row_by_row_are_seen_and_return_what_they_should(preview_of: PreviewOf) -> None:
    kept = Fault.objects.create(number=10, kind="slow")

    def write(event: Event[Happened]) -> None:
        made, created = Fault.objects.get_or_create(number=20, kind="slow")
        assert created
        assert Fault.objects.get(pk=made.pk) == made
        Fault.objects.update_or_create(number=10, defaults={"kind": "raise"})
        fetched = Fault.objects.get(pk=kept.pk)
        fetched.kind = "later"
        fetched.save()
        Fault.objects.create(number=30, kind="slow").delete()

    found = preview_of(write)

    assert written(found) == [("probe.Fault", "update"), ("probe.Fault", "insert")] or written(
        found
    ) == [("probe.Fault", "insert"), ("probe.Fault", "update")]


def test_what_ends_as_it_was_is_no_change(preview_of: PreviewOf) -> None:
    Fault.objects.create(number=10, kind="slow")

    def write(event: Event[Happened]) -> None:
        Fault.objects.update(number=11)
        Fault.objects.update(number=10)
        Fault.objects.create(number=30, kind="slow").delete()

    assert written(preview_of(write)) == []


def test_raw_sql_is_followed_where_it_can_be_and_named_where_not(preview_of: PreviewOf) -> None:
    Fault.objects.create(number=10, kind="slow")

    def write(event: Event[Happened]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE probe_fault AS f SET number = 11 WHERE number = %s", [10])
            assert cursor.rowcount == 1
            cursor.execute("SELECT number FROM probe_fault")
            assert cursor.fetchall() == [(11,)]
            cursor.execute("INSERT INTO probe_fault (number, kind) VALUES (1, 'slow') RETURNING 7")
            assert cursor.fetchone() == (7,)
            cursor.execute(
                "WITH it AS (SELECT 12 AS n) INSERT INTO probe_fault (number, kind) "
                "SELECT n, 'slow' FROM it"
            )
            cursor.executemany("DELETE FROM probe_fault WHERE number = %s", [(998,), (999,)])

    found = preview_of(write)

    assert written(found) == [("probe.Fault", "update"), ("probe.Fault", "insert")]
    assert [statement[:11] for statement in found.not_followed] == ["WITH it AS ", "DELETE FROM"]


def test_hooks_for_after_the_commit_do_not_run(preview_of: PreviewOf) -> None:
    ran: list[str] = []

    def publish_and_hook(event: Event[Happened]) -> None:
        followed.publish(Happened(key=event.key, number=1))
        transaction.on_commit(lambda: ran.append("hook"))

    found = preview_of(publish_and_hook)

    assert ran == []
    assert written(found)[0] == ("events.Event", "insert")
    assert EventRow.objects.filter(type="probe.followed").count() == 0


def test_a_rule_that_only_a_commit_would_check_is_checked(preview_of: PreviewOf) -> None:
    def write(event: Event[Happened]) -> None:
        delivery = Delivery.objects.first()
        assert delivery is not None
        Attempt.objects.create(
            delivery_id=delivery.pk + 1000,
            number=1,
            started_at=event.occurred_at,
            ended_at=event.occurred_at,
            error_class="x",
            fingerprint="x",
        )

    found = preview_of(write)

    assert found.outcome is Outcome.FAILS
    assert "IntegrityError" in found.detail


def test_mail_is_caught_and_listed(preview_of: PreviewOf) -> None:
    def write(event: Event[Happened]) -> None:
        assert send_mail("Welcome", "text", "us@example.com", ["someone@example.com"]) == 1

    found = preview_of(write)

    assert found.mails == ["“Welcome” to …@…"]
    assert mail.outbox == []


def connect_out(event: object = None) -> None:
    """Call out, as an HTTP client would."""
    socket.create_connection(("127.0.0.1", 9), timeout=1)


def send_datagram(event: object = None) -> None:
    """Call out without a connection."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        sending.sendto(b"x", ("127.0.0.1", 9))


@pytest.mark.parametrize("call", [connect_out, send_datagram])
def test_a_call_out_is_refused_and_names_the_receiver(call: Do, preview_of: PreviewOf) -> None:
    found = preview_of(call)

    assert found.outcome is Outcome.FAILS
    assert "CutOff: probe.temporary wanted to connect to the network" in found.detail


def test_a_second_database_connection_is_refused(preview_of: PreviewOf) -> None:
    refusals: list[Exception] = []

    def write_in_a_thread(event: Event[Happened]) -> None:
        def write() -> None:
            try:
                Fault.objects.create(number=1, kind="slow")
            except CutOff as refusal:
                refusals.append(refusal)
            finally:
                connection.close()

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()

    preview_of(write_in_a_thread)

    assert "another database connection" in str(refusals[0])
    assert not Fault.objects.exists()


def test_the_network_is_back_afterwards() -> None:
    with offline("somebody"), pytest.raises(CutOff):
        connect_out()

    with pytest.raises(OSError, match="refused"):
        connect_out()


def test_secrets_and_addresses_are_not_shown(publish: Publish, preview_of: PreviewOf) -> None:
    User.objects.create_user("someone@example.com", "a-password")

    def write(event: Event[Happened]) -> None:
        User.objects.update(password="a-new-password")
        User.objects.create_user("another@example.com", "a-password")

    preview_of(write)
    _, text = run("--state", "pending", "--receiver", NAME)
    _, document = run("--state", "pending", "--receiver", NAME, "--json")

    for shown in (text, document):
        assert "(hidden)" in shown
        assert "argon2" not in shown
        assert "md5" not in shown
        assert "a-new-password" not in shown
        assert "example.com" not in shown


def test_json_is_one_document(publish: Publish, misbehave: Misbehave) -> None:
    misbehave(2, "permanent")
    event = publish(1)
    publish(2, key="another")

    code, text = run("--state", "pending", "--json", "--receiver", "probe.record")

    document: dict[str, Any] = json.loads(text)
    first, second = document["deliveries"]
    assert code == 1
    assert document["preview"] is True
    assert document["outcomes"] == {"would change": 1, "would fail": 1}
    assert first["event"] == str(event.id)
    effect = next(row for row in first["rows"] if row["model"] == "probe.Effect")
    assert effect["before"] is None
    assert effect["after"]["number"] == 1
    assert second["detail"] == "events.retry.PermanentFailure: never"


def test_a_plan_and_a_preview_exclude_each_other() -> None:
    with pytest.raises(CommandError) as refusal:
        call_command("replay", "--preview", "--dry-run")

    assert refusal.value.returncode == 2


def test_nothing_chosen_is_nothing_to_do() -> None:
    code, text = run()

    assert code == 0
    assert text.startswith("0 deliveries previewed.")
    assert not Effect.objects.exists()


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_an_interrupted_preview_says_that_nothing_was_written(
    arguments: tuple[str, ...], preview_of: PreviewOf, publish: Publish
) -> None:
    def interrupt(event: Event[Happened]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        preview_of(interrupt)
    before = checksum()

    with pytest.raises(CommandError, match="Nothing was written") as end:
        run("--state", "pending", "--receiver", NAME, *arguments)

    assert end.value.returncode == 1
    assert checksum() == before


def test_a_value_that_equals_the_rows_key_is_shown() -> None:
    row = RowChange(
        model="probe.Effect", key_name="id", key=7, before=None, after={"id": 7, "number": 7}
    )

    assert previewing._line(row) == "insert probe.Effect 7: number=7"
