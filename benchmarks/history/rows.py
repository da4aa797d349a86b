"""Rows on their way into PostgreSQL: collected as text, table by table, and copied in bulk."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

from django.apps import apps
from django.db import connection, transaction

# In the order of their references. A column that is not named gets its default.
_COLUMNS = {
    "accounts.User": (
        "id email email_canonical password referral_code status language created_at registered_at"
        " is_returning is_staff is_active is_superuser"
    ),
    "account.EmailAddress": "user email verified primary",
    "accounts.Referral": "invitee inviter code_used status reasons created_at decided_at",
    "points.PointsAccount": "user balance pending lifetime_earned version created_at",
    "events.Event": (
        "position event_id type version key data occurred_at correlation_id causation_id"
    ),
    "events.Delivery": (
        "id event receiver target queue type version key position state due_at attempts run_alone"
        " lease_owner last_error fingerprint skipped_by skip_reason finished_at"
    ),
    "events.Attempt": (
        "delivery number started_at ended_at error_class error_message traceback fingerprint"
        " release"
    ),
    "coupons.IssueDecision": "id campaign user outcome reason event_id decided_at",
    "coupons.Coupon": (
        "id decision campaign user code valid_from valid_until status issued_at amount min_spend"
        " currency"
    ),
    "coupons.Redemption": (
        "id coupon order_ref order_amount discount currency redeemed_by created_at"
    ),
    "points.RewardDecision": (
        "id rule_kind invitee inviter outcome reason rule points event_id occurred_at decided_at"
    ),
    "points.Entry": (
        "id account number kind amount balance_after idempotency_key reason event_id occurred_at"
    ),
    "points.Lot": "entry account occurred_at number remaining",
    "coupons.FunnelStep": "event_id campaign day kind",
    "points.FunnelStep": "event_id inviter day kind points",
    "project.Mail": "event_id kind user outcome reason message_id answer created_at",
}
TABLES = {label: columns.split() for label, columns in _COLUMNS.items()}
INBOX = ["receiver", "target", "event_id", "processed_at"]  # of whichever app
NULL = "\\N"


class Rows:
    """What is to be inserted next. Values are text without tabs, newlines and backslashes."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {label: [] for label in TABLES}
        self.inserted: dict[str, int] = dict.fromkeys(TABLES, 0)

    def adder(self, label: str) -> Callable[..., None]:
        """Return a function that takes the values of one row of a table, in order."""
        append, join = self._lines.setdefault(label, []).append, "\t".join

        def add(*values: str) -> None:
            append(join(values))

        return add

    def hand_over(self) -> dict[str, str]:
        """Return what was collected, by table, as COPY reads it, and begin anew."""
        texts = {label: "\n".join(lines) + "\n" for label, lines in self._lines.items() if lines}
        for label, lines in self._lines.items():
            self.inserted[label] = self.inserted.get(label, 0) + len(lines)
            lines.clear()
        return texts


def copy(texts: dict[str, str]) -> None:
    """Insert rows in one transaction, on a connection of this call's own."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            _spare_the_checks(cursor)
            for label, text in texts.items():
                with cursor.copy(_statement(label)) as into:
                    into.write(text)
    finally:
        connection.close()


def _spare_the_checks(cursor: Any) -> None:
    """Let foreign keys stand aside, for whom the server lets do so: every row names one there is.

    What one row says of another is for `manage.py check_invariants` to find.
    """
    cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    if cursor.fetchone()[0]:
        cursor.execute("SET LOCAL session_replication_role = replica")


def _statement(label: str) -> str:
    model = apps.get_model(label)
    columns = ", ".join(
        f'"{model._meta.get_field(name).column}"' for name in TABLES.get(label, INBOX)
    )
    return f'COPY "{model._meta.db_table}" ({columns}) FROM STDIN'


def moment(seconds: float) -> str:
    """Return a time of the epoch as PostgreSQL reads it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def uuid7_at(seconds: float, random: Random) -> str:
    """Return an id like those that were given at a time."""
    milliseconds, bits = int(seconds * 1000), random.getrandbits(74)
    text = f"{milliseconds:012x}7{bits & 0xFFF:03x}{8 | bits >> 12 & 3:x}{bits >> 14:015x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def reset_sequences() -> None:
    """Let what is inserted next get numbers after those that were copied."""
    from django.core.management.color import no_style

    models: Sequence[Any] = [apps.get_model(label) for label in ("events.Event", "events.Delivery")]
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), models):
            cursor.execute(statement)


def vacuum(labels: Iterable[str]) -> None:
    """Do what autovacuum would have done by the time that a history has grown."""
    tables = ", ".join(f'"{apps.get_model(label)._meta.db_table}"' for label in labels)
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM (ANALYZE) {tables}")
