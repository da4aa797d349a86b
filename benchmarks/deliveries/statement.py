"""What the database can do: the writes of a claim and of an effect block, written by hand.

Two statements for each batch, in a transaction each, as Usher's: the lease is committed before the
effect. There is no receiver: what it would decide, the statement knows.
"""

import threading
from uuid import uuid4

import psycopg

from benchmarks.deliveries.contest import per_second
from benchmarks.deliveries.usher import Usher

BATCH = 500  # as events.delivery.pace.POSTGRES_MOST

CLAIM = """
WITH taken AS (
    SELECT id FROM events_delivery
    WHERE receiver = %(receiver)s AND due_at <= statement_timestamp()
    ORDER BY due_at, id LIMIT %(batch)s FOR UPDATE SKIP LOCKED
)
UPDATE events_delivery AS d SET state = 'running', due_at = NULL, attempts = attempts + 1,
    lease_token = %(token)s, lease_owner = 'by hand',
    lease_expires_at = statement_timestamp() + interval '30 seconds'
FROM taken WHERE d.id = taken.id RETURNING d.id
"""
EFFECT = """
WITH held AS (
    SELECT d.id, d.event_id, d.receiver, d.key::uuid AS user_id
    FROM events_delivery AS d JOIN events_event AS e ON e.event_id = d.event_id
    WHERE d.id = ANY(%(ids)s) AND d.lease_token = %(token)s ORDER BY d.id FOR UPDATE OF d
), new AS (
    INSERT INTO bare_processedevent (receiver, target, event_id)
    SELECT receiver, '', event_id FROM held
    ON CONFLICT (event_id, receiver, target) DO NOTHING RETURNING event_id
), effect AS (
    {effect}
)
UPDATE events_delivery SET state = 'done', finished_at = statement_timestamp(), last_error = '',
    fingerprint = '', lease_token = NULL, lease_owner = '', lease_expires_at = NULL,
    run_alone = false
WHERE id IN (SELECT id FROM held)
"""
EFFECTS = {
    "coupon": """
    INSERT INTO bare_barecoupon (id, user_id, code)
    SELECT gen_random_uuid(), user_id, left(event_id::text, 16) FROM held JOIN new USING (event_id)
    """,
    "points": """
    INSERT INTO bare_bareentry (id, user_id, points)
    SELECT gen_random_uuid(), user_id, 100 FROM held JOIN new USING (event_id)
), balance AS (
    INSERT INTO bare_barebalance (user_id, points)
    SELECT user_id, 100 * count(*) FROM held JOIN new USING (event_id)
    GROUP BY user_id ORDER BY user_id
    ON CONFLICT (user_id) DO UPDATE SET points = bare_barebalance.points + excluded.points
    """,
}


class Statement(Usher):
    """The limit, in Usher's own tables."""

    def backlog(self, kind: str, events: int, processes: int) -> float:
        """Return how many a second these statements work off."""
        first = self.publish(kind, events)
        self.database.tidy()
        threads = [
            threading.Thread(target=self._work, args=(kind,), daemon=True) for _ in range(processes)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.wait_for_all(kind)
        return per_second(self.moments(kind, first))

    def _work(self, kind: str) -> None:
        effect = EFFECT.format(effect=EFFECTS[kind])
        with psycopg.connect(self.database.url, autocommit=True) as session:
            while True:
                known = {"receiver": self.receivers[kind], "token": uuid4(), "batch": BATCH}
                ids = [id_ for (id_,) in session.execute(CLAIM, known)]
                if not ids:
                    return
                session.execute(effect, {**known, "ids": ids})
