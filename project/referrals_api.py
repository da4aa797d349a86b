"""The people a person invited, over the API."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Referral, ReferralStatus
from api.caching import revalidated
from points.rewards import RewardOutcome, RewardReason
from project.invited import describe, referrals_by


@revalidated
class MyReferrals(generics.ListAPIView[Referral]):
    """`me/referrals/`."""

    ordering = "-invitee_id"

    @extend_schema_serializer(component_name="Referral")
    class Output(serializers.Serializer[Any]):
        """Somebody who signed up through the caller's link."""

        @extend_schema_serializer(component_name="Reward")
        class Reward(serializers.Serializer[Any]):
            """What was decided about the reward."""

            outcome = serializers.ChoiceField(choices=RewardOutcome.values)
            points = serializers.IntegerField(help_text="0 where there will be none.")
            reason = serializers.ChoiceField(
                choices=RewardReason.values, allow_blank=True, help_text="Empty where granted."
            )

        registered_at = serializers.DateTimeField(
            allow_null=True, help_text="Null while the person has not confirmed the address."
        )
        invitee = serializers.CharField(help_text="Masked: m•••@e•••.com; — for a closed account.")
        status = serializers.ChoiceField(choices=ReferralStatus.values)
        reward = Reward(allow_null=True, help_text="Null while nothing is decided.")

        def to_representation(self, instance: Referral) -> dict[str, Any]:
            """Return one referral as its inviter may see it."""
            return super().to_representation(describe(instance))

    serializer_class = Output

    def get_queryset(self) -> QuerySet[Referral]:
        """Return whom the caller invited, and nobody else."""
        user_id = self.request.user.pk
        return referrals_by(user_id) if user_id else Referral.objects.none()

    @extend_schema(operation_id="my_referrals", summary="People I invited")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the people who signed up through the caller's link, newest first."""
        return super().get(request, *args, **kwargs)
