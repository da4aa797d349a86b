"""How answers may be kept on their way, and asked for again."""

from typing import Any, TypeVar

from django.http import HttpResponseBase
from django.middleware.http import ConditionalGetMiddleware
from django.utils.decorators import decorator_from_middleware, method_decorator
from django.views.decorators.cache import cache_control
from django.views.decorators.vary import vary_on_headers
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.views import APIView

V = TypeVar("V", bound=type[APIView])

REVALIDATED = "x-revalidated"  # in the schema, until project.api.schema has described it

# For views whose answers have a secret or a person in them: no proxy or browser keeps them.
no_store = method_decorator(cache_control(no_store=True), name="dispatch")
no_store_of_post = method_decorator(cache_control(no_store=True), name="post")


class _ConditionalGet(ConditionalGetMiddleware):
    """Django's, for answers alone: a problem has an id of its own, so it never is the same."""

    def needs_etag(self, response: HttpResponseBase) -> bool:
        """Tell whether an answer gets an ETag."""
        return response.status_code == status.HTTP_200_OK and super().needs_etag(response)


def revalidated(view: V) -> V:
    """Decorate a view whose GET is asked again and again: an ETag, and 304 while it still holds.

    The ETag is a digest of what the caller is shown, so it needs no knowledge of what changes it,
    and spares the way, not the database. Only the caller may keep the answer, and must ask.
    """
    decorators: list[Any] = [
        decorator_from_middleware(_ConditionalGet),
        cache_control(private=True, no_cache=True),
        vary_on_headers("Authorization"),
    ]
    described = extend_schema_view(get=extend_schema(extensions={REVALIDATED: True}))(view)
    return method_decorator(decorators, name="dispatch")(described)
