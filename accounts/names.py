"""The name by which people whom a person invites know them. It is voluntary."""

import re
import unicodedata
from uuid import UUID

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.models import NAME_LENGTH, AccountStatus, User

_JOINERS = "\u200c\u200d"  # parts of words in Persian, of Indian scripts and of emoji
# A name is shown to strangers, so it must not lead them anywhere.
_ADDRESS = re.compile(r"@|://|/|\\|\bwww\.|\w\.[^\W\d_]{2,}", re.IGNORECASE)


def clean_name(text: str) -> str:
    """Return a name as it is stored; empty for none. Raises ValidationError."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if any(unicodedata.category(sign)[0] == "C" and sign not in _JOINERS for sign in name):
        raise ValidationError(_("A name has no invisible signs."), "name_invisible")
    if len(name) > NAME_LENGTH:
        raise ValidationError(
            _("A name has at most %(limit)d characters."), "name_too_long", {"limit": NAME_LENGTH}
        )
    if _ADDRESS.search(name):
        raise ValidationError(
            _("A name has no addresses: no @, no links, no slashes."), "name_has_address"
        )
    if name and not any(unicodedata.category(sign)[0] == "L" for sign in name):
        raise ValidationError(_("A name has at least one letter."), "name_without_letter")
    return name


def set_name(*, user_id: UUID, name: str) -> str:
    """Store the name of an account, or none, and return it as it is stored.

    A closed account stays nameless. Raises ValidationError.
    """
    name = clean_name(name)
    User.objects.filter(pk=user_id).exclude(status=AccountStatus.CLOSED).update(display_name=name)
    return name
