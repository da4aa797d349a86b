"""Buttons and pages of a campaign in the admin, and times in its time zone."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts.models import User
from coupons.models import BulkIssue, Campaign
from events.models import Event
from tests.conftest import Drain
from tests.coupons.factories import make_campaign, make_decision
from tests.coupons.test_admin import form_of, url
from tests.reconciling import statements
from tests.registrations import make_people, make_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a browser with a superuser logged in."""
    client.force_login(User.objects.create_superuser("staff@example.com", "pw"))
    return client


def page(name: str, campaign: Campaign, *args: str) -> str:
    """Return the address of one of a campaign's pages."""
    return reverse(f"admin:coupons_campaign_{name}", args=[campaign.pk, *args])


def buttons(client: Client, campaign: Campaign) -> set[str]:
    """Return what can be done with a campaign, by the end of the buttons' addresses."""
    answer = client.get(url(Campaign, "change", campaign.pk))
    return {address.rstrip("/").rpartition("/")[2] for address, _ in answer.context["buttons"]}


@pytest.mark.parametrize(
    ("status", "offered"),
    [
        ("draft", {"activate", "clone", "stock"}),
        ("active", {"pause", "end", "retry", "clone", "stock", "issue"}),
        ("paused", {"resume", "end", "clone", "stock"}),
        ("ended", {"archive", "clone", "stock"}),
        ("archived", {"clone"}),
    ],
)
def test_only_what_can_be_done_is_offered(staff: Client, status: str, offered: set[str]) -> None:
    assert buttons(staff, make_campaign(status=status, trigger="manual")) == offered


@pytest.mark.parametrize(
    ("start", "step", "end"),
    [
        ("draft", "activate", "active"),
        ("active", "pause", "paused"),
        ("paused", "resume", "active"),
        ("active", "end", "ended"),
        ("ended", "archive", "archived"),
    ],
)
def test_a_step_is_asked_about_then_taken(staff: Client, start: str, step: str, end: str) -> None:
    campaign = make_campaign(status=start)

    asked = staff.get(page("step", campaign, step))
    campaign.refresh_from_db()
    assert (asked.status_code, campaign.status) == (200, start)
    done = staff.post(page("step", campaign, step), {"reason": "asked for"}, follow=True)

    campaign.refresh_from_db()
    last = campaign.status_changes.last()
    assert last
    assert (done.status_code, campaign.status) == (200, end)
    assert last.changed_by == User.objects.get(email="staff@example.com")
    entry = LogEntry.objects.get(object_id=campaign.pk)
    assert entry.change_message == f"{step.capitalize()}: asked for"


@pytest.mark.parametrize(("step", "is_taken"), [("pause", False), ("end", False), ("clone", True)])
def test_what_takes_something_from_people_needs_a_reason(
    staff: Client, step: str, is_taken: bool
) -> None:
    campaign = make_campaign()

    answer = staff.post(page("step", campaign, step))

    assert (answer.status_code == 302) == is_taken
    assert ("This field is required." in answer.content.decode()) != is_taken
    campaign.refresh_from_db()
    assert campaign.status == "active"


def test_a_step_that_came_too_late_gets_a_sentence(staff: Client) -> None:
    campaign = make_campaign(status="ended")

    answer = staff.post(page("step", campaign, "pause"), {"reason": "x"}, follow=True)

    assert "This can&#x27;t be done while the campaign is: ended." in answer.content.decode()
    assert not LogEntry.objects.exists()


def test_a_clone_is_shown(staff: Client) -> None:
    campaign = make_campaign(name="Spring")

    answer = staff.post(page("step", campaign, "clone"))

    clone = Campaign.objects.get(name="Copy of Spring")
    assert clone.status_changes.get().changed_by == User.objects.get(email="staff@example.com")
    assert LogEntry.objects.get().object_id == str(clone.pk)
    assert answer["Location"] == url(Campaign, "change", clone.pk)


def test_a_retry_is_asked_for(staff: Client) -> None:
    campaign = make_campaign(stock=5)
    make_decision(campaign, make_person(), outcome="skipped", reason="sold_out")

    staff.post(page("step", campaign, "retry"))

    assert Event.objects.filter(type="coupons.sold_out_retry_requested").count() == 1


@pytest.mark.parametrize(("typed", "stock"), [("20", 20), ("", None), ("3", 10), ("x", 10)])
def test_the_stock_is_changed_where_it_can_be(staff: Client, typed: str, stock: int | None) -> None:
    campaign = make_campaign(stock=10, issued_count=5)
    assert staff.get(page("stock", campaign)).status_code == 200

    staff.post(page("stock", campaign), {"stock": typed, "reason": "more people"})

    campaign.refresh_from_db()
    assert campaign.stock == stock
    noted = [entry.change_message for entry in LogEntry.objects.all()]
    shown = "∞" if stock is None else stock
    assert noted == ([f"Change stock: 10 → {shown}: more people"] if stock != 10 else [])


def test_who_may_only_look_can_do_nothing(client: Client) -> None:
    viewer = User.objects.create_user("viewer@example.com", "pw", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_campaign"))
    client.force_login(viewer)
    campaign = make_campaign(trigger="manual")

    assert buttons(client, campaign) == set()
    for address in (
        page("step", campaign, "end"),
        page("stock", campaign),
        page("issue", campaign),
    ):
        assert client.get(address).status_code == 403
        assert client.post(address).status_code == 403


def test_strange_addresses_are_not_found(staff: Client) -> None:
    campaign = make_campaign()
    address = page("step", campaign, "end")

    assert staff.get(page("step", campaign, "explode")).status_code == 404
    assert staff.get(address.replace(str(campaign.pk), "nonsense")).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_coupons_are_issued_to_a_list_after_a_look_at_it(staff: Client, drain: Drain) -> None:
    campaign = make_campaign(trigger="manual", stock=10)
    typed, filed = make_people(2)
    file = SimpleUploadedFile("people.txt", f"\ufeff{filed.pk}\nnobody@example.com\n".encode())

    looked = staff.post(page("issue", campaign), {"people": typed.email, "file": file})
    counts = {str(label): count for label, count in looked.context["preview"]}
    assert (counts["Will be issued"], counts["No such account"]) == (2, 1)
    assert not BulkIssue.objects.exists()
    confirmed = {name: looked.context[name] for name in ("people", "key")} | {"confirmed": "1"}
    assert f'name="key" value="{confirmed["key"]}"' in looked.content.decode()
    started, again = (staff.post(page("issue", campaign), confirmed) for _ in range(2))

    bulk_issue = BulkIssue.objects.get()
    results = url(BulkIssue, "change", bulk_issue.pk)
    assert started["Location"] == again["Location"] == results
    underway = staff.get(results)
    assert "1 / 3" in underway.content.decode()
    assert underway["Refresh"]
    drain()
    done = staff.get(results)
    assert "3 / 3" in done.content.decode()
    assert "issued: 2, no such account: 1" in done.content.decode()
    assert "Refresh" not in done
    query = {"bulk_issue__id__exact": str(bulk_issue.pk)}
    lines = staff.get(reverse("admin:coupons_bulkissuerow_changelist"), query)
    assert len(lines.context["cl"].result_list) == 3


def test_the_progress_of_all_lists_is_counted_at_once(staff: Client) -> None:
    campaign = make_campaign(trigger="manual")

    def queries() -> int:
        return statements(lambda: staff.get(reverse("admin:coupons_bulkissue_changelist")))

    def add_list(done: int) -> None:
        people = make_people(3)
        bulk_issue = BulkIssue.objects.create(campaign=campaign, requested_by=people[0], total=3)
        for line, person in enumerate(people):
            outcome = "issued" if line < done else ""
            bulk_issue.rows.create(line=line, user=person, outcome=outcome)

    add_list(0)
    few = queries()
    add_list(2)
    add_list(3)

    assert queries() == few
    html = staff.get(reverse("admin:coupons_bulkissue_changelist")).content.decode()
    assert '<progress max="3" value="2" aria-hidden="true"></progress> 2 / 3' in html


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"people": ""}, "Name at least one person"),
        ({"people": "a@example.com\n" * 10_001}, "at most 10000 lines; this one has 10001"),
        ({"people": "", "file": b"\xff\xfe\x00"}, "not a text in UTF-8"),
        ({"people": "", "file": b"x" * 1_000_001}, "too large"),
        ({"people": "", "confirmed": "1"}, "Name at least one person"),
        ({"people": "a@example.com", "confirmed": "1", "key": "x"}, "Enter a valid UUID."),
    ],
)
def test_a_list_that_cannot_be_read_gets_a_sentence(
    staff: Client, sent: dict[str, Any], sentence: str
) -> None:
    if "file" in sent:
        sent = sent | {"file": SimpleUploadedFile("people.txt", sent["file"])}

    answer = staff.post(page("issue", make_campaign(trigger="manual")), sent)

    assert answer.status_code == 200
    assert sentence in answer.content.decode()
    assert not BulkIssue.objects.exists()


def ends(day: str, time: str, zone: str) -> dict[str, str]:
    """Return what a browser sends for an end in a time zone."""
    return {"ends_at_0": day, "ends_at_1": time, "time_zone": zone}


@pytest.mark.parametrize(
    ("day", "time", "zone", "moment"),
    [
        # Berlin: 02:00 becomes 03:00 on 29 March 2026, 03:00 becomes 02:00 on 25 October.
        ("2026-03-29", "01:59:59", "Europe/Berlin", "2026-03-29 00:59:59"),
        ("2026-03-29", "03:00:00", "Europe/Berlin", "2026-03-29 01:00:00"),
        ("2026-10-25", "01:59:59", "Europe/Berlin", "2026-10-24 23:59:59"),
        ("2026-10-25", "03:00:00", "Europe/Berlin", "2026-10-25 02:00:00"),
        # New York: 02:00 becomes 03:00 on 8 March, 02:00 becomes 01:00 on 1 November.
        ("2026-03-08", "01:59:59", "America/New_York", "2026-03-08 06:59:59"),
        ("2026-03-08", "03:00:00", "America/New_York", "2026-03-08 07:00:00"),
        ("2026-11-01", "00:59:59", "America/New_York", "2026-11-01 04:59:59"),
        ("2026-11-01", "02:00:00", "America/New_York", "2026-11-01 07:00:00"),
        ("2027-01-01", "00:00:00", "Asia/Shanghai", "2026-12-31 16:00:00"),
    ],
)
def test_times_are_read_and_shown_in_the_campaigns_time_zone(
    staff: Client, day: str, time: str, zone: str, moment: str
) -> None:
    campaign = make_campaign(starts_at=datetime(2026, 1, 1, tzinfo=UTC))
    address = url(Campaign, "change", campaign.pk)

    saved = staff.post(address, form_of(campaign, **ends(day, time, zone)))

    campaign.refresh_from_db()
    assert saved.status_code == 302
    assert campaign.ends_at == datetime.fromisoformat(moment).replace(tzinfo=UTC)
    shown = staff.get(address).content.decode()
    assert f'value="{day}"' in shown
    assert f'value="{time}"' in shown


@pytest.mark.parametrize(
    ("day", "time", "zone"),
    [
        ("2026-03-29", "02:30:00", "Europe/Berlin"),
        ("2026-10-25", "02:00:00", "Europe/Berlin"),
        ("2026-10-25", "02:59:59", "Europe/Berlin"),
        ("2026-03-08", "02:00:00", "America/New_York"),
        ("2026-11-01", "01:30:00", "America/New_York"),
    ],
)
def test_a_time_that_does_not_exist_or_comes_twice_gets_a_sentence(
    staff: Client, day: str, time: str, zone: str
) -> None:
    campaign = make_campaign(starts_at=datetime(2026, 1, 1, tzinfo=UTC))

    answer = staff.post(
        url(Campaign, "change", campaign.pk), form_of(campaign, **ends(day, time, zone))
    )

    campaign.refresh_from_db()
    assert answer.status_code == 200
    assert "it may be ambiguous or it may not exist" in answer.content.decode()
    assert campaign.ends_at is None
