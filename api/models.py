"""Answers that are kept, so that a repeated request gets the first one again."""

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

KEY_LENGTH = 255


class IdempotentAnswer(models.Model):
    """What was answered to a request with an `Idempotency-Key`, or that it is being worked on."""

    caller = models.CharField(
        _("caller"), max_length=36, blank=True, help_text=_("A user's id; empty: not logged in.")
    )
    key = models.CharField(_("key"), max_length=KEY_LENGTH)
    # A keyed hash of method, address and body: what was sent, a password say, cannot be guessed.
    request_hash = models.CharField(_("hash of the request"), max_length=64)
    # Who works on it: fences off a request that was thought dead and comes back.
    lease_token = models.UUIDField(_("lease"), null=True, blank=True)
    leased_until = models.DateTimeField(_("leased until"), null=True, blank=True)
    status = models.PositiveSmallIntegerField(_("status"), null=True, blank=True)
    content_type = models.CharField(_("content type"), max_length=100, blank=True)
    body = models.TextField(_("body"), blank=True)
    subject = models.UUIDField(
        _("about"), null=True, blank=True, help_text=_("The account the answer tells about.")
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    expires_at = models.DateTimeField(_("expires at"))

    class Meta:
        verbose_name = _("kept answer")
        verbose_name_plural = _("kept answers")
        indexes: ClassVar[list[Any]] = [
            models.Index(fields=["expires_at"], name="api_answer_expires_at"),
            models.Index(
                fields=["subject"], name="api_answer_about", condition=Q(subject__isnull=False)
            ),
        ]
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["caller", "key"], name="api_answer_once_per_key"),
            models.CheckConstraint(
                name="api_answer_given_or_worked_on",
                condition=Q(
                    status__isnull=True, lease_token__isnull=False, leased_until__isnull=False
                )
                | Q(status__isnull=False, lease_token__isnull=True, leased_until__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.status or 'running'} {self.created_at:%Y-%m-%d %H:%M:%S}"
