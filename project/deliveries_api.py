"""Deliveries over the API, for staff: look at them, replay and skip one."""

import re
from collections.abc import Callable
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.http import Http404
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import exceptions, generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.caching import revalidated
from api.fields import StrictCharField, StrictSerializer
from api.idempotency import idempotent
from api.openapi import PROBLEM, problem
from events.models import RECEIVER_LENGTH, Attempt, Delivery, DeliveryState
from events.operations.by_state import in_any_state, in_state
from events.operations.intervention import WrongState, replay_delivery, skip_delivery
from events.operations.known import is_receiver
from events.operations.signature import REASON_LENGTH
from project.staff_api import HasRight, filters_of, given

VIEW = "events.view_delivery"
FAILURES_SHOWN = 50  # of one delivery: the newest
_ID = re.compile(r"[0-9]{1,18}")  # what a database's integer holds; to callers it is a text

_FILTERS = [
    OpenApiParameter(name, schema, description=description)
    for name, schema, description in (
        ("state", {"type": "string", "enum": ["", *DeliveryState.values]}, "How they stand."),
        ("receiver", {"type": "string", "maxLength": RECEIVER_LENGTH}, "The receiver's name."),
        (
            "event",
            {"anyOf": [{"type": "string", "format": "uuid"}, {"const": ""}]},
            "The event's id.",
        ),
    )
]


class NotReplayable(exceptions.APIException):
    """409: it runs, or waits for an earlier one."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "not_replayable"
    default_detail = _("This delivery is %(state)s: it can't be replayed now.")


class NotSkippable(exceptions.APIException):
    """409: it runs, or is finished."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "not_skippable"
    default_detail = _("This delivery is %(state)s: it can't be skipped.")


@extend_schema_serializer(component_name="Delivery")
class DeliveryOutput(serializers.ModelSerializer[Delivery]):
    """One event owed to one receiver."""

    id = serializers.CharField(source="pk")
    event = serializers.CharField(source="event_id")
    version = serializers.IntegerField(min_value=1)
    target = serializers.CharField(help_text="An endpoint's id; empty for ordinary receivers.")
    state = serializers.ChoiceField(choices=DeliveryState.values)
    attempts = serializers.IntegerField(min_value=0, help_text="Since it was last replayed.")
    due_at = serializers.DateTimeField(
        allow_null=True, help_text="When it is run or tried again; null where it is not pending."
    )
    last_error = serializers.CharField(help_text="Empty where it has not failed.")
    fingerprint = serializers.CharField(help_text="The same for failures of one kind.")
    finished_at = serializers.DateTimeField(
        allow_null=True, help_text="When it was done or skipped."
    )
    skipped_by = serializers.CharField(help_text="Empty where it is not skipped.")

    class Meta:
        model = Delivery
        fields = (
            "id",
            "event",
            "type",
            "version",
            "key",
            "receiver",
            "target",
            "queue",
            "state",
            "attempts",
            "due_at",
            "last_error",
            "fingerprint",
            "finished_at",
            "skipped_by",
            "skip_reason",
        )


@extend_schema_serializer(component_name="DeliveryDetail")
class DeliveryDetail(DeliveryOutput):
    """One event owed to one receiver, with how it failed."""

    @extend_schema_serializer(component_name="DeliveryFailure")
    class Failure(serializers.ModelSerializer[Attempt]):
        """An attempt that failed."""

        number = serializers.IntegerField(min_value=1)

        class Meta:
            model = Attempt
            fields = (
                "number",
                "started_at",
                "ended_at",
                "error_class",
                "error_message",
                "fingerprint",
                "release",
            )

    failures = Failure(
        many=True, source="newest_failures", help_text="The newest first, at most 50."
    )

    class Meta(DeliveryOutput.Meta):
        fields = (*DeliveryOutput.Meta.fields, "failures")  # type: ignore[assignment]


@revalidated
class Deliveries(generics.ListAPIView[Delivery]):
    """`deliveries/`."""

    permission_classes = (HasRight,)
    right = VIEW
    queryset = Delivery.objects.all()
    serializer_class = DeliveryOutput
    ordering = "-id"

    class Filters(serializers.Serializer[Any]):
        """What the list can be narrowed by."""

        state = serializers.ChoiceField(choices=DeliveryState.values, required=False)
        receiver = StrictCharField(max_length=RECEIVER_LENGTH, required=False)
        event = serializers.UUIDField(required=False)

        def validate_receiver(self, value: str) -> str:
            """Refuse a name nobody knows: a typo must not look like "nothing to do"."""
            if not is_receiver(value):
                raise serializers.ValidationError(
                    _("There is no receiver of this name."), code="unknown_receiver"
                )
            return value

    def filter_queryset(self, queryset: QuerySet[Delivery, Any]) -> QuerySet[Delivery, Any]:
        """Narrow the list as the query says. Raises ValidationError (400)."""
        chosen = filters_of(self.request, self.Filters)
        if state := chosen.pop("state", None):
            queryset = in_state(queryset, state)
        elif "receiver" in chosen:
            queryset = in_any_state(queryset)
        return queryset.filter(**chosen)

    @extend_schema(operation_id="deliveries", summary="List deliveries", parameters=_FILTERS)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List what is and was owed to receivers, newest first."""
        return super().get(request, *args, **kwargs)


@revalidated
class OneDelivery(APIView):
    """`deliveries/{id}/`."""

    permission_classes = (HasRight,)
    right = VIEW

    @extend_schema(operation_id="delivery", summary="One delivery", responses=DeliveryDetail)
    def get(self, request: Request, pk: str) -> Response:
        """Return a delivery with its failed attempts."""
        newest = Attempt.objects.order_by("-started_at", "-pk")[:FAILURES_SHOWN]
        failures = Prefetch("failures", newest, to_attr="newest_failures")
        known = Delivery.objects.prefetch_related(failures)
        delivery = generics.get_object_or_404(known, pk=_number_in(pk))
        return Response(DeliveryDetail(delivery).data)


class ReplayDelivery(APIView):
    """`deliveries/{id}/replay/`."""

    permission_classes = (HasRight,)
    right = "events.replay_delivery"

    @extend_schema_serializer(component_name="DeliveryReplayRequest")
    class Input(StrictSerializer):
        """Why."""

        reason = StrictCharField(
            max_length=REASON_LENGTH, required=False, help_text="Kept with who replayed it, when."
        )

    @extend_schema(
        operation_id="replay_delivery",
        summary="Run a delivery once more",
        request={"application/json": Input},
        responses={
            202: DeliveryOutput,
            (409, PROBLEM): problem("It can't be replayed now.", 409, "not_replayable"),
        },
    )
    @idempotent
    def post(self, request: Request, pk: str) -> Response:
        """Make a dead, skipped, pending or done delivery due now, with fresh attempts.

        Harmless: what was applied is not applied again.
        """
        said = given(request, self.Input)
        delivery = _intervene(replay_delivery, pk, request, NotReplayable, **said)
        return Response(DeliveryOutput(delivery).data, status=status.HTTP_202_ACCEPTED)


class SkipDelivery(APIView):
    """`deliveries/{id}/skip/`."""

    permission_classes = (HasRight,)
    right = "events.skip_delivery"

    @extend_schema_serializer(component_name="DeliverySkipRequest")
    class Input(StrictSerializer):
        """Why."""

        reason = StrictCharField(max_length=REASON_LENGTH, help_text="Kept with the delivery.")

    @extend_schema(
        operation_id="skip_delivery",
        summary="Give a delivery up",
        request=Input,
        responses={
            200: DeliveryOutput,
            (409, PROBLEM): problem("It can't be skipped now.", 409, "not_skippable"),
        },
    )
    @idempotent
    def post(self, request: Request, pk: str) -> Response:
        """Give up a delivery that is dead, pending or waiting; what waits behind it goes on."""
        said = given(request, self.Input)
        delivery = _intervene(skip_delivery, pk, request, NotSkippable, **said)
        return Response(DeliveryOutput(delivery).data)


def _intervene(
    service: Callable[..., Delivery],
    pk: str,
    request: Request,
    refusal: type[NotReplayable | NotSkippable],
    **said: str,
) -> Delivery:
    """Call a service of operations; its refusal is the API's."""
    try:
        return service(_number_in(pk), by=request.user, **said)
    except Delivery.DoesNotExist:
        raise Http404 from None
    except WrongState as error:
        state = error.delivery.get_state_display()
        raise refusal(refusal.default_detail % {"state": state}) from None


def _number_in(pk: str) -> int:
    """Return the number of an id. Raises Http404 where it can be nobody's."""
    if not _ID.fullmatch(pk):
        raise Http404
    return int(pk)
