"""Points accounts and their append-only entries. A balance is the sum of its entries, always."""

from typing import Any, ClassVar, NoReturn

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7


class AppendOnly(Exception):
    """Entries are never changed or deleted. Write an opposite entry instead."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class PointsAccount(models.Model):
    """What a person has. Its row is the lock under which everything about their points happens."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        primary_key=True,
        related_name="points_account",
        verbose_name=_("user"),
    )
    balance = models.BigIntegerField(
        _("balance"), default=0, help_text=_("Below zero only after a reversal.")
    )
    pending = models.BigIntegerField(
        _("pending"), default=0, help_text=_("Points of rewards that are not granted yet.")
    )
    lifetime_earned = models.BigIntegerField(_("earned in all"), default=0)
    version = models.BigIntegerField(
        _("version"), default=0, help_text=_("The number of the latest entry.")
    )
    frozen_at = models.DateTimeField(_("frozen at"), null=True, blank=True)
    closed_at = models.DateTimeField(_("closed at"), null=True, blank=True)
    created_at = models.DateTimeField(_("created at"), default=timezone.now)

    class Meta:
        verbose_name = _("points account")
        verbose_name_plural = _("points accounts")
        permissions: ClassVar[list[Any]] = [
            ("spend_points", _("Can spend people's points, and undo that")),
            ("adjust_points", _("Can adjust points")),
        ]
        constraints: ClassVar[list[Any]] = [
            models.CheckConstraint(
                name="points_pointsaccount_not_negative",
                condition=Q(pending__gte=0, lifetime_earned__gte=0, version__gte=0),
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class EntryKind(models.TextChoices):
    """Why a balance changed."""

    EARN = "earn", _("earned")
    SPEND = "spend", _("spent")
    SPEND_ROLLBACK = "spend_rollback", _("spending undone")
    EXPIRE = "expire", _("expired")
    REVERSAL = "reversal", _("reversed")
    ADJUST = "adjust", _("adjusted by staff")


class EntryQuerySet(models.QuerySet["Entry"]):
    """Entries can be read and added. A database trigger refuses what gets around this."""

    def update(self, **kwargs: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnly

    def delete(self) -> NoReturn:
        """Refuse."""
        raise AppendOnly

    def bulk_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnly


_UNDOING = [EntryKind.SPEND_ROLLBACK, EntryKind.REVERSAL]


class Entry(models.Model):
    """One change of a balance. Append-only; what was wrong is undone by an opposite entry."""

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(
        PointsAccount,
        on_delete=models.PROTECT,
        related_name="entries",
        verbose_name=_("account"),
        db_index=False,  # the unique constraint begins with it
    )
    number = models.BigIntegerField(
        _("number"), help_text=_("The entry's place in its account, from 1 without a gap.")
    )
    kind = models.CharField(_("kind"), max_length=20, choices=EntryKind)
    amount = models.BigIntegerField(_("amount"), help_text=_("Credits are positive."))
    balance_after = models.BigIntegerField(_("balance after"))
    # Says what the entry is for, as in "reward:referral:<invitee id>": a second one is refused.
    idempotency_key = models.CharField(_("idempotency key"), max_length=200, unique=True)
    reverses = models.OneToOneField(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="reversed_by",
        verbose_name=_("undoes"),
    )
    lot = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="expiries",
        verbose_name=_("lot"),
        db_index=False,  # most entries have none: see the indexes below
        help_text=_("The credit of which the rest expired."),
    )
    expires_at = models.DateTimeField(
        _("expires at"), null=True, blank=True, help_text=_("When a credit lapses. Empty: never.")
    )
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("by"),
        db_index=False,  # most entries have none: see the indexes below
        help_text=_("The member of staff or service that did it; empty for a rule."),
    )
    reason = models.CharField(_("reason"), max_length=200, blank=True)
    # No foreign key: events may one day be kept elsewhere, and entries outlive them.
    event_id = models.UUIDField(_("event id"), null=True, blank=True)
    occurred_at = models.DateTimeField(_("occurred at"), default=timezone.now)

    objects = EntryQuerySet.as_manager()

    class Meta:
        verbose_name = _("entry")
        verbose_name_plural = _("entries")
        ordering = ("-id",)
        indexes: ClassVar[list[Any]] = [
            models.Index(
                fields=["lot"], name="points_entry_of_lot", condition=Q(lot__isnull=False)
            ),
            models.Index(
                fields=["actor"], name="points_entry_by_actor", condition=Q(actor__isnull=False)
            ),
        ]
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["account", "number"], name="points_entry_number_once"),
            models.CheckConstraint(name="points_entry_number_from_1", condition=Q(number__gte=1)),
            models.CheckConstraint(
                name="points_entry_kind_has_its_sign",
                condition=Q(kind__in=[EntryKind.EARN, EntryKind.SPEND_ROLLBACK], amount__gt=0)
                | Q(kind=EntryKind.SPEND, amount__lt=0)
                | Q(kind=EntryKind.EXPIRE, amount__lte=0)
                | Q(kind=EntryKind.REVERSAL)  # 0 where all of the credit had lapsed
                | (Q(kind=EntryKind.ADJUST) & ~Q(amount=0)),
            ),
            models.CheckConstraint(
                name="points_entry_has_idempotency_key", condition=~Q(idempotency_key="")
            ),
            models.CheckConstraint(
                name="points_entry_undoing_names_entry",
                condition=Q(kind__in=_UNDOING, reverses__isnull=False)
                | (~Q(kind__in=_UNDOING) & Q(reverses__isnull=True)),
            ),
            models.CheckConstraint(
                name="points_entry_expiry_names_lot",
                condition=Q(kind=EntryKind.EXPIRE, lot__isnull=False)
                | (~Q(kind=EntryKind.EXPIRE) & Q(lot__isnull=True)),
            ),
            models.CheckConstraint(
                name="points_entry_only_credits_expire",
                condition=Q(expires_at__isnull=True) | Q(amount__gt=0),
            ),
            models.CheckConstraint(
                name="points_entry_adjustment_is_explained",
                condition=~Q(kind=EntryKind.ADJUST) | (Q(actor__isnull=False) & ~Q(reason="")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount:+d}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Add the entry. Raises AppendOnly where it is there already."""
        if not self._state.adding:
            raise AppendOnly
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnly


class Lot(models.Model):
    """What is left of a credit. Not history: `lots.replay` makes it anew from the entries."""

    entry = models.OneToOneField(
        Entry,
        on_delete=models.PROTECT,
        primary_key=True,
        related_name="as_lot",
        verbose_name=_("credit"),
    )
    account = models.ForeignKey(
        PointsAccount,
        on_delete=models.PROTECT,
        related_name="lots",
        verbose_name=_("account"),
        db_index=False,  # the index below begins with it
    )
    # The order in which lots are consumed, copied from the entry.
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    occurred_at = models.DateTimeField(_("occurred at"))
    number = models.BigIntegerField(_("number"))
    remaining = models.BigIntegerField(_("remaining"))

    class Meta:
        verbose_name = _("lot")
        verbose_name_plural = _("lots")
        indexes: ClassVar[list[Any]] = [
            models.Index(
                fields=["account", "expires_at", "occurred_at", "number"],
                name="points_lot_order",
                condition=Q(remaining__gt=0),
            ),
            models.Index(
                fields=["expires_at"],
                name="points_lot_expiring",
                condition=Q(remaining__gt=0, expires_at__isnull=False),
            ),
        ]
        constraints: ClassVar[list[Any]] = [
            models.CheckConstraint(name="points_lot_not_negative", condition=Q(remaining__gte=0)),
        ]

    def __str__(self) -> str:
        return f"{self.entry_id}: {self.remaining}"
