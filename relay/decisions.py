"""What others decide about accounts, checked field by field, whichever way it comes in."""

from typing import Any
from uuid import UUID

from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from accounts.queries import accounts_by_id
from api.fields import StrictCharField, StrictSerializer, UserIdField
from relay import risk_checks

REASON_LENGTH = 200

_NO_SUCH_ACCOUNT = gettext_lazy("There is no such account.")


@extend_schema_serializer(component_name="RiskDecision")
class DecisionInput(StrictSerializer):
    """What was decided about an account."""

    user = UserIdField(
        help_text="The account's id.", error_messages={"unknown_user": _NO_SUCH_ACCOUNT}
    )
    decision = serializers.ChoiceField(choices=["flag", "clear"])
    reason = StrictCharField(max_length=REASON_LENGTH)

    def validate_user(self, value: UUID) -> UUID:
        """Refuse an account that does not exist."""
        if value not in accounts_by_id([value]):
            raise serializers.ValidationError(_NO_SUCH_ACCOUNT, code="unknown_user")
        return value


def receive(*, message_id: str, data: Any) -> bool:
    """Publish a decision, once per message id. Return whether this call did it.

    Raises rest_framework's ValidationError, with all that is wrong.
    """
    given = DecisionInput(data=data)
    given.is_valid(raise_exception=True)
    return risk_checks.receive_decision(
        message_id=message_id,
        user_id=given.validated_data["user"],
        decision=given.validated_data["decision"],
        reason=given.validated_data["reason"],
    )
