"""A serializer field that only points needs."""

from typing import Any
from uuid import UUID

from api.fields import StrictCharField
from points import refusals


class UserIdField(StrictCharField):
    """The id of an account. One that can be nobody's is told like one that is nobody's."""

    default_error_messages = {refusals.UnknownUser.code: refusals.UnknownUser.sentence}  # noqa: RUF012

    def to_internal_value(self, data: Any) -> Any:
        """Return the UUID. Raises ValidationError (unknown_user) where it is none."""
        text = super().to_internal_value(data)
        try:
            return UUID(text)
        except ValueError:
            self.fail(refusals.UnknownUser.code)
