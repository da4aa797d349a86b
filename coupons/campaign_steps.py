"""What staff can do with a campaign in the admin, and the forms that ask for what it takes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from coupons import lifecycle
from coupons.campaigns import MAX_STOCK, Campaign, CampaignStatus
from events.operations.signature import REASON_LENGTH

MAX_FILE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something staff can do with a campaign at the push of a button."""

    label: Promise
    explanation: Promise
    do: Callable[..., Campaign | None]  # takes campaign_id and by; may return another campaign
    statuses: frozenset[str]  # in which the button is shown; the service has the last word
    needs_reason: bool = False  # of what takes something from people


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
        needs_reason=True,
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
        needs_reason=True,
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
        do=lifecycle.clone_campaign,
        statuses=frozenset(CampaignStatus.values),
    ),
}


class WhyForm(forms.Form):
    """Why staff do it: kept with who did what, and when."""

    reason = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=REASON_LENGTH,
        widget=forms.TextInput(attrs={"autocomplete": "off", "size": 44}),
    )

    def __init__(self, *args: Any, needs_reason: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = needs_reason


class StockForm(WhyForm):
    """How many coupons there are in all."""

    field_order = ("stock", "reason")

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
