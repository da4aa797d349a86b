"""What every list of the admin has: the theme, and pages that cost the same at a million rows."""

from typing import Any, TypeVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin, TabularInline

M = TypeVar("M", bound=Model)
COUNTED = 10_000  # rows; nobody pages further, and to skip more would be slow


class AtLeast(int):
    """A count that was ended early, shown with a plus."""

    def __str__(self) -> str:
        return f"{int(self)}+"


class BoundedPaginator(Paginator[Any]):
    """Pages of the first rows. Whether there are more is known, how many is not asked."""

    @cached_property
    def count(self) -> int:  # type: ignore[override]  # Django's is cached alike
        """Return how many rows there are, at most COUNTED."""
        found = self.object_list.order_by()[: COUNTED + 1].count()  # type: ignore[union-attr]
        return AtLeast(COUNTED) if found > COUNTED else found


class StaffAdmin(ModelAdmin, admin.ModelAdmin[M]):  # type: ignore[misc]  # unfold is not typed
    """A list and its form. Columns sort where `sortable_by` names them: where an index does it."""

    paginator = BoundedPaginator
    show_full_result_count = False
    sortable_by: Any = ()
    list_fullwidth = True
    list_per_page = 50


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
