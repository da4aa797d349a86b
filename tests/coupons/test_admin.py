"""The admin pages of coupons: all load, history cannot be edited, the benefit freezes."""

from typing import Any

import pytest
from django.db import models
from django.forms.models import model_to_dict
from django.test import Client
from django.urls import reverse

from accounts.models import User
from coupons.models import (
    BulkIssue,
    BulkIssueRow,
    Campaign,
    CampaignStatusChange,
    Coupon,
    IssueDecision,
    ProcessedEvent,
    Redemption,
)
from tests.coupons.factories import make_campaign, make_coupon
from tests.registrations import make_person

pytestmark = pytest.mark.django_db

HISTORY = [IssueDecision, Coupon, Redemption, BulkIssue, BulkIssueRow, ProcessedEvent]


@pytest.fixture
def staff(client: Client) -> Client:
    """Return a browser with a superuser logged in."""
    client.force_login(User.objects.create_superuser("staff@example.com", "pw"))
    return client


@pytest.fixture
def coupon() -> Coupon:
    """Return a coupon, with one row of everything else."""
    ProcessedEvent.objects.create(receiver="r", event_id="0" * 32)
    found = make_coupon(make_campaign(), make_person())
    Redemption.objects.create(
        coupon=found, order_ref="A-1", order_amount=1000, discount=100, redeemed_by=found.user
    )
    bulk_issue = BulkIssue.objects.create(campaign=found.campaign, requested_by=found.user, total=1)
    bulk_issue.rows.create(line=1, user=found.user)
    return found


def url(model: type[models.Model], page: str, *args: object) -> str:
    """Return the address of an admin page."""
    return reverse(f"admin:{model._meta.label_lower.replace('.', '_')}_{page}", args=args)


def form_of(campaign: Campaign, **changed: object) -> dict[str, Any]:
    """Return what a browser sends for the form of a campaign."""
    prefix = "status_changes"
    data = {
        **model_to_dict(campaign),
        "starts_at_0": f"{campaign.starts_at:%Y-%m-%d}",
        "starts_at_1": f"{campaign.starts_at:%H:%M:%S}",
        f"{prefix}-TOTAL_FORMS": 0,
        f"{prefix}-INITIAL_FORMS": 0,
        **changed,
    }
    return {name: value for name, value in data.items() if value is not None}


@pytest.mark.parametrize("model", [Campaign, *HISTORY])
def test_lists_and_rows_can_be_looked_at(
    staff: Client, coupon: Coupon, model: type[models.Model]
) -> None:
    row = model._default_manager.get()

    assert staff.get(url(model, "changelist")).status_code == 200
    assert staff.get(url(model, "change", row.pk)).status_code == 200


@pytest.mark.parametrize("model", HISTORY)
def test_history_cannot_be_edited(staff: Client, coupon: Coupon, model: type[models.Model]) -> None:
    row = model._default_manager.get()

    assert staff.post(url(model, "change", row.pk), {}).status_code == 403
    assert staff.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert staff.get(url(model, "add")).status_code == 403


def test_a_campaign_is_made_and_changed(staff: Client) -> None:
    draft = Campaign(**model_to_dict(make_campaign(status="draft", stock=5)))

    added = staff.post(url(Campaign, "add"), form_of(draft, name="Made here"))
    campaign = Campaign.objects.get(name="Made here")
    page = url(Campaign, "change", campaign.pk)
    changed = staff.post(page, form_of(campaign, name="Renamed", status="active"))

    assert (added.status_code, changed.status_code) == (302, 302)
    campaign.refresh_from_db()
    assert (campaign.name, campaign.status) == ("Renamed", "draft")  # a button activates it


def test_the_benefit_cannot_be_changed_after_the_first_coupon(staff: Client) -> None:
    campaign = make_campaign(issued_count=1)

    page = url(Campaign, "change", campaign.pk)
    answer = staff.post(page, form_of(campaign, basis_points=5000, name="Renamed"))

    campaign.refresh_from_db()
    assert answer.status_code == 302
    assert (campaign.name, campaign.basis_points) == ("Renamed", 1000)


def test_a_stock_below_what_is_issued_gets_a_sentence(staff: Client) -> None:
    campaign = make_campaign(stock=10, issued_count=5)

    answer = staff.post(url(Campaign, "change", campaign.pk), form_of(campaign, stock=4))

    assert answer.status_code == 200
    assert "More coupons are issued than that." in answer.content.decode()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"basis_points": ""}, "Set either an amount, or basis points"),
        ({"valid_days": ""}, "Set either both ends of the coupons"),
        ({"ends_at_0": "2000-01-01", "ends_at_1": "00:00"}, "A campaign ends after it starts."),
        ({"min_spend": 5}, "needs a currency of three capital letters"),
        ({"currency": "12€"}, "A currency is three capital letters."),
        ({"time_zone": "Nowhere"}, "Nowhere is not a time zone."),
    ],
)
def test_a_campaign_that_breaks_a_rule_gets_a_sentence(
    staff: Client, changed: dict[str, object], sentence: str
) -> None:
    campaign = make_campaign()

    answer = staff.post(url(Campaign, "change", campaign.pk), form_of(campaign, **changed))

    assert answer.status_code == 200
    assert sentence in answer.content.decode()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"ends_at_0": "2000-01-01", "ends_at_1": "00:00"}, "A campaign ends after it starts."),
        ({"valid_days": ""}, "Set either both ends of the coupons"),
        ({"stock": 0}, "More coupons are issued than that."),
    ],
)
def test_so_does_one_whose_benefit_is_frozen(
    staff: Client, changed: dict[str, object], sentence: str
) -> None:
    campaign = make_campaign(issued_count=1)

    answer = staff.post(url(Campaign, "change", campaign.pk), form_of(campaign, **changed))

    assert answer.status_code == 200
    assert sentence in answer.content.decode()


def test_a_campaign_that_decided_cannot_be_deleted(staff: Client, coupon: Coupon) -> None:
    unused = make_campaign(name="Unused")

    for campaign, status in ((coupon.campaign, 403), (unused, 302)):
        page = url(Campaign, "delete", campaign.pk)
        assert staff.post(page, {"post": "yes"}).status_code == status
    assert Campaign.objects.get() == coupon.campaign
    assert not CampaignStatusChange.objects.exclude(campaign=coupon.campaign).exists()


@pytest.mark.parametrize("model", [IssueDecision, Coupon, Redemption])
def test_rows_are_found_by_id_user_and_address(
    staff: Client, coupon: Coupon, model: type[models.Model]
) -> None:
    row = model._default_manager.get()
    make_coupon(make_campaign(), make_person())
    terms = [str(row.pk), str(coupon.user.pk).upper(), f" {coupon.user.email.upper()} "]

    for term in terms:
        answer = staff.get(url(model, "changelist"), {"q": term})
        assert list(answer.context["cl"].result_list) == [row]
    nothing = staff.get(url(model, "changelist"), {"q": "nobody"})
    assert list(nothing.context["cl"].result_list) == []


def test_a_coupon_is_found_by_its_code_as_people_type_it(staff: Client, coupon: Coupon) -> None:
    make_coupon(make_campaign(), make_person())
    typed = f"{coupon.code[:4]}-{coupon.code[4:]}".lower()

    answer = staff.get(url(Coupon, "changelist"), {"q": typed})

    assert list(answer.context["cl"].result_list) == [coupon]


def test_a_redemption_is_found_by_its_order_and_its_code(staff: Client, coupon: Coupon) -> None:
    for term, found in (("A-1", 1), (coupon.code.lower(), 1), ("A-2", 0)):
        answer = staff.get(url(Redemption, "changelist"), {"q": term})
        assert len(answer.context["cl"].result_list) == found


@pytest.mark.parametrize(("term", "found"), [("0" * 32, 1), ("1" * 32, 0), ("nonsense", 0)])
def test_a_processed_event_is_found_by_id(
    staff: Client, coupon: Coupon, term: str, found: int
) -> None:
    answer = staff.get(url(ProcessedEvent, "changelist"), {"q": term})

    assert len(answer.context["cl"].result_list) == found


@pytest.mark.parametrize("model", [IssueDecision, Coupon])
def test_a_list_costs_the_same_for_one_row_and_for_many(
    staff: Client, model: type[models.Model], django_assert_max_num_queries: Any
) -> None:
    campaign = make_campaign()
    for _ in range(20):
        make_coupon(campaign, make_person())

    with django_assert_max_num_queries(7):
        staff.get(url(model, "changelist"))
