"""The name by which a person invites others, over the API."""

from typing import Any, cast

from django.core.exceptions import ValidationError as DjangoValidationError
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import names
from accounts.models import NAME_LENGTH, User
from api.caching import no_store
from api.fields import StrictCharField, StrictSerializer
from api.openapi import PROBLEM, problem


@no_store
class MyName(APIView):
    """`me/name/`."""

    @extend_schema_serializer(component_name="Name")
    class Body(StrictSerializer):
        """How people whom somebody invites know them."""

        display_name = StrictCharField(
            allow_blank=True,
            help_text=f"At most {NAME_LENGTH} characters, no addresses or links. Whoever opens the "
            "invite link sees it; empty: nobody is named.",
        )

    @extend_schema(operation_id="my_name", summary="My name", responses=Body)
    def get(self, request: Request) -> Response:
        """Return the name by which the person invites others."""
        return Response({"display_name": cast(User, request.user).display_name})

    @extend_schema(
        operation_id="set_my_name",
        summary="Set my name",
        request=Body,
        responses={200: Body, (400, PROBLEM): problem("The name was refused.", 400, "invalid")},
    )
    def put(self, request: Request) -> Response:
        """Store the name by which the person invites others, or none."""
        data = self.Body(data=request.data)
        data.is_valid(raise_exception=True)
        name = data.validated_data["display_name"]
        try:
            stored = names.set_name(user_id=cast(User, request.user).pk, name=name)
        except DjangoValidationError as error:
            field = {"display_name": serializers.as_serializer_error(error)["non_field_errors"]}
            raise serializers.ValidationError(cast(Any, field)) from None
        return Response({"display_name": stored})
