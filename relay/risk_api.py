"""Answers of other systems over the API, signed."""

from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import permissions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.idempotency import idempotent
from api.openapi import PROBLEM, problem
from relay import decisions
from relay.decisions import DecisionInput
from relay.inbound import require_signature

SIGNATURE_HEADERS = [
    OpenApiParameter(name, str, OpenApiParameter.HEADER, required=True, description=description)
    for name, description in (
        ("webhook-id", "The message's own. The same again has no further effect."),
        ("webhook-timestamp", "Seconds since 1970, at most five minutes off."),
        ("webhook-signature", "`v1,` and base64 of HMAC-SHA256 over id, timestamp and body."),
    )
]


class RiskDecisions(APIView):
    """`risk-decisions/`."""

    authentication_classes = ()
    permission_classes = (permissions.AllowAny,)  # the signature is what counts

    @extend_schema_serializer(component_name="RiskDecisionReceived")
    class Output(serializers.Serializer[Any]):
        """The same for a message that was received before."""

        id = serializers.CharField(help_text="The message's webhook-id.")

    @extend_schema(
        operation_id="receive_risk_decision",
        summary="Answer a risk check",
        auth=[],
        parameters=SIGNATURE_HEADERS,
        request=DecisionInput,
        responses={
            202: Output,
            (401, PROBLEM): problem("No known secret has signed it.", 401, "bad_signature"),
        },
    )
    def post(self, request: Request) -> Response:
        """Take a decision, signed with Standard Webhooks headers. The same id has one effect."""
        message_id = require_signature(request._request, settings.RISK_DECISION_SECRETS)
        return self._receive(request, message_id)

    @idempotent
    def _receive(self, request: Request, message_id: str) -> Response:
        decisions.receive(message_id=message_id, data=request.data)
        return Response({"id": message_id}, status=status.HTTP_202_ACCEPTED)
