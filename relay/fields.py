"""Serializer fields that take what the contract says and nothing that resembles it."""

from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from rest_framework import serializers


class StrictCharField(serializers.CharField):
    """A JSON string. Numbers and booleans are refused, not turned into text."""

    def to_internal_value(self, data: Any) -> str:
        """Return the string. Raises ValidationError (invalid) for any other type."""
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class StrictIntegerField(serializers.IntegerField):
    """A JSON integer. Texts, fractions and booleans are refused."""

    def to_internal_value(self, data: Any) -> int:
        """Return the number. Raises ValidationError (invalid) for any other type."""
        if type(data) is not int:
            self.fail("invalid")
        return int(super().to_internal_value(data))


class UserIdField(StrictCharField):
    """The id of an account."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the id. Raises ValidationError (unknown_user) where it can be nobody's."""
        try:
            return UUID(super().to_internal_value(data))
        except ValueError:
            raise serializers.ValidationError(
                _("There is no such account."), code="unknown_user"
            ) from None
