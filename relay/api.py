"""Endpoints over the API, for staff."""

from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from msgspec import ValidationError
from rest_framework import generics, permissions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.caching import no_store, no_store_of_post, revalidated
from api.fields import (
    StrictCharField,
    StrictDateTimeField,
    StrictIntegerField,
    StrictSerializer,
    require_empty_body,
)
from api.idempotency import idempotent, idempotent_in_chunks, idempotent_with_secret
from events.delivery.effects import envelope_of
from events.models import Attempt
from events.signals import UnreadableVersion
from relay import services
from relay.endpoints import DisabledReason, Endpoint, EndpointState
from relay.sending import body_of
from relay.transport import EXCERPT_LENGTH


class MayOperateEndpoints(permissions.DjangoModelPermissions):
    """Django's own permissions on endpoints, that to view them included."""

    perms_map = {  # noqa: RUF012  as the library types it
        **permissions.DjangoModelPermissions.perms_map,
        "GET": ["relay.view_endpoint"],
        "HEAD": ["relay.view_endpoint"],
    }


class MaySeeAttempts(permissions.BasePermission):
    """Who may view endpoints, said without a look at one: nobody else learns which there are."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether the caller may view endpoints."""
        return bool(request.user and request.user.has_perm("relay.view_endpoint"))


class MayTestEndpoints(permissions.BasePermission):
    """To send a test event is to change nothing, but not for everybody."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether the caller may change endpoints."""
        return bool(request.user and request.user.has_perm("relay.change_endpoint"))


class MayReplayEndpoints(permissions.BasePermission):
    """Who may send events once more."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether the caller may replay."""
        return bool(request.user and request.user.has_perm("relay.replay_endpoint"))


@extend_schema_serializer(component_name="Endpoint")
class EndpointOutput(serializers.ModelSerializer[Endpoint]):
    """Where events are sent. Secrets are not shown."""

    id = serializers.CharField(source="pk")
    event_types = serializers.ListField(child=serializers.CharField())
    state = serializers.ChoiceField(choices=EndpointState.values)
    disabled_reason = serializers.ChoiceField(
        choices=["", *DisabledReason.values], help_text="Empty where it is enabled."
    )
    schedule_s = serializers.ListField(child=serializers.IntegerField())

    class Meta:
        model = Endpoint
        fields = (
            "id",
            "name",
            "url",
            "event_types",
            "owner_email",
            "state",
            "disabled_reason",
            "max_attempts",
            "schedule_s",
            "failing_since",
            "rests_until",
            "created_at",
            "updated_at",
        )


@extend_schema_serializer(component_name="EndpointRequest")
class EndpointInput(StrictSerializer):
    """An endpoint's settings."""

    name = StrictCharField(max_length=100)
    url = StrictCharField(help_text="The scheme chooses the transport. A password is not shown.")
    event_types = serializers.ListField(child=StrictCharField(), max_length=200)
    owner_email = serializers.EmailField(help_text="Told when the endpoint is disabled.")
    max_attempts = StrictIntegerField(required=False)
    schedule_s = serializers.ListField(
        child=StrictIntegerField(), required=False, help_text="Seconds before each attempt."
    )


@extend_schema_serializer(component_name="EndpointChanges")
class EndpointChanges(EndpointInput):
    """An endpoint's settings, and whether it is enabled."""

    state = serializers.ChoiceField(choices=EndpointState.values, required=False)


@extend_schema_serializer(component_name="EndpointSecret")
class SecretOutput(serializers.Serializer[Any]):
    """The secret that messages are signed with, shown this once."""

    secret = serializers.CharField()


@no_store_of_post
@revalidated
class Endpoints(generics.ListAPIView[Endpoint]):
    """`endpoints/`."""

    permission_classes = (MayOperateEndpoints,)
    queryset = Endpoint.objects.all()
    serializer_class = EndpointOutput
    ordering = "-id"

    @extend_schema_serializer(component_name="EndpointCreated")
    class Created(EndpointOutput):
        """A new endpoint, with the secret that is shown this once."""

        secret = serializers.CharField()

        class Meta(EndpointOutput.Meta):
            fields = (*EndpointOutput.Meta.fields, "secret")  # type: ignore[assignment]

    @extend_schema(operation_id="endpoints", summary="List endpoints")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List endpoints, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="create_endpoint",
        summary="Create an endpoint",
        request=EndpointInput,
        responses={201: Created},
    )
    @idempotent_with_secret
    def post(self, request: Request) -> Response:
        """Create an endpoint, and return its secret."""
        data = EndpointInput(data=request.data)
        data.is_valid(raise_exception=True)
        created = _validated(services.create_endpoint, **data.validated_data)
        output = {**EndpointOutput(created.endpoint).data, "secret": created.secret}
        return Response(output, status=status.HTTP_201_CREATED)


@revalidated
class OneEndpoint(generics.GenericAPIView[Endpoint]):
    """`endpoints/{id}/`."""

    permission_classes = (MayOperateEndpoints,)
    queryset = Endpoint.objects.all()
    serializer_class = EndpointOutput

    @extend_schema(operation_id="endpoint", summary="One endpoint")
    def get(self, request: Request, pk: UUID) -> Response:
        """Return an endpoint."""
        return Response(EndpointOutput(self.get_object()).data)

    @extend_schema(
        operation_id="change_endpoint",
        summary="Change an endpoint",
        request=EndpointChanges,
        responses=EndpointOutput,
    )
    def patch(self, request: Request, pk: UUID) -> Response:
        """Change what is given; `state` enables or disables it."""
        self.get_object()
        data = EndpointChanges(data=request.data, partial=True)
        data.is_valid(raise_exception=True)
        changes = dict(data.validated_data)
        state = changes.pop("state", None)
        _validated(services.change_endpoint, endpoint_id=pk, **changes)
        if state == EndpointState.ENABLED:
            services.enable_endpoint(endpoint_id=pk)
        elif state == EndpointState.DISABLED:
            services.disable_endpoint(endpoint_id=pk)
        return Response(EndpointOutput(self.get_object()).data)

    @extend_schema(operation_id="delete_endpoint", summary="Delete an endpoint")
    def delete(self, request: Request, pk: UUID) -> Response:
        """Delete an endpoint; what it was owed is skipped."""
        self.get_object()
        services.delete_endpoint(endpoint_id=pk, by=request.user.get_username())
        return Response(status=status.HTTP_204_NO_CONTENT)


@no_store
class EndpointSecret(APIView):
    """`endpoints/{id}/secret/`."""

    permission_classes = (MayTestEndpoints,)

    @extend_schema(
        operation_id="rotate_endpoint_secret",
        summary="Give an endpoint a new secret",
        request=None,
        responses={201: SecretOutput},
    )
    @idempotent_with_secret
    def post(self, request: Request, pk: UUID) -> Response:
        """Return a new secret. For a day messages are signed with the former one too."""
        require_empty_body(request)
        try:
            secret = services.rotate_secret(endpoint_id=pk)
        except Endpoint.DoesNotExist:
            raise Http404 from None
        return Response({"secret": secret}, status=status.HTTP_201_CREATED)


class EndpointTest(APIView):
    """`endpoints/{id}/test/`."""

    permission_classes = (MayTestEndpoints,)

    @extend_schema_serializer(component_name="EndpointTested")
    class Output(serializers.Serializer[Any]):
        """The test event: its deliveries and attempts tell how it went."""

        event = serializers.CharField()

    @extend_schema(
        operation_id="test_endpoint",
        summary="Send a test event",
        request=None,
        responses={202: Output},
    )
    @idempotent
    def post(self, request: Request, pk: UUID) -> Response:
        """Send a test event, also to a disabled endpoint."""
        require_empty_body(request)
        try:
            event_id = services.test_endpoint(endpoint_id=pk)
        except Endpoint.DoesNotExist:
            raise Http404 from None
        return Response({"event": str(event_id)}, status=status.HTTP_202_ACCEPTED)


class EndpointReplay(APIView):
    """`endpoints/{id}/replay/`."""

    permission_classes = (MayReplayEndpoints,)

    @extend_schema_serializer(component_name="EndpointReplayRequest")
    class Input(StrictSerializer):
        """By when the events occurred."""

        since = StrictDateTimeField(help_text="Included.")
        until = StrictDateTimeField(required=False, help_text="Excluded; now by default.")

    @extend_schema_serializer(component_name="EndpointReplayed")
    class Output(serializers.Serializer[Any]):
        """How many events are sent."""

        replayed = serializers.IntegerField()

    @extend_schema(
        operation_id="replay_endpoint",
        summary="Send events once more",
        request=Input,
        responses={202: Output},
    )
    @idempotent_in_chunks
    def post(self, request: Request, pk: UUID) -> Response:
        """Send everything of a span of time that the endpoint asked for, once more."""
        data = self.Input(data=request.data)
        data.is_valid(raise_exception=True)
        try:
            replayed = services.replay_endpoint(endpoint_id=pk, **data.validated_data)
        except Endpoint.DoesNotExist:
            raise Http404 from None
        return Response({"replayed": replayed}, status=status.HTTP_202_ACCEPTED)


@revalidated
class EndpointAttempts(generics.ListAPIView[Attempt]):
    """`endpoints/{id}/attempts/`."""

    permission_classes = (MaySeeAttempts,)
    ordering = "-id"

    @extend_schema_serializer(component_name="EndpointAttempt")
    class Output(serializers.ModelSerializer[Attempt]):
        """A failed attempt to send an event."""

        event = serializers.CharField(source="delivery.event_id")
        type = serializers.CharField(source="delivery.type")
        state = serializers.CharField(source="delivery.state", help_text="What became of it since.")
        number = serializers.IntegerField(min_value=1)
        error = serializers.CharField(
            source="error_message", help_text="With an excerpt of the answer, if there was one."
        )
        request = serializers.SerializerMethodField(
            help_text="The beginning of what was sent; empty where this release cannot read it."
        )

        class Meta:
            model = Attempt
            fields = (
                *("event", "type", "state", "number", "started_at", "ended_at", "error"),
                "request",
            )

        def get_request(self, attempt: Attempt) -> str:
            """Return an excerpt of the body, which is the same at every attempt."""
            try:
                return body_of(envelope_of(attempt.delivery)).decode()[:EXCERPT_LENGTH]
            except (KeyError, UnreadableVersion, ValidationError):
                return ""

    serializer_class = Output

    def get_queryset(self) -> QuerySet[Attempt]:
        """Return the failed attempts of one endpoint. Raises Http404 where there is none."""
        return services.attempts_of(generics.get_object_or_404(Endpoint, pk=self.kwargs["pk"]))

    @extend_schema(operation_id="endpoint_attempts", summary="Failed attempts")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the failed attempts of an endpoint, newest first."""
        return super().get(request, *args, **kwargs)


def _validated(service: Any, **values: Any) -> Any:
    """Call a service; its refusal is the API's."""
    try:
        return service(**values)
    except DjangoValidationError as error:
        raise serializers.ValidationError(serializers.as_serializer_error(error)) from None
