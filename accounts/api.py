"""Accounts over the API: register, get and give up a token, look at oneself."""

from collections.abc import Mapping
from functools import partial
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import transaction
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiResponse,
    extend_schema,
    extend_schema_serializer,
)
from rest_framework import permissions, serializers, status
from rest_framework.exceptions import APIException, NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import limits, queries, services, verification
from accounts.authentication import (
    TokenAuthentication,
    authenticate,
    invalid_credentials,
    pass_second_factor,
    require_within_limit,
    second_factor_required,
)
from accounts.models import AccountStatus, User
from accounts.terms_api import agreed_over_api
from api.caching import no_store
from api.fields import StrictCharField, StrictSerializer
from api.idempotency import idempotent, is_about
from api.openapi import PROBLEM, problem


class EmailTakenProblem(APIException):
    """409: the address belongs to an account already."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "email_taken"
    default_detail = gettext_lazy("An account with this e-mail address already exists.")


class Registrations(APIView):
    """`registrations/`."""

    permission_classes = (permissions.AllowAny,)

    @extend_schema_serializer(component_name="RegistrationRequest")
    class Input(StrictSerializer):
        """What a person types to sign up."""

        email = StrictCharField(help_text="At most 254 characters. Case does not matter.")
        password = StrictCharField(
            trim_whitespace=False, write_only=True, help_text="8 to 128 characters, as typed."
        )
        referral_code = StrictCharField(
            required=False,
            allow_blank=True,
            allow_null=True,
            help_text="The code of whoever invited the person. A bad one never blocks.",
        )
        terms_version = StrictCharField(
            required=False,
            allow_blank=True,
            allow_null=True,
            help_text="Which terms the person was shown, and agreed to: `version` of `terms/`. "
            "Without it no agreement is recorded, and the person is asked later.",
        )

    @extend_schema_serializer(component_name="Registration")
    class Output(serializers.Serializer[Any]):
        """The new account."""

        @extend_schema_serializer(component_name="RegistrationReferral")
        class Referral(serializers.Serializer[Any]):
            """Whether somebody was credited for the invitation."""

            applied = serializers.BooleanField(source="referral_applied")
            reason = serializers.ChoiceField(
                choices=[reason.value for reason in services.ReferralReason],
                source="referral_reason",
                allow_null=True,
                help_text="Why not; null when applied.",
            )

        id = serializers.CharField(source="user.pk")
        email = serializers.CharField(source="user.email")
        registered_at = serializers.DateTimeField(source="user.registered_at")
        referral = Referral(source="*")

    @extend_schema_serializer(component_name="RegistrationPending")
    class Accepted(serializers.Serializer[Any]):
        """The same for known and unknown addresses."""

        detail = serializers.CharField()

    @extend_schema(
        operation_id="register",
        summary="Register a person",
        request=Input,
        responses={
            201: Output,
            202: OpenApiResponse(Accepted, description="A link was sent to the address."),
            (400, PROBLEM): problem("A field was refused.", 400, "invalid"),
            (409, PROBLEM): problem("The address is known.", 409, "email_taken"),
            (429, PROBLEM): problem("Too many registrations.", 429, "throttled"),
        },
        examples=[
            OpenApiExample(
                "Invited",
                value={
                    "email": "mei@example.com",
                    "password": "a long enough one",
                    "referral_code": "7KQ2M9XW",
                },
                request_only=True,
            ),
            OpenApiExample(
                "Referral not applied",
                value={
                    "id": "019ab5d2-7c1e-7b60-9d0f-0c8f5f6f3f10",
                    "email": "mei@example.com",
                    "registered_at": "2026-11-23T09:30:00Z",
                    "referral": {"applied": False, "reason": "unknown_code"},
                },
                response_only=True,
                status_codes=["201"],
            ),
        ],
    )
    def post(self, request: Request) -> Response:
        """Create an account, and credit the inviter if a usable referral code is given.

        Where addresses must be confirmed first the answer is 202, and the registration is
        complete once the link in the mail is followed.
        """
        require_within_limit(request, "signup")
        data = self.Input(data=request.data)
        data.is_valid(raise_exception=True)
        given = data.validated_data
        try:
            credentials = services.check_credentials(
                email=given["email"], password=given["password"]
            )
        except DjangoValidationError as error:
            raise serializers.ValidationError(serializers.as_serializer_error(error)) from None
        return self._register(request, credentials, given)

    @idempotent
    def _register(
        self, request: Request, credentials: services.Credentials, given: Mapping[str, Any]
    ) -> Response:
        try:
            registration = services.register_with(
                credentials=credentials,
                referral_code=given.get("referral_code") or "",
                language=get_language() or "",
                agreed=agreed_over_api(given.get("terms_version"), field="terms_version"),
                caller=request.user if isinstance(request.user, User) else None,
                client=limits.client_of(request._request),
            )
        except services.EmailTaken:
            return self._taken(request, credentials.address)
        user = registration.user
        is_about(request, user.pk)
        transaction.on_commit(partial(verification.send_link, request._request, user))
        if user.registered_at is None:
            return self._accepted()
        return Response(self.Output(registration).data, status=status.HTTP_201_CREATED)

    def _taken(self, request: Request, address: str) -> Response:
        if not services.verification_is_mandatory():
            raise EmailTakenProblem
        transaction.on_commit(partial(verification.send_account_exists, request._request, address))
        return self._accepted()

    def _accepted(self) -> Response:
        detail = _("We have sent an e-mail to this address. Follow the link in it to go on.")
        return Response({"detail": detail}, status=status.HTTP_202_ACCEPTED)


@no_store
class Tokens(APIView):
    """`tokens/`."""

    permission_classes = (permissions.AllowAny,)

    @extend_schema_serializer(component_name="TokenRequest")
    class Input(StrictSerializer):
        """What a person logs in with."""

        email = StrictCharField()
        password = StrictCharField(trim_whitespace=False, write_only=True)
        code = StrictCharField(
            required=False,
            allow_blank=True,
            allow_null=True,
            write_only=True,
            help_text="Of the authenticator app, or a recovery code. Not looked at where the "
            "account has no second factor.",
        )

    @extend_schema_serializer(component_name="Token")
    class Output(serializers.Serializer[Any]):
        """A token, shown this once."""

        token = serializers.CharField()
        expires_at = serializers.DateTimeField()

    def perform_authentication(self, request: Request) -> None:
        """Do not look at a token that is sent along: an expired one must not stop a new one."""

    @extend_schema(
        operation_id="create_token",
        summary="Log in",
        auth=[],
        request=Input,
        responses={
            201: Output,
            (400, PROBLEM): problem("A field was refused.", 400, "invalid"),
            (401, PROBLEM): problem(
                "Wrong address, password or code, or no code where one is needed: `mfa_required`.",
                401,
                *("invalid_credentials", "mfa_required", "mfa_invalid"),
            ),
            (403, PROBLEM): problem(
                "The address is not confirmed, or only sessions can be had.",
                403,
                *("email_unverified", "mfa_setup_required", "mfa_sessions_only"),
            ),
            (429, PROBLEM): problem("Too many attempts.", 429, "throttled"),
        },
        examples=[
            OpenApiExample(
                "Log in",
                value={"email": "mei@example.com", "password": "a long enough one"},
                request_only=True,
            ),
            OpenApiExample(
                "With a second factor",
                value={
                    "email": "mei@example.com",
                    "password": "a long enough one",
                    "code": "492039",
                },
                request_only=True,
            ),
        ],
    )
    def post(self, request: Request) -> Response:
        """Return a token for `Authorization: Token …`.

        An account with a second factor needs `code`: of the authenticator app, or a recovery code,
        each of which counts once. Without it the answer is 401 `mfa_required`.
        """
        require_within_limit(request, "login")
        data = self.Input(data=request.data)
        data.is_valid(raise_exception=True)
        given = data.validated_data
        user = authenticate(request._request, email=given["email"], password=given["password"])
        passed = pass_second_factor(request._request, user=user, code=given.get("code") or "")
        try:
            token, expires_at = services.issue_token(user=user, passed_second_factor=passed)
        except services.MayNotLogIn:
            raise invalid_credentials() from None
        except services.SecondFactorMissing:  # set up a moment ago
            raise second_factor_required() from None
        output = self.Output({"token": token, "expires_at": expires_at})
        return Response(output.data, status=status.HTTP_201_CREATED)


class CurrentToken(APIView):
    """`tokens/current/`."""

    authentication_classes = (TokenAuthentication,)

    @extend_schema(
        operation_id="delete_token",
        summary="Log out",
        responses={204: None, (401, PROBLEM): problem("No valid token.", 401, "invalid_token")},
    )
    def delete(self, request: Request) -> Response:
        """Give up the token this request is made with."""
        request.auth.delete()
        return Response(status=status.HTTP_204_NO_CONTENT)


@no_store
class Me(APIView):
    """`me/`."""

    @extend_schema_serializer(component_name="Me")
    class Output(serializers.Serializer[Any]):
        """The account of whoever asks."""

        id = serializers.CharField(source="pk")
        email = serializers.CharField()
        status = serializers.ChoiceField(choices=AccountStatus.values)
        registered_at = serializers.DateTimeField(allow_null=True)
        referral_code = serializers.CharField()
        referral_url = serializers.SerializerMethodField()

        def get_referral_url(self, user: User) -> str:
            """Return the link that invites people."""
            return queries.invite_url(user.referral_code)

    @extend_schema(
        operation_id="me",
        summary="My account",
        responses={
            200: Output,
            (401, PROBLEM): problem("Not logged in.", 401, "not_authenticated"),
        },
    )
    def get(self, request: Request) -> Response:
        """Return the account of whoever asks, with the link to invite people."""
        return Response(self.Output(request.user).data)


@no_store
class UserDetail(APIView):
    """`users/{id}/`."""

    @extend_schema_serializer(component_name="User")
    class Output(serializers.ModelSerializer[User]):
        """An account, for staff and other services."""

        id = serializers.CharField()
        email = serializers.CharField(help_text="Stands for nobody where the account is closed.")

        class Meta:
            model = User
            fields = ("id", "email", "status", "registered_at")

    @extend_schema(
        operation_id="user",
        summary="An account",
        responses={
            200: Output,
            (404, PROBLEM): problem("No such account, or no permission.", 404, "not_found"),
        },
    )
    def get(self, request: Request, user_id: UUID) -> Response:
        """Return an account. It takes the permission `accounts.view_user`; others see nothing."""
        user = User.objects.filter(pk=user_id).first()
        if user is None or not request.user.has_perm("accounts.view_user"):
            raise NotFound
        return Response(self.Output(user).data)
