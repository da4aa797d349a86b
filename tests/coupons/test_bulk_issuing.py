"""Coupons for a list of people: a look first, then in the background, each line once."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.module_loading import import_string
from uuid_utils.compat import uuid7

from accounts.models import User
from coupons import bulk_issuing, forgetting, lifecycle
from coupons.bulk_issuing import Preview, issue_next_chunk, preview, progress_of, start
from coupons.forgetting import forget_old_lines
from coupons.models import (
    BulkIssue,
    BulkIssueRow,
    Campaign,
    Coupon,
    IssueDecision,
    ProcessedEvent,
)
from coupons.refusals import Refused
from coupons.signals import coupon_issue_skipped
from events.models import Delivery, DeliveryState, Event
from events.queue import periodic_work
from tests.conftest import Drain
from tests.coupons.factories import make_campaign, make_coupon, make_decision
from tests.parallel import run_at_once
from tests.registrations import close, flag, make_people, make_person, refer

pytestmark = pytest.mark.django_db(transaction=True)

RECEIVER = "coupons.issue_in_bulk"


def manual_campaign(**given: Any) -> Campaign:
    """Return a campaign whose coupons staff issue."""
    return make_campaign(trigger="manual", **given)


def listed(*people: User | str) -> str:
    """Return a list as staff would paste it: addresses and ids, one a line."""
    return "\n".join(
        person if isinstance(person, str) else [person.email.upper(), str(person.pk)][index % 2]
        for index, person in enumerate(people)
    )


def request_for(campaign: Campaign, *people: User | str) -> BulkIssue:
    """Start a bulk issue."""
    return start(campaign_id=campaign.pk, people=listed(*people), by=make_person())


def results(bulk_issue: BulkIssue) -> list[tuple[str, str]]:
    """Return the outcome and the reason of each line."""
    return list(bulk_issue.rows.order_by("line").values_list("outcome", "reason"))


def put_back() -> None:
    """Make the receiver's deliveries due again, as a replay or a retry does."""
    Delivery.objects.filter(receiver=RECEIVER).update(
        state=DeliveryState.PENDING, due_at=Now(), finished_at=None
    )


def test_once(drain: Drain) -> None:
    campaign = manual_campaign()
    people = make_people(3)
    bulk_issue = request_for(campaign, *people)
    assert (bulk_issue.status, results(bulk_issue)) == ("running", [("", "")] * 3)

    drain()

    bulk_issue.refresh_from_db()
    campaign.refresh_from_db()
    assert (bulk_issue.status, bulk_issue.total) == ("finished", 3)
    assert results(bulk_issue) == [("issued", "")] * 3
    assert campaign.issued_count == Coupon.objects.count() == 3
    decision = IssueDecision.objects.first()
    assert decision
    assert decision.event_id == Event.objects.get(type="coupons.bulk_issue_requested").event_id


@pytest.mark.parametrize("inbox_is_lost", [False, True])
def test_twice(drain: Drain, inbox_is_lost: bool) -> None:
    bulk_issue = request_for(manual_campaign(), *make_people(3))
    drain()
    put_back()
    if inbox_is_lost:
        ProcessedEvent.objects.all().delete()

    drain()

    assert results(bulk_issue) == [("issued", "")] * 3
    assert Coupon.objects.count() == 3


def test_crash_then_retry(drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    bulk_issue = request_for(manual_campaign(), *make_people(3))

    with monkeypatch.context() as crashing:
        crashing.setattr(coupon_issue_skipped, "publish_many", crash)
        drain()
    assert (Coupon.objects.count(), results(bulk_issue)) == (0, [("", "")] * 3)
    put_back()
    drain()

    assert results(bulk_issue) == [("issued", "")] * 3
    assert Coupon.objects.count() == 3


def crash(*args: object, **kwargs: object) -> None:
    """Fail after everything was written."""
    raise RuntimeError("crashed at the last moment")


def test_a_long_list_is_worked_off_in_chunks_and_goes_on_after_a_stop(
    drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_issuing, "CHUNK", 2)
    campaign = manual_campaign()
    bulk_issue = request_for(campaign, *make_people(5))
    with transaction.atomic():  # what a worker did before it was killed, without its verdict
        issue_next_chunk(bulk_issue_id=bulk_issue.pk, event_id=uuid7())
    assert progress_of(bulk_issue) == {"issued": 2, "": 3}

    drain()

    assert progress_of(bulk_issue) == {"issued": 5}
    assert Coupon.objects.count() == 5


def motley_list(campaign: Campaign) -> list[User | str]:
    """Return people of every kind: three could have a coupon."""
    decided, flagged, closed, *fine = make_people(6)
    make_coupon(campaign, decided)
    Campaign.objects.filter(pk=campaign.pk).update(issued_count=1)
    flag(flagged)
    close(closed)
    return [*fine, fine[0], decided, flagged, closed, "nobody@example.com", str(uuid7()), "Mei", ""]


def test_a_preview_counts_and_changes_nothing() -> None:
    campaign = manual_campaign(stock=3)
    people = motley_list(campaign)
    before = IssueDecision.objects.count(), Coupon.objects.count(), Event.objects.count()

    counted = preview(campaign_id=campaign.pk, people=listed(*people))

    assert counted == Preview(
        total=10,
        will_be_issued=2,
        sold_out=1,
        already_decided=1,
        flagged=1,
        closed=1,
        not_eligible=0,
        repeated=1,
        unknown=3,
    )
    assert before == (IssueDecision.objects.count(), Coupon.objects.count(), Event.objects.count())
    assert not BulkIssue.objects.exists()


def test_each_line_is_told_what_came_of_it(drain: Drain) -> None:
    campaign = manual_campaign(stock=3)
    bulk_issue = request_for(campaign, *motley_list(campaign))

    drain()

    assert results(bulk_issue) == [
        ("issued", ""),
        ("issued", ""),
        ("skipped", "sold_out"),
        ("repeated", ""),
        ("already_decided", ""),
        ("held", "account_flagged"),
        ("voided", "account_closed"),
        ("unknown", ""),
        ("unknown", ""),
        ("unknown", ""),
    ]
    given = bulk_issue.rows.exclude(given="").values_list("line", "given")
    assert [line for line, _ in given] == [8, 9, 10]
    assert not bulk_issue.rows.filter(user__isnull=False).exclude(given="").exists()


def test_the_text_of_a_line_is_forgotten_after_thirty_days() -> None:
    old, young = (
        request_for(manual_campaign(), make_person(), text)
        for text in ("Mei <mei@example.com>", "li@example.com")
    )
    BulkIssue.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=30))

    forget_old_lines()

    assert list(old.rows.order_by("line").values_list("given", "outcome")) == [
        ("", ""),
        ("", "unknown"),
    ]
    assert young.rows.get(line=2).given == "li@example.com"


def test_many_texts_are_forgotten_in_short_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "LINES_AT_ONCE", 2)
    bulk_issue = request_for(manual_campaign(), *(f"{n}@example.com" for n in range(5)))
    BulkIssue.objects.update(created_at=timezone.now() - timedelta(days=31))

    forget_old_lines()

    assert set(bulk_issue.rows.values_list("given", flat=True)) == {""}


def test_texts_are_forgotten_by_schedule() -> None:
    work = periodic_work("coupons.forget_old_lines")

    assert work
    assert import_string(work.function) is forget_old_lines
    assert work.queue == "coupons"


def test_the_same_form_sent_twice_is_one_list() -> None:
    campaign, people, staff = manual_campaign(), listed(*make_people(2)), make_person()
    key = uuid7()

    first, again = (
        start(campaign_id=campaign.pk, people=people, by=staff, key=key) for _ in range(2)
    )

    assert again == first
    assert first.rows.count() == 2
    assert Event.objects.filter(type="coupons.bulk_issue_requested").count() == 1


def test_the_same_form_sent_many_times_at_once_is_one_list() -> None:
    campaign, people, staff = manual_campaign(), listed(*make_people(2)), make_person()
    send = partial(start, campaign_id=campaign.pk, people=people, by=staff, key=uuid7())

    lists = run_at_once([send] * 12)

    assert {bulk_issue.pk for bulk_issue in lists} == {BulkIssue.objects.get().pk}
    assert BulkIssueRow.objects.count() == 2
    assert Event.objects.filter(type="coupons.bulk_issue_requested").count() == 1


def test_a_campaign_whose_time_is_over_meanwhile_issues_nothing(drain: Drain) -> None:
    campaign = manual_campaign()
    fine, flagged, closed = make_people(3)
    flag(flagged)
    close(closed)
    bulk_issue = request_for(campaign, fine, flagged, closed)
    Campaign.objects.filter(pk=campaign.pk).update(ends_at=timezone.now())

    drain()

    assert results(bulk_issue) == [("skipped", "campaign_ended")] * 2 + [
        ("voided", "account_closed")
    ]
    assert not Coupon.objects.exists()


def test_a_second_list_gives_nobody_a_second_coupon(drain: Drain) -> None:
    campaign, people = manual_campaign(), make_people(2)
    request_for(campaign, *people)
    drain()

    second = request_for(campaign, *people)
    drain()

    assert results(second) == [("already_decided", "")] * 2
    assert Coupon.objects.count() == 2


def test_a_campaign_for_invited_people_skips_others(drain: Drain) -> None:
    invited, other = make_people(2)
    refer(invited, make_person())
    campaign = manual_campaign(audience="invited")
    assert preview(campaign_id=campaign.pk, people=listed(other)).not_eligible == 1

    bulk_issue = request_for(campaign, invited, other)
    drain()

    assert results(bulk_issue) == [("issued", ""), ("skipped", "not_invited")]


@pytest.mark.parametrize(
    ("step", "outcome"),
    [
        (lifecycle.pause, ("held", "campaign_paused")),
        (lifecycle.end, ("skipped", "campaign_ended")),
    ],
)
def test_a_campaign_stopped_meanwhile_issues_nothing(
    step: Any, outcome: tuple[str, str], drain: Drain
) -> None:
    campaign = manual_campaign()
    bulk_issue = request_for(campaign, *make_people(2))
    step(campaign_id=campaign.pk)

    drain()

    assert results(bulk_issue) == [outcome] * 2
    assert not Coupon.objects.exists()


@pytest.mark.parametrize(
    ("columns", "people", "code"),
    [
        ({"trigger": "registration"}, "a@example.com", "not_manual"),
        ({"status": "draft"}, "a@example.com", "not_running"),
        ({"status": "paused"}, "a@example.com", "not_running"),
        ({"ends_at": timezone.now() - timedelta(days=1)}, "a@example.com", "not_running"),
        ({}, " \n\r\n", "no_lines"),
        ({}, "a@example.com\n" * 10_001, "too_many_lines"),
    ],
)
def test_what_cannot_be_done_is_refused_and_leaves_no_trace(
    columns: dict[str, Any], people: str, code: str
) -> None:
    campaign = make_campaign(**{"trigger": "manual"} | columns)

    for ask in (preview, lambda **given: start(by=make_person(), **given)):
        with pytest.raises(Refused) as refusal:
            ask(campaign_id=campaign.pk, people=people)
        assert refusal.value.code == code
        assert refusal.value.sentence
    assert not BulkIssue.objects.exists()
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    "text", ["x" * 10_000, "a\x00b@example.com", "💥@example.com", "@", "a@b@c"]
)
def test_any_text_is_just_unknown(text: str, drain: Drain) -> None:
    if "\x00" in text and connection.vendor == "postgresql":
        text = text.replace("\x00", "")  # no address that arrives has one
    bulk_issue = request_for(manual_campaign(), text)

    drain()

    assert results(bulk_issue) == [("unknown", "")]
    assert bulk_issue.rows.get().given == text.replace("\x00", "")[:254]


def test_the_number_of_queries_does_not_grow_with_that_of_lines() -> None:
    assert count_queries(3) == count_queries(60) <= 20


def count_queries(number: int) -> int:
    """Return how many queries a chunk of so many lines takes."""
    campaign = manual_campaign(stock=1000)
    *people, decided = make_people(number)
    make_decision(campaign, decided, outcome="skipped", reason="sold_out")
    bulk_issue = request_for(campaign, *people, decided)
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        issue_next_chunk(bulk_issue_id=bulk_issue.pk, event_id=uuid7())
    return len([query for query in queries if "SAVEPOINT" not in query["sql"]])


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"line": 1, "given": "x", "outcome": "unknown"}, "once_per_line|bulkissuerow.line"),
        ({"line": 2, "given": "x", "outcome": "lost"}, "outcome_known|text_of_nobody"),
        ({"line": 2, "given": "x"}, "text_of_nobody"),
    ],
)
def test_the_database_refuses(columns: dict[str, Any], constraint: str) -> None:
    bulk_issue = request_for(manual_campaign(), make_person())

    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        BulkIssueRow.objects.create(bulk_issue=bulk_issue, **columns)
