"""Register people from a file: each through the service that registers everybody.

A line is taken whole or not at all, and the same file can be imported again: who is there already
is left alone. Unlike somebody at the sign-up page, whoever imports can correct a line and try
again, while a referral can never be added later; so by default a referral code that does not count
and a throw-away address are refused.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from itertools import islice
from uuid import UUID

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import get_supported_language_variant
from django.utils.translation import gettext as _

from accounts import emails, risk, services, validators
from accounts.import_file import Line
from accounts.models import User
from accounts.services import Credentials, ReferralReason
from events.operations.chunks import in_short_transaction

BATCH_SIZE = 10  # lines in one transaction: on SQLite, sign-ups wait for it


class RowOutcome(StrEnum):
    """What came of a line."""

    REGISTERED = "registered"
    WAITING = "waiting"  # until the person confirms the address
    ALREADY_THERE = "already_there"  # the address has an account; nothing was changed
    REFUSED = "refused"  # nothing of it was kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How an import is done."""

    lenient: bool = False  # codes and throw-away addresses count as little as at the sign-up page
    confirmed: bool = False  # somebody vouches for the addresses
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one line. `code` and `reason` tell why, where there is something to tell."""

    line: int
    email: str = field(repr=False)
    outcome: RowOutcome
    code: str = ""
    reason: str = ""
    user_id: UUID | None = None  # None where nobody was registered, or would be only


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """A line that can be registered, with the password hashed."""

    line: int
    credentials: Credentials
    referral_code: str
    language: str


class _Refused(Exception):
    """A referral code does not count: take back what the line wrote."""

    def __init__(self, reason: ReferralReason) -> None:
        self.reason = reason
        super().__init__()


def import_lines(lines: Iterable[Line], rules: Rules) -> Iterator[list[Result]]:
    """Register people, and yield what came of their lines, some at a time, once it is committed.

    When `lines` ends early, what was taken from it is finished. Reasons are in the language that is
    active. Call it outside of a transaction.
    """
    with _Seen() as seen:
        prepared = (_prepare(line, seen, rules) for line in lines)
        while batch := list(islice(prepared, BATCH_SIZE)):
            yield in_short_transaction(partial(_apply, batch, rules))


def _prepare(line: Line, seen: "_Seen", rules: Rules) -> _Prepared | Result:
    """Return what is to be registered, or why the line is refused without asking the database."""
    given = line.values.get("email", "")
    try:
        if line.error is not None:
            raise line.error
        address = _address(given, line.number, seen, rules)
        return _Prepared(
            line=line.number,
            credentials=_credentials(address, line.values.get("password", "")),
            referral_code=line.values.get("referral_code", ""),
            language=_language(line.values.get("language", "")),
        )
    except ValidationError as error:
        first = ValidationError([error]).error_list[0]  # which flattens those that name fields
        return Result(
            line=line.number,
            email=given[: emails.MAX_LENGTH],
            outcome=RowOutcome.REFUSED,
            code=str(first.code),
            reason=" ".join(error.messages),
        )


def _address(given: str, line: int, seen: "_Seen", rules: Rules) -> str:
    validators.validate_intact(given)
    address = emails.clean_email(given)
    if (first := seen.line_of(address, line)) != line:
        sentence = _("The same address is on line %(line)d.") % {"line": first}
        raise ValidationError(sentence, code="repeated")
    if not rules.lenient and risk.is_disposable(address):
        raise ValidationError(_("This is a throw-away address."), code="disposable")
    return address


def _credentials(address: str, password: str) -> Credentials:
    """Return what the account is made of; without a password it has one that nobody can type."""
    if not password:
        return Credentials(address=address, password_hash=make_password(None))
    return services.check_credentials(email=address, password=password)


def _language(given: str) -> str:
    if not given:
        return settings.LANGUAGE_CODE
    try:
        return get_supported_language_variant(given.replace("_", "-").lower())
    except LookupError:
        names = ", ".join(code for code, _name in settings.LANGUAGES)
        sentence = _("This language is not known. There are: %(names)s.") % {"names": names}
        raise ValidationError(sentence, code="unknown_language") from None


def _apply(batch: Sequence[_Prepared | Result], rules: Rules) -> list[Result]:
    results = [row if isinstance(row, Result) else _register(row, rules) for row in batch]
    if rules.dry_run:
        transaction.set_rollback(True)
        results = [replace(result, user_id=None) for result in results]
    return results


def _register(row: _Prepared, rules: Rules) -> Result:
    about = partial(Result, line=row.line, email=row.credentials.address)
    try:
        with transaction.atomic():
            registration = services.register_with(
                credentials=row.credentials,
                referral_code=row.referral_code,
                language=row.language,
            )
            user, reason = registration.user, registration.referral_reason
            if reason == ReferralReason.NONE_GIVEN:
                reason = None
            if reason is not None and not rules.lenient:
                raise _Refused(reason)
            is_complete = _confirm(user) if rules.confirmed else user.registered_at is not None
    except services.EmailTaken:
        return about(outcome=RowOutcome.ALREADY_THERE)
    except _Refused as refusal:
        return about(
            outcome=RowOutcome.REFUSED, code=refusal.reason, reason=_sentence(refusal.reason)
        )
    return about(
        outcome=RowOutcome.REGISTERED if is_complete else RowOutcome.WAITING,
        code=reason or "",
        reason=_sentence(reason) if reason else "",
        user_id=user.pk,
    )


def _confirm(user: User) -> bool:
    """Take the address for confirmed, and complete the registration. Returns True."""
    EmailAddress.objects.filter(user=user, email=user.email).update(verified=True)
    services.complete_registration(user_id=user.pk)
    return True


def _sentence(reason: ReferralReason) -> str:
    sentences = {
        ReferralReason.UNKNOWN_CODE: _("Nobody has this referral code."),
        ReferralReason.INVITER_INACTIVE: _("The account with this referral code is closed."),
        ReferralReason.SELF_REFERRAL: _("This is the person's own referral code."),
    }
    return sentences[reason]


class _Seen:
    """Which addresses the file had so far, and on which line: a table in a file of SQLite's own.

    Memory stays as it is however long the file. SQLite deletes the file when it is closed.
    """

    def __enter__(self) -> "_Seen":
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("CREATE TABLE seen (address TEXT PRIMARY KEY, line) WITHOUT ROWID")
        return self

    def __exit__(self, *args: object) -> None:
        self._database.close()

    def line_of(self, address: str, line: int) -> int:
        """Return the line that had the address first, which may be this one."""
        self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (address, line))
        found = self._database.execute("SELECT line FROM seen WHERE address = ?", (address,))
        return int(found.fetchone()[0])
