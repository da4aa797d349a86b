"""A period that somebody chose to see figures of: days, in the time zone that the page is about."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any
from uuid import UUID

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

DAYS = 30  # of a period that nobody chose
MAX_DAYS = 92  # told one by one: the latest
DAY = timedelta(days=1)
EARLIEST, LATEST = date(2000, 1, 1), date(2999, 12, 31)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Days, both ends inclusive. Without a beginning: all that there were."""

    since: date | None
    until: date

    @property
    def shown_since(self) -> date:
        """The first of the days that are told one by one."""
        earliest = self.until - (MAX_DAYS - 1) * DAY
        return max(self.since, earliest) if self.since else earliest

    @property
    def is_cut(self) -> bool:
        """Whether there are earlier days that are not told one by one."""
        return self.since is None or self.since < self.shown_since

    @property
    def shown_days(self) -> list[date]:
        """The days that are told one by one."""
        return [self.shown_since + n * DAY for n in range((self.until - self.shown_since).days + 1)]


def _day(label: Any) -> forms.DateField:
    widget = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})
    limits = [MinValueValidator(EARLIEST), MaxValueValidator(LATEST)]
    return forms.DateField(
        label=label,
        required=False,
        widget=widget,
        input_formats=["%Y-%m-%d"],
        validators=limits,
    )


class PeriodForm(forms.Form):
    """Which days are looked at: a link to a page has them in its address."""

    since = _day(_("From"))
    until = _day(_("to"))

    def __init__(self, *args: Any, today: date, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._today = today

    def clean(self) -> dict[str, Any]:
        """Refuse a period that ends before it begins. Without an end, it ends today."""
        cleaned: dict[str, Any] = super().clean() or {}
        cleaned["until"] = cleaned.get("until") or self._today
        if cleaned.get("since") and cleaned["until"] < cleaned["since"]:
            self.add_error("until", gettext("The last day is before the first."))
        return cleaned


def period_of(query: Mapping[str, str], today: date) -> tuple[Period, PeriodForm]:
    """Return the period that an address asks for, and the form that says so.

    What can't be read is told by the form; the period is then the usual one.
    """
    latest = Period(since=today - (DAYS - 1) * DAY, until=today)
    chosen = {name: query[name] for name in ("since", "until") if name in query}
    if not chosen:
        initial = {"since": latest.since, "until": latest.until}
        return latest, PeriodForm(initial=initial, today=today)
    form = PeriodForm(chosen, today=today)
    return (Period(**form.cleaned_data) if form.is_valid() else latest), form


def usual_periods(today: date) -> list[tuple[str, str]]:
    """Return what links to other periods say, and the end of their addresses."""
    spans = [(gettext("%(days)d days") % {"days": days}, days) for days in (7, 30, 90)]
    links: list[tuple[str, str]] = [
        (label, f"?since={today - (days - 1) * DAY}&until={today}") for label, days in spans
    ]
    return [*links, (gettext("all the time"), f"?since=&until={today}")]


def midnight(day: date, zone: tzinfo) -> datetime:
    """Return the moment at which a day begins somewhere."""
    return datetime.combine(day, time.min, zone)


def first_uuid7(moment: datetime) -> UUID:
    """Return what is not above any UUIDv7 of that moment or later, and above all earlier ones."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)
