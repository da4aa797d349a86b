"""Mails of accounts have a text and an HTML part that say the same, in the reader's language."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.account.adapter import get_adapter
from allauth.account.models import EmailAddress
from allauth.core.context import request_context
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import AnonymousUser
from django.core import mail
from django.core.cache import cache
from django.core.mail import EmailMultiAlternatives
from django.test import Client, RequestFactory
from django.utils import translation

from accounts.models import User
from tests.accounts.conftest import PASSWORD, Register
from tests.accounts.factors import recovery_codes, set_up_app

pytestmark = pytest.mark.django_db

RESET = "/accounts/password/reset/"
LINK = re.compile(r"http://127\.0\.0\.1:8000/[\w/:.-]+")


@pytest.fixture(autouse=True)
def _fresh_limits() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def the_mail() -> tuple[str, str]:
    """Return the parts of the one mail that was sent."""
    (letter,) = mail.outbox
    assert isinstance(letter, EmailMultiAlternatives)
    ((html, kind),) = letter.alternatives
    assert kind == "text/html"
    return str(letter.body), str(html)


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize("what", ["reset", "unknown", "confirm", "exists"])
def test_both_parts_lead_to_the_same_place(
    client: Client, register: Register, mandatory: Any, what: str, language: str
) -> None:
    spoken: Any = {"headers": {"Accept-Language": language}}
    register(email="mei@example.com")
    address = "nobody@example.com" if what == "unknown" else "mei@example.com"
    if what in {"reset", "unknown"}:
        client.post(RESET, {"email": address}, **spoken)
    else:
        email = "new@example.com" if what == "confirm" else address
        typed = {"email": email, "password1": "a long enough one"}
        client.post("/accounts/signup/", typed, **spoken)

    text, html = the_mail()

    links = set(LINK.findall(text))
    assert links
    assert links <= set(LINK.findall(html))
    assert f'<html lang="{language}">' in html
    assert "<script" not in html


# What allauth tells a person of; the words in capitals stand for addresses.
CHANGES = {
    "account/email/password_changed": {},
    "account/email/password_reset": {},
    "account/email/password_set": {},
    "account/email/email_changed": {"from_email": "OLD", "to_email": "NEW"},
    "account/email/email_deleted": {"deleted_email": "GONE"},
    "mfa/email/recovery_codes_generated": {},
    "mfa/email/totp_activated": {},
    "mfa/email/totp_deactivated": {},
    "mfa/email/webauthn_added": {},
    "mfa/email/webauthn_removed": {},
}


@pytest.mark.django_db(transaction=True)  # it is told after the commit
@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_what_was_changed_is_told_with_when_and_where_in_both_parts(
    register: Register, rf: RequestFactory, language: str
) -> None:
    user, request = register(email="mei@example.com").user, rf.get("/", REMOTE_ADDR="192.0.2.7")
    request.META["HTTP_USER_AGENT"] = "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0 <script>"
    request.user = AnonymousUser()

    for prefix, context in CHANGES.items():
        mail.outbox.clear()
        with translation.override(language), request_context(request):
            get_adapter(request).send_notification_mail(prefix, user, dict(context))

        for part in the_mail():
            assert all(word in part for word in (*context.values(), "Firefox", "192.0.2.7"))
            assert ("/accounts/password/reset/" in part) is ("OLD" not in part)
            assert "<script" not in part


@pytest.mark.django_db(transaction=True)
def test_whoever_changes_the_password_or_the_second_factor_is_told(
    register: Register, client: Client
) -> None:
    user = register(email="mei@example.com").user
    EmailAddress.objects.update(verified=True)
    set_up_app(user)
    client.force_login(user)
    client.post("/accounts/2fa/reauthenticate/", {"code": recovery_codes(user)[0]})
    new = "a newer long one"
    typed = {"oldpassword": PASSWORD, "password1": new, "password2": new}

    client.post("/accounts/password/change/", typed)
    client.post("/accounts/2fa/recovery-codes/generate/")
    client.post("/accounts/2fa/totp/deactivate/")

    assert {letter.subject for letter in mail.outbox} == {
        "Your password was changed",
        "You have new recovery codes",
        "Two-step login: the app was turned off",
    }
    assert {tuple(letter.to) for letter in mail.outbox} == {("mei@example.com",)}


def test_whose_factor_support_takes_off_is_told_in_their_language(
    register: Register, client: Client
) -> None:
    mei = register(email="mei@example.com", language="zh-hans").user
    set_up_app(mei)
    client.force_login(User.objects.create_superuser("root@example.com", PASSWORD))
    action = {"action": "reset_second_factor", "_selected_action": [str(mei.pk)], "reason": "Lost."}

    client.post("/admin/accounts/user/", action)
    client.post("/admin/accounts/user/", action)

    text, html = the_mail()
    assert "http://127.0.0.1:8000/accounts/password/reset/" in text
    assert '<html lang="zh-hans">' in html
    assert "127.0.0.1." not in text  # staff's address is not the person's business
    assert not Authenticator.objects.exists()
