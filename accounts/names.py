"""The name by which people whom a person invites know them. It is voluntary."""

import re
import unicodedata
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from accounts.models import NAME_LENGTH, AccountStatus, User

TAKEN_OFF = _("Your name was taken off by our staff. Write to us if you want another one.")

_JOINERS = "\u200c\u200d"  # parts of words in Persian, of Indian scripts and of emoji
# Letters and marks that look like nothing: fillers of some scripts, and the joiner of marks.
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
_MAX_MARKS = 2  # on one letter, as Thai needs; towers of them reach over the lines around
_DOTS = str.maketrans(dict.fromkeys("。．․", "."))  # as browsers read them in addresses
# A name is shown to strangers, so it must not lead them anywhere.
_ADDRESS = re.compile(r"@|://|/|\\|\bwww\.|\w\.[^\W\d_]{2,}", re.IGNORECASE)


def clean_name(text: str) -> str:
    """Return a name as it is stored; empty for none. Raises ValidationError."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if any(_is_invisible(sign) for sign in name):
        raise ValidationError(_("A name has no invisible signs."), "name_invisible")
    if len(name) > NAME_LENGTH:
        raise ValidationError(
            _("A name has at most %(limit)d characters."), "name_too_long", {"limit": NAME_LENGTH}
        )
    if _has_tower_of_marks(name):
        raise ValidationError(
            _("A name has at most two marks on one letter."), "name_has_too_many_marks"
        )
    if _ADDRESS.search(_as_address(name)):
        raise ValidationError(
            _("A name has no addresses: no @, no links, no slashes."), "name_has_address"
        )
    if name and not any(unicodedata.category(sign)[0] == "L" for sign in name):
        raise ValidationError(_("A name has at least one letter."), "name_without_letter")
    return name


def _is_invisible(sign: str) -> bool:
    hidden = unicodedata.category(sign)[0] == "C" and sign not in _JOINERS
    return hidden or sign in _INVISIBLE


def _has_tower_of_marks(name: str) -> bool:
    kinds = [unicodedata.category(sign) for sign in name]
    marks = "".join("m" if kind in {"Mn", "Me"} else " " for kind in kinds if kind != "Cf")
    return "m" * (_MAX_MARKS + 1) in marks


def _as_address(name: str) -> str:
    """Return a name as a browser, or a hasty reader, would take it for an address."""
    plain = unicodedata.normalize("NFKC", name).translate(_DOTS)
    return "".join(sign for sign in plain if unicodedata.category(sign) not in {"Cf", "Mn", "Me"})


def set_name(*, user_id: UUID, name: str) -> str:
    """Store the name of an account, or none, and return it as it is stored.

    A closed account stays nameless. One under review gets no name, nor does one that staff took the
    name off. Raises ValidationError.
    """
    name = clean_name(name)
    account = User.objects.filter(pk=user_id)
    named = account.exclude(status=AccountStatus.CLOSED)
    if name:
        named = named.exclude(status=AccountStatus.FLAGGED).filter(is_name_taken_off=False)
    if not named.update(display_name=name):
        _refuse(account)
    return name


def _refuse(account: QuerySet[User]) -> None:
    """Say why an account gets no name; a closed one has nobody to tell."""
    if account.filter(status=AccountStatus.FLAGGED):
        raise ValidationError(
            _("While your account is under review, it can't be given a name."), "name_under_review"
        )
    if account.filter(is_name_taken_off=True).exclude(status=AccountStatus.CLOSED):
        raise ValidationError(TAKEN_OFF, "name_taken_off")


def take_name_off(*, user_id: UUID) -> bool:
    """Take off a name that nobody should read, for good. Returns whether there was one."""
    named = User.objects.filter(pk=user_id).exclude(display_name="")
    return bool(named.update(display_name="", is_name_taken_off=True))


def allow_name(*, user_id: UUID) -> bool:
    """Let an account have a name again. Returns whether it could have none."""
    refused = User.objects.filter(pk=user_id, is_name_taken_off=True)
    return bool(refused.update(is_name_taken_off=False))
