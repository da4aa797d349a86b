"""A page of the admin: what would this person get, and why not?"""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from coupons.queries import campaign_names
from project.simulating import (
    Simulation,
    coupon_in_words,
    find_account,
    reward_in_words,
    simulate,
)
from project.support import page_of_staff

RIGHTS = ("coupons.view_campaign", "coupons.view_issuedecision", "points.view_rewarddecision")


LISTED = 200  # campaigns to choose from
_BY_ADDRESS = gettext_lazy("E-mail address, account id, referral code or coupon code")


class SimulationForm(forms.Form):
    """Whom to look at, and before which campaign."""

    wanted = forms.CharField(
        label=gettext_lazy("Account id, referral code or coupon code"),
        max_length=254,
        widget=forms.TextInput(
            attrs={"autofocus": True, "autocomplete": "off", "spellcheck": "false", "size": 44}
        ),
    )
    campaign = forms.TypedChoiceField(
        label=gettext_lazy("Campaign"), required=False, coerce=UUID, empty_value=None
    )
    afresh = forms.BooleanField(
        label=gettext_lazy("As if the person registered now, for the first time"), required=False
    )

    def __init__(self, *args: Any, by_address: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if by_address:
            self.fields["wanted"].label = _BY_ADDRESS
        every = _("All that run, or ran when the person registered")
        names = campaign_names(limit=LISTED + 1)
        if len(names) > LISTED:
            names = dict(list(names.items())[:LISTED])
            self.fields["campaign"].help_text = _(
                "Not all are listed. Ask about others from their own pages."
            )
        names |= _name_of(self["campaign"].value())
        self.fields["campaign"].choices = [("", every), *names.items()]  # type: ignore[attr-defined]


@page_of_staff(*RIGHTS)
@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest) -> HttpResponse:
    """Ask for a person, and lead to the answer. The address stays out of addresses and logs."""
    by_address = request.user.has_perm("accounts.view_user")
    form = SimulationForm(request.POST or None, initial=request.GET.dict(), by_address=by_address)
    if form.is_valid():
        given = form.cleaned_data
        if user_id := find_account(given["wanted"], by_address=by_address):
            return HttpResponseRedirect(_place(user_id, given["campaign"], given["afresh"]))
        form.add_error("wanted", _not_found(given["wanted"], by_address))
    context = {**admin.site.each_context(request), "title": _("Simulate"), "form": form}
    return render(request, "project/simulate.html", context)


@page_of_staff(*RIGHTS)
@require_safe
def person(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """Tell, rule by rule, what would be decided about a person."""
    campaign_id, afresh = _campaign_of(request), "afresh" in request.GET
    simulation = simulate(user_id, campaign_id=campaign_id, afresh=afresh)
    if simulation is None:
        raise Http404
    context = {
        **admin.site.each_context(request),
        "title": _("Simulate"),
        "simulation": simulation,
        "answers": [(each, coupon_in_words(each)) for each in simulation.coupons],
        "reward_in_words": reward_in_words(simulation.reward),
        "other_way": _other_way(simulation, campaign_id, afresh),
        "every": _place(user_id, None, afresh) if campaign_id else None,
    }
    return render(request, "project/simulation.html", context)


def _name_of(campaign_id: Any) -> dict[UUID, str]:
    """Return the campaign that the address or the form names, also where it is not listed."""
    try:
        return campaign_names([UUID(str(campaign_id))])
    except ValueError:
        return {}


def _not_found(wanted: str, by_address: bool) -> str:
    """Return the same sentence for every address, where addresses may not be looked up."""
    if "@" in wanted and not by_address:
        return _("You may not look people up by address. Ask for the account id or a code.")
    return _("Nobody has this address, id or code. Is it spelled right?")


def _campaign_of(request: HttpRequest) -> UUID | None:
    """Return the campaign of the address, if one is given. Raises Http404 where there is none."""
    given = request.GET.get("campaign")
    if not given:
        return None
    try:
        campaign_id = UUID(given)
    except ValueError:
        raise Http404 from None
    if not campaign_names([campaign_id]):
        raise Http404
    return campaign_id


def _other_way(simulation: Simulation, campaign_id: UUID | None, afresh: bool) -> str | None:
    """Return the address of the same afresh, or as it was; None: the person never registered."""
    if simulation.afresh and not afresh:
        return None
    return _place(simulation.account.id, campaign_id, not afresh)


def _place(user_id: UUID, campaign_id: UUID | None, afresh: bool) -> str:
    query = {"campaign": str(campaign_id)} if campaign_id else {}
    query |= {"afresh": "1"} if afresh else {}
    address = reverse("simulate-person", args=[user_id])
    return f"{address}?{urlencode(query)}" if query else address
