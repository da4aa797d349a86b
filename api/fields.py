"""Serializer fields that take what the contract says and nothing that resembles it."""

from typing import Any

from rest_framework import serializers


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
