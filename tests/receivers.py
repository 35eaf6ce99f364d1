"""Loopback servers that take what is sent to people: webhooks and mails."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any


@dataclass
class Received:
    """What came, in order."""

    posts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # path, content
    mails: list[EmailMessage] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)  # paths whose next post gets a 503
    unknown: list[str] = field(default_factory=list)  # receivers of mails that are refused
    web: str = ""  # http://HOST:PORT
    smtp: str = ""  # smtp://HOST:PORT

    def at(self, path: str) -> list[dict[str, Any]]:
        """What was posted to a path."""
        return [content for posted, content in self.posts if posted == path]


@contextmanager
def receivers() -> Iterator[Received]:
    """Run both servers."""
    received = Received()
    servers = [
        ThreadingHTTPServer(("127.0.0.1", 0), _web_taker(received)),
        ThreadingTCPServer(("127.0.0.1", 0), _mail_taker(received)),
    ]
    received.web, received.smtp = (
        f"{scheme}://127.0.0.1:{server.server_address[1]}"
        for scheme, server in zip(("http", "smtp"), servers, strict=True)
    )
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield received
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def _web_taker(received: Received) -> type[BaseHTTPRequestHandler]:
    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path in received.refusals:
                received.refusals.remove(self.path)
                self.send_error(503)
                return
            received.posts.append((self.path, content))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Taker


def _mail_taker(received: Received) -> type[StreamRequestHandler]:
    class Taker(StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 loopback ESMTP")
            while line := self.rfile.readline().decode():
                command = line[:4].strip().upper()
                if command == "DATA":
                    self._say("354 go on")
                    lines = iter(self.rfile.readline, b".\r\n")
                    received.mails.append(
                        message_from_bytes(b"".join(lines), policy=policy.default)  # type: ignore[arg-type]
                    )
                self._say(self._answer(command, line))

        def _answer(self, command: str, line: str) -> str:
            if command == "RCPT" and any(f"<{each}>" in line for each in received.unknown):
                return "550 no such mailbox"
            answers = {"QUIT": "221 bye", "EHLO": "250-loopback\r\n250 AUTH PLAIN"}
            return answers.get(command, "250 ok")

        def _say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

    return Taker
