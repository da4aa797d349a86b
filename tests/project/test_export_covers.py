"""The export holds whatever refers to a person, or it is said here why it does not."""

import pytest
from django.apps import apps
from django.db.models import ForeignKey, Model

from accounts.models import User
from accounts.queries import export_account
from tests.registrations import make_person

# In which section of the export a person finds the rows that name them.
EXPORTED = {
    "accounts.Referral.invitee": "account",
    "accounts.Referral.inviter": "account",
    "accounts.RiskSignal.user": "account",
    "accounts.StatusChange.user": "account",
    "account.EmailAddress.user": "account",
    "mfa.Authenticator.user": "account",
    "usersessions.UserSession.user": "account",
    "coupons.Coupon.user": "coupons",
    "coupons.IssueDecision.user": "coupons",
    "knox.AuthToken.user": "account",
    "points.PointsAccount.user": "points",
    "points.RewardDecision.inviter": "points",
    "project.Checkout.user": "checkouts",
    "project.Mail.user": "mails",
}

# What tells of no more than who worked here or called the API, or of nobody at all.
_STAFF = "who of the staff, or which service, did it: a record of the work, not of the person"
NOT_EXPORTED = {
    "accounts.Consent.user": "account",
    "accounts.FormerAddress.account": "written when the account is closed: nobody can ask any more",
    "accounts.StatusChange.actor": _STAFF,
    "admin.LogEntry.user": _STAFF,
    "coupons.BulkIssue.requested_by": _STAFF,
    "coupons.BulkIssueRow.user": "a line of a list of staff's; what was decided on it is told",
    "coupons.CampaignStatusChange.changed_by": _STAFF,
    "coupons.Redemption.redeemed_by": _STAFF,
    "coupons.Redemption.rolled_back_by": _STAFF,
    "points.Entry.actor": _STAFF,
    "points.FunnelStep.inviter": "a figure made from the referrals, which are told",
    "events.Intervention.operator": _STAFF,
    "points.RewardDecision.invitee": "another person's reward; the invitation itself is told",
    "project.Checkout.requested_by": _STAFF,
    "relay.RiskCheck.user": "a judgment asked for; the signals and what came of it are told",
}


def references() -> set[str]:
    """Return every column of a model of ours or of a library's that names an account."""
    models = [model for model in apps.get_models() if model._meta.app_label != "probe"]
    return {
        f"{model._meta.label}.{field.name}" for model in models for field in _naming_accounts(model)
    }


def _naming_accounts(model: type[Model]) -> list[ForeignKey[Model, Model]]:
    return [
        field
        for field in model._meta.concrete_fields
        if isinstance(field, ForeignKey) and field.related_model is User
    ]


def test_whatever_names_a_person_is_exported_or_it_is_said_why_not() -> None:
    listed = EXPORTED.keys() | NOT_EXPORTED.keys()

    assert references() - listed == set(), "Export it, or say in this file why not."
    assert listed - references() == set(), "There is no such column any more."


def test_nothing_is_listed_twice() -> None:
    assert not EXPORTED.keys() & NOT_EXPORTED.keys()


@pytest.mark.django_db
def test_the_export_has_the_sections_that_are_listed() -> None:
    sections = set(export_account(make_person().pk))

    assert sections == set(EXPORTED.values())
