"""Accounts and what belongs to them in the admin site. History is shown, not edited."""

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db.models import Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy as _
from unfold.forms import AdminPasswordChangeForm, UserChangeForm

import codes
from accounts import login_admin, mfa, names, risk, second_factor, services  # noqa: F401
from accounts.closing import CloseReason, close_account
from accounts.models import (
    AccountStatus,
    Consent,
    ProcessedEvent,
    Referral,
    ReferralStatus,
    RiskSignal,
    RiskSignalKind,
    StatusChange,
    User,
)
from accounts.referrals import (
    INVITER_FLAGGED,
    INVITER_INACTIVE,
    Undecidable,
    approve_referral,
    void_referral,
)
from accounts.reviewing import Refused, apply_to_each
from accounts.standing import AccountIsClosed, clear_account, flag_account
from events.admin import PersonalAdmin, ProcessedEventAdmin
from events.staff_lists import FindsByIndex, StaffAdmin, count_some, ids_of

admin.site.register(ProcessedEvent, ProcessedEventAdmin)

BY_STAFF = "by_staff"  # the reason that is published; what staff wrote is not

_REASONS: dict[str, Any] = {
    **dict(RiskSignalKind.choices),
    INVITER_FLAGGED: _("the inviter is under review"),
    INVITER_INACTIVE: _("the inviter's account is closed"),
    BY_STAFF: _("decided by staff"),
    CloseReason.FRAUD.value: _("fraud"),
}
_RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


class PasswordForm(AdminPasswordChangeForm):  # type: ignore[misc]  # unfold is not typed
    """Set somebody's password, or take it away. A closed account has none for good."""

    def clean(self) -> dict[str, Any] | None:
        """Refuse for a closed account, beside the first field: the page shows no other errors."""
        cleaned: dict[str, Any] | None = super().clean()
        if self.user.status == AccountStatus.CLOSED:
            self.add_error("password1", str(AccountIsClosed()))
        return cleaned

    def save(self, commit: bool = True) -> User:
        """Do it as everywhere, which ends the account's tokens."""
        usable = self.cleaned_data["set_usable_password"]
        password = self.cleaned_data["password1"] if usable else None
        user: User = self.user
        services.set_password(user=user, password=password)
        return user


@admin.register(User)
class UserAdmin(FindsByIndex, DjangoUserAdmin[User], StaffAdmin[User]):
    """Support looks accounts up here; people register themselves and accounts are never deleted."""

    list_display = ("email", "status", "registered_at", "is_active", "is_staff")
    list_filter = ("status", "is_active", "is_staff")
    search_fields = ("email", "email_canonical", "referral_code")
    search_help_text = _("Beginning of the e-mail address; or id or referral code, whole")
    ordering = ("-pk",)  # as they were made
    readonly_fields = (
        "id",
        "email",
        "email_canonical",
        "display_name",
        "is_name_taken_off",
        "referral_code",
        "status",
        "created_at",
        "registered_at",
        "closed_at",
        "last_login",
        "is_returning",
        "noticed",
        "agreed_to",
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "id",
                    "email",
                    "email_canonical",
                    "display_name",
                    "is_name_taken_off",
                    "password",
                    "language",
                    "agreed_to",
                )
            },
        ),
        (
            _("State"),
            {"fields": ("status", "is_active", "is_returning", "noticed", "referral_code")},
        ),
        (_("Times"), {"fields": ("created_at", "registered_at", "last_login", "closed_at")}),
        (_("Permissions"), {"fields": _RIGHTS}),
    )
    form = UserChangeForm
    change_password_form = PasswordForm
    actions = (
        "flag",
        "clear",
        "close",
        "close_as_fraud",
        "take_name_off",
        "allow_name",
        "reset_second_factor",
    )

    def find(self, queryset: QuerySet[User], term: str) -> QuerySet[User]:
        """Return the accounts of an address, a beginning of one, an id or a referral code."""
        address = term.lower()
        return queryset.filter(
            Q(pk__in=ids_of(term))
            | Q(email__startswith=address)
            | Q(email_canonical=address)
            | Q(referral_code=codes.normalize(term))
        )

    @admin.display(description=_("noticed at the sign-up"))
    def noticed(self, user: User) -> str:
        """Return the risk signals that tell something, the weightiest first."""
        return _in_words(risk.signals_of(user.pk).order_by("-weight"))

    @admin.display(description=_("terms agreed to"))
    def agreed_to(self, user: User) -> str:
        """Return which versions of the terms the person agreed to, and when, the latest first."""
        return format_html_join(mark_safe("<br>"), "{}", ((c,) for c in user.consents.all())) or "-"

    def has_flag_permission(self, request: HttpRequest) -> bool:
        """Tell whether this member of staff may flag and clear accounts."""
        return request.user.has_perm("accounts.flag_user")

    def has_close_permission(self, request: HttpRequest) -> bool:
        """Tell whether this member of staff may close accounts."""
        return request.user.has_perm("accounts.close_user")

    @admin.action(description=_("Flag the selected accounts"), permissions=["flag"])
    def flag(self, request: HttpRequest, queryset: QuerySet[User]) -> TemplateResponse | None:
        """Put accounts under review."""
        return self._change(request, queryset, "flag", _("Flag accounts"), flag_account)

    @admin.action(description=_("Clear the selected accounts"), permissions=["flag"])
    def clear(self, request: HttpRequest, queryset: QuerySet[User]) -> TemplateResponse | None:
        """Take accounts out of review."""
        return self._change(request, queryset, "clear", _("Clear accounts"), clear_account)

    @admin.action(description=_("Close the selected accounts"), permissions=["close"])
    def close(self, request: HttpRequest, queryset: QuerySet[User]) -> TemplateResponse | None:
        """Close accounts as their owners asked to."""
        title = _("Close accounts for good, as their owners asked")
        return self._change(request, queryset, "close", title, close_account, CloseReason.REQUESTED)

    @admin.action(description=_("Close the selected accounts for fraud"), permissions=["close"])
    def close_as_fraud(
        self, request: HttpRequest, queryset: QuerySet[User]
    ) -> TemplateResponse | None:
        """Close accounts of frauds, and void their referrals."""
        title = _("Close accounts for good, and void their referrals")
        return self._change(
            request, queryset, "close_as_fraud", title, close_account, CloseReason.FRAUD
        )

    @admin.action(description=_("Take the name off the selected accounts"), permissions=["flag"])
    def take_name_off(
        self, request: HttpRequest, queryset: QuerySet[User]
    ) -> TemplateResponse | None:
        """Take away names that nobody should read who follows an invite link, for good."""

        return self._change_on_record(
            request,
            queryset,
            "take_name_off",
            _("Take the name off"),
            lambda user: names.take_name_off(user_id=user.pk),
        )

    @admin.action(description=_("Allow the selected accounts a name again"), permissions=["flag"])
    def allow_name(self, request: HttpRequest, queryset: QuerySet[User]) -> TemplateResponse | None:
        """Let accounts have a name again that staff had taken theirs off."""

        return self._change_on_record(
            request,
            queryset,
            "allow_name",
            _("Allow a name again"),
            lambda user: names.allow_name(user_id=user.pk),
        )

    def has_reset_permission(self, request: HttpRequest) -> bool:
        """Tell whether this member of staff may take second factors off accounts."""
        return request.user.has_perm("accounts.reset_second_factor")

    @admin.action(
        description=_("Take the second factor off the selected accounts"), permissions=["reset"]
    )
    def reset_second_factor(
        self, request: HttpRequest, queryset: QuerySet[User]
    ) -> TemplateResponse | None:
        """Let people in again who lost their devices and their recovery codes."""

        def remove(user: User) -> bool:
            removed = second_factor.remove(user.pk)
            if removed:
                mfa.tell_of_removal(user)
            return removed

        title = _("Take the second factor off")
        return self._change_on_record(request, queryset, "reset_second_factor", title, remove)

    def _change_on_record(
        self,
        request: HttpRequest,
        queryset: QuerySet[User],
        action: str,
        title: Any,
        service: Callable[[User], bool],
    ) -> TemplateResponse | None:
        """Change what no history of statuses tells of: the reason is in the admin's log."""

        def change(user: User, note: str) -> bool:
            _require_superuser_for_staff(request, user)
            return service(user)

        return apply_to_each(
            self,
            request,
            queryset,
            action=action,
            title=str(title),
            change=change,
            log_reason=True,
        )

    def _change(
        self,
        request: HttpRequest,
        queryset: QuerySet[User],
        action: str,
        title: Any,
        service: Callable[..., bool],
        reason: str = BY_STAFF,
    ) -> TemplateResponse | None:
        def change(user: User, note: str) -> bool:
            _require_superuser_for_staff(request, user)
            try:
                return service(user_id=user.pk, reason=reason, actor=request.user.pk, note=note)
            except AccountIsClosed as error:
                raise Refused(str(error)) from None

        return apply_to_each(self, request, queryset, action=action, title=title, change=change)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Closing is final, and only superusers give rights."""
        fields = tuple(super().get_readonly_fields(request, obj))
        if obj is not None and obj.status == AccountStatus.CLOSED:
            fields += ("is_active",)
        return fields if _is_superuser(request) else fields + _RIGHTS

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Leave accounts of staff, and their passwords, to superusers: they carry rights."""
        allowed = super().has_change_permission(request, obj)
        if obj is None or _is_superuser(request):
            return allowed
        return allowed and not (obj.is_staff or obj.is_superuser)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: people register, and staff are made by `createsuperuser` or promoted."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Refuse: events, coupons and points refer to accounts."""
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Write only what was edited: the rest of the account may change meanwhile."""
        columns = {field.name for field in obj._meta.concrete_fields}
        obj.save(update_fields=columns.intersection(form.changed_data))


@admin.register(Referral)
class ReferralAdmin(PersonalAdmin):
    """Who invited whom, and what was decided. Filtered by "flagged" it is the queue of reviews."""

    list_display = (
        "invitee",
        "inviter",
        "inviter_status",
        "status",
        "why",
        "signals",
        "created_at",
        "decided_at",
    )
    list_filter = ("status",)
    list_select_related = ("invitee", "inviter")
    people = ("inviter",)  # the invitee's key is the row's
    search_fields = ("invitee", "inviter")
    search_help_text = _("Id or e-mail address of one of the two; whole")
    ordering = ("-pk",)  # as they were made
    actions = ("approve", "void")
    change_list_template = "admin/accounts/referral/change_list.html"

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, with how many wait for a review, and a link to these."""
        waiting = Referral.objects.filter(status=ReferralStatus.FLAGGED)
        context = {"waiting": count_some(waiting)}
        return super().changelist_view(request, context | (extra_context or {}))

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Begin the queue of reviews with who waits the longest."""
        is_queue = request.GET.get("status__exact") == ReferralStatus.FLAGGED
        return ("decided_at", "pk") if is_queue else self.ordering

    def get_queryset(self, request: HttpRequest) -> QuerySet[Referral]:
        """Fetch the signals of a page at once."""
        telling = RiskSignal.objects.filter(weight__gt=0).order_by("-weight")
        signals = Prefetch("invitee__risk_signals", telling, to_attr="telling_signals")
        return super().get_queryset(request).prefetch_related(signals)

    @admin.display(description=_("inviter's status"), ordering="inviter__status")
    def inviter_status(self, referral: Referral) -> str:
        """Return how the inviter's account stands."""
        return referral.inviter.get_status_display()

    @admin.display(description=_("reasons"))
    def why(self, referral: Referral) -> str:
        """Return why it was flagged or voided, in words where there are some."""
        return ", ".join(str(_REASONS.get(reason, reason)) for reason in referral.reasons)

    @admin.display(description=_("signals"))
    def signals(self, referral: Referral) -> str:
        """Return what was noticed, the weightiest first."""
        return _in_words(getattr(referral.invitee, "telling_signals", []))

    def has_review_permission(self, request: HttpRequest) -> bool:
        """Tell whether this member of staff may decide about referrals."""
        return request.user.has_perm("accounts.review_referral")

    @admin.action(description=_("Approve the selected referrals"), permissions=["review"])
    def approve(
        self, request: HttpRequest, queryset: QuerySet[Referral]
    ) -> TemplateResponse | None:
        """Let referrals count that were held."""
        return self._decide(request, queryset, "approve", _("Approve referrals"), approve_referral)

    @admin.action(description=_("Void the selected referrals"), permissions=["review"])
    def void(self, request: HttpRequest, queryset: QuerySet[Referral]) -> TemplateResponse | None:
        """Declare referrals void, for good."""
        return self._decide(request, queryset, "void", _("Void referrals"), void_referral)

    def _decide(
        self,
        request: HttpRequest,
        queryset: QuerySet[Referral],
        action: str,
        title: Any,
        service: Callable[..., bool],
    ) -> TemplateResponse | None:
        def change(referral: Referral, note: str) -> bool:
            actor = request.user.pk
            try:
                return service(invitee_id=referral.pk, reason=BY_STAFF, actor=actor, note=note)
            except Undecidable as error:
                raise Refused(str(error)) from None

        return apply_to_each(self, request, queryset, action=action, title=title, change=change)


@admin.register(StatusChange)
class StatusChangeAdmin(PersonalAdmin):
    """Who changed which status, when and why."""

    list_display = ("changed_at", "user", "subject", "before", "after", "reason", "note", "actor")
    list_filter = ("subject",)
    list_select_related = ("user", "actor")
    ordering = ("-pk",)
    actions = None

    def find(self, queryset: QuerySet[StatusChange], term: str) -> QuerySet[StatusChange]:
        """Return the changes of an account's id or address."""
        return queryset.filter(user__in=ids_of(term))


@admin.register(Consent)
class ConsentAdmin(PersonalAdmin):
    """Who agreed to which version of the terms, when and where."""

    list_display = ("user", "version", "channel", "language", "agreed_at")
    list_select_related = ("user",)
    search_fields = ("user",)
    search_help_text = _("Id of a user, or e-mail address; whole")
    ordering = ("-pk",)
    actions = None


def _in_words(signals: Iterable[RiskSignal]) -> str:
    return ", ".join(f"{signal.get_kind_display()} ({signal.weight})" for signal in signals)


def _require_superuser_for_staff(request: HttpRequest, user: User) -> None:
    """Raise Refused, as on its page: accounts that carry rights are for superusers."""
    if (user.is_staff or user.is_superuser) and not _is_superuser(request):
        raise Refused(_("Only superusers change accounts of staff."))


def _is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser
