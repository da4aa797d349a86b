"""Unfinished deliveries by receiver and cause: from one to the next along an index."""

from django.db import connection

MOST_CAUSES = 100

# Conditions are those of the indexes, word for word: SQLite takes an index for no others.
DEAD = "state = 'dead'"
RETRYING = "state = 'pending' AND NOT (fingerprint = '')"

# From one cause to the next along the index: its rows are not gone through.
_HEADS = """
WITH RECURSIVE head (id) AS (
    SELECT (
        SELECT id FROM events_delivery WHERE {condition} AND receiver >= %s
        ORDER BY receiver, fingerprint, {time} LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT later.id FROM events_delivery later
        WHERE {condition}
            AND (later.receiver, later.fingerprint) > (known.receiver, known.fingerprint)
        ORDER BY later.receiver, later.fingerprint, later.{time} LIMIT 1
    )
    FROM head JOIN events_delivery known ON known.id = head.id
)
SELECT id FROM head WHERE id IS NOT NULL LIMIT %s
"""


def heads(condition: str, time: str, *, receiver: str, limit: int) -> list[int]:
    """Return the earliest delivery of each cause, of the first so many causes from a receiver on.

    The condition is one of the above, `time` the column after the cause in its index.
    """
    with connection.cursor() as cursor:
        sql = _HEADS.format(condition=condition, time=time)  # texts of ours
        cursor.execute(sql, [receiver, limit])
        return [pk for (pk,) in cursor.fetchall()]
