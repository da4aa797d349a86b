"""The admin's form of a campaign: its texts may be written in every language of the site."""

from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from coupons.campaigns import Campaign
from coupons.translations import NAME_LENGTH, TEXTS, languages, mistakes

_LABELS = {"name": _("Name"), "description": _("Description"), "terms": _("Terms")}


def translated(text: str, language: str) -> str:
    """Return the name of the field for a text in a language: "name_zh_hans"."""
    return f"{text}_{language.replace('-', '_')}"


class _TranslatedForm(forms.ModelForm[Campaign]):
    """Reads and writes `translations` by a field for each text and language."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for code, texts in self.instance.translations.items():
            for text, translation in texts.items():
                self.initial.setdefault(translated(text, code), translation)

    def clean(self) -> dict[str, Any]:
        """Put the translations together. What is wrong with one is told beside its text."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        translations = {}
        for code in languages():
            texts = {text: cleaned.get(translated(text, code), "") for text in TEXTS}
            for text, mistake in mistakes(cleaned, texts).items():
                self.add_error(translated(text, code), mistake)
            if any(texts.values()):
                translations[code] = {text: value for text, value in texts.items() if value}
        self.instance.translations = translations
        return cleaned


def _field(text: str, language: Any) -> forms.CharField:
    return forms.CharField(
        label=format_lazy("{} ({})", _LABELS[text], language),
        required=False,
        max_length=NAME_LENGTH if text == "name" else None,
        widget=AdminTextInputWidget() if text == "name" else AdminTextareaWidget(),
    )


FIELDS = {
    translated(text, code): _field(text, name)
    for code, name in languages().items()
    for text in TEXTS
}
CampaignForm: type[_TranslatedForm] = type(
    "CampaignForm", (_TranslatedForm,), {**FIELDS, "__module__": __name__}
)
