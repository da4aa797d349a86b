"""Leaving over the API: close the account, and take along what is kept of one."""

from typing import Any, cast

from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiResponse,
    extend_schema,
    extend_schema_serializer,
)
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import queries
from accounts.authentication import is_own_password, require_within_limit
from accounts.closing import CloseReason, close_account
from accounts.forms import WRONG_PASSWORD
from accounts.models import User
from api.caching import no_store
from api.fields import StrictCharField, StrictSerializer
from api.idempotency import idempotent
from api.openapi import PROBLEM, problem


@no_store
class Close(APIView):
    """`me/close/`."""

    @extend_schema_serializer(component_name="CloseRequest")
    class Input(StrictSerializer):
        """What says that it is really the owner who asks."""

        password = StrictCharField(trim_whitespace=False, write_only=True)

    @extend_schema_serializer(component_name="Closed")
    class Output(serializers.Serializer[Any]):
        """What happens now."""

        detail = serializers.CharField()

    @extend_schema(
        operation_id="close_account",
        summary="Close my account",
        request=Input,
        responses={
            202: OpenApiResponse(Output, description="Closed; what depends on it follows."),
            (400, PROBLEM): problem("The password is wrong or missing.", 400, "invalid"),
            (429, PROBLEM): problem("Too many attempts.", 429, "throttled"),
        },
    )
    def post(self, request: Request) -> Response:
        """Close the account of whoever asks, for good. All its tokens and sessions end.

        The person's data is taken out at once. Unused coupons are revoked within moments;
        points stay in the books, but nobody can spend them any more.
        """
        require_within_limit(request, "login")
        data = self.Input(data=request.data)
        data.is_valid(raise_exception=True)
        user = cast(User, request.user)
        password = data.validated_data["password"]
        if not is_own_password(request._request, user=user, password=password):
            raise serializers.ValidationError({"password": [WRONG_PASSWORD]}, "wrong_password")
        return self._close(request, user)

    @idempotent
    def _close(self, request: Request, user: User) -> Response:
        close_account(user_id=user.pk, reason=CloseReason.REQUESTED, actor=user.pk)
        detail = _("Your account is closed.")
        return Response(self.Output({"detail": detail}).data, status=status.HTTP_202_ACCEPTED)


@no_store
class Export(APIView):
    """`me/export/`."""

    @extend_schema(
        operation_id="export_account",
        summary="What is kept of me",
        responses={200: OpenApiResponse(OpenApiTypes.OBJECT, description="By part of Usher.")},
        examples=[
            OpenApiExample(
                "Nothing but an account",
                value={"accounts": {"email": "mei@example.com"}, "coupons": {}, "points": {}},
                response_only=True,
            )
        ],
    )
    def get(self, request: Request) -> Response:
        """Return everything that is kept of whoever asks. Other people appear masked."""
        return Response(queries.export_account(cast(User, request.user).pk))
