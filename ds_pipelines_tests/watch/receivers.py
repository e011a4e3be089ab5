"""Receivers of alerts on loopback: a mail server and a webhook, which keep what they are given."""

from __future__ import annotations

import json
import socketserver
import threading
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class MailServer(socketserver.ThreadingTCPServer):
    """As much of SMTP as it takes to receive a message."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Mail)
        self.messages: list[bytes] = []
        self.refuses = False

    @property
    def address(self) -> str:
        return f"mailto://127.0.0.1:{self.server_address[1]}?from=watch@example.com&to=team@example.com"

    def texts(self) -> list[str]:
        """Subject and text of each message, in the order in which they came."""
        parsed = [message_from_bytes(data, policy=default) for data in self.messages]
        return [f"{mail['subject']}\n{mail.get_body(('plain', 'html')).get_content()}" for mail in parsed]


class _Mail(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self._say(220, "here")
        while line := self.rfile.readline():
            verb = line[:4].upper().strip()
            if verb == b"DATA" and not self.server.refuses:
                self._say(354, "go on")
                lines = []
                while (got := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(got[1:] if got.startswith(b"..") else got)
                self.server.messages.append(b"".join(lines))
                self._say(250, "kept")
            elif verb == b"DATA":
                self._say(451, "not now")
            elif verb == b"QUIT":
                self._say(221, "bye")
                return
            else:
                self._say(250, "fine")

    def _say(self, code: int, words: str) -> None:
        self.wfile.write(f"{code} {words}\r\n".encode())


class Webhook(ThreadingHTTPServer):
    """Takes JSON by POST."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Posted)
        self.messages: list[dict[str, str]] = []
        self.refuses = False

    @property
    def address(self) -> str:
        return f"json://hook:s3cretToken@127.0.0.1:{self.server_address[1]}/alerts"

    def texts(self) -> list[str]:
        """Title and text of each message."""
        return [f"{each['title']}\n{each['message']}" for each in self.messages]


class _Posted(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.server.refuses:
            self.server.messages.append(json.loads(body))
        self.send_response(503 if self.server.refuses else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def receiving() -> Iterator[tuple[MailServer, Webhook]]:
    """Both, listening."""
    with MailServer() as mail, Webhook() as hook:
        threads = [threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True) for server in (mail, hook)]
        for thread in threads:
            thread.start()
        try:
            yield mail, hook
        finally:
            for server, thread in zip((mail, hook), threads, strict=True):
                server.shutdown()
                thread.join()
