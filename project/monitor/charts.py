"""Small charts, drawn here as SVG: nothing is loaded for them; the figures are in a table, too."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from events.operations.minutes import Point

WIDTH, HEIGHT = 600, 100
GAP = 0.15  # of a bar's width
LEAST_AGE_S = 10.0  # that a full bar stands for: moments are no trouble

HOUR = {"minutes": 60, "step": 1}
DAY = {"minutes": 24 * 60, "step": 15}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A rectangle, as SVG takes it."""

    kind: str  # "done", "failed" or "age"
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Bars side by side, the latest at the right."""

    title: Promise
    bars: list[Bar]
    most: str  # what the highest one stands for


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What happened within a time, as charts and as a table."""

    id: str
    title: Promise
    points: Sequence[Point]
    charts: list[Chart]


def hour(points: Sequence[Point]) -> Period:
    """Return the charts of an hour, minute by minute."""
    return Period(
        id="hour", title=_("The last hour"), points=points, charts=_charts(points, _("per minute"))
    )


def day(points: Sequence[Point]) -> Period:
    """Return the charts of a day, by quarters of an hour."""
    per = _("per quarter of an hour")
    return Period(id="day", title=_("The last day"), points=points, charts=_charts(points, per))


def _charts(points: Sequence[Point], per: Promise) -> list[Chart]:
    attempts = [("done", [p.done for p in points]), ("failed", [p.failed for p in points])]
    most_attempts = max((p.done + p.failed for p in points), default=0)
    ages = [("age", [p.oldest_due_age_s for p in points])]
    most_age = max((p.oldest_due_age_s for p in points), default=0)
    return [
        Chart(
            title=_("Done and failed attempts"),
            bars=_stacked(attempts, most_attempts),
            most=f"{most_attempts} {per}",
        ),
        Chart(
            title=_("How long the oldest due one has waited"),
            bars=_stacked(ages, max(most_age, LEAST_AGE_S)),
            most=f"{most_age:.0f} s",
        ),
    ]


def _stacked(parts: Sequence[tuple[str, Sequence[float]]], most: float) -> list[Bar]:
    """Return a bar for each value that is not nothing, those of one place above each other."""
    bars: list[Bar] = []
    count = len(parts[0][1])
    width = WIDTH / max(count, 1)
    for place in range(count):
        top = float(HEIGHT)
        for kind, values in parts:
            if not values[place]:
                continue
            height = max(1.0, HEIGHT * values[place] / most)  # whatever happened is seen
            top -= height
            bars.append(
                Bar(
                    kind=kind,
                    x=f"{place * width:.1f}",
                    y=f"{max(0.0, top):.1f}",
                    width=f"{width * (1 - GAP):.1f}",
                    height=f"{height:.1f}",
                )
            )
    return bars
