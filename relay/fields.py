"""A serializer field that only relay needs."""

from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from rest_framework import serializers

from api.fields import StrictCharField


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
