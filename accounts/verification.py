"""Mails that confirm an address, for callers that are no page of allauth's."""

from allauth.account.adapter import get_adapter
from allauth.account.models import EmailAddress
from django.http import HttpRequest

from accounts import emails, limits
from accounts.models import User


def is_verified(user: User) -> bool:
    """Tell whether any address of this account is confirmed."""
    return bool(EmailAddress.objects.filter(user=user, verified=True).exists())


def send_link(request: HttpRequest, user: User) -> None:
    """Send the link that confirms an account's address, unless one was sent a short while ago."""
    if limits.consume_mail(request, user.email):
        address = EmailAddress.objects.get_for_user(user, user.email)
        address.send_confirmation(request, signup=True)


def send_account_exists(request: HttpRequest, email: str) -> None:
    """Tell the owner of a known address that somebody signed up with it again.

    It counts as the confirmation it replaces: both answers must look and last the same.
    """
    address = emails.fold_email(email)
    if limits.consume_mail(request, address):
        get_adapter().send_account_already_exists_mail(address)
