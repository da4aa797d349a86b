"""The admin's pages about what staff do with a campaign: each asks first, then does it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from coupons import bulk_issuing, lifecycle
from coupons.campaigns import MAX_STOCK, Campaign, CampaignStatus, Trigger
from coupons.refusals import Refused
from events.staff_lists import StaffAdmin

MAX_FILE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something staff can do with a campaign at the push of a button."""

    label: Promise
    explanation: Promise
    do: Callable[..., Campaign | None]  # takes campaign_id and by; may return another campaign
    statuses: frozenset[str]  # in which the button is shown; the service has the last word


STEPS = {
    "activate": Step(
        label=_("Activate"),
        explanation=_("From now on the campaign issues coupons, within its time."),
        do=lifecycle.activate,
        statuses=frozenset({CampaignStatus.DRAFT}),
    ),
    "pause": Step(
        label=_("Pause"),
        explanation=_(
            "Nothing more is issued. People who registered before are owed their coupons until the "
            "campaign is resumed or ended; who registers during the pause gets none."
        ),
        do=lifecycle.pause,
        statuses=frozenset({CampaignStatus.ACTIVE}),
    ),
    "resume": Step(
        label=_("Resume"),
        explanation=_("The campaign goes on, and what the pause held back is issued."),
        do=lifecycle.resume,
        statuses=frozenset({CampaignStatus.PAUSED}),
    ),
    "end": Step(
        label=_("End"),
        explanation=_(
            "The campaign ends for good: what it held back is not issued. Coupons that people hold "
            "stay valid."
        ),
        do=lifecycle.end,
        statuses=frozenset({CampaignStatus.ACTIVE, CampaignStatus.PAUSED}),
    ),
    "archive": Step(
        label=_("Archive"),
        explanation=_("The campaign is put away. Its coupons and decisions are kept."),
        do=lifecycle.archive,
        statuses=frozenset({CampaignStatus.ENDED}),
    ),
    "retry": Step(
        label=_("Retry sold-out"),
        explanation=_(
            "People who were refused because the stock was used up get coupons, the earliest "
            "registrations first, while stock lasts."
        ),
        do=lambda campaign_id, by: lifecycle.retry_sold_out(campaign_id=campaign_id),
        statuses=frozenset({CampaignStatus.ACTIVE}),
    ),
    "clone": Step(
        label=_("Clone"),
        explanation=_("A draft with the same terms is made. Nothing becomes of this campaign."),
        do=lambda campaign_id, by: lifecycle.clone_campaign(campaign_id=campaign_id),
        statuses=frozenset(CampaignStatus.values),
    ),
}


class StockForm(forms.Form):
    """How many coupons there are in all."""

    stock = forms.IntegerField(
        label=_("Stock"),
        required=False,
        min_value=0,
        max_value=MAX_STOCK,
        help_text=_("Coupons in all, those that are issued included. Empty: unlimited."),
    )


class PeopleForm(forms.Form):
    """Who is to get a coupon: typed, pasted, or in a file."""

    people = forms.CharField(
        label=_("People"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 12, "cols": 60}),
        help_text=_("E-mail addresses or account ids, one a line, at most 10,000."),
    )
    file = forms.FileField(
        label=_("or a file"), required=False, help_text=_("A text file of the same form.")
    )

    key = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        """Put both together. Raises ValidationError where the file is no text, or too large."""
        cleaned: dict[str, Any] = super().clean() or {}
        file = cleaned.get("file")
        if file is not None and file.size > MAX_FILE_BYTES:
            self.add_error("file", gettext("The file is too large. Split it."))
        elif file is not None:
            try:
                cleaned["people"] = (
                    f"{cleaned.get('people', '')}\n{file.read().decode('utf-8-sig')}"
                )
            except UnicodeDecodeError:
                self.add_error("file", gettext("The file is not a text in UTF-8."))
        return cleaned


class CampaignPages(StaffAdmin[Campaign]):
    """Adds the pages, and the buttons that lead there."""

    change_form_template = "admin/coupons/campaign/change_form.html"

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses of the pages, before those of the admin."""
        view = self.admin_site.admin_view
        return [
            path(
                "<path:object_id>/step/<str:name>/",
                view(self.step_page),
                name="coupons_campaign_step",
            ),
            path("<path:object_id>/stock/", view(self.stock_page), name="coupons_campaign_stock"),
            path("<path:object_id>/issue/", view(self.issue_page), name="coupons_campaign_issue"),
            *super().get_urls(),
        ]

    def buttons_of(self, request: HttpRequest, campaign: Campaign) -> list[tuple[str, Any]]:
        """Return address and label of what this member of staff can do now."""
        if not self.has_change_permission(request, campaign):
            return []
        buttons = [
            (reverse("admin:coupons_campaign_step", args=[campaign.pk, name]), step.label)
            for name, step in STEPS.items()
            if campaign.status in step.statuses and self._may(request, name)
        ]
        if campaign.status != CampaignStatus.ARCHIVED:
            buttons.append((_address("stock", campaign), _("Change stock")))
        if campaign.trigger == Trigger.MANUAL and campaign.status == CampaignStatus.ACTIVE:
            buttons.append((_address("issue", campaign), _("Issue to people…")))
        return buttons

    def step_page(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """Ask whether to take a step, and take it."""
        campaign = self._campaign(request, object_id)
        step = STEPS.get(name)
        if step is None:
            raise Http404
        if not self._may(request, name):
            raise PermissionDenied
        if request.method != "POST":
            return self._page(request, campaign, title=step.label, text=step.explanation)
        return self._do(
            request,
            campaign,
            step.label,
            lambda: step.do(campaign_id=campaign.pk, by=request.user),
        )

    def stock_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for a new stock, and set it."""
        campaign = self._campaign(request, object_id)
        form = StockForm(request.POST or None, initial={"stock": campaign.stock})
        if request.method != "POST" or not form.is_valid():
            text = gettext("%(count)d coupons are issued. A larger stock issues none by itself.")
            text %= {"count": campaign.issued_count}
            return self._page(request, campaign, title=_("Change stock"), text=text, form=form)
        stock = form.cleaned_data["stock"]
        return self._do(
            request,
            campaign,
            _("Change stock"),
            lambda: lifecycle.change_stock(campaign_id=campaign.pk, stock=stock),
        )

    def issue_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for people, show what would come of it, and start."""
        campaign = self._campaign(request, object_id)
        form = PeopleForm(request.POST or None, request.FILES or None)
        title = _("Issue to people…")
        if request.method != "POST" or not form.is_valid():
            return self._page(request, campaign, title=title, form=form)
        people = form.cleaned_data["people"]
        try:
            if "confirmed" in request.POST:
                return self._start(request, campaign, people, form.cleaned_data["key"])
            preview = bulk_issuing.preview(campaign_id=campaign.pk, people=people)
        except Refused as refusal:
            form.add_error("people", refusal.sentence)
            return self._page(request, campaign, title=title, form=form)
        context = {"preview": _lines_of(preview), "people": people, "key": uuid7()}
        return self._page(request, campaign, title=title, **context)

    def _start(
        self, request: HttpRequest, campaign: Campaign, people: str, key: UUID | None
    ) -> HttpResponse:
        bulk_issue = bulk_issuing.start(
            campaign_id=campaign.pk, people=people, by=request.user, key=key
        )
        self.log_change(request, campaign, f"Issue to people: {bulk_issue.pk}")
        return HttpResponseRedirect(reverse("admin:coupons_bulkissue_change", args=[bulk_issue.pk]))

    def _may(self, request: HttpRequest, step: str) -> bool:
        return step != "clone" or self.has_add_permission(request)

    def _campaign(self, request: HttpRequest, object_id: str) -> Campaign:
        """Return the campaign, unlocked. Raises Http404 or PermissionDenied."""
        campaign = admin.ModelAdmin.get_object(self, request, unquote(object_id))
        if campaign is None:
            raise Http404
        if not self.has_change_permission(request, campaign):
            raise PermissionDenied
        return campaign

    def _do(
        self,
        request: HttpRequest,
        campaign: Campaign,
        label: Promise,
        work: Callable[[], Campaign | None],
    ) -> HttpResponse:
        """Do the work, note it in the admin's history, say how it went."""
        try:
            result = work() or campaign
        except Refused as refusal:
            self.message_user(request, refusal.sentence, messages.ERROR)
            result = campaign
        else:
            self.log_change(request, result, str(label))
            done = gettext("%(campaign)s: done (%(step)s).")
            done %= {"campaign": result, "step": label}
            self.message_user(request, done, messages.SUCCESS)
        return HttpResponseRedirect(_address("change", result))

    def _page(self, request: HttpRequest, campaign: Campaign, **context: Any) -> TemplateResponse:
        page = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": campaign,
            "back": _address("change", campaign),
            **context,
        }
        return TemplateResponse(request, "coupons/campaign_step.html", page)


def _address(page: str, campaign: Campaign) -> str:
    return reverse(f"admin:coupons_campaign_{page}", args=[campaign.pk])


_PREVIEW_LABELS = {
    "total": _("Lines"),
    "will_be_issued": _("Will be issued"),
    "sold_out": _("No stock left for"),
    "already_decided": _("Decided before"),
    "flagged": _("Under review: held"),
    "closed": _("Account closed"),
    "not_eligible": _("Not eligible"),
    "repeated": _("Named twice"),
    "unknown": _("No such account"),
}


def _lines_of(preview: bulk_issuing.Preview) -> list[tuple[Any, int]]:
    return [(_PREVIEW_LABELS[name], count) for name, count in asdict(preview).items()]
