"""Bars and columns in proportion, and the periods that they are of."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

import charts
from periods import MAX_DAYS, Period, first_uuid7, period_of
from rulebook import Rule, decide, put, walk

TODAY = date(2026, 11, 26)


def test_bars_are_in_proportion_to_the_first_and_never_longer() -> None:
    bars = charts.funnel([("a", 200), ("b", 50), ("c", 300)])

    assert [bar.width for bar in bars] == ["100.0", "25.0", "100.0"]
    assert [bar.of_first for bar in bars] == ["", "25.0%", "150.0%"]
    assert [bar.of_previous for bar in bars] == ["", "25.0%", "600.0%"]


@pytest.mark.parametrize("counts", [(0, 0), (0, 5), (5, 0), (-1, 1)])
def test_nothing_is_divided_by_nothing(counts: tuple[int, int]) -> None:
    bars = charts.funnel([("a", counts[0]), ("b", counts[1])])

    assert all(0 <= float(bar.width) <= 100 for bar in bars)
    assert bars[1].of_first == ("0.0%" if counts[0] == 5 else "")


def test_columns_reach_as_high_as_their_counts() -> None:
    drawing = charts.by_day([(TODAY, [4, 1]), (TODAY + timedelta(days=1), [0, 2])])

    assert drawing is not None
    assert [(c.x, c.y, c.height, c.series) for c in drawing.columns] == [
        ("1.00", "0.00", "100.00", 1),
        ("5.00", "75.00", "25.00", 2),
        ("15.00", "50.00", "50.00", 2),
    ]
    assert (drawing.width, drawing.highest) == ("20", 4)
    assert charts.by_day([(TODAY, [0, 0])]) is None
    assert charts.by_day([]) is None


def test_of_a_long_period_the_latest_days_are_told() -> None:
    for since in (None, TODAY - timedelta(days=MAX_DAYS)):
        period = Period(since=since, until=TODAY)
        assert (len(period.shown_days), period.shown_days[-1], period.is_cut) == (
            MAX_DAYS,
            TODAY,
            True,
        )
    short = Period(since=TODAY, until=TODAY)
    assert (short.shown_days, short.is_cut) == ([TODAY], False)


def test_an_address_says_which_period() -> None:
    assert period_of({}, TODAY)[0] == Period(since=date(2026, 10, 28), until=TODAY)
    assert period_of({"since": ""}, TODAY)[0] == Period(since=None, until=TODAY)
    assert period_of({"since": "2026-11-01"}, TODAY)[0].since == date(2026, 11, 1)
    period, form = period_of({"since": "2026-11-27"}, TODAY)
    assert period == Period(since=date(2026, 10, 28), until=TODAY)
    assert "until" in form.errors


def test_ids_are_told_by_when_they_were_made() -> None:
    before = datetime.now(UTC)
    made = uuid7()
    after = datetime.now(UTC) + timedelta(milliseconds=1)

    assert first_uuid7(before) <= made < first_uuid7(after)
    assert first_uuid7(datetime(1960, 1, 1, tzinfo=UTC)) == UUID(int=0)


def test_rules_are_asked_in_turn_until_one_decides() -> None:
    asked: list[str] = []

    def rule(name: str, verdict: str | None) -> Rule[None, str]:
        def ask(case: None) -> str | None:
            asked.append(name)
            return verdict

        return Rule(name, f"{name} is so.", ask)

    rules = [rule("one", None), rule("two", "no"), rule("three", "never")]

    assert decide(rules, None) == "no"
    assert [(step.rule.name, step.verdict) for step in walk(rules, None)] == [
        ("one", None),
        ("two", "no"),
    ]
    assert asked == ["one", "two"] * 2
    assert decide(rules[:1], None) is None
    assert put(rules[2], None).verdict == "never"
