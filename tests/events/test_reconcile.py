"""Effects are compared with events: what is lost is delivered again, what is on its way let be."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from events.delivery.claim import claim
from events.envelope import Event
from events.models import Delivery, DeliveryState, ReceiverState
from events.models import Event as EventRow
from events.operations import audits, repair
from events.operations import reconcile as reconciling
from events.operations.audits import Flaw, FlawKind
from events.operations.invariants import Breach, Circumstances
from events.operations.pausing import pause
from events.operations.reconcile import Finding, Scope, findings
from events.operations.replay import replay
from events.operations.selection import Selection
from events.operations.skip import skip
from events.receivers import get_receiver
from tests.conftest import Drain, Misbehave, Publish
from tests.probe.models import Effect, ProcessedEvent
from tests.probe.observe import effects, make_due
from tests.probe.signals import Happened
from tests.reconciling import forget_deliveries, kinds, reconcile, statements

pytestmark = pytest.mark.django_db(transaction=True)

RECEIVER = "probe.record"
ONLY = ("--receiver", RECEIVER)
MISSING = (RECEIVER, "missing")


def audit_record(events: Sequence[Event[Happened]]) -> Iterator[Flaw]:
    """Each event was recorded once. The probe has no constraint that would see to that."""
    ids = [event.id for event in events]
    rows = Effect.objects.filter(receiver="record", event_id__in=ids)
    found = list(rows.values_list("event_id", flat=True))
    for event_id in ids:
        if found.count(event_id) == 0:
            yield Flaw(event_id=event_id, kind=FlawKind.MISSING, what="It is not recorded.")
        if found.count(event_id) > 1:
            yield Flaw(event_id=event_id, kind=FlawKind.DOUBLED, what="It is recorded twice.")


@pytest.fixture(autouse=True)
def _audit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits, "_audits", {})
    audits.audit(RECEIVER, depends_on=["probe.record_batch"])(audit_record)


@pytest.fixture
def lost(publish: Publish, drain: Drain) -> list[UUID]:
    """Return the ids of three events of five whose effect is gone though they are delivered."""
    events = [publish(number, key=f"person {number}") for number in range(5)]
    drain()
    ids: list[UUID] = [event.id for event in events[1:4]]
    Effect.objects.filter(receiver="record", event_id__in=ids).delete()
    return ids


def run(*arguments: str) -> str:
    """Run the command as a person does; return what it printed."""
    out = StringIO()
    call_command("reconcile", *ONLY, "--grace", "0", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def recorded() -> list[int]:
    """Return the numbers that are recorded, sorted."""
    return sorted(effects("record"))


def test_lost_effects_are_found_and_made_once(lost: list[UUID], drain: Drain) -> None:
    found = reconcile(*ONLY)
    repaired = reconcile(*ONLY, "--repair")
    drain()

    assert [UUID(finding["event_id"]) for finding in found["findings"]] == lost
    assert repaired["repaired"] == 3
    assert recorded() == [0, 1, 2, 3, 4]


def test_a_second_repair_finds_nothing(lost: list[UUID], drain: Drain) -> None:
    reconcile(*ONLY, "--repair")

    assert reconcile(*ONLY, "--repair")["findings"] == []
    drain()
    assert reconcile(*ONLY, "--repair")["findings"] == []
    assert drain() == 0


def test_what_was_pruned_long_ago_is_delivered_anew(lost: list[UUID], drain: Drain) -> None:
    forget_deliveries(RECEIVER)

    repaired = reconcile(*ONLY, "--repair")
    drain()

    assert repaired["repaired"] == 3
    assert recorded() == [0, 1, 2, 3, 4]
    assert Delivery.objects.filter(receiver=RECEIVER).count() == 3


def test_only_the_inbox_rows_of_what_is_redelivered_go(lost: list[UUID]) -> None:
    before = set(ProcessedEvent.objects.values_list("receiver", "event_id"))

    reconcile(*ONLY, "--repair")

    after = set(ProcessedEvent.objects.values_list("receiver", "event_id"))
    assert before - after == {(RECEIVER, event_id) for event_id in lost}


def test_doubled_effects_are_told_and_stay(publish: Publish, drain: Drain) -> None:
    event = publish(1)
    drain()
    Effect.objects.create(receiver="record", event_id=event.id, key="someone", number=1)

    found = reconcile(*ONLY, "--repair")

    assert kinds(found) == [(RECEIVER, "doubled")]
    assert found["repaired"] == 0
    assert recorded() == [1, 1]


def test_what_is_on_its_way_is_no_finding(publish: Publish, drain: Drain) -> None:
    publish(1, key="pending")
    publish(2, key="running")
    claim("probe", 1)

    found = reconcile(*ONLY, "--repair")

    assert found["findings"] == []
    assert found["in_flight"] == 2


def test_what_failed_and_is_tried_again_is_no_finding(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(1, "raise")
    publish(1)
    publish(2)  # it waits behind
    drain()

    assert reconcile(*ONLY)["findings"] == []


def test_dead_deliveries_are_told_as_dead_and_not_put_back(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(1, "permanent")
    event = publish(1)
    drain()

    found = reconcile(*ONLY, "--repair")

    assert kinds(found) == [(RECEIVER, "dead")]
    assert found["findings"][0]["ids"] == [str(event.id)]
    assert Delivery.objects.get(receiver=RECEIVER).state == DeliveryState.DEAD


def test_skipped_and_paused_deliveries_are_meant(publish: Publish, drain: Drain) -> None:
    publish(1, key="skipped")
    skip(Selection(state=DeliveryState.PENDING, receiver=RECEIVER), by="mei", reason="a test")
    pause(RECEIVER, by="mei", reason="a test")
    publish(2, key="paused")
    Delivery.objects.filter(receiver=RECEIVER, due_at__isnull=False).update(
        due_at=Now() - timedelta(days=1)
    )

    assert reconcile(*ONLY)["findings"] == []


def test_deliveries_nobody_comes_for_are_told(publish: Publish) -> None:
    publish(1)
    hour = timedelta(hours=1)
    Delivery.objects.filter(receiver=RECEIVER).update(due_at=Now() - hour)

    found = reconcile(*ONLY, "--repair", grace="30m")

    assert kinds(found) == [(RECEIVER, "overdue")]
    assert kinds(reconcile(*ONLY, grace="2h")) == []


def test_leases_that_ended_long_ago_are_told(publish: Publish) -> None:
    publish(1)
    while claim("probe", 1):
        pass
    running = Delivery.objects.filter(receiver=RECEIVER)
    running.update(lease_expires_at=Now() - timedelta(hours=1))

    assert kinds(reconcile(*ONLY)) == [(RECEIVER, "overdue")]


def test_events_without_a_delivery_are_told_and_delivered(publish: Publish, drain: Drain) -> None:
    publish(1)
    gone = publish(2)
    Delivery.objects.filter(receiver=RECEIVER, event__event_id=gone.id).delete()

    found = reconcile(*ONLY, "--repair")
    drain()

    assert kinds(found) == [(RECEIVER, "undelivered")]
    assert recorded() == [1, 2]
    assert reconcile(*ONLY)["findings"] == []


def test_events_from_before_the_receiver_owe_nothing(publish: Publish, drain: Drain) -> None:
    publish(1)
    Delivery.objects.filter(receiver=RECEIVER).delete()
    publish(2)
    drain()

    assert reconcile(*ONLY)["findings"] == []


def test_the_grace_lets_young_events_be(lost: list[UUID]) -> None:
    assert reconcile(*ONLY, "--repair", grace="10m")["findings"] == []

    EventRow.objects.update(occurred_at=timezone.now() - timedelta(minutes=11))

    assert len(reconcile(*ONLY, "--repair", grace="10m")["findings"]) == 3


def test_someone_for_whom_more_is_happening_is_let_be(lost: list[UUID], publish: Publish) -> None:
    publish(9, key="person 2")

    found = reconcile(*ONLY)

    assert [finding["key"] for finding in found["findings"]] == ["person 1", "person 3"]


def test_a_key_whose_other_receiver_is_late_is_let_be(lost: list[UUID]) -> None:
    late = Delivery.objects.filter(receiver="probe.record_batch", key="person 2")
    late.update(state=DeliveryState.PENDING, due_at=Now(), finished_at=None)

    found = reconcile(*ONLY, "--repair")

    assert [finding["key"] for finding in found["findings"]] == ["person 1", "person 3"]


def test_only_events_since_a_time_are_looked_at(lost: list[UUID]) -> None:
    EventRow.objects.filter(event_id=lost[0]).update(occurred_at=timezone.now() - timedelta(days=3))

    assert len(reconcile(*ONLY, "--since", _days_ago(2))["findings"]) == 2


def _days_ago(days: int) -> str:
    return (timezone.now() - timedelta(days=days)).isoformat()


def test_what_somebody_replayed_meanwhile_is_not_put_back_again(
    lost: list[UUID], drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_lock = repair._add_pruned

    def repair_and_drain_first(*arguments: Any) -> None:
        monkeypatch.setattr(repair, "_add_pruned", before_the_lock)
        repair._redeliver(*arguments)
        Effect.objects.bulk_create(
            Effect(receiver="record", event_id=event_id, key="", number=number)
            for number, event_id in enumerate(lost, start=1)
        )

    monkeypatch.setattr(repair, "_add_pruned", repair_and_drain_first)

    repaired = reconcile(*ONLY, "--repair")

    assert repaired["repaired"] == 0


def test_a_replay_alone_would_not_have_mended_it(lost: list[UUID], drain: Drain) -> None:
    replay(Selection(state=DeliveryState.DONE, receiver=RECEIVER))
    drain()

    assert recorded() == [0, 4]


def test_it_looks_at_chunks_and_repairs_each(
    lost: list[UUID], drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciling, "CHUNK_SIZE", 2)
    monkeypatch.setattr(repair, "CHUNK_SIZE", 1)
    seen: list[int] = []

    found = list(findings(_scope(), repair=True, progress=seen.append))
    drain()

    assert (len(found), seen) == (3, [2, 2, 1])
    assert recorded() == [0, 1, 2, 3, 4]


def test_what_is_repaired_stays_when_it_is_interrupted(
    lost: list[UUID], drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciling, "CHUNK_SIZE", 2)

    for finding in findings(_scope(), repair=True):
        assert finding.is_repaired
        break
    drain()
    rest = reconcile(*ONLY, "--repair")
    drain()

    assert len(rest["findings"]) == 2
    assert recorded() == [0, 1, 2, 3, 4]


def test_statements_do_not_grow_with_the_events(publish: Publish, drain: Drain) -> None:
    def look() -> int:
        return statements(lambda: list(findings(_scope())))

    publish(1)
    drain()
    one = look()
    for number in range(2, 30):
        publish(number, key=f"person {number}")
    drain()

    assert look() == one


def test_findings_are_found_in_two_statements_more(lost: list[UUID], publish: Publish) -> None:
    with_flaws = statements(lambda: list(findings(_scope())))
    Effect.objects.bulk_create(
        Effect(receiver="record", event_id=event_id, key="", number=0) for event_id in lost
    )

    assert with_flaws == statements(lambda: list(findings(_scope()))) + 2


def _scope() -> Scope:
    return Scope(receiver=get_receiver(RECEIVER), grace=timedelta(0))


def test_a_person_reads_what_is_missing_and_what_repair_does(lost: list[UUID]) -> None:
    out = StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command("reconcile", *ONLY, "--grace", "0", stdout=out, stderr=StringIO())

    assert ended.value.code == 1
    text = out.getvalue()
    assert f"probe.record  MISSING  event {lost[0]}  key person 1\n" in text
    assert "    It is not recorded.\n    → --repair would deliver the event once more\n" in text
    assert text.endswith("Found 3 missing. `manage.py reconcile --repair` mends 3.\n")


def test_a_repair_says_what_it_did_and_ends_well(lost: list[UUID]) -> None:
    text = run("--repair")

    assert "    → repaired: deliver the event once more; it is due now\n" in text
    assert "Found 3 missing. 3 repaired." in text
    assert run() == "Nothing is missing, doubled or dead. 3 deliveries are on their way.\n"


def test_a_document_that_is_interrupted_is_whole_and_says_so(
    lost: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Iterator[Finding]:
        yield next(findings(*arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr("events.management.commands.reconcile.findings", interrupted)
    out = StringIO()

    with pytest.raises(CommandError, match="Interrupted") as ended:
        call_command("reconcile", *ONLY, "--grace", "0", "--json", stdout=out, stderr=StringIO())

    document = json.loads(out.getvalue())
    assert ended.value.returncode == 1
    assert (document["ok"], document["interrupted"]) == (False, True)
    assert len(document["findings"]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--receiver", "probe.recrod"), "There is no receiver 'probe.recrod'."),
        (("--grace", "soon"), "'soon' is no time span. Write 600, 90s, 10m or 2h."),
        (("--since", "yore"), "'yore' is no time."),
    ],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said.replace(".", r"\.")) as refused:
        call_command("reconcile", *arguments, stdout=StringIO(), stderr=StringIO())

    assert refused.value.returncode in {1, 2}  # argparse's own are 2 on a command line


def test_a_receiver_of_another_release_cannot_be_asked() -> None:
    ReceiverState.objects.create(name="probe.gone")

    with pytest.raises(CommandError, match=r"no receiver 'probe\.gone' to ask"):
        reconcile("--receiver", "probe.gone")


def test_figures_are_sums_over_everything_and_left_out_where_a_time_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Circumstances] = []

    def check(circumstances: Circumstances) -> tuple[Breach, ...]:
        asked.append(circumstances)
        return ()

    monkeypatch.setattr(audits, "_figures", {"probe": check})

    reconcile("--since", _days_ago(2))
    assert asked == []
    reconcile()
    assert len(asked) == 1


def test_a_receiver_has_one_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    register: Callable[..., Any] = audits.audit(RECEIVER)

    assert register(audit_record) is audit_record
    with pytest.raises(ImproperlyConfigured, match=r"probe\.record has two audits"):
        register(lambda events: [])


def test_retried_deliveries_are_looked_at_once_done(
    publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    fault = misbehave(1, "raise")
    publish(1)
    drain()
    fault.delete()
    make_due()
    drain()

    assert reconcile(*ONLY)["findings"] == []
    assert connection.in_atomic_block is False
