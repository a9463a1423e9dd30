"""HTTP requests: pooled connections, TLS, egress, deadlines and byte limits. No credentials, redirects or retries inside.

What a caller can rely on: a response's body is at most `limit` bytes, the whole exchange ends at the deadline even if the
server sends a byte a second, nothing is decompressed, and the peer is an address that the egress rules allow. Foreign
exceptions become InconclusiveError here.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import urllib3
from msgspec import Struct, field
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from verifier.model import codes, limits
from verifier.model.errors import InconclusiveError, MisuseError
from verifier.net.deadline import Deadline
from verifier.net.egress import Egress, Route
from verifier.net.proxy import Proxy
from verifier.net.watchdog import GUARDED_POOLS, WATCHDOG, GuardedHTTPPool, GuardedHTTPSPool

_CHUNK = 256 * 1024
_POOL_SIZE = 32
_ADDRESS_SECONDS = 60.0  # a name is resolved and judged anew after this, since registries move
_ORIGINS = 256  # pools kept; whoever asks about ever new hosts must not fill our memory


class Request(Struct, frozen=True, kw_only=True):
    """One exchange; `url` is absolute."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port: what credentials are bound to."""
        return origin_of(self.url)


class Response(Struct, frozen=True, kw_only=True):
    """Status, headers (names in lower case), the body in full."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Transport(Protocol):
    """Sends one request and returns its response, whatever the status."""

    def send(self, request: Request, deadline: Deadline, limit: int) -> Response:
        """Raises InconclusiveError when there is no response, or when it is larger than `limit` bytes."""


class TlsSettings(Struct, frozen=True, kw_only=True):
    """Files that the user names; `verify` is off only by an explicit unsafe switch."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True


Observer = Callable[[str], None]


class LazyTls:
    """A TLS context, made when the first https registry is met: reading the system's certificates takes tens of milliseconds.

    Files that the user names are read at once, so that a wrong one is an error and not a surprise.
    """

    def __init__(self, tls: TlsSettings) -> None:
        self._settings = tls
        self._context = _shared_context(tls, _stamps(tls)) if tls.ca_file or tls.cert_file else None
        self._lock = threading.Lock()
        if not tls.verify:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # our own warning says it already, once

    @property
    def context(self) -> ssl.SSLContext:
        """The context; the same one every time."""
        with self._lock:
            if self._context is None:
                self._context = _shared_context(self._settings, ())
            return self._context


class _Pool(Struct, frozen=True):
    """The connections to one origin, the way that was judged, and until when that holds."""

    pool: urllib3.HTTPConnectionPool
    route: Route
    ends: float


class HttpTransport:
    """The transport over urllib3, safe to share between threads."""

    def __init__(self, *, egress: Egress, tls: TlsSettings | None = None, observe: Observer | None = None) -> None:
        self._egress = egress
        self._tls = LazyTls(tls or TlsSettings())
        self._observe = observe
        self._pools: OrderedDict[str, _Pool] = OrderedDict()
        self._lock = threading.Lock()

    def send(self, request: Request, deadline: Deadline, limit: int) -> Response:
        """One exchange; a kept-alive connection that the server had closed is replaced once."""
        again = request.method in ("GET", "HEAD")
        try:
            response = self._exchange(request, deadline, limit, again=again)
        except InconclusiveError as error:
            self._note(f"{request.method} {request.url} -> {error}")
            raise
        self._note(f"{request.method} {request.url} -> {response.status} ({len(response.body)} bytes)")
        return response

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for entry in self._pools.values():
                entry.pool.close()
            self._pools.clear()

    def _exchange(self, request: Request, deadline: Deadline, limit: int, *, again: bool) -> Response:
        where = request.origin
        left = deadline.check(where)
        entry, host = self._pool(request.url)
        split = urlsplit(request.url)
        target = (split.path or "/") + (f"?{split.query}" if split.query else "")
        headers = {"Host": host, "Accept-Encoding": "identity", "User-Agent": "helm-verifier", **request.headers}
        if entry.route.proxy is not None and split.scheme == "http":  # without a tunnel the proxy reads the whole URL (RFC 9112 section 3.2.2)
            target = f"http://{host}{target}"
        try:
            with WATCHDOG.until(deadline.at), contextlib.closing(_open(entry.pool, request, target, headers, left)) as raw:
                body = _read(raw, deadline, limit, request)
                return Response(status=raw.status, headers={key.lower(): value for key, value in raw.headers.items()}, body=body, url=request.url)
        except (HTTPError, OSError, ValueError, AttributeError) as error:
            # AttributeError: http.client meets a connection that the watchdog has closed.
            if again and isinstance(error, ProtocolError) and deadline.remaining > 0:
                return self._exchange(request, deadline, limit, again=False)
            if isinstance(error, NewConnectionError | ConnectTimeoutError):
                self._forget(request.url)
            raise _translated(error, deadline, where) from error

    def _pool(self, url: str) -> tuple[_Pool, str]:
        split = urlsplit(url)
        host, port = split.hostname or "", split.port or (443 if split.scheme == "https" else 80)
        with self._lock:
            entry = self._pools.get(origin_of(url))
        if entry is None or entry.ends < time.monotonic():
            entry = self._renewed(origin_of(url), entry, (split.scheme, host, port))
        return entry, split.netloc.rpartition("@")[2]

    def _renewed(self, origin: str, old: _Pool | None, target: tuple[str, str, int]) -> _Pool:
        """Resolve and judge anew; the connections are kept as long as the name means the same address."""
        route = self._egress.route(*target)
        pool = old.pool if old is not None and old.route == route else self._new_pool(*target, route)
        entry = _Pool(pool, route, time.monotonic() + _ADDRESS_SECONDS)
        with self._lock:
            self._pools[origin] = entry
            self._pools.move_to_end(origin)
            while len(self._pools) > _ORIGINS:
                self._pools.popitem(last=False)[1].pool.close()
        return entry

    def _forget(self, url: str) -> None:
        """After a connection that could not be made, the name is looked up again."""
        with self._lock:
            self._pools.pop(origin_of(url), None)

    def _new_pool(self, scheme: str, host: str, port: int, route: Route) -> urllib3.HTTPConnectionPool:
        if route.proxy is not None:
            return self._proxied_pool(scheme, host, port, route.proxy)
        if scheme == "https":
            tls = self._tls.context
            return GuardedHTTPSPool(route.address, port, maxsize=_POOL_SIZE, retries=False, ssl_context=tls, server_hostname=host, assert_hostname=host)
        return GuardedHTTPPool(route.address, port, maxsize=_POOL_SIZE, retries=False)

    def _proxied_pool(self, scheme: str, host: str, port: int, proxy: Proxy) -> urllib3.HTTPConnectionPool:
        tls = self._tls.context if scheme == "https" or proxy.url.startswith("https:") else None
        manager = urllib3.ProxyManager(proxy.url, proxy_headers=proxy.headers, maxsize=_POOL_SIZE, ssl_context=tls, proxy_ssl_context=tls)
        manager.pool_classes_by_scheme = GUARDED_POOLS
        self._note(f"{scheme}://{host}:{port} through the proxy {proxy.url}; its address is the proxy's to judge")
        return manager.connection_from_host(host, port, scheme)

    def _note(self, line: str) -> None:
        if self._observe is not None:
            self._observe(masked(line))


@lru_cache(maxsize=4096)
def origin_of(url: str) -> str:
    """`scheme://host:port` with the port always written."""
    split = urlsplit(url)
    return f"{split.scheme}://{split.hostname}:{split.port or (443 if split.scheme == 'https' else 80)}"


def masked(text: str) -> str:
    """A line for a log: what stands behind a question mark may be a signed URL, and user information a password."""
    head, mark, query = text.partition("?")
    if not mark:
        return head
    rest = query.partition(" ")
    safe = rest[0] if rest[0].startswith(("digest=", "artifactType=", "n=", "last=", "mount=")) else "..."
    return f"{head}?{safe}{rest[1]}{rest[2]}"


def _open(pool: urllib3.HTTPConnectionPool, request: Request, target: str, headers: Mapping[str, str], left: float) -> urllib3.BaseHTTPResponse:
    timeout = urllib3.Timeout(connect=min(limits.CONNECT_SECONDS, left), read=min(limits.READ_SECONDS, left))
    return pool.urlopen(
        request.method,
        target,
        body=request.body,
        headers=headers,
        redirect=False,
        retries=False,
        timeout=timeout,
        preload_content=False,
        decode_content=False,
        assert_same_host=False,
    )


def _read(raw: urllib3.BaseHTTPResponse, deadline: Deadline, limit: int, request: Request) -> bytes:
    if request.method == "HEAD":
        return b""
    announced = raw.headers.get("Content-Length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > limit:
        raise InconclusiveError(codes.RESPONSE_LIMIT, f"announces {announced} bytes, the limit here is {limit}", where=request.url)
    chunks: list[bytes] = []
    size = 0
    while chunk := raw.read1(_CHUNK):
        size += len(chunk)
        if size > limit:
            raise InconclusiveError(codes.RESPONSE_LIMIT, f"more than {limit} bytes", where=request.url)
        chunks.append(chunk)
        deadline.check(request.origin)
    deadline.check(request.origin)  # a connection that the watchdog closed looks like a short answer
    if announced.isascii() and announced.isdigit() and int(announced) != size:
        raise InconclusiveError(codes.UNREACHABLE, f"the connection broke after {size} of {announced} bytes", where=request.url)
    return b"".join(chunks)


@lru_cache(maxsize=16)
def _shared_context(tls: TlsSettings, _: tuple[tuple[int, int], ...]) -> ssl.SSLContext:
    """One for the registry and its token server, since each costs as much as several requests; another one when a file has changed."""
    return tls_context(tls)


def _stamps(tls: TlsSettings) -> tuple[tuple[int, int], ...]:
    files = [Path(name) for name in (tls.ca_file, tls.cert_file, tls.key_file) if name]
    return tuple((found.st_mtime_ns, found.st_size) for path in files if path.is_file() and (found := path.stat()))


def tls_context(tls: TlsSettings) -> ssl.SSLContext:
    """The system's certificates and the user's; raises MisuseError `config-invalid`."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.ca_file:
            context.load_default_certs()
        if tls.cert_file:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise MisuseError(codes.CONFIG_INVALID, f"the TLS files cannot be used: {error}", where=tls.ca_file or tls.cert_file or "") from error
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _translated(error: Exception, deadline: Deadline, where: str) -> InconclusiveError:
    reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
    late = isinstance(error, ReadTimeoutError | ConnectTimeoutError | TimeoutError) and not isinstance(error, NewConnectionError)
    if deadline.remaining <= 0 or late:
        return InconclusiveError(codes.TIMEOUT, "the answer did not come in time", where=where)
    if isinstance(error, ProxyError):
        cause = error.original_error
        if isinstance(cause, SSLError | ssl.SSLError):
            return InconclusiveError(codes.TLS_FAILED, f"the proxy: {str(cause)[:300]}", where=where)
        return InconclusiveError(codes.PROXY_FAILED, f"the proxy: {str(cause)[:300]}", where=where)
    if isinstance(error, SSLError | ssl.SSLError):
        return InconclusiveError(codes.TLS_FAILED, reason, where=where)
    if isinstance(error, NewConnectionError | LocationValueError):
        return InconclusiveError(codes.UNREACHABLE, f"no connection: {reason}", where=where)
    return InconclusiveError(codes.UNREACHABLE, f"the connection broke: {reason}", where=where)
