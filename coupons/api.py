"""A person's coupons over the API."""

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import (
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_field,
    extend_schema_serializer,
)
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from coupons.models import Coupon
from coupons.states import CouponState, coupon_state


@extend_schema_serializer(component_name="FixedBenefit")
class FixedBenefit(serializers.Serializer[Any]):
    """A fixed amount off, in minor units of the currency."""

    type = serializers.ChoiceField(choices=["fixed"])
    amount = serializers.IntegerField(min_value=1)
    currency = serializers.CharField(help_text="ISO 4217, such as EUR.")


@extend_schema_serializer(component_name="PercentBenefit")
class PercentBenefit(serializers.Serializer[Any]):
    """A percentage off, in hundredths of a percent."""

    type = serializers.ChoiceField(choices=["percent"])
    basis_points = serializers.IntegerField(min_value=1, max_value=10_000)
    cap = serializers.IntegerField(
        min_value=1, allow_null=True, help_text="Most that is taken off, in minor units."
    )


class MyCoupons(generics.ListAPIView[Coupon]):
    """`me/coupons/`."""

    ordering = "-id"

    @extend_schema_serializer(component_name="Coupon")
    class Output(serializers.ModelSerializer[Coupon]):
        """A coupon as its owner sees it."""

        campaign = serializers.CharField(source="campaign.name", help_text="The campaign's name.")
        state = serializers.SerializerMethodField()
        benefit = serializers.SerializerMethodField()

        class Meta:
            model = Coupon
            fields = (
                "code",
                "campaign",
                "state",
                "benefit",
                "min_spend",
                "valid_from",
                "valid_until",
            )

        @extend_schema_field(serializers.ChoiceField(choices=CouponState.values))
        def get_state(self, coupon: Coupon) -> str:
            """Return what the coupon is right now."""
            return coupon_state(coupon, at=timezone.now()).value

        @extend_schema_field(
            PolymorphicProxySerializer(
                component_name="Benefit",
                serializers={"fixed": FixedBenefit, "percent": PercentBenefit},
                resource_type_field_name="type",
            )
        )
        def get_benefit(self, coupon: Coupon) -> dict[str, Any]:
            """Return what the coupon is worth."""
            if coupon.amount is not None:
                fixed = {"amount": coupon.amount, "currency": coupon.currency}
                return {"type": "fixed", **fixed}
            return {"type": "percent", "basis_points": coupon.basis_points, "cap": coupon.cap}

    serializer_class = Output

    def get_queryset(self) -> QuerySet[Coupon]:
        """Return the coupons of whoever asks, and nobody else's."""
        return Coupon.objects.filter(user=self.request.user.pk).select_related("campaign")

    @extend_schema(operation_id="my_coupons", summary="My coupons")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the coupons of whoever asks, newest first."""
        return super().get(request, *args, **kwargs)
