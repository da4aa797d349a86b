"""Endpoints: where events are sent, which, and how often it is tried."""

from typing import Any, ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

DEFAULT_SCHEDULE_S = (0, 5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600)
MAX_ATTEMPTS = 50
MAX_WAIT_S = 7 * 24 * 3600
NAME_LENGTH = 100
URL_LENGTH = 500


def default_schedule() -> list[int]:
    """Return the seconds to wait before each attempt, the first included."""
    return list(DEFAULT_SCHEDULE_S)


class EndpointState(models.TextChoices):
    """Whether events are sent."""

    ENABLED = "enabled", _("enabled")
    DISABLED = "disabled", _("disabled")


class DisabledReason(models.TextChoices):
    """Why an endpoint gets no events."""

    BY_STAFF = "by_staff", _("switched off by staff")
    GONE = "gone", _("it answered that it is gone (410)")
    FAILING = "failing", _("it has failed for five days")


class Endpoint(models.Model):
    """Another system that wants to know. The scheme of its URL chooses the transport."""

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    name = models.CharField(_("name"), max_length=NAME_LENGTH, unique=True)
    url = models.CharField(_("URL"), max_length=URL_LENGTH, help_text=_("Without a password."))
    event_types = models.JSONField(_("event types"), default=list)
    owner_email = models.EmailField(_("owner's e-mail"), help_text=_("Told when it is disabled."))
    state = models.CharField(
        _("state"), max_length=10, choices=EndpointState, default=EndpointState.ENABLED
    )
    disabled_reason = models.CharField(
        _("why disabled"), max_length=10, choices=DisabledReason, blank=True, default=""
    )
    max_attempts = models.PositiveSmallIntegerField(
        _("attempts"),
        default=len(DEFAULT_SCHEDULE_S),
        validators=[MinValueValidator(1), MaxValueValidator(MAX_ATTEMPTS)],
    )
    schedule_s = models.JSONField(
        _("schedule"),
        default=default_schedule,
        help_text=_("Seconds before each attempt; the last one stands for those that follow."),
    )
    sealed_password = models.TextField(_("password"), blank=True, default="", editable=False)
    sealed_secret = models.TextField(_("secret"), editable=False)
    sealed_former_secret = models.TextField(
        _("former secret"), blank=True, default="", editable=False
    )
    former_secret_until = models.DateTimeField(
        _("former secret until"), null=True, blank=True, editable=False
    )
    failing_since = models.DateTimeField(_("failing since"), null=True, blank=True, editable=False)
    failures = models.PositiveIntegerField(_("failures in a row"), default=0, editable=False)
    rests_until = models.DateTimeField(
        _("rests until"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("It hangs, or asked for time: until then nothing is sent."),
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    new_secret = ""  # no column: only where it was just made, to be shown

    class Meta:
        verbose_name = _("endpoint")
        verbose_name_plural = _("endpoints")
        ordering = ("name",)
        permissions: ClassVar = [("replay_endpoint", "Can replay the events of endpoints")]
        constraints: ClassVar[list[Any]] = [
            models.CheckConstraint(
                name="relay_endpoint_disabled_iff_reason",
                condition=Q(state=EndpointState.ENABLED, disabled_reason="")
                | (Q(state=EndpointState.DISABLED) & ~Q(disabled_reason="")),
            ),
            models.CheckConstraint(
                name="relay_endpoint_attempts_within_bounds",
                condition=Q(max_attempts__gte=1, max_attempts__lte=MAX_ATTEMPTS),
            ),
            models.CheckConstraint(
                name="relay_endpoint_former_secret_ends",
                condition=Q(sealed_former_secret="", former_secret_until__isnull=True)
                | (~Q(sealed_former_secret="") & Q(former_secret_until__isnull=False)),
            ),
            models.CheckConstraint(
                name="relay_endpoint_failing_iff_failures",
                condition=Q(failing_since__isnull=True, failures=0)
                | Q(failing_since__isnull=False, failures__gte=1),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def wait_s(self, attempts: int) -> int | None:
        """Return the seconds between the given number of attempts and the next; None: no more."""
        if attempts >= self.max_attempts:
            return None
        schedule: list[int] = self.schedule_s
        return schedule[min(attempts, len(schedule) - 1)]
