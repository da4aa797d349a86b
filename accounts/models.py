"""Accounts, who invited whom, what became of both, and what made somebody look twice."""

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

import codes
from accounts import emails
from accounts.append_only import AppendOnlyModel
from accounts.consents import Consent
from events.models import AbstractProcessedEvent

__all__ = [
    "AccountStatus",
    "Consent",
    "FormerAddress",
    "ProcessedEvent",
    "Referral",
    "ReferralStatus",
    "RiskSignal",
    "RiskSignalKind",
    "StatusChange",
    "StatusSubject",
    "User",
    "UserManager",
]

NAME_LENGTH = 40  # of what the people somebody invites call them
REFERRAL_CODE_LENGTH = 8  # 7 random characters (about 35 bits; a code is no secret) and the check


def new_referral_code() -> str:
    """Return a referral code that almost certainly nobody has yet."""
    return codes.generate(REFERRAL_CODE_LENGTH)


class AccountStatus(models.TextChoices):
    """Whether an account is in good standing."""

    ACTIVE = "active", _("active")
    FLAGGED = "flagged", _("flagged")  # under review: rewards wait, benefits are suspended
    CLOSED = "closed", _("closed")  # final: anonymised, cannot log in


class UserManager(BaseUserManager["User"]):
    """Create accounts outside of a registration. People register with `services.register`."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create an account that did not register: nothing is published."""
        user = self.model(email=emails.clean_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create a staff account with every permission and a verified address.

        Staff made at a terminal did not register: no event, no coupon, registered_at stays empty.
        """
        from allauth.account.models import EmailAddress  # its models load after these

        fields |= {"is_staff": True, "is_superuser": True}
        with transaction.atomic(using=self._db):
            user = self.create_user(email, password, **fields)
            EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
        return user

    def get_by_natural_key(self, username: str | None) -> "User":
        """Return the account of an address, however it is spelled."""
        return self.get(email=emails.fold_email(username or ""))


class User(AbstractBaseUser, PermissionsMixin):
    """An account. `registered_at` is set once the sign-up is complete; staff may never have one."""

    id = models.UUIDField(_("id"), primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(_("e-mail address"), unique=True, max_length=emails.MAX_LENGTH)
    email_canonical = models.CharField(
        _("canonical e-mail address"),
        max_length=emails.MAX_LENGTH,
        db_index=True,
        editable=False,
        help_text=_("What the spellings of one person's address share. Not unique."),
    )
    display_name = models.CharField(
        _("display name"),
        max_length=NAME_LENGTH,
        blank=True,
        default="",
        db_default="",  # a release that does not know it yet may insert rows
        help_text=_("Whoever opens the invite link sees it. Empty: nobody is named."),
    )
    is_name_taken_off = models.BooleanField(
        _("name taken off"),
        db_default=False,  # as above
        default=False,
        editable=False,
        help_text=_("By staff: until they allow it, the account gets no other name."),
    )
    referral_code = models.CharField(
        _("referral code"),
        max_length=REFERRAL_CODE_LENGTH,
        unique=True,
        default=new_referral_code,
        editable=False,
    )
    status = models.CharField(
        _("status"),
        max_length=8,
        choices=AccountStatus.choices,
        default=AccountStatus.ACTIVE,
    )
    language = models.CharField(
        _("language"), max_length=16, choices=settings.LANGUAGES, default="en"
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    registered_at = models.DateTimeField(_("registered at"), null=True, blank=True, editable=False)
    closed_at = models.DateTimeField(_("closed at"), null=True, blank=True, editable=False)
    is_returning = models.BooleanField(
        _("returning"),
        db_default=False,  # a release that does not know it yet may insert rows
        default=False,
        editable=False,
        help_text=_("Had an account before that was closed: offers for newcomers do not apply."),
    )
    is_staff = models.BooleanField(
        _("staff"), default=False, help_text=_("May log in to the admin site.")
    )
    is_active = models.BooleanField(
        _("may log in"),
        default=True,
        help_text=_("Take this away instead of deleting an account: history refers to it."),
    )

    objects = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
        indexes: ClassVar = [
            models.Index(fields=["registered_at"], name="user_registered_at"),
            # What staff filter by, of which there are few.
            models.Index(
                fields=["status", "id"],
                name="user_not_active",
                condition=~Q(status=AccountStatus.ACTIVE),
            ),
            models.Index(fields=["id"], name="user_shut_out", condition=Q(is_active=False)),
            models.Index(fields=["id"], name="user_staff", condition=Q(is_staff=True)),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status__in=AccountStatus.values), name="user_status_known"
            ),
            models.CheckConstraint(
                condition=Q(language__in=[code for code, _name in settings.LANGUAGES]),
                name="user_language_known",
            ),
            models.CheckConstraint(condition=Q(email=Lower("email")), name="user_email_folded"),
            models.CheckConstraint(
                condition=Q(status=AccountStatus.CLOSED, closed_at__isnull=False, is_active=False)
                | (~Q(status=AccountStatus.CLOSED) & Q(closed_at__isnull=True)),
                name="user_closed_is_final",
            ),
        ]
        permissions: ClassVar = [
            ("flag_user", _("Can flag and clear accounts")),
            ("close_user", _("Can close accounts")),
            ("reset_second_factor", _("Can take the second factor off accounts")),
        ]

    def __str__(self) -> str:
        return self.email

    def __repr__(self) -> str:
        return f"<User {self.pk}>"  # tracebacks and logs must not carry addresses

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, keeping the canonical address in step with the address."""
        self.email_canonical = emails.canonical_email(self.email)
        update_fields = kwargs.get("update_fields")
        if update_fields is not None and "email" in update_fields:
            kwargs["update_fields"] = {*update_fields, "email_canonical"}
        super().save(*args, **kwargs)


class ReferralStatus(models.TextChoices):
    """What was decided about an invitation that led to a registration."""

    PENDING = "pending", _("pending")  # the invited person's registration is not complete yet
    APPROVED = "approved", _("approved")
    FLAGGED = "flagged", _("flagged")  # held for review: the inviter's reward waits
    VOIDED = "voided", _("voided")  # final: no reward


class Referral(models.Model):
    """Who invited a person: one inviter ever, written with the account and never changed."""

    invitee = models.OneToOneField(
        User,
        on_delete=models.PROTECT,
        primary_key=True,
        related_name="referral",
        verbose_name=_("invited person"),
    )
    inviter = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        related_name="referrals_made",
        verbose_name=_("inviter"),
        db_index=False,  # the index below begins with it
    )
    code_used = models.CharField(_("code used"), max_length=REFERRAL_CODE_LENGTH)
    status = models.CharField(
        _("status"),
        max_length=8,
        choices=ReferralStatus.choices,
        default=ReferralStatus.PENDING,
    )
    reasons = models.JSONField(
        _("reasons"), default=list, blank=True, help_text=_("Why it was flagged or voided.")
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    decided_at = models.DateTimeField(_("decided at"), null=True, blank=True)

    class Meta:
        verbose_name = _("referral")
        verbose_name_plural = _("referrals")
        permissions: ClassVar = [("review_referral", _("Can approve and void referrals"))]
        indexes: ClassVar = [
            models.Index(fields=["inviter", "created_at"], name="referral_of_inviter"),
            models.Index(
                fields=["decided_at"],
                name="referral_to_review",
                condition=Q(status=ReferralStatus.FLAGGED),
            ),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status__in=ReferralStatus.values), name="referral_status_known"
            ),
            models.CheckConstraint(
                condition=~Q(inviter=F("invitee")), name="referral_not_of_oneself"
            ),
            models.CheckConstraint(
                condition=Q(status=ReferralStatus.PENDING, decided_at__isnull=True)
                | (~Q(status=ReferralStatus.PENDING) & Q(decided_at__isnull=False)),
                name="referral_decided_at_with_decision",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.inviter_id} → {self.invitee_id}"


REASON_LENGTH = 40  # of a code
NOTE_LENGTH = 200  # of what somebody wrote to explain it
DIGEST_LENGTH = 64  # SHA-256 in hexadecimal


class StatusSubject(models.TextChoices):
    """Whose status changed."""

    ACCOUNT = "account", _("account")
    REFERRAL = "referral", _("referral")


FRAUD = "fraud"  # the reason of closing an account that voids its referrals, too


class StatusChange(AppendOnlyModel):
    """The status of an account, or of a person's referral, was changed: when, by whom and why.

    From closed to closed: an account that its owner had closed was found to be a fraud's.
    What a sign-up itself decided is not here: the account and the referral tell that.
    """

    user = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        related_name="status_changes",
        verbose_name=_("account"),
        help_text=_("Whose account, or which invited person's referral."),
    )
    subject = models.CharField(_("of"), max_length=8, choices=StatusSubject)
    before = models.CharField(_("before"), max_length=8)
    after = models.CharField(_("after"), max_length=8)
    reason = models.CharField(_("reason"), max_length=REASON_LENGTH, help_text=_("A short code."))
    note = models.CharField(_("note"), max_length=NOTE_LENGTH, default="", blank=True)
    actor = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("by"),
        help_text=_("Empty: nobody in person."),
    )
    # Published with the change. No foreign key: events may one day be kept elsewhere.
    event_id = models.UUIDField(_("event id"), unique=True)
    changed_at = models.DateTimeField(_("changed at"), default=timezone.now)

    class Meta:
        verbose_name = _("status change")
        verbose_name_plural = _("status changes")
        ordering = ("-id",)
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(subject=StatusSubject.ACCOUNT, after__in=AccountStatus.values)
                | Q(subject=StatusSubject.REFERRAL, after__in=ReferralStatus.values),
                name="statuschange_known",
            ),
            models.CheckConstraint(
                condition=~Q(before=F("after"))
                | Q(subject=StatusSubject.ACCOUNT, after=AccountStatus.CLOSED, reason=FRAUD),
                name="statuschange_changes",
            ),
            models.UniqueConstraint(
                fields=["user"],
                condition=Q(
                    subject=StatusSubject.ACCOUNT, after=AccountStatus.CLOSED, reason=FRAUD
                ),
                name="statuschange_fraud_once",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="statuschange_has_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} {self.before} → {self.after} ({self.reason})"


class FormerAddress(models.Model):
    """An address that a closed account had, as keyed hashes: known again, but never read."""

    account = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        related_name="former_addresses",
        verbose_name=_("account"),
    )
    address_digest = models.CharField(
        _("hash of the address"), max_length=DIGEST_LENGTH, db_index=True
    )
    person_digest = models.CharField(
        _("hash of the canonical address"),
        max_length=DIGEST_LENGTH,
        db_index=True,
        blank=True,
        help_text=_("Empty: nobody confirmed that the address is theirs."),
    )

    class Meta:
        verbose_name = _("former address")
        verbose_name_plural = _("former addresses")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "address_digest"], name="formeraddress_once_per_account"
            )
        ]

    def __str__(self) -> str:
        return f"{self.address_digest[:8]}… of {self.account_id}"


class RiskSignalKind(models.TextChoices):
    """What may be noticed about a sign-up. The values are published, and stored as reasons."""

    SAME_PERSON = "same_person", _("the inviter brought this person before")
    DISPOSABLE_DOMAIN = "disposable_domain", _("a throw-away e-mail address")
    INVITER_BURST = "inviter_burst", _("many sign-ups through one inviter in a short time")
    SHARED_ADDRESS = "shared_address", _("many sign-ups from one network address")


MAX_WEIGHT = 100


class RiskSignal(models.Model):
    """Something noticed about a sign-up. It may hold a reward back, never a registration.

    The network address of every sign-up is kept for a while, hashed, for others to be compared
    with: where few share it, the signal weighs nothing and tells nothing.
    """

    user = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        related_name="risk_signals",
        verbose_name=_("account"),
        db_index=False,  # the unique constraint begins with it
    )
    kind = models.CharField(_("kind"), max_length=20, choices=RiskSignalKind)
    weight = models.PositiveSmallIntegerField(
        _("weight"), help_text=_("0 (nothing) to 100 (certain).")
    )
    digest = models.CharField(
        _("hash of what was noticed"), max_length=DIGEST_LENGTH, default="", blank=True
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    expires_at = models.DateTimeField(
        _("expires at"),
        null=True,
        blank=True,
        db_index=True,
        help_text=_("From then on it tells nothing, and may be deleted. Empty: never."),
    )

    class Meta:
        verbose_name = _("risk signal")
        verbose_name_plural = _("risk signals")
        ordering = ("-id",)
        indexes: ClassVar = [
            models.Index(fields=["kind", "digest", "expires_at"], name="risksignal_of_value"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "kind"], name="risksignal_once_per_kind"),
            models.CheckConstraint(
                condition=Q(kind__in=RiskSignalKind.values), name="risksignal_kind_known"
            ),
            models.CheckConstraint(
                condition=Q(weight__lte=MAX_WEIGHT), name="risksignal_weight_limited"
            ),
        ]

    def __str__(self) -> str:
        return self.kind


class ProcessedEvent(AbstractProcessedEvent):
    """The events that this app's receivers have applied."""

    class Meta(AbstractProcessedEvent.Meta):
        abstract = False
