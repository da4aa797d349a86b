"""Figures drawn by the server, for a place beside the table that has the numbers.

Drawings are SVG, whose sizes are attributes: the policy of the pages allows no inline styles.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from django_stubs_ext import StrOrPromise

HEIGHT = 100  # of a drawing of days; it is as wide as ten times its days


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One step of a funnel."""

    label: StrOrPromise
    count: int
    width: str  # of a hundred: the share of the first step
    of_first: str  # in percent; empty where there is none
    of_previous: str


def funnel(steps: Sequence[tuple[StrOrPromise, int]]) -> list[Bar]:
    """Return the steps of a funnel as bars."""
    first = steps[0][1]
    counts = [count for _, count in steps]
    return [
        Bar(
            label=label,
            count=count,
            width=f"{100 * _share(count, first):.1f}",
            of_first=_percent(count, first) if number else "",
            of_previous=_percent(count, counts[number - 1]) if number else "",
        )
        for number, (label, count) in enumerate(steps)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What is drawn of one day, in the units of the drawing."""

    x: str
    y: str
    height: str
    series: int  # from 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Columns side by side, one for each series of a day."""

    columns: Sequence[Column]
    width: str
    column_width: str
    highest: int
    since: date
    until: date


def by_day(days: Sequence[tuple[date, Sequence[int]]]) -> Drawing | None:
    """Return the drawing of some days' counts, or None where there is nothing to draw."""
    highest = max((count for _, counts in days for count in counts), default=0)
    if not highest:
        return None
    return Drawing(
        columns=list(_columns(days, highest)),
        width=str(10 * len(days)),
        column_width=f"{8 / len(days[0][1]):.2f}",
        highest=highest,
        since=days[0][0],
        until=days[-1][0],
    )


def _columns(days: Sequence[tuple[date, Sequence[int]]], highest: int) -> Iterator[Column]:
    for number, (_, counts) in enumerate(days):
        for series, count in enumerate(counts, start=1):
            if count:
                height = max(1.0, HEIGHT * count / highest)  # a single one is seen, too
                x = 10 * number + 1 + (series - 1) * 8 / len(counts)
                yield Column(
                    x=f"{x:.2f}", y=f"{HEIGHT - height:.2f}", height=f"{height:.2f}", series=series
                )


def _share(count: int, whole: int) -> float:
    return min(1.0, count / whole) if whole > 0 else 0.0


def _percent(count: int, whole: int) -> str:
    return f"{100 * count / whole:.1f}%" if whole > 0 else ""
