"""Which terms a person agreed to, when and where."""

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.append_only import AppendOnlyModel

VERSION_LENGTH = 40


class Channel(models.TextChoices):
    """Where the terms were shown to a person."""

    PAGE = "page", _("on the page")
    API = "api", _("by a program")


class Consent(AppendOnlyModel):
    """A person agreed to a version of the terms. Kept when the account is closed: it names nobody.

    Who was registered by staff, in bulk, or by a program that does not say which terms it showed,
    has no row until they agree.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="consents",
        verbose_name=_("account"),
        db_index=False,  # the unique constraint begins with it
    )
    version = models.CharField(_("version of the terms"), max_length=VERSION_LENGTH)
    channel = models.CharField(_("agreed to"), max_length=8, choices=Channel)
    language = models.CharField(_("language"), max_length=16, choices=settings.LANGUAGES)
    agreed_at = models.DateTimeField(_("agreed at"), default=timezone.now)

    class Meta:
        verbose_name = _("consent to the terms")
        verbose_name_plural = _("consents to the terms")
        ordering = ("-id",)
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["user", "version"], name="consent_once_per_version"),
            models.CheckConstraint(
                condition=Q(channel__in=Channel.values), name="consent_channel_known"
            ),
            models.CheckConstraint(condition=~Q(version=""), name="consent_has_version"),
        ]

    def __str__(self) -> str:
        return f"{self.version}, {self.agreed_at:%Y-%m-%d %H:%M} UTC ({self.channel})"
