"""A CSV file of people to be registered, read line by line.

No value may contain a line break, so each line is parsed alone: a quote that is never closed spoils
its own line and swallows no other. Lines are not kept, however many there are.
"""

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

EMAIL = "email"
COLUMNS = (EMAIL, "password", "referral_code", "language")
MAX_LINE_BYTES = 16 * 1024

_DELIMITERS = ",;\t"  # Excel writes what the country it runs in is used to
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class UnreadableFile(Exception):
    """The file as a whole can not be read; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line: its number in the file, from 1, and its values by column, or why there are none."""

    number: int
    values: dict[str, str] = field(default_factory=dict, repr=False)
    error: ValidationError | None = None


class ImportFile:
    """The lines after the first, which names the columns. Use it as a context manager, once."""

    def __init__(self, path: Path) -> None:
        """Open the file and read its first line. Raises UnreadableFile, OSError."""
        self._file = path.open("rb")
        try:
            self._delimiter, self._columns = _header(self._file.readline(MAX_LINE_BYTES))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Line]:
        """Yield the lines that are not empty."""
        for number, raw in enumerate(self._raw_lines(), start=2):
            try:
                values = self._values(raw)
            except ValidationError as error:
                yield Line(number=number, error=error)
            else:
                if any(values.values()):
                    yield Line(number=number, values=values)

    def _raw_lines(self) -> Iterator[bytes]:
        """Yield the lines, of one that is too long the beginning."""
        while raw := self._file.readline(MAX_LINE_BYTES + 1):
            yield raw
            while len(raw) > MAX_LINE_BYTES and not raw.endswith(b"\n"):
                raw = self._file.readline(MAX_LINE_BYTES + 1)

    def _values(self, raw: bytes) -> dict[str, str]:
        if len(raw) > MAX_LINE_BYTES:
            raise _error("line_too_long", _("The line is too long. Is a line break missing?"))
        cells = _cells(_text(raw), self._delimiter)
        if cells and len(cells) != len(self._columns):
            sentence = _(
                "The line has %(found)d values, but the first line names %(named)d columns."
            )
            counts = {"found": len(cells), "named": len(self._columns)}
            raise _error("wrong_columns", sentence % counts)
        # Passwords are taken as they are, like on the page.
        return {
            name: cell if name == "password" else cell.strip()
            for name, cell in zip(self._columns, cells, strict=False)
        }


def _header(raw: bytes) -> tuple[str, list[str]]:
    """Return the delimiter and the columns. Raises UnreadableFile."""
    if raw.startswith(_UTF16):
        raise UnreadableFile("The file is in UTF-16. Save it as UTF-8 (CSV UTF-8 in Excel).")
    try:
        text = _text(raw.removeprefix(codecs.BOM_UTF8))
        delimiter = max(_DELIMITERS, key=text.count)  # the comma, where there is none
        columns = [cell.strip().lower() for cell in _cells(text, delimiter)]
    except ValidationError as error:
        raise UnreadableFile(f"The first line: {error.message}") from None
    if EMAIL not in columns:
        raise UnreadableFile(f"The first line names no column {EMAIL!r}. {_KNOWN}")
    if unknown := [name for name in columns if name not in COLUMNS]:
        names = ", ".join(repr(name) for name in unknown)
        raise UnreadableFile(f"These columns are not known: {names}. Take them out. {_KNOWN}")
    if len(set(columns)) != len(columns):
        raise UnreadableFile("The first line names a column twice.")
    return delimiter, columns


_KNOWN = f"There are: {', '.join(COLUMNS)}."


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        sentence = _("The line is not in UTF-8. Save the file as UTF-8.")
        raise _error("not_utf8", sentence) from None


def _cells(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error:
        sentence = _("A quotation mark is not closed, or there is a line break in a value.")
        raise _error("malformed", sentence) from None


def _error(code: str, sentence: str) -> ValidationError:
    return ValidationError(sentence, code=code)
