"""JSON as it is meant: one object, UTF-8, no ambiguity, no more than the limit."""

import json
import math
import re
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from django.conf import settings
from django.utils.http import parse_header_parameters
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import JSONParser

from project.api.exceptions import BodyTooLarge

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


class StrictJSONParser(JSONParser):
    """Refuses what parsers elsewhere would read differently. Every refusal has its own code."""

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the object in it. Raises ParseError, BodyTooLarge or UnsupportedMediaType."""
        _require_utf8(media_type or "")
        body = stream.read(settings.API_MAX_BODY_BYTES + 1)
        if len(body) > settings.API_MAX_BODY_BYTES:
            raise BodyTooLarge
        data = _load(_decode(body))
        if not isinstance(data, dict):
            raise ParseError(_("The body must be a JSON object."), "not_an_object")
        return data


def _require_utf8(media_type: str) -> None:
    _main, parameters = parse_header_parameters(media_type)
    if parameters.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
        raise UnsupportedMediaType(
            media_type, _("Send the body in UTF-8."), code="unsupported_charset"
        )


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise ParseError(_("The body is not valid UTF-8."), "invalid_encoding") from None


def _load(text: str) -> Any:
    try:
        data = json.loads(text, **_HOOKS)
        _require_whole_characters(text, data)
    except RecursionError:
        raise ParseError(_("The body is nested too deeply."), "too_deep") from None
    except json.JSONDecodeError as error:
        sentence = _("The body is not valid JSON (line %(line)d, column %(column)d).")
        place = {"line": error.lineno, "column": error.colno}
        raise ParseError(sentence % place, "malformed_json") from None
    except ValueError:  # an integer of thousands of digits
        raise ParseError(_("A number is out of range."), "number_out_of_range") from None
    return data


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        raise ParseError(_("An object has the same name twice."), "duplicate_name")
    return data


def _refuse_constant(name: str) -> NoReturn:
    raise ParseError(_("NaN and Infinity are not JSON."), "malformed_json")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ParseError(_("A number is out of range."), "number_out_of_range")
    return number


def _require_whole_characters(text: str, data: Any) -> None:
    """Refuse half of a surrogate pair: no database and no answer can carry it."""
    if not _SURROGATE_ESCAPE.search(text):
        return
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ParseError(_("A text has half a character in it."), "lone_surrogate") from None


_HOOKS: dict[str, Any] = {
    "object_pairs_hook": _object,
    "parse_constant": _refuse_constant,
    "parse_float": _finite,
}
