"""Campaigns from a file: what would become of each line. `coupons.importing` carries it out.

A line with an id is that campaign, made where there is none; one without is the campaign of its
name. So the same file can be brought in again: what is so already is left alone. No line starts or
stops a campaign: new ones are drafts.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, ClassVar, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db.models import Q
from django.forms.models import model_to_dict
from django.utils import timezone
from django.utils.translation import gettext as _
from uuid_utils.compat import uuid7

from coupons.campaign_file import FIELDS, MOMENTS, TRANSLATED, Line, translation_of, value_of
from coupons.campaign_form import TranslatedForm, translation_fields
from coupons.campaigns import Audience, Campaign, CampaignStatus
from coupons.translations import TEXTS

# ISO 8601 besides, with or without its distance from UTC: never a day before a month.
_MOMENT_FORMATS = ["%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d"]

# What an empty cell stands for, where a campaign must have something.
_DEFAULTED = {"audience": Audience.ALL.value, "time_zone": "UTC", "min_spend": 0}


State: TypeAlias = dict[str, Any]


class Fate(StrEnum):
    """What becomes of a line."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a line can not be taken. The sentence is in the reader's language."""

    line: int
    column: str  # empty: the line as a whole
    code: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of a column, in the words of the file."""

    column: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A line that can be taken."""

    line: int
    form: "CampaignForm"
    fate: Fate
    changes: Sequence[Change] = ()  # of a new campaign: what it has

    @property
    def campaign(self) -> Campaign:
        """The campaign, as it will be."""
        return self.form.instance

    @property
    def changed(self) -> list[str]:
        """The columns that change."""
        return self.form.changed_data if self.fate == Fate.CHANGED else []


@dataclass(slots=True, kw_only=True)
class Plan:
    """What becomes of a file. With a single problem, nothing does."""

    rows: list[Planned] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    is_another: bool = False  # than the one that was shown, so that nothing was done
    states: dict[UUID, State] = field(default_factory=dict)  # of the campaigns it was made for

    @property
    def changing(self) -> list[Planned]:
        """The lines that something comes of."""
        return [row for row in self.rows if row.fate != Fate.UNCHANGED]

    @property
    def digest(self) -> str:
        """What tells it from other plans: which lines change what, from what, to what."""
        rows = [[row.line, row.fate, *map(astuple, row.changes)] for row in self.changing]
        told = [sorted(map(str, self.states)), rows]  # the campaigns, and what they become
        return sha256(json.dumps(told).encode()).hexdigest()

    def count(self, fate: Fate) -> int:
        """Return how many lines come to this."""
        return sum(row.fate == fate for row in self.rows)


class CampaignForm(TranslatedForm):
    """The terms of a campaign, checked as the admin's form does; its fields are columns."""

    name_of = staticmethod("{}:{}".format)

    class Meta:
        model = Campaign
        fields: ClassVar[Any] = FIELDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields |= translation_fields(self.name_of)
        fields: Mapping[str, Any] = self.fields
        for name in MOMENTS:
            fields[name].input_formats = _MOMENT_FORMATS
            fields[name].widget.supports_microseconds = True
        for name in (*TEXTS, *TRANSLATED):  # a file has all but names as they are
            fields[name].strip = name.startswith("name")


def plan(lines: Sequence[Line]) -> Plan:
    """Return what would become of a file. Nothing is written."""
    campaigns = list(Campaign.objects.filter(named_in(lines)))
    # Before anything else: a form writes into the campaign that it checks.
    made = Plan(states={campaign.pk: state_of(campaign) for campaign in campaigns})
    known = _Known(campaigns)
    for line in lines:
        try:
            campaign = known.campaign_of(line)
            _refuse_status(line, campaign)
            made.rows.append(_planned(line, campaign))
        except ValidationError as error:
            made.problems += _problems(line, error)
    return made


def state_of(campaign: Campaign) -> State:
    """Return what a plan is made for: not how much is issued, but whether anything is."""
    values = {f.attname: getattr(campaign, f.attname) for f in Campaign._meta.concrete_fields}
    values["issued_count"] = bool(campaign.issued_count)  # from the first on, the benefit stays
    return values


def named_in(lines: Iterable[Line]) -> Q:
    """Return the condition of the campaigns that a file may be about."""
    ids = {pk for line in lines if (pk := _id_of(line))}
    names = {line.values.get("name", "").strip() for line in lines if not _id_of(line)}
    # PostgreSQL has no text with a NUL in it, and refuses to look for one.
    return Q(pk__in=ids) | Q(name__in=[name for name in names if "\x00" not in name])


def _id_of(line: Line) -> UUID | None:
    try:
        return UUID(line.values["id"]) if line.values.get("id") else None
    except ValueError:
        return None


class _Known:
    """The campaigns that a file may be about, as they are stored, and which lines name them."""

    def __init__(self, campaigns: Iterable[Campaign]) -> None:
        self._by_id: dict[UUID, Campaign] = {}
        self._by_name: dict[str, list[Campaign]] = defaultdict(list)
        self._seen: dict[object, int] = {}
        for campaign in campaigns:
            self._by_id[campaign.pk] = campaign
            self._by_name[campaign.name].append(campaign)

    def campaign_of(self, line: Line) -> Campaign:
        """Return the campaign that a line is about, a new one where there is none.

        Raises ValidationError where that can not be told.
        """
        if not line.is_whole:
            sentence = _(
                "The line has %(found)d values, but the first line names %(named)d columns."
            )
            counts = {"found": line.cells, "named": line.columns}
            raise ValidationError(sentence, "wrong_columns", counts)
        pk, name = _id_of(line), line.values.get("name", "").strip()
        if line.values.get("id") and pk is None:
            raise ValidationError({"id": ValidationError(_("This is no id."), "invalid_id")})
        found = self._by_id.get(pk) if pk else self._named(name)
        self._note(found.pk if found else pk or name, line.number)
        return found or Campaign(pk=pk or uuid7())

    def _named(self, name: str) -> Campaign | None:
        found = self._by_name.get(name, [])
        if len(found) > 1:
            sentence = _("%(count)d campaigns have this name. Give the id.")
            error = ValidationError(sentence, "ambiguous", {"count": len(found)})
            raise ValidationError({"name": error})
        return found[0] if found else None

    def _note(self, key: object, line: int) -> None:
        if (first := self._seen.setdefault(key, line)) != line:
            sentence = _("The same campaign is on line %(line)d.")
            raise ValidationError(sentence, "repeated", {"line": first})


def _refuse_status(line: Line, campaign: Campaign) -> None:
    """Raise ValidationError where a line wants another status than the campaign has."""
    status = line.values.get("status")
    if not status or status == campaign.status:
        return
    if status not in CampaignStatus.values:
        sentence = _("This status is not known. There are: %(names)s.")
        names = {"names": ", ".join(CampaignStatus.values)}
        raise ValidationError({"status": ValidationError(sentence, "unknown_status", names)})
    if not campaign._state.adding:
        sentence = _("The campaign is %(status)s. A file starts and stops none: use its buttons.")
        now = {"status": campaign.get_status_display()}
        raise ValidationError({"status": ValidationError(sentence, "other_status", now)})


def _planned(line: Line, campaign: Campaign) -> Planned:
    """Return the line with its form, which is valid. Raises ValidationError."""
    is_new = campaign._state.adding
    with _zone_of(line, campaign):
        form = CampaignForm(_data(line.values, campaign), instance=campaign)
        if not is_new and not form.has_changed():
            return Planned(line=line.number, form=form, fate=Fate.UNCHANGED)
        columns = (*FIELDS, *TRANSLATED) if is_new else form.changed_data
        before = {} if is_new else {name: value_of(campaign, name) for name in columns}
        if not form.is_valid():
            raise ValidationError(form.errors.as_data())
    fate = Fate.NEW if is_new else Fate.CHANGED
    changes = list(_changes(before, campaign, columns))
    return Planned(line=line.number, form=form, fate=fate, changes=changes)


def _changes(
    before: Mapping[str, str], campaign: Campaign, columns: Iterable[str]
) -> Iterator[Change]:
    """Yield what becomes of the columns. A new campaign has only those that are not empty."""
    for name in columns:
        old, new = before.get(name, ""), value_of(campaign, name)
        if old or new:
            yield Change(column=name, old=old, new=new)


def _data(values: Mapping[str, str], campaign: Campaign) -> dict[str, Any]:
    """Return what the form is filled in with: the file's values over those that are stored."""
    stored = model_to_dict(campaign, FIELDS)
    stored |= {name: translation_of(campaign, name) for name in TRANSLATED}
    given: dict[str, Any] = {name: value for name, value in values.items() if name in stored}
    for name in _DEFAULTED:
        if given.get(name) == "":
            given[name] = _DEFAULTED[name]
    for name in (*TEXTS, *TRANSLATED):
        if name in given and _same_text(given[name], stored[name]):
            given[name] = stored[name]
    return stored | given


def _same_text(one: str, other: str) -> bool:
    """Tell whether texts differ in nothing but the way their lines end: spreadsheets change it."""
    return one.splitlines() == other.splitlines()


@contextmanager
def _zone_of(line: Line, campaign: Campaign) -> Iterator[None]:
    """Read times without a distance from UTC in the campaign's time zone, as it will be."""
    name = line.values.get("time_zone", campaign.time_zone)
    with timezone.override(ZoneInfo(name if name in available_timezones() else "UTC")):
        yield


def _problems(line: Line, error: ValidationError) -> Iterator[Problem]:
    """Yield each thing that is wrong with a line."""
    by_column = error.error_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: [error]}
    for column, errors in by_column.items():
        for each in errors:
            yield Problem(
                line=line.number,
                column="" if column == NON_FIELD_ERRORS else column,
                code=str(each.code or "invalid"),
                sentence=" ".join(each.messages),
            )
