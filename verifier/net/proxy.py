"""Proxies, as the environment names them: HTTPS_PROXY, HTTP_PROXY and NO_PROXY, read as Go's programs (helm, cosign, oras) read them.

1. The variable in lower case wins. An address without a scheme is an http one. User and password in it go to the proxy and to nobody else.
2. Loopback is never asked for through a proxy.
3. NO_PROXY is a list of `*`, addresses, networks (10.0.0.0/8), names (with all below them) and `.names` (only what is below them), each
   with a port or without.

Source: golang.org/x/net http/httpproxy, whose rules are those of curl.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from verifier.model import codes
from verifier.model.errors import MisuseError


class Proxy(Struct, frozen=True):
    """`url` has no user information; `authorization` is for the proxy alone and never printed."""

    url: str
    authorization: str | None = None

    def __repr__(self) -> str:
        return f"Proxy({self.url!r})"

    @property
    def headers(self) -> dict[str, str]:
        """What only the proxy may see."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}


class Proxies(Struct, frozen=True):
    """Which proxy a connection goes through, if any."""

    https: Proxy | None = None
    http: Proxy | None = None
    bypassed: tuple[str, ...] = ()

    def through(self, scheme: str, host: str, port: int) -> Proxy | None:
        """The proxy for this origin; None is a connection of our own."""
        proxy = self.https if scheme == "https" else self.http
        bare = host.strip("[]").rstrip(".").lower()
        if proxy is None or _is_loopback(bare) or any(_covers(entry, bare, port) for entry in self.bypassed):
            return None
        return proxy


NO_PROXIES = Proxies()


def read_proxies(environment: Mapping[str, str]) -> Proxies:
    """What the environment says; raises MisuseError `config-invalid` for an address that is none."""
    return Proxies(
        _read("HTTPS_PROXY", environment),
        _read("HTTP_PROXY", environment),
        tuple(entry for part in _value("NO_PROXY", environment).split(",") if (entry := part.strip().lower())),
    )


def _value(name: str, environment: Mapping[str, str]) -> str:
    return environment.get(name.lower()) or environment.get(name) or ""  # 1


def _read(name: str, environment: Mapping[str, str]) -> Proxy | None:
    text = _value(name, environment).strip()
    if not text:
        return None
    try:
        split = urlsplit(text if "://" in text else f"http://{text}")
        port = split.port or (443 if split.scheme == "https" else 80)
    except ValueError as error:
        raise _invalid(name) from error
    if split.scheme not in ("http", "https") or not split.hostname:
        raise _invalid(name)
    host = f"[{split.hostname}]" if ":" in split.hostname else split.hostname
    known = None
    if split.username is not None:
        pair = f"{unquote(split.username)}:{unquote(split.password or '')}"
        known = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(f"{split.scheme}://{host}:{port}", known)


def _is_loopback(host: str) -> bool:  # 2
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _covers(entry: str, host: str, port: int) -> bool:  # 3
    if entry == "*":
        return True
    name, colon, digits = entry.rpartition(":")
    if colon and digits.isascii() and digits.isdigit() and (":" not in name or name.endswith("]")):
        if int(digits) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    address = _address(host)
    if address is not None:
        network = _network(entry)
        return network is not None and address in network
    below = entry.removeprefix("*")
    return host.endswith(below if below.startswith(".") else f".{below}") or host == below


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _invalid(name: str) -> MisuseError:
    # The value is not repeated: it may hold a password.
    return MisuseError(codes.CONFIG_INVALID, f"{name} is no proxy's address, expected http://[USER:PASSWORD@]HOST:PORT (or https://)")
