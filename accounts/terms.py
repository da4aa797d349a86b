"""The terms and the privacy notice: what counts now, where it is read, and who agreed to it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language

from accounts.consents import Channel, Consent
from accounts.models import User

SAMPLE_VERSION = "sample-1"  # of the terms that come with Usher


class Document(StrEnum):
    """What a person agrees to, or is told."""

    TERMS = "terms"
    PRIVACY = "privacy"


class Outdated(Exception):
    """The terms that a person was shown are not those that count now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """That a person agreed to the terms that count now, and where they were shown."""

    channel: Channel


def agreed(channel: Channel, *, shown: str | None) -> Agreed | None:
    """Return what `register` records. `shown` is the version that the person saw, where known.

    None: nobody says that terms were shown, so nothing was agreed to.
    Raises Outdated where another version was shown than counts now.
    """
    if not shown:
        return None
    if shown != settings.TERMS_VERSION:
        raise Outdated
    return Agreed(channel=channel)


def consent_of(user: User, given: Agreed, language: str) -> Consent:
    """Return the row, not yet saved, that says what a person agreed to."""
    return Consent(
        user=user, version=settings.TERMS_VERSION, channel=given.channel, language=language
    )


def agree(*, user: User, given: Agreed, language: str) -> None:
    """Record that somebody who has an account agrees to what counts now.

    Two clicks at once record it once, and the first is what is kept.
    """
    Consent.objects.bulk_create([consent_of(user, given, language)], ignore_conflicts=True)


def latest_of(user_id: UUID) -> Consent | None:
    """Return what a person agreed to last, or None."""
    return Consent.objects.filter(user=user_id).order_by("-pk").first()


def are_to_be_agreed_to(user: User) -> bool:
    """Tell whether the terms that count now are still to be put to a person.

    The sample is put to nobody who has an account, nor is anything to staff who never signed up.
    """
    if user.registered_at is None or settings.TERMS_VERSION == SAMPLE_VERSION:
        return False
    return not Consent.objects.filter(user=user, version=settings.TERMS_VERSION).exists()


def url_of(document: Document) -> str:
    """Return where the document is read in the reader's language: our page, or the site's own."""
    own: str = {Document.TERMS: settings.TERMS_URL, Document.PRIVACY: settings.PRIVACY_URL}[
        document
    ]
    if own:
        return own.replace("{language}", get_language() or settings.LANGUAGE_CODE)
    return reverse(document.value)


def public_url_of(document: Document) -> str:
    """Return the same for those who are not on our pages."""
    url = url_of(document)
    return f"{settings.PUBLIC_URL}{url}" if url.startswith("/") else url


def text_of(document: Document) -> SafeString:
    """Return the document in the reader's language, as HTML.

    It is a file of whoever runs the site, and trusted as templates are; or else our sample.
    """
    language = get_language() or settings.LANGUAGE_CODE
    if settings.TERMS_DIR:
        text = file_of(document, language).read_text(encoding="utf-8")
        return mark_safe(text)  # noqa: S308  # written by whoever runs the site
    return render_to_string(
        [f"legal/{document}.{code}.html" for code in (language, settings.LANGUAGE_CODE)]
    )


def file_of(document: Document, language: str) -> Path:
    """Return where the site's own text of a document is kept."""
    return Path(settings.TERMS_DIR) / f"{document}.{language}.html"
