"""What an invite link is worth to whoever follows it. Who guesses codes learns nobody's name."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from django.http import HttpRequest

import codes
from accounts import limits, services
from accounts.models import REFERRAL_CODE_LENGTH, AccountStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """A code that a browser remembers, and whose it is, as far as that is told."""

    code: str
    is_usable: bool  # as far as is known
    inviter_id: UUID | None = None
    inviter_name: str = ""  # never an address
    inviter_is_flagged: bool = False  # so what inviting brings waits for a review

    def is_in(self, typed: Mapping[str, str]) -> bool:
        """Tell whether a sign-up form that was sent still has the code."""
        return codes.normalize(typed.get("referral_code", "")) == self.code


def look_up(request: HttpRequest, code: str) -> Invitation:
    """Return what a code is worth at present.

    Whoever named many codes of nobody is told nothing more: then a code counts as usable, and
    nobody is named. The registration decides about it, whatever was shown.
    """
    if not codes.is_well_formed(code, REFERRAL_CODE_LENGTH):
        return Invitation(code=code, is_usable=False)
    if not limits.may_look_up_code(request):
        return Invitation(code=code, is_usable=True)
    inviter = services.inviter_of(code)
    if inviter is None:
        limits.count_code_of_nobody(request)
        return Invitation(code=code, is_usable=False)
    is_flagged = inviter.status == AccountStatus.FLAGGED
    return Invitation(
        code=code,
        is_usable=True,
        inviter_id=inviter.pk,
        inviter_name="" if is_flagged else inviter.display_name,
        inviter_is_flagged=is_flagged,
    )
