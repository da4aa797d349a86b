"""Usher's addresses, and views that fail in every way a view can."""

from typing import Any

from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    SuspiciousOperation,
    ValidationError,
)
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.http import require_POST
from rest_framework import serializers
from rest_framework.exceptions import APIException, Throttled
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from project.urls import (  # noqa: F401  Django reads them here
    handler400,
    handler403,
    handler404,
    handler429,
    handler500,
    urlpatterns,
)

SECRET = "hunter2 of mei@example.com"  # what an answer must never show


class OutOfSeats(APIException):
    """A conflict of an app's own."""

    status_code = 409
    default_code = "out_of_seats"
    default_detail = "All seats are taken."


FAILURES: dict[str, Exception] = {
    "conflict": OutOfSeats(),
    "throttled": Throttled(wait=17),
    "invalid": ValidationError({"email": [ValidationError("Not an address.", "bad_address")]}),
    "invalid-whole": ValidationError("These contradict each other.", "contradiction"),
    "missing": Http404(SECRET),
    "forbidden": PermissionDenied(SECRET),
    "suspicious": SuspiciousOperation(SECRET),
    "bad-request": BadRequest(SECRET),
    "locked": OperationalError(f"database is locked {SECRET}"),
    "no-table": OperationalError(f"no such table: {SECRET}"),
    "bug": ZeroDivisionError(SECRET),
}


class Failing(APIView):
    """Fails as its address says."""

    permission_classes = (AllowAny,)

    def get(self, request: Request, failure: str) -> Response:
        """Fail."""
        raise FAILURES[failure]


class Nested(APIView):
    """Takes a document with places inside places."""

    permission_classes = (AllowAny,)

    class Input(serializers.Serializer[Any]):
        """An order."""

        class Line(serializers.Serializer[Any]):
            """A line of it."""

            amount = serializers.IntegerField()

        lines = Line(many=True)
        note = serializers.ChoiceField(choices=["a"], required=False)

        def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
            """Refuse an order of nothing."""
            if not attrs["lines"]:
                raise serializers.ValidationError("Nothing is ordered.", "empty")
            return attrs

    def post(self, request: Request) -> Response:
        """Answer with what was understood."""
        order = self.Input(data=request.data)
        order.is_valid(raise_exception=True)
        return Response(order.validated_data)


class Guarded(APIView):
    """For people who are logged in."""

    def get(self, request: Request) -> Response:
        """Say hello."""
        return Response({})


def failing_page(request: HttpRequest, failure: str) -> HttpResponse:
    """Fail as its address says."""
    raise FAILURES[failure]


@require_POST
def form(request: HttpRequest) -> HttpResponse:
    """Take a form, which Django checks the token of."""
    return HttpResponse(request.POST.get("text", ""))


urlpatterns = [
    *urlpatterns,
    path("api/v1/failing/<str:failure>/", Failing.as_view()),
    path("api/v1/nested/", Nested.as_view()),
    path("api/v1/guarded/", Guarded.as_view()),
    path("api/v1/no-rest-framework/<str:failure>/", failing_page),
    path("api/v1/form/", form),
    path("failing/<str:failure>/", failing_page),
    path("form/", form),
]
