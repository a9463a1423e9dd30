"""Where we may connect to: the defence against being made to talk to what only we can reach (SSRF).

1. Every address that a name resolves to is judged, and the connection goes to the very address that was judged: a name
   that resolves anew (DNS rebinding) changes nothing.
2. Link-local, metadata, multicast, unspecified and reserved addresses are refused always.
3. Private and loopback addresses are refused on a server unless the host is allowed by name; on the command line, where
   the person asking is the one whose network it is, they are allowed.

Source: threats T-14; CVE-2026-48978 (oras-go) and its kin.
"""

from __future__ import annotations

import ipaddress
import socket

from msgspec import Struct, field

from verifier.model import codes
from verifier.model.errors import InconclusiveError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Cloud metadata services that live outside the link-local range.
_METADATA = {ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")}
_SHARED = ipaddress.ip_network("100.64.0.0/10")


class Egress(Struct, frozen=True, kw_only=True):
    """`allow_private` opens private and loopback addresses; `allowed_hosts` (`host` or `host:port`) opens them one by one."""

    allow_private: bool
    allowed_hosts: frozenset[str] = field(default_factory=frozenset)

    def judge(self, host: str, port: int) -> str:
        """The address to connect to; raises InconclusiveError `unreachable` or `egress-denied`."""
        open_private = self.allow_private or host in self.allowed_hosts or f"{host}:{port}" in self.allowed_hosts
        addresses = _resolve(host, port)
        for address in addresses:
            if (why := _refusal(address, open_private=open_private)) is not None:
                raise InconclusiveError(codes.EGRESS_DENIED, f"{host} is {address}, {why}", where=f"{host}:{port}")
        return str(addresses[0])


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
