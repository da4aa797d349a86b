"""Sending a mail about an event: once as far as can be known, with an id that stays the same."""

import logging
import re
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
_NO_SUCH_ADDRESS = {550, 551, 553}  # SMTP replies, where no enhanced status says it better
# RFC 3463: 5.1 is about addresses, but 5.1.7 and 5.1.8 are about the sender's.
_ENHANCED_STATUS = re.compile(rb"\s*5\.\d{1,3}\.\d{1,3}\b")
_ENHANCED_NO_SUCH_ADDRESS = re.compile(rb"\s*5\.1\.(?![78]\b)\d{1,3}\b")


def send_once(
    event: Event[Any], *, kind: MailKind, user_id: UUID, write: Callable[[User], Letter | None]
) -> None:
    """Send the mail of this kind about an event, or record why it is not sent.

    Only what was sent is done with: asked again, a mail that was withheld or refused is tried as
    if it were new. Where a process dies between sending and recording, it goes out again under the
    same Message-ID. Raises OSError (smtplib's errors are) where the mail server is not to be had,
    wants it later, or refuses us rather than the address.
    """
    if Mail.objects.filter(event_id=event.id, kind=kind, outcome=MailOutcome.SENT).exists():
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
    _record(record)


def _record(record: Mail) -> None:
    """Say how it went. A second worker may have tried too: that it was sent stands."""
    Mail.objects.bulk_create([record], ignore_conflicts=True)
    earlier = Mail.objects.filter(event_id=record.event_id, kind=record.kind)
    earlier.exclude(outcome=MailOutcome.SENT).update(
        outcome=record.outcome,
        reason=record.reason,
        answer=record.answer,
        created_at=record.created_at,
    )


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
        (code, words), *_ = refusal.recipients.values()
        if not _is_about_the_address(code, words):
            raise
        logger.warning(
            "The mail server refuses the address of account %s (%d).", record.user_id, code
        )
        record.outcome, record.reason = MailOutcome.REFUSED, str(code)
    else:
        record.outcome = MailOutcome.SENT
        record.answer = mask_addresses(getattr(mail, "answer", ""))[:ANSWER_LENGTH]


def _is_about_the_address(code: int, words: bytes) -> bool:
    """Tell whether there is no such address. Anything else may be about us: policy, a quota."""
    if _ENHANCED_STATUS.match(words):
        return bool(_ENHANCED_NO_SUCH_ADDRESS.match(words))
    return code in _NO_SUCH_ADDRESS


def _message_id(event: Event[Any], kind: MailKind) -> str:
    return f"<{event.id}.{kind}@{urlsplit(settings.PUBLIC_URL).hostname}>"
