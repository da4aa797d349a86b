"""The pages that span apps: landing and wallet."""

from django.contrib.auth.decorators import login_required
from django.contrib.messages import get_messages
from django.contrib.messages.storage.base import BaseStorage
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.models import User
from coupons.queries import Offer, live_offer
from points.queries import points_per_invitation
from project.wallet import wallet_of


@require_safe
def landing(request: HttpRequest) -> HttpResponse:
    """Say what signing up brings right now, and what inviting brings."""
    offer = live_offer()
    context = {
        "offer": offer,
        "offer_to_invited": _if_other(live_offer(invited=True), offer),
        "reward": points_per_invitation(),
    }
    return render(request, "project/landing.html", context)


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """Lead those who ask for the icon by its old name, without a look at the page, to it."""
    return redirect(static("favicon.svg"))


@require_safe
@never_cache
@login_required
def wallet(request: HttpRequest) -> HttpResponse:
    """Show a person's coupons, points and invite link. It reloads itself while one is underway."""
    if not isinstance(request.user, User):
        raise TypeError("login_required let somebody through who is not a User.")
    shown = wallet_of(request.user)
    response = render(request, "project/wallet.html", {"wallet": shown})
    if shown.looks_again:
        _keep_messages(request)
    return response


def _keep_messages(request: HttpRequest) -> None:
    """Show them again next time: a page that reloads itself must not wipe what was to be read."""
    messages = get_messages(request)
    if isinstance(messages, BaseStorage):
        messages.used = False


def _if_other(offer: Offer | None, than: Offer | None) -> Offer | None:
    return offer if offer and (not than or offer.campaign_id != than.campaign_id) else None
