"""A person's points over the API."""

from typing import Any, cast
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from points.ledger import Entry, EntryKind
from points.queries import summary_of


class MyPoints(APIView):
    """`me/points/`."""

    @extend_schema_serializer(component_name="Points")
    class Output(serializers.Serializer[Any]):
        """What a person has."""

        balance = serializers.IntegerField(
            help_text="Below zero only after a reversal; later credits repay it."
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
