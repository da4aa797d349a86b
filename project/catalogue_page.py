"""The event catalogue as a page of the admin, to read."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from events.operations.catalog import catalogue
from events.operations.catalog_pages import fields_of, terms_of
from project.support import page_of_staff


@page_of_staff("events.view_event")
@require_safe
def event_catalogue(request: HttpRequest) -> HttpResponse:
    """Show which events this release declares, and who reacts how."""
    declared = catalogue()
    terms = {receiver.name: terms_of(receiver) for receiver in declared.receivers}
    events = [
        {
            "entry": event,
            "fields": list(fields_of(declared, event)),
            "receivers": [(name, terms[name]) for name in event.receivers],
        }
        for event in declared.events
    ]
    context = {
        **admin.site.each_context(request),
        "title": _("Event catalogue"),
        "events": events,
        "channels": declared.channels,
    }
    return render(request, "project/event_catalogue.html", context)
