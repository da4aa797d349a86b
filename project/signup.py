"""The sign-up page, with what an invitation promises: accounts, coupons and points together."""

from dataclasses import dataclass
from typing import Any

from accounts.invitations import Invitation
from accounts.views import SignUpView
from coupons.queries import Offer, live_offer
from points.queries import points_for_inviter


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What whoever is invited reads above the form."""

    inviter_name: str  # empty: nobody is named
    offer: Offer | None  # to whoever signs up
    points: int | None  # to whoever invited them

    @property
    def is_mutual(self) -> bool:
        """Whether both get something."""
        return self.offer is not None and self.points is not None


class InvitedSignUpView(SignUpView):
    """The sign-up page of accounts, and what signing up brings now."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Say what is promised to whom."""
        context = super().get_context_data(**kwargs)
        invitation = context["invitation"]
        is_good = invitation is not None and invitation.is_usable
        return {**context, "promise": promise_of(invitation) if is_good else None}


def promise_of(invitation: Invitation) -> Promise:
    """Return what signing up with a usable invitation brings now, as far as it is sure.

    While an inviter is under review, what depends on the invitation waits: it is not promised.
    """
    counts = not invitation.inviter_is_flagged
    has_inviter = invitation.inviter_id is not None
    return Promise(
        inviter_name=invitation.inviter_name,
        offer=live_offer(invited=counts and has_inviter),
        points=points_for_inviter(invitation.inviter_id)
        if counts and invitation.inviter_id
        else None,
    )
