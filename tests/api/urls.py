"""An address that has an effect, and fails as it is told."""

from uuid import uuid4

from django.urls import path
from rest_framework import status
from rest_framework.exceptions import APIException, Throttled, ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.idempotency import idempotent, is_about
from tests.probe.models import Effect


class OutOfSeats(APIException):
    """409, and an answer like any other."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "out_of_seats"


FAILURES: dict[str, Exception] = {
    "conflict": OutOfSeats(),
    "invalid": ValidationError({"number": ["Too odd."]}),
    "throttled": Throttled(wait=17),
    "bug": ZeroDivisionError(),
}
failing: list[str] = []  # how the next requests fail, one after the other


class Seats(APIView):
    """Takes a seat: every call has an effect, and an answer of its own."""

    permission_classes = (AllowAny,)

    def post(self, request: Request) -> Response:
        """Look at the input, then take a seat."""
        return self._take(request, request.data.get("number", 0))  # type: ignore[union-attr]

    @idempotent
    def _take(self, request: Request, number: int) -> Response:
        Effect.objects.create(receiver="seats", event_id=uuid4(), key="", number=number)
        if failing:
            raise FAILURES[failing.pop(0)]
        if request.user.pk:
            is_about(request, request.user.pk)
        return Response({"seat": str(uuid4()), "number": number}, status=status.HTTP_201_CREATED)


urlpatterns = [path("api/v1/seats/", Seats.as_view()), path("api/v1/sofas/", Seats.as_view())]
