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
from verifier.net.transport import Response, TlsSettings

if TYPE_CHECKING:
    import requests


class WebClient:
    """Sends form posts and queries to token servers."""

    def __init__(self, *, egress: Egress, tls: TlsSettings) -> None:
        self._egress = egress
        self._tls = tls

    def get(self, url: str, query: list[tuple[str, str]], headers: Mapping[str, str], deadline: Deadline) -> Response:
        """GET with a query; raises InconclusiveError."""
        return self._send("GET", url, deadline, headers=dict(headers), params=query)

    def post(self, url: str, form: Mapping[str, str], deadline: Deadline) -> Response:
        """POST of a form; raises InconclusiveError."""
        return self._send("POST", url, deadline, data=dict(form))

    def _send(self, method: str, url: str, deadline: Deadline, **arguments: Any) -> Response:
        import requests

        split = urlsplit(url)
        host, port = split.hostname or "", split.port or (443 if split.scheme == "https" else 80)
        address = self._egress.judge(host, port)
        pinned = split._replace(netloc=f"[{address}]:{port}" if ":" in address else f"{address}:{port}").geturl()
        headers = {"Host": split.netloc, "User-Agent": "helm-verifier", "Accept-Encoding": "identity", **arguments.pop("headers", {})}
        try:
            with requests.Session() as session:
                session.trust_env = False
                session.mount("https://", _pinning_adapter(host))
                with session.request(
                    method,
                    pinned,
                    headers=headers,
                    timeout=min(limits.READ_SECONDS, deadline.check(url)),
                    allow_redirects=False,
                    stream=True,
                    verify=(self._tls.ca_file or True) if self._tls.verify else False,
                    cert=(self._tls.cert_file, self._tls.key_file) if self._tls.cert_file and self._tls.key_file else None,
                    **arguments,
                ) as response:
                    return Response(
                        status=response.status_code,
                        headers={key.lower(): value for key, value in response.headers.items()},
                        body=_read(response, url, deadline),
                        url=url,
                    )
        except requests.exceptions.SSLError as error:
            raise InconclusiveError(codes.TLS_FAILED, _line(error), where=url) from error
        except requests.exceptions.Timeout as error:
            raise InconclusiveError(codes.TIMEOUT, "the token server did not answer in time", where=url) from error
        except (requests.exceptions.RequestException, OSError) as error:
            raise InconclusiveError(codes.UNREACHABLE, f"no answer from the token server: {_line(error)}", where=url) from error


def _pinning_adapter(host: str) -> requests.adapters.BaseAdapter:
    from requests.adapters import HTTPAdapter

    class Pinning(HTTPAdapter):
        """Connects to an address, and checks the certificate against the name."""

        def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
            super().init_poolmanager(connections, maxsize, block, server_hostname=host, assert_hostname=host, **kwargs)

    return Pinning()


def _read(response: requests.Response, url: str, deadline: Deadline) -> bytes:
    body = b""
    for chunk in response.iter_content(16 * 1024):
        body += chunk
        if len(body) > limits.TOKEN_BYTES:
            raise InconclusiveError(codes.RESPONSE_LIMIT, f"a token answer of more than {limits.TOKEN_BYTES} bytes", where=url)
        deadline.check(url)
    return body


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
