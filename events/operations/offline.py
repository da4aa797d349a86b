"""Run code that may call out, and let nothing leave: mail is caught, network is cut off.

Patches are of the whole process: this is for commands, never for servers. What opens sockets
outside Python (a library in C) or starts another program is not stopped.
"""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.db import connection
from django.db.backends.signals import connection_created
from django.test import override_settings

_CALLS_OUT = (
    (socket.socket, "connect"),
    (socket.socket, "connect_ex"),
    (socket.socket, "sendto"),
    (socket, "getaddrinfo"),
    (socket, "gethostbyname"),
)

_caught: list[EmailMessage] = []


class CutOff(RuntimeError):
    """Code that runs offline tried to reach something outside."""


class CatchingBackend(BaseEmailBackend):
    """An e-mail backend that keeps what it is given."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Keep the mails; count them as sent."""
        _caught.extend(email_messages)
        return len(email_messages)


@contextmanager
def offline(who: str) -> Iterator[list[EmailMessage]]:
    """Run a block without mail and network; yield the mails it sends, as they come.

    `who` is named in the CutOff that a connection raises. The database connection in use stays;
    a second one (another thread's) is refused, for nobody would roll back what it writes.
    """
    connection.ensure_connection()
    _caught.clear()
    with ExitStack() as stack:
        for place, name in _CALLS_OUT:
            stack.enter_context(patch.object(place, name, _refusal(who, "connect to the network")))
        refuse_database = _refusal(who, "open another database connection")
        connection_created.connect(refuse_database)
        stack.callback(connection_created.disconnect, refuse_database)
        stack.enter_context(override_settings(**_mail_settings()))
        yield _caught


def _refusal(who: str, what: str) -> Any:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise CutOff(f"{who} wanted to {what}, which a preview does not let it do.")

    return refuse


def _mail_settings() -> dict[str, Any]:
    backend = f"{CatchingBackend.__module__}.{CatchingBackend.__qualname__}"
    if hasattr(settings, "MAILERS"):  # Django 6.1 and later
        return {"MAILERS": {alias: {"BACKEND": backend} for alias in settings.MAILERS}}
    return {"EMAIL_BACKEND": backend}
