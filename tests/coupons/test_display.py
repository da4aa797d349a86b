"""Money and benefits as people read them."""

import pytest
from django.utils import translation

from coupons.campaigns import Campaign
from coupons.display import describe_benefit, describe_minimum, format_money, format_percent


@pytest.mark.parametrize(
    ("minor_units", "currency", "expected"),
    [
        (0, "EUR", "0.00 EUR"),
        (5, "EUR", "0.05 EUR"),
        (123_456_789, "EUR", "1,234,567.89 EUR"),
        (1_500, "JPY", "1,500 JPY"),
        (1_500, "KWD", "1.500 KWD"),
        (9_223_372_036_854_775_807, "EUR", "92,233,720,368,547,758.07 EUR"),
    ],
)
def test_money_has_the_decimals_of_its_currency(
    minor_units: int, currency: str, expected: str
) -> None:
    assert format_money(minor_units, currency) == expected


@pytest.mark.parametrize(
    ("basis_points", "expected"),
    [(1, "0.01%"), (1250, "12.5%"), (1000, "10%"), (10_000, "100%")],
)
def test_a_percentage_has_no_needless_zeros(basis_points: int, expected: str) -> None:
    assert format_percent(basis_points) == expected


def test_numbers_follow_the_readers_language() -> None:
    with translation.override("de"):
        assert format_money(123_456, "EUR") == "1.234,56 EUR"
        assert format_percent(1250) == "12,5%"


@pytest.mark.parametrize(
    ("benefit", "expected"),
    [
        (Campaign(amount=500, currency="EUR"), "5.00 EUR off"),
        (Campaign(basis_points=1250), "12.5% off"),
        (Campaign(basis_points=1250, cap=3000, currency="EUR"), "12.5% off, at most 30.00 EUR"),
    ],
)
def test_a_benefit_is_described(benefit: Campaign, expected: str) -> None:
    assert describe_benefit(benefit) == expected


def test_a_minimum_is_described_where_there_is_one() -> None:
    assert describe_minimum(Campaign(min_spend=0)) == ""
    minimum = describe_minimum(Campaign(min_spend=5000, currency="EUR"))
    assert minimum == "for orders of 50.00 EUR or more"
