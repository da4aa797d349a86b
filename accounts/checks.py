"""Checks of what accounts is set to."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, register

from accounts import proxies
from accounts.consents import VERSION_LENGTH
from accounts.terms import SAMPLE_VERSION, Document, file_of

_DOCUMENTS = {Document.TERMS: "TERMS_URL", Document.PRIVACY: "PRIVACY_URL"}


@register(Tags.security)
def check_trusted_proxies(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """E001: a mistyped proxy is not trusted, so everyone behind it would share one rate limit."""
    return [
        Error(
            f"TRUSTED_PROXIES has {entry!r}, which is no IP address and no network.",
            hint="Write addresses or networks such as 10.0.0.1,10.1.0.0/16, no names or ports.",
            id="accounts.E001",
        )
        for entry in proxies.mistyped(settings.TRUSTED_PROXIES)
    ]


@register
def check_terms_version(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """E002, E003: every consent is recorded under the version, so it must be one, and theirs."""
    version = settings.TERMS_VERSION
    if not re.fullmatch(rf"[\w.-]{{1,{VERSION_LENGTH}}}", version):
        return [
            Error(
                f"TERMS_VERSION is {version!r}.",
                hint=f"Set it to 1 to {VERSION_LENGTH} letters, digits, dots, hyphens and "
                "underscores, such as the date of the terms: 2026-11-26.",
                id="accounts.E002",
            )
        ]
    if version == SAMPLE_VERSION and any([settings.TERMS_DIR, settings.TERMS_URL]):
        return [
            Error(
                f"Terms of your own would be agreed to as {SAMPLE_VERSION!r}.",
                hint="Set TERMS_VERSION to the version of your terms, such as their date.",
                id="accounts.E003",
            )
        ]
    return []


@register
def check_where_terms_are(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """E004, E005: the links beside the button must lead to a text, in every language."""
    findings: list[CheckMessage] = []
    for document, name in _DOCUMENTS.items():
        url = getattr(settings, name)
        if url and not _is_good_address(url):
            findings.append(
                Error(
                    f"{name} is {url!r}, which is no address to link to.",
                    hint="Set it to https://…; {language} in it stands for the reader's language.",
                    id="accounts.E004",
                )
            )
        if settings.TERMS_DIR and not url:
            findings += _missing_texts(document)
    return findings


@register(Tags.security, deploy=True)
def check_sample_terms(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """I001: the sample terms are for trying Usher."""
    if settings.TERMS_DIR or (settings.TERMS_URL and settings.PRIVACY_URL):
        return []
    return [
        Info(
            "People agree to the sample of terms, or read the sample of a privacy notice.",
            hint="Set TERMS_DIR, or TERMS_URL and PRIVACY_URL, and TERMS_VERSION.",
            id="accounts.I001",
        )
    ]


def _is_good_address(url: str) -> bool:
    scheme = "https" if settings.PRODUCTION else "https?"
    plain = url.replace("{language}", "en")
    return bool(re.fullmatch(rf"{scheme}://[^\s/{{}}]+(/[^\s{{}}]*)?", plain))


def _missing_texts(document: Document) -> list[CheckMessage]:
    files = [file_of(document, language) for language, _name in settings.LANGUAGES]
    return [
        Error(
            f"TERMS_DIR has no readable, non-empty text in UTF-8 named {file.name}.",
            hint=f"Write {file}, as a piece of HTML, or set {_DOCUMENTS[document]}.",
            id="accounts.E005",
        )
        for file in files
        if not _is_readable(file)
    ]


def _is_readable(file: Path) -> bool:
    try:
        return bool(file.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError):
        return False
