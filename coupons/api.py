"""Coupons over the API: a person's own, and their use in a shop."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import (
    OpenApiExample,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_field,
    extend_schema_serializer,
)
from rest_framework import exceptions, generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.caching import revalidated
from api.fields import (
    StrictCharField,
    StrictIntegerField,
    StrictSerializer,
)
from api.idempotency import idempotent
from api.openapi import PROBLEM, problem
from coupons import redeeming
from coupons.limits import require_lookups_within_limit
from coupons.models import Coupon
from coupons.redemptions import MAX_ORDER_AMOUNT, ORDER_REF_LENGTH
from coupons.refusals import Refused
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


@revalidated
class MyCoupons(generics.ListAPIView[Coupon]):
    """`me/coupons/`."""

    ordering = "-id"

    @extend_schema_serializer(component_name="Coupon")
    class Output(serializers.ModelSerializer[Coupon]):
        """A coupon as its owner sees it."""

        campaign = serializers.CharField(
            source="campaign.texts.name",
            help_text="The campaign's name, by Accept-Language where it is translated.",
        )
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


class OrderAmount(StrictIntegerField):
    """An order's sum in minor units."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            min_value=1,
            max_value=MAX_ORDER_AMOUNT,
            help_text="The order's sum in minor units of the coupon's currency.",
            **options,
        )


class Conflict(exceptions.APIException):
    """409: the coupon can't be used so. The code says why."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


# Why a coupon can't be used for an order.
NOT_USABLE = (
    *(state.value for state in CouponState if state != "usable"),
    *("min_spend", "no_discount", "order_amount_differs", "order_undone"),
)
_INVALID = problem("A field was refused.", 400, "invalid")
_UNKNOWN = problem(
    "The caller has no such coupon. Accounts that may redeem anybody's are told `mistyped_code` "
    "where the check character does not fit.",
    404,
    "unknown_code",
    "mistyped_code",
)
_THROTTLED = problem("Too many codes were tried.", 429, "throttled")


class CouponUse(APIView):
    """What calls about one coupon share: their limit, and what a refusal becomes."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Count the caller's tries, once it is known who calls."""
        super().initial(request, *args, **kwargs)
        if not redeeming.may_redeem_any(request.user):
            require_lookups_within_limit(request)

    def handle_exception(self, exc: Exception) -> Response:
        """Answer a refusal with 404 or 409, its code and its sentence."""
        if isinstance(exc, redeeming.NotFound):
            exc = exceptions.NotFound(exc.sentence, exc.code)
        elif isinstance(exc, Refused):
            exc = Conflict(exc.sentence, exc.code)
        return super().handle_exception(exc)


class Validation(CouponUse):
    """`coupons/{code}/validate/`."""

    @extend_schema_serializer(component_name="CouponValidationRequest")
    class Input(StrictSerializer):
        """The order somebody thinks of."""

        order_amount = OrderAmount()

    @extend_schema_serializer(component_name="CouponValidation")
    class Output(serializers.Serializer[Any]):
        """What the coupon would do for it."""

        valid = serializers.BooleanField()
        discount = serializers.IntegerField(min_value=0, help_text="In minor units.")
        reason = serializers.ChoiceField(
            choices=[
                *(state.value for state in CouponState if state != "usable"),
                "min_spend",
                "no_discount",
            ],
            allow_null=True,
            help_text="Why not; null when valid.",
        )

    @extend_schema(
        operation_id="validate_coupon",
        summary="Ask what a coupon would take off an order",
        request=Input,
        responses={
            200: Output,
            (400, PROBLEM): _INVALID,
            (404, PROBLEM): _UNKNOWN,
            (429, PROBLEM): _THROTTLED,
        },
        examples=[
            OpenApiExample(
                "Too small an order",
                value={"valid": False, "discount": 0, "reason": "min_spend"},
                response_only=True,
            )
        ],
    )
    @idempotent
    def post(self, request: Request, code: str) -> Response:
        """Return the discount for an order, or why there is none. Nothing is changed."""
        data = self.Input(data=request.data)
        data.is_valid(raise_exception=True)
        quote = redeeming.validate(code=code, by=request.user, **data.validated_data)
        return Response(self.Output(quote).data)


class Redemptions(CouponUse):
    """`coupons/{code}/redeem/`."""

    @extend_schema_serializer(component_name="RedemptionRequest")
    class Input(StrictSerializer):
        """The order the coupon is used for."""

        order_ref = StrictCharField(
            max_length=ORDER_REF_LENGTH,
            help_text="The shop's name of the order. The same one again gets the same answer.",
        )
        order_amount = OrderAmount()

    @extend_schema_serializer(component_name="Redemption")
    class Output(serializers.Serializer[Any]):
        """A coupon used for an order."""

        id = serializers.CharField(source="pk")
        code = serializers.CharField(source="coupon.code")
        order_ref = serializers.CharField()
        discount = serializers.IntegerField(min_value=0, help_text="In minor units.")

    @extend_schema(
        operation_id="redeem_coupon",
        summary="Use a coupon for an order",
        request=Input,
        responses={
            201: Output,
            (400, PROBLEM): _INVALID,
            (404, PROBLEM): _UNKNOWN,
            (409, PROBLEM): problem(
                "The coupon can't be used: `redeemed` (for another order), `suspended`, `revoked`, "
                "`expired`, `upcoming`, `min_spend`, `no_discount` (a percentage of so small an "
                "order is nothing), `order_amount_differs` (it was used for this order with "
                "another amount), or `order_undone` (its use for this order was rolled back: name "
                "another order).",
                409,
                *NOT_USABLE,
            ),
            (429, PROBLEM): _THROTTLED,
        },
        examples=[
            OpenApiExample(
                "An order of 49.90 EUR",
                value={"order_ref": "A-1042", "order_amount": 4990},
                request_only=True,
            )
        ],
    )
    @idempotent
    def post(self, request: Request, code: str) -> Response:
        """Use the coupon, once. Repeating the call for the same order is safe.

        It is safe after a rollback, too: the order is refused then.
        """
        data = self.Input(data=request.data)
        data.is_valid(raise_exception=True)
        redemption = redeeming.redeem(code=code, by=request.user, **data.validated_data)
        return Response(self.Output(redemption).data, status=status.HTTP_201_CREATED)


class Rollback(CouponUse):
    """`redemptions/{id}/rollback/`."""

    @extend_schema_serializer(component_name="RolledBackRedemption")
    class Output(Redemptions.Output):
        """A use that was undone."""

        rolled_back_at = serializers.DateTimeField()

    @extend_schema(
        operation_id="roll_back_redemption",
        summary="Undo the use of a coupon",
        request=None,
        responses={
            201: Output,
            (404, PROBLEM): problem(
                "None that the caller made. Accounts that may redeem anybody's coupons may undo "
                "any.",
                404,
                "unknown_redemption",
            ),
            (429, PROBLEM): _THROTTLED,
        },
    )
    @idempotent
    def post(self, request: Request, pk: UUID) -> Response:
        """Make the coupon usable again if it is still valid. A second call changes nothing.

        Whoever redeemed it may undo it: a shop redeems with its own account where owners may not.
        """
        redemption = redeeming.roll_back(redemption_id=pk, by=request.user)
        return Response(self.Output(redemption).data, status=status.HTTP_201_CREATED)
