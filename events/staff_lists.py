"""What every list of the admin has: the theme, and pages that cost the same at a million rows."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, TabularInline

M = TypeVar("M", bound=Model)
ALIKE = 20  # accounts whose addresses begin so
COUNTED = 10_000  # rows; nobody pages further, and to skip more would be slow


class AtLeast(int):
    """A count that was ended early, shown with a plus."""

    def __str__(self) -> str:
        return f"{int(self)}+"


def count_some(rows: QuerySet[Any]) -> int:
    """Return how many rows there are, at most COUNTED."""
    found = rows.order_by().values("pk")[: COUNTED + 1].count()
    return AtLeast(COUNTED) if found > COUNTED else found


class BoundedPaginator(Paginator[Any]):
    """Pages of the first rows. Whether there are more is known, how many is not asked."""

    @cached_property
    def count(self) -> int:
        """Return how many rows there are, at most COUNTED."""
        rows: Any = self.object_list
        return count_some(rows)


class StaffAdmin(ModelAdmin, admin.ModelAdmin[M]):  # type: ignore[misc]  # unfold is not typed
    """A list and its form. Columns sort where `sortable_by` names them: where an index does it."""

    paginator = BoundedPaginator
    show_full_result_count = False
    sortable_by: ClassVar[Any] = ()
    list_fullwidth = True
    list_per_page = 50

    def get_action_choices(
        self, request: HttpRequest, default_choices: Any = None, action_location: Any = None
    ) -> list[tuple[str, str]]:
        """Return Django's, as unfold does; Django 6.1 says besides where the list stands."""
        where = {} if action_location is None else {"action_location": action_location}
        first = [("", _("Select action"))]
        choices: Any = admin.ModelAdmin.get_action_choices(self, request, first, **where)  # type: ignore[arg-type]
        return list(choices)


class FindsByIndex:
    """A search for whole ids, addresses and the like: no scan, however many rows there are."""

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return what `find` finds, or everything where nothing was typed."""
        term = search_term.strip()
        return (self.find(queryset, term) if term else queryset), False

    def find(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Return the rows of a term, each condition of which has an index."""
        raise NotImplementedError


class KnownValuesFilter(admin.SimpleListFilter):
    """A filter by values that the sources know: rows are not asked which ones occur."""

    def values(self) -> Iterable[tuple[Any, Any]]:
        """Return the values, with their names."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
        """Return the choices."""
        return list(self.values())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the chosen value. What is none, the admin leads away from."""
        value, name = self.value(), str(self.parameter_name)
        try:
            return queryset.filter(**{name: value}) if value else queryset
        except (ValueError, ValidationError) as error:
            raise IncorrectLookupParameters(error) from error


def ids_of(term: str) -> list[UUID]:
    """Return the id that was typed, or those of accounts by their address, or its beginning."""
    with suppress(ValueError):
        return [UUID(term)]
    accounts, address = get_user_model()._default_manager.all(), term.lower()
    exact = accounts.filter(email=address).values_list("pk", flat=True)
    alike = accounts.filter(email__startswith=address).values_list("pk", flat=True)
    return list(exact) or list(alike[:ALIKE])


def any_of(lookups: dict[str, Any]) -> Q:
    """Return the condition that one of these holds."""
    return Q(**lookups, _connector=Q.OR)


class ReadOnlyInline(TabularInline):  # type: ignore[misc]  # unfold is not typed
    """Rows that are history, below the form of what they belong to."""

    extra = 0
    show_change_link = True

    def has_add_permission(self, request: Any, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        """Refuse."""
        return False
