"""Forms in templates: labels, help, errors, and focus on the first field that needs it."""

from typing import Any

from django import template
from django.forms import BaseForm

from accounts.terms import Document, url_of

register = template.Library()


@register.simple_tag
def terms_url() -> str:
    """Return where the terms are read in the reader's language."""
    return url_of(Document.TERMS)


@register.simple_tag
def privacy_url() -> str:
    """Return where the privacy notice is read in the reader's language."""
    return url_of(Document.PRIVACY)


@register.inclusion_tag("accounts/form_fields.html")
def form_fields(form: BaseForm) -> dict[str, Any]:
    """Render an error summary and the fields. The first refused field gets the focus."""
    refused = [field for field in form.visible_fields() if field.errors]
    if refused:
        refused[0].field.widget.attrs["autofocus"] = True
    return {"form": form, "refused": refused}
