"""Admin actions that ask for a reason, do something to each chosen row, and tell how it went."""

from collections.abc import Callable
from typing import TypeVar

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import NOTE_LENGTH
from events.admin import ask_for_reason, reason_form

M = TypeVar("M", bound=Model)

TOLD_ONE_BY_ONE = 20  # rows that were refused


class Refused(Exception):
    """One row cannot be changed; the text says why, to people."""


def apply_to_each(
    model_admin: admin.ModelAdmin[M],
    request: HttpRequest,
    queryset: QuerySet[M],
    *,
    action: str,
    title: str,
    change: Callable[[M, str], bool],
    log_reason: bool = False,
) -> TemplateResponse | None:
    """Ask for a reason, then call `change(row, reason)` for each row, in a transaction of its own.

    `change` returns whether it changed the row, or raises Refused. Changed rows are in the
    admin's log, the reason is in the history of statuses; `log_reason` is for what has no history.
    """
    form = reason_form(request)
    if not form.is_valid():
        return ask_for_reason(model_admin, request, queryset, form, action, title)
    reason = form.cleaned_data["reason"]
    changed: list[M] = []
    alike, refused = 0, []
    for row in queryset.order_by("pk"):
        try:
            done = change(row, reason[:NOTE_LENGTH])
        except Refused as refusal:
            refused.append(f"{row}: {refusal}")
            continue
        changed += [row] if done else []
        alike += not done
    _audit(request, changed, f"{title}: {reason}" if log_reason else title)
    _tell(request, len(changed), alike, refused)
    return None


def _audit(request: HttpRequest, changed: list[M], message: str) -> None:
    # Read again: an account that was closed has lost its name. And as a rule without the reason,
    # which may hold it: that is in the history of statuses, where closing an account finds it.
    for model in {type(row) for row in changed}:
        rows = model._default_manager.filter(pk__in=[row.pk for row in changed])
        LogEntry.objects.log_actions(request.user.pk, rows, CHANGE, message)  # type: ignore[arg-type]


def _tell(request: HttpRequest, changed: int, alike: int, refused: list[str]) -> None:
    if changed:
        text = ngettext("%(count)d changed.", "%(count)d changed.", changed)
        messages.success(request, text % {"count": changed})
    if alike:
        text = ngettext("%(count)d was so already.", "%(count)d were so already.", alike)
        messages.info(request, text % {"count": alike})
    for line in refused[:TOLD_ONE_BY_ONE]:
        messages.warning(request, line)
    if len(refused) > TOLD_ONE_BY_ONE:
        more = len(refused) - TOLD_ONE_BY_ONE
        messages.warning(request, _("%(count)d more were refused.") % {"count": more})
