"""Mails to the owners of endpoints."""

from uuid import UUID

from django.core.mail import send_mail
from django.utils.translation import gettext as _

from relay.endpoints import Endpoint, EndpointState


def tell_owner(endpoint_id: UUID) -> None:
    """Tell the owner of an endpoint that it is disabled, and why. Nothing where it no longer is."""
    endpoint = Endpoint.objects.filter(pk=endpoint_id, state=EndpointState.DISABLED).first()
    if endpoint is None:
        return
    subject = _("The endpoint “%(name)s” gets no more events") % {"name": endpoint.name}
    text = _(
        "Usher has disabled the endpoint “%(name)s”: %(reason)s.\n\n"
        "What it is owed is kept. Ask the staff of Usher to enable it when it works again."
    )
    values = {"name": endpoint.name, "reason": endpoint.get_disabled_reason_display()}
    send_mail(" ".join(subject.split()), text % values, None, [endpoint.owner_email])
