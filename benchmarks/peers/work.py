"""The work itself, the same for every peer, in the fewest statements: raw SQL, one transaction."""

from uuid import UUID, uuid4

from django.db import connection, transaction

_EPOCH = {
    "postgresql": "extract(epoch from clock_timestamp())",
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
}
_TABLES = (
    "CREATE TABLE signup (user_id {uuid} PRIMARY KEY)",
    "CREATE TABLE inbox (event_id {uuid}, receiver varchar(100), PRIMARY KEY (event_id, receiver))",
    "CREATE TABLE coupon (id {uuid} PRIMARY KEY, user_id {uuid} NOT NULL,"
    " code varchar(16) NOT NULL, at double precision NOT NULL DEFAULT {epoch})",
    "CREATE TABLE entry (id {uuid} PRIMARY KEY, user_id {uuid} NOT NULL,"
    " points integer NOT NULL, at double precision NOT NULL DEFAULT {epoch})",
    "CREATE TABLE balance (user_id {uuid} PRIMARY KEY, points integer NOT NULL)",
)
POINTS = 100


def create_tables() -> None:
    """Create the tables of the work, empty."""
    uuid = "uuid" if connection.vendor == "postgresql" else "text"
    with connection.cursor() as cursor:
        for statement in _TABLES:
            cursor.execute(statement.format(uuid=uuid, epoch=_EPOCH[connection.vendor]))


def sign_up(user_id: UUID) -> None:
    """Write what a publisher changes, in its transaction."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO signup (user_id) VALUES (%s)", [str(user_id)])


def coupon(event_id: str, user_id: str) -> None:
    """Inbox row and coupon, once."""
    with transaction.atomic(), connection.cursor() as cursor:
        if _is_new(cursor, event_id, "coupon"):
            row = [str(uuid4()), user_id, event_id[:16]]
            cursor.execute("INSERT INTO coupon (id, user_id, code) VALUES (%s, %s, %s)", row)


def points(event_id: str, user_id: str) -> None:
    """Inbox row, ledger entry and balance, once."""
    with transaction.atomic(), connection.cursor() as cursor:
        if _is_new(cursor, event_id, "points"):
            cursor.execute(
                "INSERT INTO entry (id, user_id, points) VALUES (%s, %s, %s)",
                [str(uuid4()), user_id, POINTS],
            )
            cursor.execute(
                "INSERT INTO balance (user_id, points) VALUES (%s, %s) ON CONFLICT (user_id) "
                "DO UPDATE SET points = balance.points + excluded.points",
                [user_id, POINTS],
            )


def _is_new(cursor: object, event_id: str, receiver: str) -> bool:
    cursor.execute(  # type: ignore[attr-defined]
        "INSERT INTO inbox (event_id, receiver) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        [event_id, receiver],
    )
    return bool(cursor.rowcount == 1)  # type: ignore[attr-defined]
