"""Mails over SMTP: what the server answers is kept, and one that hangs is not waited for."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.mail import EmailMessage

from project.mails.smtp import EmailBackend

TAKEN = "2.0.0 Ok: queued as 4Zq1"


class Taking(socketserver.StreamRequestHandler):
    """Takes every mail, as RFC 5321 has it, and gives it an id."""

    def handle(self) -> None:
        """Answer line by line."""
        self._say("220 test")
        for line in iter(self.rfile.readline, b""):
            word = line.strip().upper()
            if word == b"DATA":
                self._say("354 go on")
                while self.rfile.readline() != b".\r\n":
                    pass
                self._say(f"250 {TAKEN}")
            elif word == b"QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@contextmanager
def server() -> Iterator[int]:
    """Run a mail server; yield its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Taking) as taking:
        thread = threading.Thread(target=taking.serve_forever)
        thread.start()
        try:
            yield taking.server_address[1]
        finally:
            taking.shutdown()
            thread.join()


def send(mail: EmailMessage, port: int, timeout: float) -> int:
    """Send a mail to a port of this machine; return how many were taken."""
    backend = EmailBackend(
        host="127.0.0.1", port=port, username="", password="", use_tls=False, timeout=timeout
    )
    return backend.send_messages([mail])


def letter() -> EmailMessage:
    """Return a mail."""
    return EmailMessage("Hello", "text", to=["mei@example.com"])


def test_the_servers_own_id_of_a_mail_is_kept_with_it() -> None:
    mail = letter()

    with server() as port:
        assert send(mail, port, timeout=5) == 1

    assert mail.answer == TAKEN  # type: ignore[attr-defined]


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]

        with pytest.raises(OSError, match="timed out"):
            send(letter(), port, timeout=0.2)
