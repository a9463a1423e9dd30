"""A simulated registry on the line, with the faults that only a line has."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import urlsplit

from tests.simulators.registry.answers import Answer, error, html
from tests.simulators.registry.content import Content
from tests.simulators.registry.login import exchange, give_token, refusal
from tests.simulators.registry.state import MANIFEST, Asked, SimulatedRegistry
from tests.simulators.registry.switches import Switches
from tests.support.servers import serving

_WRITES = ("POST", "PUT", "PATCH", "DELETE")


class LineHandler(BaseHTTPRequestHandler):
    """HTTP/1.1 that does not wait for more to send."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: Any) -> None:
        return

    def asked(self) -> Asked:
        """The request, with its body."""
        split = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return Asked(self.command, split.path, dict(self.headers.items()), split.query, body)

    def say(self, answer: Answer, *, clock: float = 0.0) -> None:
        """Put an answer on the line."""
        self.send_response_only(answer.status)
        for name, said in {"Date": formatdate(time.time() + clock, usegmt=True), "Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, said)
        self.end_headers()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(timestamp, usegmt=True)


class QuietServer(ThreadingHTTPServer):
    """Does not print that a client went away: cutting off a slow registry is what several tests are about."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Site(Protocol):
    """Anything that answers under a name."""

    def serve(self, handler: LineHandler) -> None:
        """Read one request and answer it."""


class RegistrySite:
    """The registry and its token server."""

    def __init__(self, registry: SimulatedRegistry) -> None:
        self.registry = registry
        self._content = Content(registry)

    def serve(self, handler: LineHandler) -> None:
        asked = handler.asked()
        registry, switches = self.registry, self.registry.switches
        with registry.lock:
            registry.requests.append((asked.method, handler.path, asked.headers))
            if switches.forget_tokens_at and len(registry.requests) >= switches.forget_tokens_at:
                switches.forget_tokens_at = 0
                registry.tokens.clear()
            registry.writes += asked.method in _WRITES
            number = registry.writes if asked.method in _WRITES else 0
        time.sleep(switches.delay)
        if number and number == switches.stop_at:
            registry.stopped.set()
            registry.go_on.wait(60)
            return None  # whoever asked is dead by now
        if switches.stall and switches.stall in handler.path:
            registry.go_on.wait(60)
            return _reset(handler)
        if switches.reset and switches.reset in handler.path:
            return _reset(handler)
        if number and number == switches.fail_at:
            return handler_say(handler, switches, error(500, "UNKNOWN", "unknown error"))
        with registry.lock:
            answer = self._answer(asked, handler.path)
        if number and number == switches.lose_at:
            return _reset(handler)
        return handler_say(handler, switches, answer)

    def _answer(self, asked: Asked, path: str) -> Answer:
        switches = self.registry.switches
        if (fault := _fault(switches, asked, path)) is not None:
            return fault
        if self.registry.refused < switches.too_many:
            self.registry.refused += 1
            return error(429, "TOOMANYREQUESTS", "too many requests", {"Retry-After": "1"})
        if asked.path == "/oauth2/exchange" and switches.aad_token:
            return exchange(self.registry, asked)
        if asked.path == "/token" or (switches.realm and asked.path == urlsplit(switches.realm).path):
            return give_token(self.registry, asked)
        if (refused := refusal(self.registry, asked)) is not None:
            return refused
        for fragment, body in switches.body.items():
            if fragment in path:
                return Answer(200, body, {"Content-Type": MANIFEST})
        return self._content.answer(asked)


def _fault(switches: Switches, asked: Asked, path: str) -> Answer | None:
    for fragment, status in switches.refuse_write.items():
        if asked.method == "PUT" and fragment in path:
            return error(status, "DENIED", headers=switches.headers)
    for fragment, status in switches.status.items():
        if fragment in path:
            return error(status, {404: "MANIFEST_UNKNOWN", 429: "TOOMANYREQUESTS"}.get(status, "UNKNOWN"), headers=switches.headers)
    for fragment, location in switches.redirect.items():
        if fragment in path:
            return Answer(307, b"", {"Location": location})
    return html() if switches.html else None


def handler_say(handler: LineHandler, switches: Switches, answer: Answer) -> None:
    """Say it, as well as the line lets it through."""
    extra = {"Warning": f'299 - "{switches.warning}"'} if switches.warning else {}
    cookie = {"Set-Cookie": "_gorilla_csrf=MTY; Path=/; HttpOnly"} if switches.cookies else {}
    answer.headers = {**extra, **cookie, **answer.headers}
    handler.say(answer, clock=switches.clock)
    if handler.command == "HEAD":
        return
    write_body(handler, answer.body, drip=switches.drip, cut=switches.truncate)


def write_body(handler: LineHandler, body: bytes, *, drip: str, cut: str) -> None:
    """All of it, or what the line lets through where these are parts of the path: a byte now and then, or one half."""
    if drip and drip in handler.path:
        with contextlib.suppress(OSError):
            for byte in body:
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
                time.sleep(0.05)
        handler.close_connection = True
        return
    halved = bool(cut) and cut in handler.path
    handler.wfile.write(body[: len(body) // 2] if halved else body)
    if halved:
        handler.close_connection = True


def _reset(handler: LineHandler) -> None:
    """Close so that the other side sees a reset, not an end."""
    with contextlib.suppress(OSError):
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True


def handler_of(sites: Mapping[str, Site]) -> type[LineHandler]:
    """A handler that asks the site with the name in the Host header; the one under "" takes the rest."""

    class Handler(LineHandler):
        def handle_any(self) -> None:
            name = (self.headers.get("Host") or "").rpartition(":")[0] or self.headers.get("Host") or ""
            site = sites.get(name) or sites.get("")
            if site is None:
                self.asked()
                self.say(error(421, "UNKNOWN", f"no site {name!r}"))
                return
            site.serve(self)

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any

    return Handler


@contextlib.contextmanager
def simulated(switches: Switches | None = None) -> Iterator[SimulatedRegistry]:
    """A registry on a free loopback port."""
    registry = SimulatedRegistry(switches=switches or Switches())
    with serving(QuietServer(("127.0.0.1", 0), handler_of({"": RegistrySite(registry)}))) as port:
        registry.host = f"127.0.0.1:{port}"
        try:
            yield registry
        finally:
            registry.go_on.set()
