"""Lists of the admin cost the same for many rows as for few: no count, no scan, no query a row."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.db.models import Model
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from coupons.models import BulkIssue, BulkIssueRow, Redemption
from events import staff_lists
from events.models import Attempt, Delivery, Event
from events.staff_lists import BoundedPaginator
from tests.staff_rows import make_rows

pytestmark = pytest.mark.django_db

MODELS = {model._meta.label_lower: model for model in admin.site._registry}
# Of these there are few, whatever the site's size: what they contain may be looked for, and sorted.
SMALL = {
    "coupons.campaign",
    "points.rewardrule",
    "relay.endpoint",
    "relay.parkedmessage",
    "auth.group",
    "django_q.success",
    "django_q.failure",
    "django_q.schedule",
    "django_q.ormq",
}
# Session, user, permissions; bounded count, rows; and what is said here.
ORDINARY = 4
MORE = {
    "accounts.referral": 1,  # the risk signals of the page
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
COUNT = re.compile(r"SELECT COUNT\(")
SCAN = re.compile(r"LIKE '%|UPPER\(|DISTINCT", re.IGNORECASE)


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a browser that a superuser is logged in with."""
    client.force_login(User.objects.create_superuser("staff@example.com", "irrelevant here"))
    return client


def listing(label: str) -> str:
    return reverse(f"admin:{label.replace('.', '_')}_changelist")


def statements(client: Client, address: str, **query: Any) -> list[str]:
    """Open a list; return what the database was asked."""
    with CaptureQueriesContext(
        connection,
    ) as captured:
        answer = client.get(address, query)
    assert answer.status_code == 200, (address, query)
    return [each["sql"] for each in captured]


def test_every_list_asks_the_same_for_many_rows_as_for_few(staff: Client) -> None:
    make_rows(1)
    few = {label: len(statements(staff, listing(label))) for label in MODELS}
    make_rows(4)
    many = {label: len(statements(staff, listing(label))) for label in MODELS}

    assert many == few == {label: ORDINARY + MORE.get(label, 0) for label in MODELS}
    assert not [label for label, model in MODELS.items() if model._default_manager.count() < 5]


def test_no_list_counts_all_its_rows(staff: Client) -> None:
    for label in MODELS:
        counts = [each for each in statements(staff, listing(label)) if COUNT.search(each)]

        assert len(counts) == 1, label
        assert f"LIMIT {staff_lists.COUNTED + 1}" in counts[0], label


def filters_of(model: type[Model], client: Client) -> Iterator[dict[str, str]]:
    """Yield the query of each choice of each filter of a list."""
    page = client.get(listing(model._meta.label_lower))
    changelist = page.context["cl"]
    for spec in changelist.filter_specs:
        for choice in spec.choices(changelist):
            yield dict(re.findall(r"([^?&=]+)=([^&]*)", choice["query_string"]))


def test_large_lists_are_searched_filtered_and_sorted_without_a_scan(staff: Client) -> None:
    make_rows(1)
    person = User.objects.exclude(email="staff@example.com").earliest("pk")
    terms = [str(person.pk), person.email, "0" * 16, "A-1", "nonsense"]
    request = RequestFactory().get("/")

    for label in set(MODELS) - SMALL:
        queries = [*({"q": term} for term in terms), *filters_of(MODELS[label], staff)]
        for query in queries:
            asked = statements(staff, listing(label), **query)
            assert not [each for each in asked if SCAN.search(each)], (label, query, asked)
        assert admin.site._registry[MODELS[label]].get_sortable_by(request) == (), label


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
