"""django-q2's Redis broker, made to carry bells. Imported only where it is chosen."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import redis
from django_q.brokers import Broker
from django_q.brokers.redis_broker import Redis
from django_q.conf import Conf
from redis.backoff import NoBackoff
from redis.retry import Retry

from events.delivery.broker import Bell, BellBroker, periodic_call

RING_TIMEOUT_S = 0.25  # a request may wait this long, once, before the bell goes quiet
WAIT_S = 2
ANSWER_S = WAIT_S + 3.0  # a pusher has time


class RedisBellBroker(BellBroker, Redis):  # type: ignore[misc]
    """Bells in Redis or Valkey. It may lose every one of them: deliveries are in the database.

    A call of periodic work that it loses is not made up for: the next one comes at its time.
    """

    _RING = "if redis.call('llen', KEYS[1]) == 0 then redis.call('rpush', KEYS[1], ARGV[1]) end"

    @staticmethod
    def get_connection(list_key: str | None = None) -> "redis.Redis":
        """Return the client that rings: it gives up fast and never tries twice."""
        return _redis(Conf.REDIS, RING_TIMEOUT_S)

    def enqueue(self, task: str) -> None:
        """Add a bell unless one waits; a call of periodic work, unless one of the same does."""
        call = periodic_call(task)
        if call is None:
            self.ring_all({self.list_key: task})
        elif call not in map(periodic_call, self._waiting()):
            self.connection.rpush(self.list_key, task)

    def ring_all(self, payloads: Mapping[str, str]) -> None:
        """Add bells where none waits: one round trip, and a command for each key."""
        with self.connection.pipeline(transaction=False) as pipeline:
            for key, payload in payloads.items():
                pipeline.eval(self._RING, 1, key, payload)
            pipeline.execute()

    def take_bells(self) -> list[Bell]:
        """Take a bell, or wait for one."""
        taken: Any = _redis(Conf.REDIS, ANSWER_S).blpop([self.list_key], WAIT_S)
        return [(None, taken[1])] if taken else []

    def close(self) -> None:
        """Close the connections; whoever needs one again opens it."""
        self.connection.close()
        _redis(Conf.REDIS, ANSWER_S).close()

    def park(self, payload: str) -> None:
        """Keep the payload in a list of its own."""
        _redis(Conf.REDIS, ANSWER_S).rpush(f"{self.list_key}:parked", payload)

    def _waiting(self) -> list[str]:
        waiting: Any = self.connection.lrange(self.list_key, 0, -1)
        return [payload.decode() for payload in waiting]

    # Heartbeats stay in the process: they are nobody's business, and Redis may hang.
    set_stat = Broker.set_stat
    get_stat = Broker.get_stat
    get_stats = Broker.get_stats


@cache
def _redis(url: str, timeout_s: float) -> "redis.Redis":
    """Return this process's client. All queues share its connections; a fork opens new ones."""
    # redis-py repeats commands by itself unless told otherwise; a repeated RPUSH is a second bell.
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=RING_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=30,
    )
