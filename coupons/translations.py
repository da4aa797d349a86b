"""The texts of a campaign in the reader's language: its own, or a translation of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

NAME_LENGTH = 120
TEXTS: Final = ("name", "description", "terms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What people read of a campaign."""

    name: str
    description: str
    terms: str


def languages() -> dict[str, Any]:
    """Return the languages that texts may be translated to: their codes and names."""
    return {code: name for code, name in settings.LANGUAGES if code != settings.LANGUAGE_CODE}


def texts_in(
    language: str | None, *, own: Texts, translations: Mapping[str, Mapping[str, str]]
) -> Texts:
    """Return a campaign's texts in a language; its own where there is no translation."""
    translation = translations.get(language or "")
    if not translation:
        return own
    return Texts(**{text: translation.get(text, "") for text in TEXTS})


def mistakes(own: Mapping[str, Any], translation: Mapping[str, str]) -> dict[str, ValidationError]:
    """Return what is wrong with a translation, by text. None at all is right, half of one is not.

    Or else a reader finds two languages on one coupon.
    """
    if not any(translation.values()):
        return {}
    found: dict[str, ValidationError] = {}
    for text in TEXTS:
        if own.get(text) and not translation.get(text):
            found[text] = ValidationError(_("Translate this too, or nothing."), "not_translated")
        elif translation.get(text) and not own.get(text):
            sentence = _("There is nothing that this translates.")
            found[text] = ValidationError(sentence, "translates_nothing")
    return found


def validate_translations(translations: Any) -> None:
    """Refuse what is not `{language: {text: translation}}`. Raises ValidationError."""
    if not isinstance(translations, dict) or not all(
        code in languages() and _is_translation(texts) for code, texts in translations.items()
    ):
        raise ValidationError(_("Translations are texts by language."), "translations")


def _is_translation(texts: Any) -> bool:
    return isinstance(texts, dict) and all(
        name in TEXTS and isinstance(text, str) for name, text in texts.items()
    )
