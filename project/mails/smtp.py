"""Django's SMTP backend, which also keeps what the server answers: its own id of the mail."""

import smtplib
from typing import Any

from django.core.mail.backends import smtp
from django.core.mail.message import EmailMessage


class _Listening(smtplib.SMTP):
    """Remembers the reply to the last mail, such as "2.0.0 Ok: queued as 4Zq1"."""

    answer = ""

    def data(self, msg: Any) -> tuple[int, bytes]:
        """Send the text of a mail."""
        code, reply = super().data(msg)
        self.answer = reply.decode(errors="replace")
        return code, reply


class _ListeningSSL(_Listening, smtplib.SMTP_SSL):
    """The same, encrypted from the first byte."""


class EmailBackend(smtp.EmailBackend):
    """Sends mails; each that was taken has the server's reply as `answer` afterwards."""

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        """Return what speaks to the server."""
        return _ListeningSSL if self.use_ssl else _Listening

    def _send(self, email_message: EmailMessage) -> bool:
        is_sent = bool(super()._send(email_message))  # type: ignore[misc]  # not in the stubs
        if is_sent and isinstance(self.connection, _Listening):
            email_message.answer = self.connection.answer  # type: ignore[attr-defined]
        return is_sent
