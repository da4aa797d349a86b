"""Webhooks: HTTP POST, signed as https://www.standardwebhooks.com/ has it."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

from relay.addresses import AddressRefused, open_socket
from relay.signing import signed_headers
from relay.transport import (
    TOTAL_S,
    BadURL,
    Destination,
    Failed,
    Message,
    Result,
    tls,
    unreachable,
)

SCHEMES = ("https", "http")
MAX_ANSWER_BYTES = 64 * 1024
MAX_RETRY_AFTER_S = 24 * 3600.0

_ASKS_FOR_TIME = {408, 429, 503}


def check(url: SplitResult) -> None:
    """Refuse what webhooks are not sent to. Raises BadURL."""
    if url.scheme == "http" and not settings.RELAY_ALLOW_HTTP:
        raise BadURL(_("Webhooks are sent to https:// only."))
    if "@" in url.netloc:
        raise BadURL(_("A webhook's URL has no user and password: messages are signed."))
    if url.fragment:
        raise BadURL(_("A webhook's URL has no part behind #."))


def send(destination: Destination, batch: Sequence[Message]) -> list[Result]:
    """Post the messages one after the other over one connection."""
    url = urlsplit(destination.url)
    if url.scheme == "http" and not settings.RELAY_ALLOW_HTTP:
        return [Failed(text="Webhooks are sent to https:// only.") for _ in batch]
    results: list[Result] = []
    connection = _connection_to(url)
    try:
        for message in batch:
            if time.monotonic() > destination.begin_until or _is_away(results):
                break
            results.append(_post(connection, url, message, destination.secrets))
    finally:
        connection.close()
    return results


class Connection(http.client.HTTPConnection):
    """An HTTP connection to an address that was checked, with one deadline for all of an exchange.

    Timeouts of sockets begin anew with every byte; so at the deadline the socket is shut.
    """

    def __init__(self, host: str, port: int | None, tls: ssl.SSLContext | None) -> None:
        self.default_port = 443 if tls else 80
        super().__init__(host, port)
        self._tls = tls
        self._handle: socket.socket | None = None  # of the same connection, under the TLS
        self._deadline = 0.0

    def connect(self) -> None:
        """Connect. Raises AddressRefused, and OSError."""
        plain = open_socket(self.host, self.port, deadline=self._deadline)
        # Head and body are two writes: the second would wait 40 ms for an acknowledgement.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._handle = plain.dup()
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host) if self._tls else plain

    def close(self) -> None:
        """Close, so that the next request connects again."""
        super().close()
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    @contextmanager
    def within(self, limit_s: float) -> Iterator[None]:
        """Let the block's exchange fail with TimeoutError after `limit_s`, however it drips."""
        self._deadline = time.monotonic() + limit_s
        timer = threading.Timer(limit_s, self._shut)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() >= self._deadline:
                raise TimeoutError(f"no complete answer within {limit_s:g} s") from error
            raise
        finally:
            timer.cancel()

    def _shut(self) -> None:
        handle = self._handle
        if handle is not None:
            try:
                handle.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # closed already


def _connection_to(url: SplitResult) -> Connection:
    return Connection(url.hostname or "", url.port, tls() if url.scheme == "https" else None)


def _is_away(results: Sequence[Result]) -> bool:
    return bool(results) and results[-1] is not None and results[-1].is_unreachable


def _post(
    connection: Connection, url: SplitResult, message: Message, secrets: Sequence[str]
) -> Result:
    try:
        with connection.within(TOTAL_S):
            return _exchange(connection, url, message, secrets)
    except AddressRefused as error:
        return Failed(text=str(error), is_unreachable=True)
    except (OSError, http.client.HTTPException, ValueError) as error:
        connection.close()
        return unreachable(url, error)


def _exchange(
    connection: Connection, url: SplitResult, message: Message, secrets: Sequence[str]
) -> Result:
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    headers = {
        "Content-Type": "application/cloudevents+json",
        "User-Agent": "Usher/1",
        **message.percent_encoded_headers("ce-"),
        **signed_headers(message, secrets, datetime.now(UTC)),
    }
    connection.request("POST", path, body=message.body, headers=headers)
    answer = connection.getresponse()
    body = answer.read(MAX_ANSWER_BYTES)
    if not answer.isclosed():  # there is more, and nobody reads it
        connection.close()
    if 200 <= answer.status < 300:
        return None
    return Failed(
        text=f"{url.hostname} answered {answer.status}: {body.decode('utf-8', 'replace')}",
        is_gone=answer.status == http.client.GONE,
        retry_after_s=_retry_after_s(answer) if answer.status in _ASKS_FOR_TIME else None,
    )


def _retry_after_s(answer: http.client.HTTPResponse) -> float | None:
    """Return the seconds of Retry-After, which has a number or a date; None: neither."""
    text = (answer.getheader("Retry-After") or "").strip()
    try:
        if text.isascii() and text.isdigit():
            seconds = float(text)
        else:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
