"""What came in and could not be taken: kept, until an operator has it taken again or deletes it."""

from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

SOURCE_LENGTH = 500
PLACE_LENGTH = 300
ERROR_LENGTH = 1000
EXCERPT_BYTES = 2000


class ParkedMessage(models.Model):
    """A message from a broker that is no event we take, or that failed."""

    source = models.CharField(_("source"), max_length=SOURCE_LENGTH)  # a URL without a login
    place = models.CharField(_("place"), max_length=PLACE_LENGTH)
    content_type = models.CharField(_("content type"), max_length=PLACE_LENGTH, blank=True)
    attributes: Any = models.JSONField(_("attributes"), default=dict)
    body = models.BinaryField(_("body"))
    # Of all the above but the place: what is delivered again is parked once.
    digest = models.CharField(_("digest"), max_length=64, unique=True)
    error = models.CharField(_("error"), max_length=ERROR_LENGTH)
    parked_at = models.DateTimeField(_("parked at"), default=timezone.now)

    class Meta:
        verbose_name = _("parked message")
        verbose_name_plural = _("parked messages")
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.place}: {self.error}"

    @property
    def excerpt(self) -> str:
        """Return the beginning of the body, as text."""
        return bytes(self.body[:EXCERPT_BYTES]).decode("utf-8", "replace")
