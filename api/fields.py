"""Serializers and fields that take what the contract says and nothing that resembles it."""

import re
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail
from rest_framework.request import Request


class StrictCharField(serializers.CharField):
    """A JSON string. Numbers and booleans are refused, not turned into text."""

    def to_internal_value(self, data: Any) -> str:
        """Return the string. Raises ValidationError (invalid) for any other type."""
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class StrictIntegerField(serializers.IntegerField):
    """A JSON integer. Strings, booleans and numbers with a fraction are refused."""

    def to_internal_value(self, data: Any) -> int:
        """Return the integer. Raises ValidationError (invalid) for any other type."""
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return data


class StrictDateTimeField(serializers.DateTimeField):
    """A moment as RFC 3339 has it. Other forms of ISO 8601 are refused: some name no offset."""

    _form = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)

    def to_internal_value(self, data: Any) -> datetime:
        """Return the moment. Raises ValidationError (invalid) for any other form."""
        text = data.upper() if isinstance(data, str) else ""
        if not self._form.fullmatch(text):
            self.fail("invalid", format="YYYY-MM-DDThh:mm:ss[.uuuuuu][+HH:MM|-HH:MM|Z]")
        return super().to_internal_value(text)


class UserIdField(StrictCharField):
    """The id of an account. One that can be nobody's is told like one that is nobody's."""

    default_error_messages = {"unknown_user": _("There is no account with this id.")}  # noqa: RUF012

    def to_internal_value(self, data: Any) -> Any:
        """Return the UUID. Raises ValidationError (unknown_user) where it is none."""
        text = super().to_internal_value(data)
        try:
            return UUID(text)
        except ValueError:
            self.fail("unknown_user")


class StrictSerializer(serializers.Serializer[Any]):
    """The body of a request. A name that is not known is refused: a typo must not go unnoticed."""

    default_error_messages = {"unknown_field": _("This field is not known.")}  # noqa: RUF012

    def to_internal_value(self, data: Any) -> Any:
        """Return the values. Raises ValidationError with all that is wrong, names and values."""
        unknown = self._unknown(data)
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({**cast(Any, error.detail), **unknown}) from None
        if unknown:
            raise serializers.ValidationError(unknown)
        return values

    def _unknown(self, data: Any) -> dict[str, Any]:
        known = {field.field_name for field in self._writable_fields}
        detail = ErrorDetail(str(self.error_messages["unknown_field"]), "unknown_field")
        return {name: [detail] for name in data if name not in known}


def require_empty_body(request: Request) -> None:
    """Refuse a body that says anything, where nothing is asked. Raises ValidationError (400)."""
    StrictSerializer(data=request.data).is_valid(raise_exception=True)
