"""Receivers over the API, for staff: how they are doing, pause and resume one."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.caching import no_store
from api.fields import StrictCharField, StrictSerializer
from api.idempotency import idempotent
from events.models import ReceiverState
from events.operations.intervention import pause_receiver, resume_receiver
from events.operations.pausing import UnknownReceiver
from events.operations.signature import REASON_LENGTH
from events.operations.status import receiver_statuses
from events.receivers import Guarantee, get_receiver
from project.staff_api import HasRight, given


@extend_schema_serializer(component_name="Receiver")
class ReceiverOutput(serializers.Serializer[Any]):
    """A function that reacts to events, and how it is doing at this moment."""

    name = serializers.CharField()
    queue = serializers.CharField(help_text="One cluster of workers serves it.")
    guarantee = serializers.ChoiceField(choices=[each.value for each in Guarantee])
    types = serializers.ListField(
        child=serializers.CharField(), help_text="Of the events it listens to."
    )
    paused = serializers.BooleanField()
    due = serializers.IntegerField(help_text="Deliveries that a worker could take now.")
    scheduled = serializers.IntegerField(help_text="To be tried later, or while it is paused.")
    running = serializers.IntegerField()
    waiting = serializers.IntegerField(help_text="Behind an earlier one of the same key.")
    dead = serializers.IntegerField(help_text="Out of attempts: replay or skip them.")
    oldest_due_age_s = serializers.FloatField(allow_null=True, help_text="Null: nothing is due.")
    rate_per_s = serializers.FloatField(help_text="Done, over the last five minutes.")
    p50_s = serializers.FloatField(
        allow_null=True, help_text="From publish to done, over the last five minutes."
    )
    p95_s = serializers.FloatField(allow_null=True)


@extend_schema_serializer(component_name="ReceiverPause")
class PauseOutput(serializers.ModelSerializer[ReceiverState]):
    """Whether a receiver is paused, since when, and who did it why."""

    name = serializers.CharField()
    paused = serializers.SerializerMethodField()
    paused_at = serializers.DateTimeField(allow_null=True)
    paused_by = serializers.CharField(help_text="Empty where it runs.")
    pause_reason = serializers.CharField(help_text="Empty where it runs.")

    class Meta:
        model = ReceiverState
        fields = ("name", "paused", "paused_at", "paused_by", "pause_reason")

    def get_paused(self, state: ReceiverState) -> bool:
        """Tell whether it is paused."""
        return state.paused_at is not None


@no_store
class Receivers(APIView):
    """`receivers/`."""

    permission_classes = (HasRight,)
    right = "events.view_receiverstate"

    @extend_schema_serializer(component_name="Receivers")
    class Output(serializers.Serializer[Any]):
        """All receivers on one page: there are as many as this release declares."""

        next = serializers.CharField(allow_null=True, help_text="Always null.")
        previous = serializers.CharField(allow_null=True, help_text="Always null.")
        results = ReceiverOutput(many=True)

    @extend_schema(operation_id="receivers", summary="List receivers", responses=Output)
    def get(self, request: Request) -> Response:
        """List every receiver of this release with its backlog, in order of name."""
        rows = [_shown(asdict(each)) for each in receiver_statuses()]
        return Response(self.Output({"next": None, "previous": None, "results": rows}).data)


class PauseReceiver(APIView):
    """`receivers/{name}/pause/`."""

    permission_classes = (HasRight,)
    right = "events.pause_receiver"

    @extend_schema_serializer(component_name="ReceiverPauseRequest")
    class Input(StrictSerializer):
        """Why."""

        reason = StrictCharField(max_length=REASON_LENGTH, help_text="Kept until it is resumed.")

    @extend_schema(
        operation_id="pause_receiver",
        summary="Pause a receiver",
        request=Input,
        responses=PauseOutput,
    )
    @idempotent
    def post(self, request: Request, name: str) -> Response:
        """Stop a receiver's claims; what it runs already finishes, and deliveries queue up.

        Whoever paused it first stays named.
        """
        return _intervene(pause_receiver, name, request, **given(request, self.Input))


class ResumeReceiver(APIView):
    """`receivers/{name}/resume/`."""

    permission_classes = (HasRight,)
    right = "events.pause_receiver"

    @extend_schema_serializer(component_name="ReceiverResumeRequest")
    class Input(StrictSerializer):
        """Why."""

        reason = StrictCharField(
            max_length=REASON_LENGTH, required=False, help_text="Kept with who resumed it, when."
        )

    @extend_schema(
        operation_id="resume_receiver",
        summary="Let a receiver run again",
        request={"application/json": Input},
        responses=PauseOutput,
    )
    @idempotent
    def post(self, request: Request, name: str) -> Response:
        """Let a receiver go on where it stood. One that is not paused stays as it is."""
        return _intervene(resume_receiver, name, request, **given(request, self.Input))


def _intervene(
    service: Callable[..., ReceiverState], name: str, request: Request, **said: str
) -> Response:
    """Call a service of operations. Raises Http404 where nobody has such a receiver."""
    try:
        state = service(name, by=request.user, **said)
    except UnknownReceiver:
        raise Http404 from None
    return Response(PauseOutput(state).data)


def _shown(status: dict[str, Any]) -> dict[str, Any]:
    """Return a receiver's status under the names of the API."""
    name = status.pop("receiver")
    types = [signal.type for signal in get_receiver(name).signals]
    return {"name": name, "types": sorted(types), **status}
