"""The event log over the API, for staff: to read."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from api.caching import revalidated
from api.fields import StrictCharField
from events.models import KEY_LENGTH, TYPE_LENGTH, Event
from project.staff_api import HasRight, filters_of

VIEW = "events.view_event"


@extend_schema_serializer(component_name="Event")
class EventOutput(serializers.ModelSerializer[Event]):
    """A fact that was recorded. It never changes."""

    id = serializers.CharField(source="event_id")
    version = serializers.IntegerField(min_value=1, help_text="Of the shape of its data.")
    key = serializers.CharField(help_text="What it is about: most often an account's id.")
    data = serializers.DictField(  # type: ignore[assignment]  # a field here
        help_text="As it was recorded, in the shape of its version."
    )
    causation_id = serializers.CharField(
        allow_null=True, help_text="The event that caused it; null where a request or command did."
    )

    class Meta:
        model = Event
        fields = (
            "id",
            "type",
            "version",
            "key",
            "data",
            "occurred_at",
            "correlation_id",
            "causation_id",
        )


@revalidated
class Events(generics.ListAPIView[Event]):
    """`events/`."""

    permission_classes = (HasRight,)
    right = VIEW
    queryset = Event.objects.all()
    serializer_class = EventOutput
    ordering = "-position"

    class Filters(serializers.Serializer[Any]):
        """What the list can be narrowed by."""

        type = StrictCharField(
            required=False,
            allow_blank=True,
            max_length=TYPE_LENGTH,
            help_text="Such as `accounts.user_registered`.",
        )
        key = StrictCharField(
            required=False,
            allow_blank=True,
            max_length=KEY_LENGTH,
            help_text="Whom or what it is about: an account's id.",
        )
        correlation_id = StrictCharField(
            required=False,
            allow_blank=True,
            max_length=128,
            help_text="The `X-Request-ID` of the request that set it off.",
        )

    def filter_queryset(self, queryset: QuerySet[Event, Any]) -> QuerySet[Event, Any]:
        """Narrow the list as the query says. Raises ValidationError (400)."""
        return queryset.filter(**filters_of(self.request, self.Filters))

    @extend_schema(operation_id="events", summary="List events", parameters=[Filters])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List what has happened, newest first."""
        return super().get(request, *args, **kwargs)


@revalidated
class OneEvent(generics.RetrieveAPIView[Event]):
    """`events/{id}/`."""

    permission_classes = (HasRight,)
    right = VIEW
    queryset = Event.objects.all()
    serializer_class = EventOutput
    lookup_field = "event_id"

    @extend_schema(operation_id="event", summary="One event")
    def get(self, request: Request, *args: Any, **kwargs: UUID) -> Response:
        """Return an event. `deliveries/?event=` tells what came of it."""
        return super().get(request, *args, **kwargs)
