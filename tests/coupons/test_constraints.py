"""What the database refuses, whoever writes to it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, models, transaction

from coupons.models import Campaign, CampaignStatusChange, Coupon, IssueDecision
from tests.coupons.factories import campaign_columns, make_campaign, make_coupon, make_decision
from tests.registrations import make_person

EARLIER = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 2, 1, tzinfo=UTC)
FIXED = {"basis_points": None, "amount": 500, "currency": "EUR"}

BAD_BENEFITS = [
    ("one_benefit", {"basis_points": None}),
    ("one_benefit", {"amount": 500, "currency": "EUR"}),
    ("one_benefit", {**FIXED, "amount": 0}),
    ("one_benefit", {**FIXED, "cap": 100}),
    ("one_benefit", {"basis_points": 0}),
    ("one_benefit", {"basis_points": 10_001}),
    ("cap_positive", {"cap": 0, "currency": "EUR"}),
    ("money_has_currency", {**FIXED, "currency": ""}),
    ("money_has_currency", {**FIXED, "currency": "EU"}),
    ("money_has_currency", {**FIXED, "currency": "eur"}),
    ("money_has_currency", {**FIXED, "currency": "123"}),
    ("money_has_currency", {**FIXED, "currency": "E R"}),
    ("money_has_currency", {**FIXED, "currency": "EÜR"}),
    ("money_has_currency", {"currency": "12"}),
    ("money_has_currency", {"cap": 100}),
    ("money_has_currency", {"min_spend": 100}),
]
BAD_CAMPAIGNS = [
    *BAD_BENEFITS,
    ("trigger_known", {"trigger": "birthday"}),
    ("audience_known", {"audience": "nobody"}),
    ("status_known", {"status": "sold_out"}),
    ("ends_after_start", {"starts_at": LATER, "ends_at": EARLIER}),
    ("ends_after_start", {"starts_at": LATER, "ends_at": LATER}),
    ("issued_within_stock", {"stock": 3, "issued_count": 4}),
    ("stock_in_range", {"stock": 2_000_000_001}),
    ("one_validity", {"valid_days": None}),
    ("one_validity", {"valid_days": 0}),
    ("one_validity", {"valid_days": 3651}),
    ("one_validity", {"valid_from": EARLIER, "valid_until": LATER}),
    ("one_validity", {"valid_days": None, "valid_from": EARLIER}),
    ("one_validity", {"valid_days": None, "valid_until": LATER}),
    ("one_validity", {"valid_days": None, "valid_from": LATER, "valid_until": LATER}),
]
BAD_COUPONS = [
    *BAD_BENEFITS,
    ("status_known", {"status": "expired"}),
    ("valid_until_after_from", {"valid_from": LATER, "valid_until": LATER}),
]
BAD_DECISIONS = [
    ("outcome_known", {"outcome": "maybe", "reason": "sold_out"}),
    ("reason_known", {"outcome": "skipped", "reason": "on_a_whim"}),
    ("refusal_has_reason", {"outcome": "skipped"}),
    ("refusal_has_reason", {"outcome": "held"}),
    ("refusal_has_reason", {"outcome": "issued", "reason": "sold_out"}),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("constraint", "columns"), BAD_CAMPAIGNS)
def test_a_campaign_that_breaks_a_rule_is_refused(constraint: str, columns: dict[str, Any]) -> None:
    with (
        pytest.raises(IntegrityError, match=f"coupons_campaign_{constraint}"),
        transaction.atomic(),
    ):
        Campaign.objects.bulk_create([Campaign(**campaign_columns(**columns))])


@pytest.mark.django_db
@pytest.mark.parametrize(("constraint", "columns"), BAD_COUPONS)
def test_a_coupon_that_breaks_a_rule_is_refused(constraint: str, columns: dict[str, Any]) -> None:
    campaign, person = make_campaign(), make_person()

    with pytest.raises(IntegrityError, match=f"coupons_coupon_{constraint}"), transaction.atomic():
        make_coupon(campaign, person, **columns)


@pytest.mark.django_db
@pytest.mark.parametrize(("constraint", "columns"), BAD_DECISIONS)
def test_a_decision_that_breaks_a_rule_is_refused(constraint: str, columns: dict[str, Any]) -> None:
    campaign, person = make_campaign(), make_person()
    name = f"coupons_issuedecision_{constraint}"

    with pytest.raises(IntegrityError, match=name), transaction.atomic():
        make_decision(campaign, person, **columns)


@pytest.mark.django_db
def test_a_status_nobody_knows_is_not_noted() -> None:
    name = "coupons_campaignstatuschange_status_known"

    with pytest.raises(IntegrityError, match=name), transaction.atomic():
        make_campaign().status_changes.create(status="sold_out")


@pytest.mark.parametrize(
    ("model", "cases"),
    [
        (Campaign, BAD_CAMPAIGNS),
        (Coupon, BAD_COUPONS),
        (IssueDecision, BAD_DECISIONS),
        (CampaignStatusChange, [("status_known", {})]),
    ],
)
def test_every_check_has_a_case(
    model: type[models.Model], cases: list[tuple[str, dict[str, Any]]]
) -> None:
    prefix = f"coupons_{model._meta.model_name}_"
    checks = {
        constraint.name.removeprefix(prefix)
        for constraint in model._meta.constraints
        if isinstance(constraint, models.CheckConstraint)
    }

    assert checks == {constraint for constraint, _ in cases}


@pytest.mark.django_db
def test_a_campaign_decides_once_about_a_person() -> None:
    campaign, person = make_campaign(), make_person()
    make_decision(campaign, person)

    with pytest.raises(IntegrityError), transaction.atomic():
        make_decision(campaign, person, outcome="skipped", reason="sold_out")


@pytest.mark.django_db
def test_a_decision_yields_one_coupon() -> None:
    campaign, person = make_campaign(), make_person()
    coupon = make_coupon(campaign, person)

    with pytest.raises(IntegrityError), transaction.atomic():
        Coupon.objects.create(
            decision=coupon.decision,
            campaign=campaign,
            user=person,
            code="OTHER",
            valid_from=coupon.valid_from,
            valid_until=coupon.valid_until,
            **campaign.terms_of_benefit(),
        )


@pytest.mark.django_db
def test_a_code_is_unique() -> None:
    campaign = make_campaign()
    coupon = make_coupon(campaign, make_person())

    with pytest.raises(IntegrityError), transaction.atomic():
        make_coupon(campaign, make_person(), code=coupon.code)


@pytest.mark.django_db
def test_what_has_coupons_cannot_be_deleted() -> None:
    campaign, person = make_campaign(), make_person()
    coupon = make_coupon(campaign, person)

    for row in (campaign, person, coupon.decision):
        with pytest.raises(models.ProtectedError):
            row.delete()
