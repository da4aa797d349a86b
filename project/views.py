"""The pages that span apps: landing and wallet."""

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.views.decorators.cache import never_cache
from django.views.decorators.http import conditional_page, require_safe

from accounts.models import User
from accounts.terms import are_to_be_agreed_to
from coupons.queries import Offer, live_offer
from points.queries import points_per_invitation
from project.live import socket_path
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
    """Show a person's coupons, points and invite link. With JavaScript it stays up to date."""
    person = _person(request)
    context = {
        "wallet": wallet_of(person),
        "live_socket": socket_path(request),
        "new_terms": settings.TERMS_VERSION if are_to_be_agreed_to(person) else "",
    }
    return render(request, "project/wallet.html", context)


@require_safe
@never_cache
@conditional_page
def wallet_parts(request: HttpRequest) -> HttpResponse:
    """Return the parts of an open wallet as they are now; 304 where the page has them already.

    The page says whose it is. 403 where that person is not logged in any more.
    """
    if not request.user.is_authenticated or str(request.user.pk) != request.GET.get("of"):
        return HttpResponseForbidden()
    return render(request, "project/wallet_parts.html", {"wallet": wallet_of(_person(request))})


def _person(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise TypeError("Somebody who is not a User was let through.")
    return request.user


def _if_other(offer: Offer | None, than: Offer | None) -> Offer | None:
    return offer if offer and (not than or offer.campaign_id != than.campaign_id) else None
