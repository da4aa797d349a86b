"""A person's points over the API, and spending them on behalf of a person."""

from typing import Any, cast
from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import generics, permissions, serializers, status
from rest_framework.exceptions import APIException, ErrorDetail
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.caching import revalidated
from api.fields import (
    StrictCharField,
    StrictIntegerField,
    StrictSerializer,
    UserIdField,
)
from api.idempotency import idempotent
from api.openapi import PROBLEM, problem
from points import refusals, spending
from points.ledger import Entry, EntryKind
from points.queries import summary_of


@revalidated
class MyPoints(APIView):
    """`me/points/`."""

    @extend_schema_serializer(component_name="Points")
    class Output(serializers.Serializer[Any]):
        """What a person has."""

        balance = serializers.IntegerField(
            help_text="To spend: what has lapsed does not count, also where its entry is not "
            "written yet. Below zero only after a reversal; later credits repay it."
        )
        pending = serializers.IntegerField(help_text="Of rewards that are not granted yet.")
        frozen = serializers.BooleanField(help_text="Whether spending is suspended.")
        lifetime_earned = serializers.IntegerField()
        next_expiry = serializers.DateTimeField(
            allow_null=True, help_text="When the next points lapse; null where none will."
        )

    @extend_schema(operation_id="my_points", summary="My points", responses=Output)
    def get(self, request: Request) -> Response:
        """Return the points of whoever asks; all zero where they never had any."""
        return Response(self.Output(summary_of(cast(UUID, request.user.pk))).data)


@revalidated
class MyEntries(generics.ListAPIView[Entry]):
    """`me/points/entries/`."""

    ordering = "-number"

    @extend_schema_serializer(component_name="PointsEntry")
    class Output(serializers.ModelSerializer[Entry]):
        """One change of a balance. Credits are positive."""

        id = serializers.CharField(source="pk")
        kind = serializers.ChoiceField(choices=EntryKind.values)

        class Meta:
            model = Entry
            fields = ("id", "kind", "amount", "balance_after", "occurred_at", "reason")

    serializer_class = Output

    def get_queryset(self) -> QuerySet[Entry]:
        """Return the entries of whoever asks, and nobody else's."""
        return Entry.objects.filter(account=self.request.user.pk)

    @extend_schema(operation_id="my_points_entries", summary="My points history")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the changes of the balance of whoever asks, newest first."""
        return super().get(request, *args, **kwargs)


class RefusedProblem(APIException):
    """409, or what suits the refusal better: points were not moved, and why."""

    status_code: int = status.HTTP_409_CONFLICT

    def __init__(self, refusal: refusals.Refused) -> None:
        super().__init__(refusal.sentence, refusal.code)
        if isinstance(refusal, refusals.UnknownEntry):
            self.status_code = status.HTTP_404_NOT_FOUND


class MaySpendPoints(permissions.IsAuthenticated):
    """Who has the permission `points.spend_points`: services, not the people themselves."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether the caller has it."""
        return super().has_permission(request, view) and request.user.has_perm(
            "points.spend_points"
        )


class Spend(APIView):
    """`points/spend/`."""

    permission_classes = (MaySpendPoints,)

    @extend_schema_serializer(component_name="PointsSpendRequest")
    class Input(StrictSerializer):
        """Who pays which order."""

        user = UserIdField(help_text="The id of the account that pays.")
        amount = StrictIntegerField(
            min_value=1, max_value=refusals.MAX_AMOUNT, help_text="In points."
        )
        order_ref = StrictCharField(
            max_length=spending.MAX_ORDER_REF_LENGTH,
            help_text="What is paid. The same one again is the same spending.",
        )

        def validate_order_ref(self, order_ref: str) -> str:
            """Refuse names that Usher itself gives to what it spends."""
            if order_ref.startswith(spending.RESERVED_PREFIX):
                sentence = _("References do not begin with %(prefix)s.")
                raise serializers.ValidationError(
                    sentence % {"prefix": spending.RESERVED_PREFIX}, "reserved"
                )
            return order_ref

    @extend_schema(
        operation_id="spend_points",
        summary="Spend a person's points",
        request=Input,
        responses={
            201: MyEntries.Output,
            (409, PROBLEM): problem(
                "The points can't be spent: `insufficient_points`, `account_frozen`, "
                "`account_closed`, `order_conflict` (the order was paid with other points) or "
                "`order_undone` (it was paid, and that was undone).",
                409,
                refusals.InsufficientPoints.code,
                refusals.AccountFrozen.code,
                refusals.AccountClosed.code,
                refusals.OrderConflict.code,
                refusals.OrderUndone.code,
            ),
        },
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Take points for an order. The same order again is the same entry: none is taken twice."""
        data = self.Input(data=request.data)
        data.is_valid(raise_exception=True)
        given = data.validated_data
        try:
            entry = spending.spend(
                user_id=given["user"],
                amount=given["amount"],
                order_ref=given["order_ref"],
                actor_id=cast(UUID, request.user.pk),
            )
        except refusals.UnknownUser as refusal:
            error = ErrorDetail(str(refusal), refusal.code)
            raise serializers.ValidationError({"user": [error]}) from None
        except refusals.Refused as refusal:
            raise RefusedProblem(refusal) from None
        return Response(MyEntries.Output(entry).data, status=status.HTTP_201_CREATED)


class RollBackSpend(APIView):
    """`points/entries/{id}/rollback/`."""

    permission_classes = (MaySpendPoints,)

    @extend_schema(
        operation_id="roll_back_points_spend",
        summary="Undo a spending",
        request=None,
        responses={
            201: MyEntries.Output,
            (404, PROBLEM): problem("There is no such entry.", 404, refusals.UnknownEntry.code),
            (409, PROBLEM): problem(
                "The entry is another one, no spending.", 409, refusals.NotASpending.code
            ),
        },
    )
    @idempotent
    def post(self, request: Request, entry_id: UUID) -> Response:
        """Give back what an entry spent. A second call is a no-op with the same answer."""
        try:
            entry = spending.roll_back_spend(
                entry_id=entry_id, actor_id=cast(UUID, request.user.pk)
            )
        except refusals.Refused as refusal:
            raise RefusedProblem(refusal) from None
        return Response(MyEntries.Output(entry).data, status=status.HTTP_201_CREATED)
