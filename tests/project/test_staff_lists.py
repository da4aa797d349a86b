"""Lists of the admin cost the same for many rows as for few: no count, no scan, no query a row."""

import re
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.db import connection
from django.http import QueryDict
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import Referral, User
from coupons.models import BulkIssue, BulkIssueRow, Redemption
from events import staff_lists
from events.models import Attempt, Delivery, Event
from events.staff_lists import BoundedPaginator
from tests.staff_rows import WRITTEN, make_rows

pytestmark = pytest.mark.django_db

MODELS = {model._meta.label_lower: model for model in admin.site._registry}
# Of these there are few, whatever the site's size: what they contain may be looked for, and sorted.
SMALL = {
    "coupons.campaign",
    "points.rewardrule",
    "relay.endpoint",
    "relay.parkedmessage",
    "project.alarm",
    "auth.group",
    "django_q.success",
    "django_q.failure",
    "django_q.schedule",
    "django_q.ormq",
}
# Session, user, permissions; bounded count, rows; and what is said here.
ORDINARY = 4
MORE = {
    "accounts.referral": 2,  # how many wait for a review; the risk signals of the page
    "coupons.issuedecision": 1,  # the campaigns to filter by
    "coupons.coupon": 1,
    "coupons.bulkissuerow": 1,  # the lists to filter by
    "relay.parkedmessage": 1,  # the sources to filter by
    "django_q.schedule": 1,  # the queues to filter by
    "django_q.ormq": 1,
}
ABOUT_PEOPLE = (
    "accounts.referral",
    "accounts.statuschange",
    "account.emailaddress",
    "mfa.authenticator",
    "usersessions.usersession",
    "knox.authtoken",
    "project.mail",
    "relay.riskcheck",
)
SEARCHES = [
    QueryDict(f"q={term}")
    for term in (uuid4(), "somebody@example.com", "0" * 16, "A-1", "nonsense")
]
COUNT = re.compile(r"SELECT COUNT\(")
SCAN = re.compile(r"LIKE '%|UPPER\(|DISTINCT|CAST\(|::varchar", re.IGNORECASE)


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a browser that a superuser is logged in with."""
    client.force_login(User.objects.create_superuser("staff@example.com", "irrelevant here"))
    return client


def listing(label: str) -> str:
    return reverse(f"admin:{label.replace('.', '_')}_changelist")


def test_no_list_asks_for_each_row_or_counts_them_all(staff: Client) -> None:
    make_rows(5)

    for label in MODELS:
        with CaptureQueriesContext(connection) as captured:
            page = staff.get(listing(label))
        counts = [each["sql"] for each in captured if COUNT.match(each["sql"])]

        assert len(page.context["cl"].result_list) >= 5, label
        assert len(captured) == ORDINARY + MORE.get(label, 0), (label, captured.captured_queries)
        assert len(counts) == (2 if label == "accounts.referral" else 1), label
        assert all(f"LIMIT {staff_lists.COUNTED + 1}" in count for count in counts), label
        assert WRITTEN.findall(page.text) == [], label


def test_large_lists_are_searched_filtered_and_sorted_without_a_scan(staff: Client) -> None:
    make_rows(1)
    request = RequestFactory().get("/")
    request.user = User.objects.get(email="staff@example.com")

    for label in set(MODELS) - SMALL:
        for query in [*SEARCHES, *filters_of(label, request)]:
            asked = statements(label, request, query)
            assert not [each for each in asked if SCAN.search(each)], (label, query, asked)
        assert admin.site._registry[MODELS[label]].get_sortable_by(request) == (), label


def filters_of(label: str, request: Any) -> list[QueryDict]:
    """Return the query of each choice of each filter of a list."""
    request.GET = QueryDict()
    shown = admin.site._registry[MODELS[label]].get_changelist_instance(request)
    choices = [choice for spec in shown.filter_specs for choice in spec.choices(shown)]
    return [QueryDict(str(choice["query_string"]).removeprefix("?")) for choice in choices]


def statements(label: str, request: Any, query: QueryDict) -> list[str]:
    """Return what the database is asked for a list, without what its page takes."""
    request.GET = query
    with CaptureQueriesContext(connection) as captured:
        list(admin.site._registry[MODELS[label]].get_changelist_instance(request).result_list)
    return [each["sql"] for each in captured]


def test_a_long_list_says_that_there_is_more_and_ends_somewhere(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_rows(3)
    monkeypatch.setattr(staff_lists, "COUNTED", 2)
    monkeypatch.setattr(admin.site._registry[Attempt], "list_per_page", 1)

    page = staff.get(listing("events.attempt"))

    assert page.context["cl"].result_count == 2
    assert "2+ failed attempts" in " ".join(page.text.split())
    assert staff.get(listing("events.attempt"), {"p": 3}).status_code == 302


def test_a_long_queue_of_reviews_says_that_more_wait(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_rows(3)
    Referral.objects.update(status="flagged", decided_at=timezone.now())
    monkeypatch.setattr(staff_lists, "COUNTED", 2)

    page = staff.get(listing("accounts.referral"))

    assert "2+ wait for a review" in page.text


def test_a_short_list_is_counted() -> None:
    make_rows(1)

    pages = BoundedPaginator(Attempt.objects.order_by("pk"), 1)

    assert (pages.count, str(pages.count)) == (1, "1")


# --- What is found --------------------------------------------------------------------------------


def found(client: Client, label: str, **query: Any) -> list[Any]:
    return list(client.get(listing(label), query).context["cl"].result_list)


def test_accounts_are_found_by_the_beginning_of_an_address_an_id_or_a_code(staff: Client) -> None:
    make_rows(2)
    person = User.objects.exclude(email="staff@example.com").latest("pk")
    code = person.referral_code.lower()

    for term in (person.email[:-8].upper(), str(person.pk), code):
        assert found(staff, "accounts.user", q=term) == [person], term
    assert found(staff, "accounts.user", q="example.com") == []


def test_deliveries_are_found_by_their_event_its_key_or_their_failure(staff: Client) -> None:
    make_rows(2)
    event = Event.objects.latest("position")
    failed = Attempt.objects.filter(delivery__event=event)
    failed.update(fingerprint="feedbeef")
    owed = list(Delivery.objects.filter(event=event).order_by("-pk"))

    assert found(staff, "events.delivery", q=str(event.event_id)) == owed
    assert found(staff, "events.delivery", q=event.key) == owed
    assert found(staff, "events.delivery", q="feedbeef") == [failed.get().delivery]
    assert found(staff, "events.attempt", q="feedbeef") == [failed.get()]
    assert found(staff, "events.attempt", q=str(event.event_id)) == [failed.get()]


def test_deliveries_are_filtered_by_receiver_and_target(staff: Client) -> None:
    make_rows(1)
    some = Delivery.objects.earliest("pk")
    same = list(Delivery.objects.filter(receiver=some.receiver).order_by("-pk"))

    assert found(staff, "events.delivery", receiver=some.receiver) == same
    assert found(staff, "events.delivery", receiver=some.receiver, target="nobody") == []
    assert found(staff, "events.delivery", receiver="no.such") == []


def test_rows_about_people_are_found_by_id_and_address(staff: Client) -> None:
    make_rows(2)
    person = User.objects.get(pk=Attempt.objects.latest("pk").delivery.key)

    for label in ABOUT_PEOPLE:
        for term in (str(person.pk), person.email.upper()):
            rows = found(staff, label, q=term)
            assert [getattr(row, "invitee", None) or row.user for row in rows] == [person], label


def test_the_log_is_searched_by_operator_and_by_row(staff: Client) -> None:
    make_rows(2)
    person = User.objects.get(pk=Attempt.objects.latest("pk").delivery.key)

    by_operator = found(staff, "admin.logentry", q=person.email)
    by_row = found(staff, "admin.logentry", q=str(person.pk))

    assert by_operator == by_row
    assert [entry.user for entry in by_row] == [person]


def test_redemptions_are_found_by_order_and_by_who_used_or_owned_the_coupon(staff: Client) -> None:
    make_rows(2)
    used = Redemption.objects.latest("pk")

    for term in (used.order_ref, str(used.pk), used.coupon.code.lower(), used.coupon.user.email):
        assert found(staff, "coupons.redemption", q=term) == [used], term
    assert len(found(staff, "coupons.redemption", q=used.redeemed_by.email)) == 2


def test_lines_are_shown_of_one_list(staff: Client) -> None:
    make_rows(2)
    chosen = BulkIssue.objects.latest("pk")

    rows = found(staff, "coupons.bulkissuerow", bulk_issue__id__exact=chosen.pk)

    assert rows == list(BulkIssueRow.objects.filter(bulk_issue=chosen))


def test_a_filter_by_what_is_no_id_leads_to_the_whole_list(staff: Client) -> None:
    make_rows(1)
    place = reverse("admin:coupons_bulkissuerow_changelist")

    answer = staff.get(place, {"bulk_issue__id__exact": "abc"})

    assert (answer.status_code, answer["Location"]) == (302, f"{place}?e=1")
