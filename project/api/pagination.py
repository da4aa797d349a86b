"""Lists as cursor pages: `{next, previous, results}`, stable while rows are added in front."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework import pagination
from rest_framework.exceptions import NotFound, ParseError
from rest_framework.request import Request
from rest_framework.views import APIView


class CursorPagination(pagination.CursorPagination):
    """Pages of 50, or of `page_size` up to 200, in the view's `ordering` (best a unique column)."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200
    ordering = "-pk"

    def get_ordering(
        self, request: Request, queryset: QuerySet[Any], view: APIView | None
    ) -> tuple[str, ...]:
        """Return the order of the view, or newest first."""
        return (getattr(view, "ordering", self.ordering),)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Describe the query. The library calls any `page_size` an integer; none is refused."""
        cursor, page_size = super().get_schema_operation_parameters(view)
        page_size["description"] = "1 to 200; more counts as 200, and what is no size as 50."
        page_size["schema"] = {"anyOf": [{"type": "integer", "minimum": 1, "default": 50}, {}]}
        return [cursor, page_size]

    def paginate_queryset(
        self,
        queryset: QuerySet[Any] | Sequence[Any],
        request: Request,
        view: APIView | None = None,
    ) -> list[Any] | None:
        """Return one page. Raises ParseError (400) where the cursor is none of ours."""
        if self.cursor_query_param not in request.query_params:
            return super().paginate_queryset(queryset, request, view)
        with _refusing_forged_cursors():
            return super().paginate_queryset(queryset, request, view)


@contextmanager
def _refusing_forged_cursors() -> Iterator[None]:
    # A cursor is not signed: it may hold any text where the column wants a number or a UUID.
    try:
        yield
    except (NotFound, ValidationError, ValueError, DataError, OverflowError):
        sentence = _("This cursor can't be used. Begin again without one.")
        raise ParseError(sentence, "invalid_cursor") from None
