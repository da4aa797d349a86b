"""What the calls of operations share: who may make them, and filters of lists."""

from typing import Any

from rest_framework import permissions, serializers
from rest_framework.request import Request
from rest_framework.views import APIView


class HasRight(permissions.IsAuthenticated):
    """Whoever has the permission that the view names, said before anything is looked for."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether the caller has the view's `right`."""
        right: str = view.right  # type: ignore[attr-defined]  # a view without one is an error
        return super().has_permission(request, view) and request.user.has_perm(right)


def given(request: Request, known: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    """Return what the body says. Raises ValidationError (400)."""
    return _valid(known(data=request.data))


def filters_of(request: Request, known: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    """Return what a list is narrowed by; a value left empty does not narrow it.

    Other names in the query are none of ours. Raises ValidationError, with pointers to the names.
    """
    return _valid(known(data={n: value for n, value in request.query_params.items() if value}))


def _valid(data: serializers.Serializer[Any]) -> dict[str, Any]:
    data.is_valid(raise_exception=True)
    said: dict[str, Any] = data.validated_data
    return said
