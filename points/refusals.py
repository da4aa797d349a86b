"""Why points are not moved: each refusal with its code, and a sentence for whoever asked."""

from typing import ClassVar

from django.utils.translation import gettext_lazy as _
from django_stubs_ext import StrOrPromise

MAX_AMOUNT = 10**12  # of one movement


class Refused(Exception):
    """Points were not moved. Nothing was written."""

    code: ClassVar[str]
    sentence: ClassVar[StrOrPromise]

    def __str__(self) -> str:
        return str(self.sentence)


class BadAmount(Refused):
    """The amount is none that can be moved."""

    code = "invalid_amount"
    sentence = _("Points are whole numbers of at most 1,000,000,000,000, and not 0.")


class UnknownUser(Refused):
    """Nobody has this id."""

    code = "unknown_user"
    sentence = _("There is no account with this id.")


class UnknownEntry(Refused):
    """There is no such entry in the ledger."""

    code = "unknown_entry"
    sentence = _("There is no entry with this id.")


class InsufficientPoints(Refused):
    """The balance is lower than what is to be taken."""

    code = "insufficient_points"
    sentence = _("The account does not have enough points.")


class AccountFrozen(Refused):
    """The account is under review."""

    code = "account_frozen"
    sentence = _("The account is under review: its points can't be spent for now.")


class AccountClosed(Refused):
    """The account is closed for good."""

    code = "account_closed"
    sentence = _("The account is closed.")


class OrderConflict(Refused):
    """The order was paid with other points."""

    code = "order_conflict"
    sentence = _("Other points were spent for this order already.")


class OrderUndone(Refused):
    """The order was paid, and the spending undone."""

    code = "order_undone"
    sentence = _("The spending for this order was undone. Use another reference to spend again.")


class MissingOrder(Refused):
    """A spending names no order, or one beyond MAX_ORDER_REF_LENGTH."""

    code = "invalid_order_ref"
    sentence = _("Name the order, in at most 100 characters.")


class NotASpending(Refused):
    """Only a spending can be rolled back."""

    code = "not_a_spending"
    sentence = _("This entry is no spending, so it can't be undone.")


class NotEarned(Refused):
    """Only what was earned can be reversed."""

    code = "not_earned"
    sentence = _("This entry is no earning, so it can't be reversed.")


class KeyConflict(Refused):
    """The key is that of another adjustment."""

    code = "key_conflict"
    sentence = _("This was used for another adjustment already. Begin again.")


class MissingReason(Refused):
    """An adjustment says why, in at most 200 characters."""

    code = "missing_reason"
    sentence = _("Say why, in at most 200 characters.")
