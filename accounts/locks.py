"""Locks on accounts. Whoever publishes about a person holds theirs: it keeps the events in order.

A referral is changed under the lock of the invited person. Where the inviter's is needed too it is
taken first, everywhere: nobody was invited by somebody who registered later, so ids in order are
locks in order.
"""

from uuid import UUID

from django.db.models import QuerySet

from accounts.models import Referral, User


def lock_account(user_id: UUID) -> User:
    """Return an account, locked until the transaction ends. Raises User.DoesNotExist."""
    return _locked(User.objects.filter(pk=user_id)).get()


def lock_with_inviter(user_id: UUID) -> User:
    """Return an account, locked together with whoever invited it. Raises User.DoesNotExist."""
    inviter = Referral.objects.filter(pk=user_id).values("inviter")
    either = User.objects.filter(pk=user_id) | User.objects.filter(pk__in=inviter)
    found = {user.pk: user for user in _locked(either)}
    if user_id not in found:
        raise User.DoesNotExist
    return found[user_id]


def lock_invitees(referrals: QuerySet[Referral], limit: int) -> list[Referral]:
    """Return the first of some referrals, with the invited people locked.

    Call it with the inviter's lock held. There may be more than are returned.
    """
    ids = list(referrals.order_by("pk").values_list("pk", flat=True)[:limit])
    list(_locked(User.objects.filter(pk__in=ids)).values_list("pk"))
    return list(referrals.filter(pk__in=ids).order_by("pk"))  # some may have left meanwhile


def _locked(users: QuerySet[User]) -> QuerySet[User]:
    return users.order_by("pk").select_for_update(no_key=True)
