"""The admin's pages that write campaigns to a file, and bring them in from one."""

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from coupons.campaign_file import (
    COLUMNS,
    MAX_BYTES,
    TOLD,
    Line,
    UnreadableFile,
    every_campaign,
    read,
    written,
)
from coupons.campaigns import Campaign
from coupons.importing import carry_out
from coupons.planning import Fate, Plan, plan
from events.staff_lists import StaffAdmin


class FileForm(forms.Form):
    """A file to look at, or one that was looked at and is sent again to be brought in."""

    file = forms.FileField(
        label=_("File"),
        required=False,
        help_text=_("A CSV file in UTF-8 with at most 500 campaigns, such as the export makes."),
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv"}),
    )
    content = forms.CharField(required=False, widget=forms.HiddenInput)

    lines: list[Line]

    def clean(self) -> dict[str, Any]:
        """Read the file. Raises ValidationError where it can not be read."""
        cleaned: dict[str, Any] = super().clean() or {}
        try:
            content = self._content(cleaned)
            self.lines = read(content)
        except UnreadableFile as error:
            self.add_error("file", str(error))
        else:
            cleaned["content"] = b64encode(content).decode()
        return cleaned

    def _content(self, cleaned: dict[str, Any]) -> bytes:
        if file := cleaned.get("file"):
            return bytes(file.read(MAX_BYTES + 1))
        if not cleaned.get("content"):
            raise UnreadableFile(gettext("Choose a file."))
        try:
            return b64decode(cleaned["content"], validate=True)
        except ValueError:
            raise UnreadableFile(gettext("Choose the file again.")) from None


class CampaignFiles(StaffAdmin[Campaign]):
    """Adds both pages, and what leads there from the list."""

    change_list_template = "admin/coupons/campaign/change_list.html"

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses of the pages, before those of the admin."""
        view = self.admin_site.admin_view
        return [
            path("export/", view(require_safe(self.export)), name="coupons_campaign_export"),
            path("import/", view(self.import_page), name="coupons_campaign_import"),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, with what this member of staff may do beside it."""
        context = {"may_import": self._may_import(request)}
        return super().changelist_view(request, context | (extra_context or {}))

    def export(self, request: HttpRequest) -> StreamingHttpResponse:
        """Send all campaigns as a file, while they are read."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        parts: Any = written(every_campaign())
        if isinstance(request, ASGIRequest):
            parts = _one_by_one(parts)
        name = f"campaigns-{timezone.now():%Y-%m-%d}.csv"
        return StreamingHttpResponse(
            parts,
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def import_page(self, request: HttpRequest) -> HttpResponse:
        """Ask for a file, show what would come of it or all that is wrong with it, and do it."""
        if not self._may_import(request):
            raise PermissionDenied
        form = FileForm(request.POST, request.FILES) if request.method == "POST" else FileForm()
        if not form.is_valid():
            return self._import_page(request, form=form)
        is_confirmed = "confirmed" in request.POST
        if is_confirmed:
            shown = request.POST.get("digest", "")
            found = carry_out(form.lines, by=request.user, shown=shown)
        else:
            found = plan(form.lines)
        if found.problems or found.is_another or not is_confirmed:
            return self._import_page(request, form=form, **_shown(found, form))
        self.message_user(request, _done(found), messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:coupons_campaign_changelist"))

    def _may_import(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request) and self.has_change_permission(request)

    def _import_page(self, request: HttpRequest, **context: Any) -> TemplateResponse:
        page = {
            **self.admin_site.each_context(request),
            "title": _("Import campaigns"),
            "opts": self.opts,
            "back": reverse("admin:coupons_campaign_changelist"),
            "columns": [name for name in COLUMNS if name not in TOLD],
            **context,
        }
        return TemplateResponse(request, "coupons/import.html", page)


def _shown(found: Plan, form: FileForm) -> dict[str, Any]:
    changing = found.changing
    return {
        "plan": found,
        "changing": changing,
        "unchanged": len(found.rows) - len(changing),
        "content": form.cleaned_data["content"] if changing and not found.problems else "",
    }


def _done(found: Plan) -> str:
    counts = {str(fate.value): found.count(fate) for fate in Fate}
    return gettext("%(new)d made, %(changed)d changed, %(unchanged)d as they were.") % counts


async def _one_by_one(parts: Iterable[str]) -> AsyncIterator[str]:
    """Yield the parts to a server that must not wait for the database."""
    rest: Iterator[str] = iter(parts)
    while (part := await sync_to_async(partial(next, rest, None))()) is not None:
        yield part
