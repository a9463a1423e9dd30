"""Token and cloud calls through `requests`: rare, form-encoded, to hosts that a registry names.

The same promises as the hot path (egress with the judged address, limits, no redirects, no environment); `requests` is
imported here only, when the first token is needed, so that anonymous and Basic registries never pay for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from verifier.model import codes, limits
from verifier.model.errors import InconclusiveError
from verifier.net.deadline import Deadline
from verifier.net.egress import Egress
from verifier.net.proxy import Proxy
from verifier.net.transport import LazyTls, Observer, Response, TlsSettings, masked
from verifier.net.watchdog import GUARDED_POOLS, WATCHDOG

if TYPE_CHECKING:
    import requests


class WebClient:
    """Sends form posts and queries to token servers."""

    def __init__(self, *, egress: Egress, tls: TlsSettings, observe: Observer | None = None) -> None:
        self._observe = observe
        self._egress = egress
        self._tls = tls
        self._lazy = LazyTls(tls)

    def get(self, url: str, query: list[tuple[str, str]], headers: Mapping[str, str], deadline: Deadline) -> Response:
        """GET with a query; raises InconclusiveError."""
        return self._send("GET", url, deadline, headers=dict(headers), params=query)

    def post(self, url: str, form: Mapping[str, str], deadline: Deadline) -> Response:
        """POST of a form; raises InconclusiveError."""
        return self._send("POST", url, deadline, data=dict(form))

    def _send(self, method: str, url: str, deadline: Deadline, **arguments: Any) -> Response:
        try:
            response = self._exchange(method, url, deadline, **arguments)
        except InconclusiveError as error:
            self._note(f"{method} {url} -> {error}")
            raise
        self._note(f"{method} {url} -> {response.status} ({len(response.body)} bytes)")
        return response

    def _note(self, line: str) -> None:
        if self._observe is not None:
            self._observe(masked(line))

    def _exchange(self, method: str, url: str, deadline: Deadline, **arguments: Any) -> Response:
        import requests

        split = urlsplit(url)
        host, port = split.hostname or "", split.port or (443 if split.scheme == "https" else 80)
        route = self._egress.route(split.scheme, host, port)
        pinned = split._replace(netloc=f"[{route.address}]:{port}" if ":" in route.address else f"{route.address}:{port}").geturl()
        headers = {"Host": split.netloc, "User-Agent": "helm-verifier", "Accept-Encoding": "identity", **arguments.pop("headers", {})}
        try:
            with requests.Session() as session:
                session.trust_env = False
                names = {"server_hostname": host, "assert_hostname": host} if route.proxy is None else {}
                secure = {**names, "ssl_context": self._lazy.context} if split.scheme == "https" else {}
                session.mount(f"{split.scheme}://", _adapter(secure, route.proxy))
                with (
                    WATCHDOG.until(deadline.at),
                    session.request(
                        method,
                        pinned,
                        headers=headers,
                        timeout=min(limits.READ_SECONDS, deadline.check(url)),
                        allow_redirects=False,
                        stream=True,
                        proxies={split.scheme: route.proxy.url} if route.proxy is not None else None,
                        verify=self._tls.verify,
                        **arguments,
                    ) as response,
                ):
                    return Response(
                        status=response.status_code,
                        headers={key.lower(): value for key, value in response.headers.items()},
                        body=_read(response, url, deadline),
                        url=url,
                    )
        except (requests.exceptions.RequestException, OSError, AttributeError) as error:
            # AttributeError: http.client meets a connection that the watchdog has closed.
            raise _translated(error, deadline, url) from error


def _adapter(pool_options: dict[str, Any], through: Proxy | None) -> requests.adapters.BaseAdapter:
    """Connects to an address, or through the proxy, under watch; with TLS, checks the certificate against the name that is given."""
    from requests.adapters import HTTPAdapter

    class Guarded(HTTPAdapter):
        """Pools whose connections the watchdog knows."""

        def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
            super().init_poolmanager(connections, maxsize, block, **pool_options, **kwargs)
            self.poolmanager.pool_classes_by_scheme = GUARDED_POOLS

        def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
            """Only what our context trusts: `requests` would add a bundle of its own to it."""
            conn.cert_reqs = "CERT_REQUIRED" if verify else "CERT_NONE"

        def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
            manager = super().proxy_manager_for(proxy, **pool_options, **proxy_kwargs)
            manager.pool_classes_by_scheme = GUARDED_POOLS
            return manager

        def proxy_headers(self, proxy: str) -> dict[str, str]:
            return through.headers if through is not None else {}

    return Guarded()


def _read(response: requests.Response, url: str, deadline: Deadline) -> bytes:
    body = b""
    for chunk in response.iter_content(16 * 1024):
        body += chunk
        if len(body) > limits.TOKEN_BYTES:
            raise InconclusiveError(codes.RESPONSE_LIMIT, f"a token answer of more than {limits.TOKEN_BYTES} bytes", where=url)
        deadline.check(url)
    deadline.check(url)
    return body


def _translated(error: Exception, deadline: Deadline, url: str) -> InconclusiveError:
    import requests

    if deadline.remaining <= 0 or isinstance(error, requests.exceptions.Timeout):
        return InconclusiveError(codes.TIMEOUT, "the token server did not answer in time", where=url)
    if isinstance(error, requests.exceptions.ProxyError):
        return InconclusiveError(codes.PROXY_FAILED, f"the proxy, asked for the token server: {_line(error)}", where=url)
    if isinstance(error, requests.exceptions.SSLError):
        return InconclusiveError(codes.TLS_FAILED, _line(error), where=url)
    return InconclusiveError(codes.UNREACHABLE, f"no answer from the token server: {_line(error)}", where=url)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
