"""Listening: one address for the API, and one for the webhook, which only the Kubernetes API server may call.

Certificates are read anew when their files change, for new connections; a pair that does not fit is told and changes nothing. The webhook's address
asks for a client certificate of the CA that is given, so that nobody else can learn from it what is allowed.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from msgspec import Struct

from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.server.body_limit import Asgi, Receive, Send

_LOOK_SECONDS = 1.0
_DRAIN_SECONDS = 25  # what is in hand may end; below Kubernetes' grace period of 30
# Go's clients, the API server among them, keep a connection for 90 seconds; who closes first while they send loses their request.
_KEEP_ALIVE_SECONDS = 120
_WEBHOOK_PATHS = ("/admission/", "/healthz", "/readyz")


class Tls(Struct, frozen=True, kw_only=True):
    """A certificate and its key, and the CA that callers' certificates must come from."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class Listener(Struct, frozen=True, kw_only=True):
    """An address and what answers there."""

    host: str
    port: int
    app: Any
    tls: Tls | None = None
    lifespan: bool = True


class WebhookOnly:
    """ASGI middleware: admission and health, and nothing else; `authenticated` says that the listener has asked who calls."""

    def __init__(self, app: Asgi, *, authenticated: bool) -> None:
        self._app = app
        self._authenticated = authenticated

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Pass on what is meant for here."""
        if scope["type"] == "http" and not str(scope["path"]).startswith(_WEBHOOK_PATHS):
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app({**scope, "verifier.authenticated": self._authenticated}, receive, send)


class _Server(uvicorn.Server):
    """A signal ends all listeners, whichever of them hears it."""

    others: Sequence[uvicorn.Server] = ()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        for server in self.others:
            server.should_exit = True


def run(listeners: Sequence[Listener]) -> None:
    """Serve until a signal; what is in hand then may end. Raises MisuseError `config-invalid` for a certificate that does not load."""
    configurations = [_configuration(listener) for listener in listeners]
    servers = [_Server(configuration) for configuration in configurations]
    for server in servers:
        server.others = [other for other in servers if other is not server]
    asyncio.run(_serve(servers, list(zip(listeners, configurations, strict=True))))


def _configuration(listener: Listener) -> uvicorn.Config:
    tls = listener.tls
    configuration = uvicorn.Config(
        listener.app,
        host=listener.host,
        port=listener.port,
        log_level="warning",
        access_log=False,
        lifespan="on" if listener.lifespan else "off",
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        ssl_certfile=str(tls.certificate) if tls is not None else None,
        ssl_keyfile=str(tls.key) if tls is not None else None,
        ssl_ca_certs=str(tls.client_ca) if tls is not None and tls.client_ca is not None else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if tls is not None and tls.client_ca is not None else ssl.CERT_NONE,
    )
    try:
        configuration.load()
    except (OSError, ssl.SSLError) as error:
        raise MisuseError(codes.CONFIG_INVALID, f"the certificate, its key or the client CA does not load: {error}", where=str(tls)) from error
    return configuration


async def _serve(servers: Sequence[uvicorn.Server], pairs: Sequence[tuple[Listener, uvicorn.Config]]) -> None:
    following = asyncio.create_task(_follow(pairs))
    try:
        await asyncio.gather(*(server.serve() for server in servers))
    finally:
        following.cancel()


async def _follow(pairs: Sequence[tuple[Listener, uvicorn.Config]]) -> None:
    """Read certificates anew when a file changes."""
    watched = [(listener.tls, configuration.ssl) for listener, configuration in pairs if listener.tls is not None and configuration.ssl is not None]
    seen = [_state(tls) for tls, _ in watched]
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        for index, (tls, context) in enumerate(watched):
            state = _state(tls)
            if state != seen[index] and _load(tls, context):
                seen[index] = state


def _load(tls: Tls, context: ssl.SSLContext) -> bool:
    try:
        context.load_cert_chain(tls.certificate, tls.key)
        if tls.client_ca is not None:
            context.load_verify_locations(tls.client_ca)  # one that is gone from the file is trusted until a restart
    except (OSError, ssl.SSLError) as error:
        sys.stderr.write(f"verifier: the changed certificate does not load, the old one stays: {error}\n")
        return False
    return True


def _state(tls: Tls) -> tuple[tuple[int, int] | None, ...]:
    return tuple(_stat(path) for path in (tls.certificate, tls.key, tls.client_ca) if path is not None)


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
