"""Campaigns as a CSV file, for spreadsheets: written line by line, and read with line numbers.

Times are written in the campaign's time zone, with their distance from UTC; translations have a
column for each text and language: `name:zh-hans`.
"""

import codecs
import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from io import StringIO
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from coupons.benefits import BENEFIT_FIELDS
from coupons.campaigns import Campaign
from coupons.translations import TEXTS, languages
from spreadsheets import safe_cell, text_of_cell

MOMENTS = ("starts_at", "ends_at", "valid_from", "valid_until")
FIELDS = (
    *TEXTS,
    *("trigger", "audience", "time_zone", "starts_at", "ends_at"),
    *BENEFIT_FIELDS,
    *("valid_from", "valid_until", "valid_days", "stock"),
)
TRANSLATED = tuple(f"{text}:{language}" for language in languages() for text in TEXTS)
TOLD = ("status", "issued_count")  # to read: buttons and the issuing services change them
COLUMNS = ("id", *FIELDS, *TRANSLATED, *TOLD)

MAX_BYTES = 1_000_000
MAX_LINES = 500  # each is checked by some ten statements, before anything is locked
AT_ONCE = 200  # rows of one query

_DELIMITERS = ",;\t"  # Excel writes what the country it runs in is used to


class UnreadableFile(Exception):
    """The file as a whole can not be read; the text says why, in the reader's language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line: its number in the file, from 1, and its values by column."""

    number: int
    values: dict[str, str] = field(default_factory=dict)
    cells: int  # how many there were; the columns are as many where all is well
    columns: int

    @property
    def is_whole(self) -> bool:
        """Tell whether it has a value for each column."""
        return self.cells == self.columns


def written(campaigns: Iterable[Campaign]) -> Iterator[str]:
    """Yield the file, line by line. By the mark at its beginning Excel knows that it is UTF-8."""
    write = csv.writer(_Echo(), quoting=csv.QUOTE_ALL).writerow
    yield "\ufeff" + write(COLUMNS)
    for campaign in campaigns:
        yield write([_cell(campaign, name) for name in COLUMNS])


def translation_of(campaign: Campaign, column: str) -> str:
    """Return what a campaign has in a column of TRANSLATED."""
    text, _colon, language = column.partition(":")
    return str(campaign.translations.get(language, {}).get(text, ""))


def value_of(campaign: Campaign, column: str) -> str:
    """Return what a campaign has in a column, as a text; empty where it has nothing."""
    if column in TRANSLATED:
        return translation_of(campaign, column)
    value = getattr(campaign, column)
    if isinstance(value, datetime):
        return value.astimezone(ZoneInfo(campaign.time_zone)).isoformat()
    return "" if value is None else str(value)


def every_campaign() -> Iterator[Campaign]:
    """Yield all campaigns in the order in which they were made, some at a time."""
    campaigns = Campaign.objects.order_by("pk")
    rows = list(campaigns[:AT_ONCE])
    while rows:
        yield from rows
        rows = list(campaigns.filter(pk__gt=rows[-1].pk)[:AT_ONCE])


def read(content: bytes) -> list[Line]:
    """Return the lines after the first, which names the columns. Raises UnreadableFile."""
    if len(content) > MAX_BYTES:
        raise UnreadableFile(_("The file is too large. Split it."))
    rows = _rows(_text(content))
    if not rows:
        raise UnreadableFile(_("The file is empty."))
    columns = _columns(rows[0][1])
    lines = [_line(number, cells, columns) for number, cells in rows[1:] if any(cells)]
    if len(lines) > MAX_LINES:
        sentence = _("A file has at most %(most)d campaigns; this one has %(count)d. Split it.")
        raise UnreadableFile(sentence % {"most": MAX_LINES, "count": len(lines)})
    return lines


class _Echo:
    """A file that returns what is written to it."""

    def write(self, text: str) -> str:
        return text


def _cell(campaign: Campaign, name: str) -> str:
    return safe_cell(value_of(campaign, name))


def _text(content: bytes) -> str:
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError:
        sentence = _("The file is not a text in UTF-8. In Excel, save it as “CSV UTF-8”.")
        raise UnreadableFile(sentence) from None


def _rows(text: str) -> list[tuple[int, list[str]]]:
    """Return the cells of each line, with the number of the line that it begins on."""
    first = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=first.count)  # the comma, where there is none
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, begins = [], 1
    try:
        for cells in reader:
            rows.append((begins, cells))
            begins = reader.line_num + 1
    except csv.Error:
        sentence = _("From line %(line)d on, a quotation mark is missing or one too many.")
        raise UnreadableFile(sentence % {"line": begins}) from None
    return rows


def _columns(cells: Sequence[str]) -> list[str]:
    known = {name.lower(): name for name in COLUMNS}
    columns = [known.get(cell := each.strip().lower(), cell) for each in cells]
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        sentence = _("These columns are not known: %(names)s. There are: %(known)s.")
        names = {"names": ", ".join(map(repr, unknown)), "known": ", ".join(COLUMNS)}
        raise UnreadableFile(sentence % names)
    if len(set(columns)) != len(columns):
        raise UnreadableFile(_("The first line names a column twice."))
    if not {"id", "name"} & set(columns):
        raise UnreadableFile(_("The first line names neither the column “id” nor “name”."))
    return columns


def _line(number: int, cells: Sequence[str], columns: Sequence[str]) -> Line:
    texts = [text_of_cell(cell) for cell in cells]
    values = {
        name: text if name in (*TEXTS, *TRANSLATED) else text.strip()
        for name, text in zip(columns, texts, strict=False)
    }
    return Line(number=number, values=values, cells=len(cells), columns=len(columns))
