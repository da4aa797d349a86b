"""Checkouts over the API: an order paid with a coupon and points, with both or with neither."""

from typing import Any, cast
from uuid import UUID

from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_serializer
from rest_framework import exceptions, generics, permissions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from api.caching import revalidated
from api.fields import StrictCharField, StrictIntegerField, StrictSerializer
from api.idempotency import idempotent
from api.openapi import PROBLEM, problem
from coupons.api import NOT_USABLE
from coupons.redeeming import REDEEM_ANY, NotFound
from coupons.redemptions import MAX_ORDER_AMOUNT
from coupons.refusals import Refused
from points.refusals import MAX_AMOUNT
from project import checkouts
from project.models import Checkout, CheckoutState

SPEND_ANY = "points.spend_points"


class MayCheckOut(permissions.IsAuthenticated):
    """Who may redeem anybody's coupons and spend anybody's points: a shop."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether the caller has both permissions."""
        return super().has_permission(request, view) and request.user.has_perms(
            [REDEEM_ANY, SPEND_ANY]
        )


class Conflict(exceptions.APIException):
    """409: a rule of coupons forbids it."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


@extend_schema_serializer(component_name="Checkout")
class CheckoutOutput(serializers.ModelSerializer[Checkout]):
    """An order that is paid with a coupon and points."""

    id = serializers.CharField(source="pk")
    user = serializers.CharField(source="user_id")
    discount = serializers.IntegerField(
        source="redemption.discount", min_value=0, help_text="In minor units."
    )
    state = serializers.ChoiceField(choices=CheckoutState.values)
    reason = serializers.CharField(
        source="reason_or_none", allow_null=True, help_text="Why it was refused."
    )
    detail = serializers.SerializerMethodField(help_text="The reason as a sentence for people.")

    class Meta:
        model = Checkout
        fields = ("id", "order_ref", "user", "points", "discount", "state", "reason", "detail")

    def get_detail(self, checkout: Checkout) -> str | None:
        """Return why it was refused, or None."""
        return checkouts.explain_refusal(checkout.reason) if checkout.reason else None


class Checkouts(APIView):
    """`checkouts/`."""

    permission_classes = (MayCheckOut,)

    @extend_schema_serializer(component_name="CheckoutRequest")
    class Input(StrictSerializer):
        """What is paid, and with what."""

        code = StrictCharField(max_length=100, help_text="The coupon. Its owner pays the points.")
        order_ref = StrictCharField(
            max_length=checkouts.MAX_ORDER_REF_LENGTH,
            help_text="The shop's name of the order. The same one again is the same checkout.",
        )
        order_amount = StrictIntegerField(
            min_value=1, max_value=MAX_ORDER_AMOUNT, help_text="In minor units."
        )
        points = StrictIntegerField(min_value=1, max_value=MAX_AMOUNT)

    @extend_schema(
        operation_id="start_checkout",
        summary="Pay an order with a coupon and points",
        request=Input,
        responses={
            202: CheckoutOutput,
            (400, PROBLEM): problem("A field was refused.", 400, "invalid"),
            (404, PROBLEM): problem(
                "There is no such coupon.", 404, "unknown_code", "mistyped_code"
            ),
            (409, PROBLEM): problem("The coupon can't be used.", 409, *NOT_USABLE, "order_differs"),
        },
        examples=[
            OpenApiExample(
                "A coupon and 60 points",
                value={
                    "code": "7KQ2M9XW4TBC",
                    "order_ref": "A-1042",
                    "order_amount": 4990,
                    "points": 60,
                },
                request_only=True,
            )
        ],
    )
    def post(self, request: Request) -> Response:
        """Redeem the coupon, and ask for the points. The answer is `pending`: ask again.

        Where the points are refused the coupon is given back, and the state says `refused`.
        """
        data = self.Input(data=request.data)
        data.is_valid(raise_exception=True)
        return self._start(request, data.validated_data)

    @idempotent
    def _start(self, request: Request, terms: dict[str, Any]) -> Response:
        try:
            checkout = checkouts.start(terms=checkouts.Terms(**terms), by=cast(User, request.user))
        except NotFound as refusal:
            raise exceptions.NotFound(refusal.sentence, refusal.code) from None
        except Refused as refusal:
            raise Conflict(refusal.sentence, refusal.code) from None
        return Response(CheckoutOutput(checkout).data, status=status.HTTP_202_ACCEPTED)


@revalidated
class CheckoutDetail(generics.RetrieveAPIView[Checkout]):
    """`checkouts/{id}/`."""

    permission_classes = (MayCheckOut,)
    queryset = Checkout.objects.select_related("redemption")
    serializer_class = CheckoutOutput

    @extend_schema(operation_id="checkout", summary="How far a checkout has come")
    def get(self, request: Request, *args: Any, **kwargs: UUID) -> Response:
        """Return the checkout as it is now."""
        return super().get(request, *args, **kwargs)
