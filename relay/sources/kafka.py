"""A topic of Kafka: kafka://user:password@host:9092?topic=NAME&group=usher, or kafkas://.

The group's offsets are committed when the messages before them are dealt with. A group that is new
begins with the oldest message there is.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar
from urllib.parse import SplitResult

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    AuthenticationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)
from django.utils.translation import gettext as _

from relay.source import WAIT_S, Connection, Incoming, SourceLost, SourceRefused, unreadable
from relay.transport import BadURL, options
from relay.transports.kafka import connection_settings, require_mechanism

SCHEMES = ("kafka", "kafkas")
DEFAULT_GROUP = "usher"
MAX_RECORDS = 100  # of one go, which may all come again
CONNECT_S = 15.0
JOIN_S = 30.0  # a group waits for its other members
CLOSE_S = 5.0

_PREFIX = "ce_"
_REFUSALS = (
    AuthenticationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
)

T = TypeVar("T")


def check(url: SplitResult) -> None:
    """Refuse what names no topic. Raises BadURL."""
    given = _options(url)
    if not given["topic"] or not given["group"]:
        raise BadURL(_("Name the topic by ?topic=, and a group other than the empty one."))
    require_mechanism(given["mechanism"])


class Source(Connection):
    """A topic that is read. Its client works only while something is asked of it."""

    def __init__(self, url: SplitResult) -> None:
        self._url = url
        self._topic = _options(url)["topic"]

    def take(self) -> Sequence[Incoming]:
        """Return the messages that have come, in order by partition."""
        try:
            return self._fetched(max_records=MAX_RECORDS)
        except UnicodeDecodeError:  # and nobody knows which of them it was
            return self._one_of_each_partition()

    def left(self) -> int:
        """Return 0: records come whether or not those before them are acknowledged."""
        return 0

    def acknowledge(self, incoming: Sequence[Incoming]) -> None:
        """Commit the offsets behind everything that was taken."""
        if incoming:
            self._run(self._client.commit(), CONNECT_S)

    def _fetched(self, *partitions: TopicPartition, max_records: int) -> list[Incoming]:
        """Return what has come. Raises UnicodeDecodeError where a header's name is no UTF-8."""
        fetching = self._client.getmany(
            *partitions, timeout_ms=int(WAIT_S * 1000), max_records=max_records
        )
        batches = self._run(fetching, JOIN_S)
        return [_incoming(record) for batch in batches.values() for record in batch]

    def _one_of_each_partition(self) -> list[Incoming]:
        """Return the next record of each partition; its place alone where the client can't read it.

        That is the one at the partition's position, and then each behind it in its batch. They are
        parked by their places in the topic, where they can still be looked at.
        """
        found: list[Incoming] = []
        for partition in sorted(self._client.assignment()):
            try:
                found += self._fetched(partition, max_records=1)
            except UnicodeDecodeError as error:
                position = self._run(self._client.position(partition), CONNECT_S)
                self._client.seek(partition, position + 1)
                place = f"{partition.topic}[{partition.partition}]@{position}"
                found.append(unreadable(error, place=place, body=place.encode(), tag=None))
        return found

    async def _start(self) -> None:
        settings = connection_settings(self._url, mechanism=_options(self._url)["mechanism"])
        self._client = AIOKafkaConsumer(
            **{**settings, "request_timeout_ms": int(JOIN_S * 1000)},
            group_id=_options(self._url)["group"],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        await self._client.start()
        # Asked first: a client that is subscribed to a topic that is not there waits for it.
        if self._topic not in await self._client.topics():
            raise SourceRefused(f"There is no topic {self._topic}.")
        joined = _Joined()
        self._client.subscribe([self._topic], listener=joined)
        await joined.event.wait()

    def _open(self) -> None:
        self._runner = asyncio.Runner()
        self._run(self._start(), JOIN_S)

    def _run(self, work: Coroutine[Any, Any, T], limit_s: float) -> T:
        try:
            return self._runner.run(_within(limit_s, work))
        except _REFUSALS as error:
            raise SourceRefused(str(error)) from error
        except (KafkaError, OSError) as error:
            raise SourceLost(f"{type(error).__name__}: {error}") from error

    def _close(self) -> None:
        client = getattr(self, "_client", None)
        try:
            if client is not None:
                self._runner.run(_within(CLOSE_S, client.stop()))
        except (KafkaError, OSError):
            return  # it is gone, which is what was asked for
        finally:
            self._runner.close()


class _Joined(ConsumerRebalanceListener):  # type: ignore[misc]
    """Hears when the group has given us partitions, which may be none."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def on_partitions_revoked(self, revoked: object) -> None:
        """Do nothing: what was taken and not committed comes again, to another."""

    def on_partitions_assigned(self, assigned: object) -> None:
        """Tell."""
        self.event.set()


async def _within(limit_s: float, work: Coroutine[Any, Any, T]) -> T:
    async with asyncio.timeout(limit_s):
        return await work


def _incoming(record: Any) -> Incoming:
    place = f"{record.topic}[{record.partition}]@{record.offset}"
    body = record.value or b""
    try:
        headers = {
            name: (value or b"").decode("utf-8", "replace") for name, value in record.headers
        }
    except Exception as error:  # whatever it is, it must not hold up those behind it
        return unreadable(error, place=place, body=body, tag=None)
    return Incoming(
        place=place,
        content_type=headers.get("content-type", ""),
        attributes={
            name.removeprefix(_PREFIX): value
            for name, value in headers.items()
            if name.startswith(_PREFIX)
        },
        body=body,
        tag=None,
    )


def _options(url: SplitResult) -> dict[str, str]:
    return options(url, topic="", group=DEFAULT_GROUP, mechanism="PLAIN")
