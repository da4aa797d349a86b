"""Sending a mail about an event: once as far as can be known, with an id that stays the same."""

import logging
from collections.abc import Callable
from smtplib import SMTPRecipientsRefused
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMultiAlternatives

from accounts import emails, services, verification
from accounts.models import AccountStatus, User
from events.delivery.failure import mask_addresses
from events.envelope import Event
from project.mails.writing import Letter
from project.models import ANSWER_LENGTH, Mail, MailKind, MailOutcome, WithheldReason

logger = logging.getLogger(__name__)

_UNDELIVERABLE = (
    "test",
    "invalid",
    "example",
    "localhost",
)  # top-level domains of nobody: RFC 2606
_PERMANENT = 500  # SMTP replies from here on will be the same tomorrow


def send_once(
    event: Event[Any], *, kind: MailKind, user_id: UUID, write: Callable[[User], Letter | None]
) -> None:
    """Send the mail of this kind about an event, or record why it is not sent.

    Where a process dies between sending and recording, the mail goes out again under the same
    Message-ID. Raises OSError (smtplib's errors are) where the mail server is not to be had or
    wants it later.
    """
    if Mail.objects.filter(event_id=event.id, kind=kind).exists():
        return
    user = User.objects.get(pk=user_id)
    record = Mail(event_id=event.id, kind=kind, user=user, message_id=_message_id(event, kind))
    record.reason = _reason_against(user)
    letter = None if record.reason else write(user)
    if letter is None:
        record.outcome = MailOutcome.WITHHELD
        record.reason = record.reason or WithheldReason.OUTDATED
    else:
        _send(record, letter, user.email)
    # A second worker may have sent it too: whoever records first tells how it went.
    Mail.objects.bulk_create([record], ignore_conflicts=True)


def _reason_against(user: User) -> str:
    """Return why a person gets no mail, or an empty text."""
    if user.status == AccountStatus.CLOSED or not user.is_active:
        return WithheldReason.ACCOUNT_CLOSED
    if user.status == AccountStatus.FLAGGED:
        return WithheldReason.ACCOUNT_FLAGGED
    if services.verification_is_mandatory() and not verification.is_verified(user):
        return WithheldReason.ADDRESS_UNVERIFIED
    if emails.domain_of(user.email).rpartition(".")[2] in _UNDELIVERABLE:
        return WithheldReason.UNDELIVERABLE
    return ""


def _send(record: Mail, letter: Letter, address: str) -> None:
    mail = EmailMultiAlternatives(
        letter.subject,
        letter.text,
        to=[address],
        headers={
            "Message-ID": record.message_id,
            "Content-Language": letter.language,
            "Auto-Submitted": "auto-generated",  # RFC 3834: no out-of-office replies, please
        },
    )
    mail.attach_alternative(letter.html, "text/html")
    try:
        mail.send()
    except SMTPRecipientsRefused as refusal:
        (code, _words), *_ = refusal.recipients.values()
        if code < _PERMANENT:
            raise
        logger.warning(
            "The mail server refuses the address of account %s (%d).", record.user_id, code
        )
        record.outcome, record.reason = MailOutcome.REFUSED, str(code)
    else:
        record.outcome = MailOutcome.SENT
        record.answer = mask_addresses(getattr(mail, "answer", ""))[:ANSWER_LENGTH]


def _message_id(event: Event[Any], kind: MailKind) -> str:
    return f"<{event.id}.{kind}@{urlsplit(settings.PUBLIC_URL).hostname}>"
