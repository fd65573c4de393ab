"""Real receivers of alerts for tests: an SMTP server and an HTTP server that refuse, hang and lose answers."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass
class MailReceiver:
    """What an SMTP server was given, and how it is to answer.

    ``rcpt`` maps a recipient to the answer to RCPT; ``data`` is called at the end of DATA and may return another answer
    than 250.
    """

    rcpt: dict[str, str] = field(default_factory=dict)
    data: Callable[[], str] = lambda: "250 OK"
    lose_answer: bool = False
    hang: bool = False
    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    envelopes: list[tuple[str, ...]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    was_tls: list[bool] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.rcpt.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.hang:
            while not self.released.is_set():
                await asyncio.sleep(0.01)
        assert isinstance(envelope.original_content, bytes)
        mail = message_from_bytes(envelope.original_content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.envelopes.append(tuple(envelope.rcpt_tos))
        self.was_tls.append(session.ssl is not None)
        if self.lose_answer:
            assert server.transport is not None
            server.transport.abort()
        return self.data()

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(data.login.decode())
        return AuthResult(success=data == LoginPassword(b"dicom-node", b"synthetic-secret"), handled=False)


@contextlib.contextmanager
def smtp_server(tls: ssl.SSLContext | None = None, *, implicit: bool = False, **answers: Any) -> Iterator[MailReceiver]:
    """Run an SMTP server on a free port of 127.0.0.1; with ``tls`` it wants STARTTLS, or TLS at once."""
    receiver = MailReceiver(**answers)
    options: dict[str, Any] = {}
    if tls is not None and implicit:
        options = {"ssl_context": tls}
    elif tls is not None:
        options = {"tls_context": tls, "require_starttls": True, "authenticator": receiver.authenticate}
    controller = _Controller(receiver, hostname="127.0.0.1", port=_free_port(), **options)
    controller.start()
    receiver.port = controller.port
    try:
        yield receiver
    finally:
        receiver.released.set()
        controller.stop()


class _Controller(Controller):
    def _trigger_server(self) -> None:
        """Leave out the library's own first connection, which a server with TLS at once would not survive."""
        with socket.create_connection((self.hostname, self.port), timeout=5):
            pass


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class WebReceiver:
    """What an HTTP server was given, and the statuses it answers with, the last one for good."""

    statuses: list[int] = field(default_factory=lambda: [200])
    location: str = ""
    url: str = ""
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@contextlib.contextmanager
def web_server(*statuses: int, location: str = "", tls: ssl.SSLContext | None = None) -> Iterator[WebReceiver]:
    """Run an HTTP server on a free port of 127.0.0.1."""
    receiver = WebReceiver(statuses=list(statuses or (200,)), location=location)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            receiver.requests.append((self.command, dict(self.headers.items()), body))
            self.send_response(receiver.statuses[0])
            if len(receiver.statuses) > 1:
                receiver.statuses.pop(0)
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.end_headers()

        do_GET = do_POST = answer

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Run a server that does what ``talk`` does with each connection; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    taken: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                taken.append(connection)
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    def one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            talk(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in taken:
            connection.close()


class Authority:
    """A certificate authority of the test's own, with a certificate for localhost and 127.0.0.1."""

    def __init__(self, folder: Any) -> None:
        authority = trustme.CA()
        self.ca_file = str(folder / "ca.pem")
        authority.cert_pem.write_to_path(self.ca_file)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(self.server)
