"""Mails of accounts have a text and an HTML part that say the same, in the reader's language."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django.core.mail import EmailMultiAlternatives
from django.test import Client

from tests.accounts.conftest import Register

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
