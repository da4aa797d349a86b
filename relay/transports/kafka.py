"""Kafka: kafka://host:9092?topic=NAME, or kafkas:// with TLS. The topic must exist there.

A message's key is the event's, so that a person's events stay in one partition, in order. It counts
when all in-sync replicas have it (acks=all); the idempotent producer writes what it has to repeat
on the way only once. (https://kafka.apache.org/documentation/#producerconfigs)
"""

import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError
from django.utils.translation import gettext as _

from relay.loops import Results, close_quickly, publish_side_by_side, send_within
from relay.transport import BadURL, Destination, Failed, Message, Result, bracketed, options, tls

SCHEMES = ("kafka", "kafkas")
DEFAULT_PORT = 9092
DEFAULT_TOPIC = "usher"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
REQUEST_S = 5.0
RETRY_S = 0.1

_CONTENT_TYPE = ("content-type", b"application/cloudevents+json; charset=UTF-8")

# What fails is kept with the delivery; the library would log it at every step as well.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def check(url: SplitResult) -> None:
    """Refuse what is no place in a Kafka. Raises BadURL."""
    if url.path.strip("/"):
        raise BadURL(_("Name a topic by ?topic=, not by a path."))
    require_mechanism(_options(url)["mechanism"])


def require_mechanism(name: str) -> None:
    """Refuse a way to log in that there is not. Raises BadURL."""
    if name not in MECHANISMS:
        raise BadURL(
            _("There is no mechanism %(mechanism)s; there are: %(known)s.")
            % {"mechanism": name, "known": ", ".join(MECHANISMS)}
        )


def send(destination: Destination, batch: Sequence[Message]) -> list[Result]:
    """Produce the messages side by side; each is acknowledged by itself."""
    return send_within(urlsplit(destination.url), batch, _produce, errors=(KafkaError,))


async def _produce(url: SplitResult, batch: Sequence[Message], results: Results) -> None:
    topic, mechanism = _options(url)["topic"], _options(url)["mechanism"]
    settings = connection_settings(url, mechanism=mechanism)
    producer = AIOKafkaProducer(**settings, acks="all", enable_idempotence=True)

    async def publish(message: Message) -> Result:
        try:
            await producer.send_and_wait(
                topic, message.body, key=message.key.encode(), headers=_headers(message)
            )
        except (KafkaConnectionError, KafkaTimeoutError):
            raise
        except KafkaError as error:
            return Failed(text=f"{topic}: {error}")
        return None

    try:
        await producer.start()
        await publish_side_by_side(publish, batch, results)
    finally:
        await close_quickly(producer.stop)


def _headers(message: Message) -> list[tuple[str, bytes]]:
    attributes = message.headers("ce_")
    return [_CONTENT_TYPE, *[(name, value.encode()) for name, value in attributes.items()]]


def connection_settings(url: SplitResult, *, mechanism: str) -> dict[str, Any]:
    """Return what a client of aiokafka needs to know to connect."""
    is_secure = url.scheme == "kafkas"
    settings: dict[str, Any] = {
        "bootstrap_servers": f"{bracketed(url.hostname or '')}:{url.port or DEFAULT_PORT}",
        "client_id": "usher",
        "request_timeout_ms": int(REQUEST_S * 1000),
        "retry_backoff_ms": int(RETRY_S * 1000),
        "security_protocol": "SSL" if is_secure else "PLAINTEXT",
        "ssl_context": tls() if is_secure else None,
    }
    if url.username:
        settings |= {
            "security_protocol": "SASL_SSL" if is_secure else "SASL_PLAINTEXT",
            "sasl_mechanism": mechanism,
            "sasl_plain_username": unquote(url.username),
            "sasl_plain_password": unquote(url.password or ""),
        }
    return settings


def _options(url: SplitResult) -> dict[str, str]:
    return options(url, topic=DEFAULT_TOPIC, mechanism="PLAIN")
