"""Forms of a campaign: its texts may be written in every language of the site."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from coupons.campaigns import Campaign
from coupons.translations import NAME_LENGTH, TEXTS, languages, mistakes

_LABELS = {"name": _("Name"), "description": _("Description"), "terms": _("Terms")}


def translated(text: str, language: str) -> str:
    """Return the name of the field for a text in a language: "name_zh_hans"."""
    return f"{text}_{language.replace('-', '_')}"


def translation_fields(name_of: Callable[[str, str], str]) -> dict[str, forms.CharField]:
    """Return a field for each text and language, by the name that it shall have."""
    return {
        name_of(text, code): _field(text, name)
        for code, name in languages().items()
        for text in TEXTS
    }


def _field(text: str, language: Any) -> forms.CharField:
    return forms.CharField(
        label=format_lazy("{} ({})", _LABELS[text], language),
        required=False,
        max_length=NAME_LENGTH if text == "name" else None,
        widget=UnfoldAdminTextInputWidget() if text == "name" else UnfoldAdminTextareaWidget(),
    )


class TranslatedForm(forms.ModelForm[Campaign]):
    """Reads and writes `translations` by its `translation_fields`."""

    name_of = staticmethod(translated)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for code, texts in self.instance.translations.items():
            for text, translation in texts.items():
                self.initial.setdefault(self.name_of(text, code), translation)

    def clean(self) -> dict[str, Any]:
        """Put the translations together. What is wrong with one is told beside its text.

        Those to languages that the site no longer has are kept.
        """
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        stored = self.instance.translations.items()
        translations = {code: texts for code, texts in stored if code not in languages()}
        for code in languages():
            texts = {text: cleaned.get(self.name_of(text, code), "") for text in TEXTS}
            self._tell_mistakes(code, texts)
            if any(texts.values()):
                translations[code] = {text: value for text, value in texts.items() if value}
        self.instance.translations = translations
        return cleaned

    def _tell_mistakes(self, code: str, texts: dict[str, str]) -> None:
        """Tell what is wrong with a translation, but for what is wrong by itself."""
        for text, mistake in mistakes(self.cleaned_data, texts).items():
            if not {text, self.name_of(text, code)} & set(self.errors):
                self.add_error(self.name_of(text, code), mistake)


FIELDS = translation_fields(translated)
CampaignForm: type[TranslatedForm] = type(
    "CampaignForm", (TranslatedForm,), {**FIELDS, "__module__": __name__}
)
