"""Coupons for a list of people that staff brought: the request, and what came of each line."""

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from coupons.campaigns import Campaign

GIVEN_LENGTH = 254


class BulkIssue(models.Model):
    """A list of people who are to get a campaign's coupon, worked off in the background.

    `key` is that of the form which asked for it: sent twice, it is one list.
    """

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    campaign = models.ForeignKey(
        Campaign,
        on_delete=models.PROTECT,
        related_name="bulk_issues",
        verbose_name=_("campaign"),
    )
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        verbose_name=_("requested by"),
    )
    key = models.UUIDField(_("key of the form"), null=True, blank=True, editable=False)
    total = models.PositiveIntegerField(_("lines"))
    created_at = models.DateTimeField(_("requested at"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    class Meta:
        verbose_name = _("bulk issue")
        verbose_name_plural = _("bulk issues")
        ordering = ("-id",)
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(
                fields=["campaign", "key"], name="coupons_bulkissue_once_per_form"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.campaign_id} {self.created_at:%Y-%m-%d %H:%M}"

    @property
    def status(self) -> str:
        """Return "running" or "finished"."""
        return "running" if self.finished_at is None else "finished"


class RowOutcome(models.TextChoices):
    """What came of a line: a decision made for it, or why none was."""

    OPEN = "", _("not reached yet")
    ISSUED = "issued", _("issued")
    HELD = "held", _("held")
    SKIPPED = "skipped", _("skipped")
    VOIDED = "voided", _("voided")
    ALREADY_DECIDED = "already_decided", _("decided before")
    REPEATED = "repeated", _("named before in the list")
    UNKNOWN = "unknown", _("no such account")


class BulkIssueRow(models.Model):
    """One line of the list. Who is known is kept as an account, so that no address is.

    Of a line that names nobody the text is kept, to be corrected and sent again, until
    `forgetting` blanks it some 30 days later. It may hold the address of somebody who registers and
    closes their account meanwhile: which one can not be told from a text that names no account.
    """

    bulk_issue = models.ForeignKey(
        BulkIssue,
        on_delete=models.CASCADE,
        related_name="rows",
        verbose_name=_("bulk issue"),
        db_index=False,  # the unique constraint begins with it
    )
    line = models.PositiveIntegerField(_("line"))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("user"),
    )
    given = models.CharField(
        _("as given"),
        max_length=GIVEN_LENGTH,
        blank=True,
        help_text=_("Where nobody is known; for 30 days."),
    )
    outcome = models.CharField(_("outcome"), max_length=20, choices=RowOutcome, blank=True)
    reason = models.CharField(_("reason"), max_length=40, blank=True)

    class Meta:
        verbose_name = _("line of a bulk issue")
        verbose_name_plural = _("lines of bulk issues")
        ordering = ("bulk_issue", "line")
        indexes: ClassVar[list[Any]] = [
            models.Index(
                fields=["bulk_issue", "line"],
                name="coupons_bulkissuerow_open",
                condition=Q(outcome=RowOutcome.OPEN),
            ),
            models.Index(
                fields=["bulk_issue"], name="coupons_bulkissuerow_text", condition=~Q(given="")
            ),
        ]
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(
                fields=["bulk_issue", "line"], name="coupons_bulkissuerow_once_per_line"
            ),
            models.UniqueConstraint(
                fields=["bulk_issue", "user"],
                name="coupons_bulkissuerow_once_per_user",
                condition=~Q(outcome=RowOutcome.REPEATED),
            ),
            models.CheckConstraint(
                name="coupons_bulkissuerow_outcome_known",
                condition=Q(outcome__in=RowOutcome.values),
            ),
            models.CheckConstraint(
                name="coupons_bulkissuerow_text_of_nobody",
                condition=Q(user__isnull=False, given="")
                | Q(user__isnull=True, outcome=RowOutcome.UNKNOWN),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.line}: {self.outcome} {self.reason}".rstrip()
