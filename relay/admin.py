"""Endpoints and risk checks in the admin site. A secret is shown once: when it was just made."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, pgettext_lazy

from events.admin import PersonalAdmin, ProcessedEventAdmin, ReadOnlyAdmin
from events.staff_lists import KnownValuesFilter, StaffAdmin
from relay import consuming, services
from relay.endpoints import Endpoint, default_schedule
from relay.models import ProcessedEvent
from relay.parked import ParkedMessage
from relay.risk import ReceivedMessage, RiskCheck
from relay.transport import transports
from relay.validation import relayable_signals

REPLAY_DAYS = 1


class EndpointForm(forms.ModelForm[Endpoint]):
    """An endpoint's settings. A password in the URL is kept, and not shown again."""

    event_types = forms.MultipleChoiceField(
        label=_("Event types"), widget=forms.CheckboxSelectMultiple
    )
    schedule_s = forms.JSONField(
        label=_("Schedule"),
        initial=default_schedule,
        help_text=_("Seconds before each attempt; the last one stands for those that follow."),
    )

    class Meta:
        model = Endpoint
        fields = ("name", "url", "event_types", "owner_email", "max_attempts", "schedule_s")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "url" in self.fields:  # whoever may only look gets no fields of the row
            choices = [(signal.type, signal.type) for signal in relayable_signals()]
            self.fields["event_types"].choices = choices  # type: ignore[attr-defined]
        if "url" in self.fields:
            self.fields["url"].help_text = _(
                "The scheme chooses the transport: %(schemes)s. A password is kept, not shown."
            ) % {"schemes": ", ".join(f"{scheme}://" for scheme in sorted(transports()))}

    def clean(self) -> dict[str, Any] | None:
        """Ask the services' own rules, field by field."""
        cleaned = super().clean() or self.cleaned_data
        for name, clean in services.CLEANERS.items():
            if name in cleaned:
                try:
                    clean(cleaned[name])
                except ValidationError as error:
                    self.add_error(name, error)
        return cleaned


@admin.register(Endpoint)
class EndpointAdmin(StaffAdmin[Endpoint]):
    """Other systems that get events."""

    form = EndpointForm
    list_display = ("name", "url", "state", "disabled_reason", "failing_since", "rests_until")
    list_filter = ("state",)
    search_fields = ("name",)
    sortable_by = ("name", "state")
    fields = (*EndpointForm.Meta.fields, "state", "disabled_reason", "log", "updated_at")
    readonly_fields = ("state", "disabled_reason", "log", "updated_at")
    actions = ("enable", "disable", "send_test", "rotate", "replay_day")

    @admin.display(description=_("attempts"))
    def log(self, endpoint: Endpoint) -> str:
        """Link to what was sent, and what failed."""
        if endpoint.created_at is None or endpoint._state.adding:
            return "-"
        listing = reverse("admin:events_delivery_changelist")
        return format_html(
            '<a href="{}?receiver={}&amp;target={}">{}</a>',
            listing,
            services.SEND_RECEIVER,
            endpoint.pk,
            _("Deliveries and their failed attempts"),
        )

    def save_model(self, request: HttpRequest, obj: Endpoint, form: Any, change: bool) -> None:
        """Save through the services; show a new endpoint's secret."""
        values = {name: form.cleaned_data[name] for name in EndpointForm.Meta.fields}
        if change:
            services.change_endpoint(endpoint_id=obj.pk, **values)
            return
        created = services.create_endpoint(**values)
        obj.pk = created.endpoint.pk
        obj.new_secret = created.secret  # for the answer to this request alone

    def response_add(
        self, request: HttpRequest, obj: Endpoint, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show a new endpoint's secret."""
        return self._show(request, [(obj, obj.new_secret)], is_rotated=False)

    def delete_model(self, request: HttpRequest, obj: Endpoint) -> None:
        """Delete through the services."""
        services.delete_endpoint(endpoint_id=obj.pk, by=request.user.get_username())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> None:
        """Delete through the services, one by one."""
        for endpoint in queryset:
            self.delete_model(request, endpoint)

    @admin.action(description=_("Enable"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> None:
        """Send events again."""
        for endpoint in queryset:
            if services.enable_endpoint(endpoint_id=endpoint.pk):
                self._tell(request, endpoint, _("Enabled."))

    @admin.action(description=_("Disable"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> None:
        """Send no more events."""
        for endpoint in queryset:
            if services.disable_endpoint(endpoint_id=endpoint.pk):
                self._tell(request, endpoint, _("Disabled."))

    @admin.action(description=_("Send a test event"), permissions=["change"])
    def send_test(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> None:
        """Send a test event to each."""
        for endpoint in queryset:
            services.test_endpoint(endpoint_id=endpoint.pk)
            self._tell(request, endpoint, _("A test event is on its way; see its attempts."))

    @admin.action(description=_("Give a new secret"), permissions=["change"])
    def rotate(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> HttpResponse:
        """Give each a new secret, and show it."""
        shown = [(each, services.rotate_secret(endpoint_id=each.pk)) for each in queryset]
        return self._show(request, shown, is_rotated=True)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Tell whether this member of staff may send events once more."""
        return request.user.has_perm("relay.replay_endpoint")

    @admin.action(description=_("Replay the last 24 hours"), permissions=["replay"])
    def replay_day(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> None:
        """Send everything of the last day once more."""
        since = timezone.now() - timedelta(days=REPLAY_DAYS)
        for endpoint in queryset:
            count = services.replay_endpoint(endpoint_id=endpoint.pk, since=since)
            self._tell(request, endpoint, _("%(count)d events replayed.") % {"count": count})

    def _show(
        self, request: HttpRequest, shown: Sequence[tuple[Endpoint, str]], *, is_rotated: bool
    ) -> HttpResponse:
        """Answer with secrets, in a page that nothing keeps: no cookie, session or cache."""
        page = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": ngettext("The new secret", "The new secrets", len(shown)),
            "shown": shown,
            "is_rotated": is_rotated,
            "back": reverse("admin:relay_endpoint_changelist"),
        }
        answer = TemplateResponse(request, "admin/relay/endpoint/secrets.html", page)
        patch_cache_control(answer, no_store=True)
        return answer

    def _tell(
        self, request: HttpRequest, endpoint: Endpoint, text: Any, level: int = messages.SUCCESS
    ) -> None:
        self.message_user(request, f"{endpoint.name}: {text}", level)


class DecisionFilter(KnownValuesFilter):
    """What was answered."""

    title = pgettext_lazy("risk check", "decision")
    parameter_name = "decision"

    def values(self) -> Iterable[tuple[str, str]]:
        """Return the answers that there are."""
        return [("flag", "flag"), ("clear", "clear")]


@admin.register(RiskCheck)
class RiskCheckAdmin(PersonalAdmin):
    """What was asked about people, and what was answered."""

    list_display = ("id", "user", "state", "decision", "requested_at", "deadline_at", "answered_at")
    list_filter = ("state", DecisionFilter)
    list_select_related = ("user",)
    search_fields = ("user__email",)


@admin.register(ReceivedMessage)
class ReceivedMessageAdmin(ReadOnlyAdmin):
    """The signed messages that were applied."""

    list_display = ("message_id", "received_at")
    search_fields = ("message_id__exact",)
    search_help_text = _("Message id, whole")


@admin.register(ParkedMessage)
class ParkedMessageAdmin(ReadOnlyAdmin):
    """What came from brokers and could not be taken: to be taken again, or deleted."""

    list_display = ("id", "source", "place", "error", "parked_at")
    list_filter = ("source",)
    search_fields = ("place", "error")
    fields = ("source", "place", "error", "parked_at", "content_type", "attributes", "excerpt")
    actions = ("take_again",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Leave it to Django's permission: what is of no use is deleted."""
        return admin.ModelAdmin.has_delete_permission(self, request, obj)

    def has_take_permission(self, request: HttpRequest) -> bool:
        """Tell whether this member of staff may have messages taken again."""
        return request.user.has_perm("relay.change_parkedmessage")

    @admin.display(description=_("beginning of the body"))
    def excerpt(self, parked: ParkedMessage) -> str:
        """Return the beginning of the body."""
        return parked.excerpt

    @admin.action(description=_("Take again"), permissions=["take"])
    def take_again(self, request: HttpRequest, queryset: QuerySet[ParkedMessage]) -> None:
        """Take each once more; what works is parked no longer."""
        taken = sum(consuming.take_again(parked) for parked in queryset)
        left = queryset.count()
        text = _("%(taken)d taken, %(left)d still parked.") % {"taken": taken, "left": left}
        self.message_user(request, text, messages.WARNING if left else messages.SUCCESS)


admin.site.register(ProcessedEvent, ProcessedEventAdmin)
