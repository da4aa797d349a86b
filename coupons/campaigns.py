"""A campaign: which people get a coupon, when, of what worth, and how many there are."""

from datetime import datetime
from typing import Any, ClassVar, NoReturn
from zoneinfo import available_timezones

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import get_language, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from coupons.benefits import Benefit
from coupons.translations import NAME_LENGTH, Texts, texts_in, validate_translations

MAX_VALID_DAYS = 3650
MAX_STOCK = 2_000_000_000  # fits the column of every database


class CampaignStatus(models.TextChoices):
    """What staff decided. What follows from it and from the clock is `states.effective_status`."""

    DRAFT = "draft", _("draft")
    ACTIVE = "active", pgettext_lazy("campaign", "active")
    PAUSED = "paused", _("paused")
    ENDED = "ended", _("ended")
    ARCHIVED = "archived", _("archived")


# What staff may make of a campaign of each status. Nothing leads back from the end.
NEXT_STATUSES: dict[str, frozenset[str]] = {
    CampaignStatus.DRAFT: frozenset({CampaignStatus.ACTIVE}),
    CampaignStatus.ACTIVE: frozenset({CampaignStatus.PAUSED, CampaignStatus.ENDED}),
    CampaignStatus.PAUSED: frozenset({CampaignStatus.ACTIVE, CampaignStatus.ENDED}),
    CampaignStatus.ENDED: frozenset({CampaignStatus.ARCHIVED}),
    CampaignStatus.ARCHIVED: frozenset(),
}
OVER = frozenset({CampaignStatus.ENDED, CampaignStatus.ARCHIVED})


class Trigger(models.TextChoices):
    """What makes a campaign issue a coupon."""

    REGISTRATION = "registration", _("registration")
    MANUAL = "manual", _("by staff")


class Audience(models.TextChoices):
    """Whom a campaign is for."""

    ALL = "all", _("everyone")
    INVITED = "invited", _("invited people")


def validate_time_zone(name: str) -> None:
    """Refuse what is not the name of an IANA time zone."""
    if name not in available_timezones():
        raise ValidationError(_("%(name)s is not a time zone."), "time_zone", {"name": name})


class Campaign(Benefit):
    """An offer. Its benefit is frozen once the first coupon is issued: make another one instead.

    `issued_count` belongs to the issuing services alone: saving a campaign never writes it.
    """

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    name = models.CharField(_("name"), max_length=NAME_LENGTH)
    description = models.TextField(
        _("description"), blank=True, help_text=_("The offer in a sentence or two. Public.")
    )
    terms = models.TextField(_("terms"), blank=True, help_text=_("The small print. Public."))
    translations = models.JSONField(
        _("translations"),
        default=dict,
        db_default={},  # a release that does not know it yet may insert rows
        blank=True,
        validators=[validate_translations],
        help_text=_("Name, description and terms in other languages."),
    )
    trigger = models.CharField(_("trigger"), max_length=20, choices=Trigger)
    audience = models.CharField(
        _("audience"), max_length=20, choices=Audience, default=Audience.ALL
    )
    status = models.CharField(
        _("status"), max_length=20, choices=CampaignStatus, default=CampaignStatus.DRAFT
    )
    starts_at = models.DateTimeField(_("starts at"))
    ends_at = models.DateTimeField(
        _("ends at"), null=True, blank=True, help_text=_("The first moment after. Empty: open.")
    )
    time_zone = models.CharField(
        _("time zone"), max_length=64, default="UTC", validators=[validate_time_zone]
    )
    stock = models.PositiveIntegerField(
        _("stock"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(MAX_STOCK)],
        help_text=_("Coupons in all. Empty: unlimited."),
    )
    issued_count = models.PositiveIntegerField(_("issued"), default=0, editable=False)
    valid_from = models.DateTimeField(_("coupons valid from"), null=True, blank=True)
    valid_until = models.DateTimeField(
        _("coupons valid until"), null=True, blank=True, help_text=_("The first moment after.")
    )
    valid_days = models.PositiveIntegerField(
        _("days valid"),
        null=True,
        blank=True,
        help_text=_("Days after the day of issue, to the end of the last one."),
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("campaign")
        verbose_name_plural = _("campaigns")
        ordering = ("-starts_at", "-id")
        indexes: ClassVar[list[Any]] = [
            models.Index(fields=["trigger", "status"], name="coupons_campaign_trigger"),
        ]
        constraints: ClassVar[list[Any]] = [
            *Benefit.Meta.constraints,
            models.CheckConstraint(
                name="coupons_campaign_trigger_known",
                condition=Q(trigger__in=Trigger.values),
            ),
            models.CheckConstraint(
                name="coupons_campaign_audience_known",
                condition=Q(audience__in=Audience.values),
            ),
            models.CheckConstraint(
                name="coupons_campaign_status_known",
                condition=Q(status__in=CampaignStatus.values),
            ),
            models.CheckConstraint(
                name="coupons_campaign_ends_after_start",
                condition=Q(ends_at__isnull=True) | Q(ends_at__gt=F("starts_at")),
                violation_error_message=_("A campaign ends after it starts."),
            ),
            models.CheckConstraint(
                name="coupons_campaign_stock_in_range",
                condition=Q(stock__isnull=True) | Q(stock__lte=MAX_STOCK),
            ),
            models.CheckConstraint(
                name="coupons_campaign_issued_within_stock",
                condition=Q(stock__isnull=True) | Q(issued_count__lte=F("stock")),
                violation_error_message=_("More coupons are issued than that."),
            ),
            models.CheckConstraint(
                name="coupons_campaign_one_validity",
                condition=Q(
                    valid_from__isnull=False,
                    valid_until__isnull=False,
                    valid_until__gt=F("valid_from"),
                    valid_days__isnull=True,
                )
                | Q(
                    valid_from__isnull=True,
                    valid_until__isnull=True,
                    valid_days__isnull=False,
                    valid_days__gte=1,
                    valid_days__lte=MAX_VALID_DAYS,
                ),
                violation_error_message=_(
                    "Set either both ends of the coupons' validity, or the days valid (1 to 3650)."
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def texts(self) -> Texts:
        """Name, description and terms in the reader's language."""
        own = Texts(name=self.name, description=self.description, terms=self.terms)
        return texts_in(get_language(), own=own, translations=self.translations)

    def covers(self, at: datetime) -> bool:
        """Tell whether a moment lies in the campaign's time. The end is exclusive."""
        return self.starts_at <= at and (self.ends_at is None or at < self.ends_at)

    def status_at(self, at: datetime) -> str:
        """Return the status that the campaign had at a moment, also after it got another one."""
        changes = list(self.status_changes.all())  # not filtered in SQL: they may be prefetched
        if not changes or changes[-1].status != self.status:
            return self.status  # an UPDATE went past save(): the history does not tell
        then = [change.status for change in changes if change.changed_at <= at]
        return then[-1] if then else changes[0].status

    def clean(self) -> None:
        """Refuse a stock below what is issued, a frozen benefit's change, and a step back."""
        super().clean()
        if self.stock is not None and self.stock < self.issued_count:
            raise ValidationError({"stock": _("More coupons are issued than that.")})
        if stored := Campaign.objects.filter(pk=self.pk).first():
            self._refuse_what_is_settled(stored)

    def _refuse_what_is_settled(self, stored: "Campaign") -> None:
        if stored.issued_count and stored.terms_of_benefit() != self.terms_of_benefit():
            self._refuse_benefit(stored)
        if self.status not in {stored.status, *NEXT_STATUSES[stored.status]}:
            raise ValidationError(
                _("A campaign that is %(status)s can't become that."),
                "wrong_status",
                {"status": stored.get_status_display()},
            )

    def _refuse_benefit(self, stored: "Campaign") -> NoReturn:
        refusal = ValidationError(
            _("The benefit is frozen since the first coupon. Make another campaign instead."),
            "benefit_frozen",
        )
        before, wanted = stored.terms_of_benefit(), self.terms_of_benefit()
        raise ValidationError({name: refusal for name in wanted if wanted[name] != before[name]})

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write the campaign but not its count of issued coupons, and note a change of status."""
        if not self._state.adding and kwargs.get("update_fields") is None:
            fields = {field.name for field in self._meta.concrete_fields}
            kwargs["update_fields"] = fields - {"id", "issued_count"}
        with transaction.atomic():
            super().save(*args, **kwargs)
            self._note_status()

    def _note_status(self) -> None:
        latest = self.status_changes.last()
        if latest is None or latest.status != self.status:
            self.status_changes.create(status=self.status)


class CampaignStatusChange(models.Model):
    """When a campaign took a status: a registration is judged by the status of its own moment."""

    campaign = models.ForeignKey(
        Campaign,
        on_delete=models.CASCADE,
        related_name="status_changes",
        verbose_name=_("campaign"),
    )
    status = models.CharField(_("status"), max_length=20, choices=CampaignStatus)
    changed_at = models.DateTimeField(_("changed at"), default=timezone.now)
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("changed by"),
    )

    class Meta:
        verbose_name = _("change of campaign status")
        verbose_name_plural = _("changes of campaign status")
        ordering = ("changed_at", "id")
        constraints: ClassVar[list[Any]] = [
            models.CheckConstraint(
                name="coupons_campaignstatuschange_status_known",
                condition=Q(status__in=CampaignStatus.values),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.status} {self.changed_at:%Y-%m-%d %H:%M:%S}"
