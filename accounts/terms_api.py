"""The terms over the API: what counts now, what a person agreed to, and agreeing to it."""

from typing import Any, cast

from django.conf import settings
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import permissions, serializers, status
from rest_framework.exceptions import ErrorDetail
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import terms
from accounts.consents import Channel
from accounts.models import User
from accounts.terms import Agreed, Document
from api.caching import no_store, revalidated
from api.fields import StrictCharField, StrictSerializer
from api.idempotency import idempotent
from api.openapi import PROBLEM, problem


def agreed_over_api(shown: str | None, *, field: str) -> Agreed | None:
    """Return what a caller says was agreed to, in a field of the body; None: it says nothing.

    Raises ValidationError (terms_outdated).
    """
    try:
        return terms.agreed(Channel.API, shown=shown)
    except terms.Outdated:
        detail = _(
            "These terms do not count any more. Show the person those of version %(version)s."
        )
        detail %= {"version": settings.TERMS_VERSION}
        error = ErrorDetail(detail, "terms_outdated")
        raise serializers.ValidationError({field: [error]}) from None


@revalidated
class Terms(APIView):
    """`terms/`."""

    permission_classes = (permissions.AllowAny,)

    @extend_schema_serializer(component_name="Terms")
    class Output(serializers.Serializer[Any]):
        """What whoever signs up agrees to, in the language asked for."""

        version = serializers.CharField()
        terms_url = serializers.URLField()
        privacy_url = serializers.URLField()

    @extend_schema(operation_id="terms", summary="The terms that count now", responses=Output)
    def get(self, request: Request) -> Response:
        """Return the version of the terms that count now, and where to read them."""
        return Response(self.Output(_now()).data)


@no_store
class MyTerms(APIView):
    """`me/terms/`."""

    @extend_schema_serializer(component_name="AgreementRequest")
    class Input(StrictSerializer):
        """What a person was shown and agreed to."""

        version = StrictCharField(help_text="`version` of `terms/`, as it was shown.")

    @extend_schema_serializer(component_name="MyTerms")
    class Output(serializers.Serializer[Any]):
        """What counts now, and what the person agreed to last."""

        version = serializers.CharField()
        terms_url = serializers.URLField()
        privacy_url = serializers.URLField()
        agreed_version = serializers.CharField(allow_null=True)
        agreed_at = serializers.DateTimeField(allow_null=True)

    @extend_schema(operation_id="my_terms", summary="What I agreed to", responses=Output)
    def get(self, request: Request) -> Response:
        """Return what counts now and what the person agreed to last; null: nothing."""
        return Response(self._output(cast(User, request.user)))

    @extend_schema(
        operation_id="agree_to_terms",
        summary="Agree to the terms",
        request=Input,
        responses={
            201: Output,
            (400, PROBLEM): problem("Other terms count by now.", 400, "invalid"),
        },
    )
    def post(self, request: Request) -> Response:
        """Record that the person agrees to the terms that count now. Once is enough."""
        data = self.Input(data=request.data)
        data.is_valid(raise_exception=True)
        return self._agree(request, data.validated_data["version"])

    @idempotent
    def _agree(self, request: Request, version: str) -> Response:
        user = cast(User, request.user)
        if given := agreed_over_api(version, field="version"):
            terms.agree(user=user, given=given, language=get_language() or user.language)
        return Response(self._output(user), status=status.HTTP_201_CREATED)

    def _output(self, user: User) -> Any:
        latest = terms.latest_of(user.pk)
        agreed = {
            "agreed_version": latest.version if latest else None,
            "agreed_at": latest.agreed_at if latest else None,
        }
        return self.Output({**_now(), **agreed}).data


def _now() -> dict[str, str]:
    return {
        "version": settings.TERMS_VERSION,
        "terms_url": terms.public_url_of(Document.TERMS),
        "privacy_url": terms.public_url_of(Document.PRIVACY),
    }
