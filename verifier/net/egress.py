"""Where we may connect to: the defence against being made to talk to what only we can reach (SSRF).

1. Every address that a name resolves to is judged, and the connection goes to the very address that was judged: a name
   that resolves anew (DNS rebinding) changes nothing.
2. Link-local, metadata, multicast, unspecified and reserved addresses are refused always.
3. Private and loopback addresses are refused on a server unless the host is allowed by name; on the command line, where
   the person asking is the one whose network it is, they are allowed.
4. Through a proxy (`net.proxy`) it is the proxy that resolves names, so that no address can be judged or held to: a pin of the
   address and a proxy exclude each other. Then addresses that are written as such are judged, names that only mean something
   inside a network are refused as private ones are, and the rest is the proxy's to allow.

Source: threats T-14; CVE-2026-48978 (oras-go) and its kin.
"""

from __future__ import annotations

import ipaddress
import socket

from msgspec import Struct, field

from verifier.model import codes
from verifier.model.errors import InconclusiveError
from verifier.net.proxy import NO_PROXIES, Proxies, Proxy

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Cloud metadata services that live outside the link-local range.
_METADATA = {ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")}
_METADATA_NAMES = ("metadata.google.internal", "metadata.goog", "metadata", "instance-data")
_INSIDE = (".local", ".localhost", ".localdomain", ".internal", ".intranet", ".lan", ".home.arpa", ".svc", ".cluster.local")
_SHARED = ipaddress.ip_network("100.64.0.0/10")


class Route(Struct, frozen=True):
    """How an origin is reached: at the address that was judged, or by name through a proxy."""

    address: str
    proxy: Proxy | None = None


class Egress(Struct, frozen=True, kw_only=True):
    """`allow_private` opens private and loopback addresses; `allowed_hosts` (`host` or `host:port`) opens them one by one."""

    allow_private: bool
    allowed_hosts: frozenset[str] = field(default_factory=frozenset)
    proxies: Proxies = NO_PROXIES

    def route(self, scheme: str, host: str, port: int) -> Route:
        """The way to an origin; raises InconclusiveError `unreachable` or `egress-denied`."""
        proxy = self.proxies.through(scheme, host, port)
        if proxy is None:
            return Route(self.judge(host, port))
        self._judge_name(host, port)  # 4
        return Route(host, proxy)

    def judge(self, host: str, port: int) -> str:
        """The address to connect to; raises InconclusiveError `unreachable` or `egress-denied`."""
        open_private = self._is_open(host, port)
        addresses = _resolve(host, port)
        for address in addresses:
            if (why := _refusal(address, open_private=open_private)) is not None:
                raise InconclusiveError(codes.EGRESS_DENIED, f"{host} is {address}, {why}", where=f"{host}:{port}")
        return str(addresses[0])

    def _is_open(self, host: str, port: int) -> bool:
        return self.allow_private or host in self.allowed_hosts or f"{host}:{port}" in self.allowed_hosts

    def _judge_name(self, host: str, port: int) -> None:
        name = host.strip("[]").rstrip(".").lower()
        if _is_written_as_address(name):
            self.judge(host, port)
            return
        why = "a cloud metadata service" if name in _METADATA_NAMES else None
        if why is None and not self._is_open(host, port) and ("." not in name or name.endswith(_INSIDE)):
            why = "a name inside a network, not among the allowed hosts"
        if why is not None:
            raise InconclusiveError(codes.EGRESS_DENIED, f"{host} is {why}", where=f"{host}:{port}")


def _is_written_as_address(name: str) -> bool:
    """Also in the forms that only the resolver reads (`127.1`, `0x7f000001`): no top-level domain is a number (RFC 3696 section 2)."""
    return ":" in name or name.rpartition(".")[2][:1].isdigit()


def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InconclusiveError(codes.UNREACHABLE, f"the name {host!r} does not resolve: {error}", where=f"{host}:{port}") from error
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not addresses:
        raise InconclusiveError(codes.UNREACHABLE, f"the name {host!r} has no address", where=f"{host}:{port}")
    return addresses


def _refusal(address: Address, *, open_private: bool) -> str | None:
    plain = _unwrapped(address)
    if plain in _METADATA:
        return "a cloud metadata service"
    if plain.is_link_local or plain.is_multicast or plain.is_unspecified:
        return "an address that no registry has"
    private = plain.is_private or plain.is_loopback or (plain.version == 4 and plain in _SHARED)
    if private:
        return None if open_private else "a private address that is not among the allowed hosts"
    return "a reserved address" if plain.is_reserved else None


def _unwrapped(address: Address) -> Address:
    """An IPv4 address that is written as IPv6 (mapped, 6to4 or NAT64) reaches the IPv4 host."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
