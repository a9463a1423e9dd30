"""Listening addresses: beyond loopback only with authentication, or spelled out (semantics 35)."""

from __future__ import annotations

import ipaddress

from verifier.model import codes
from verifier.model.errors import MisuseError


def listen_address(text: str, *, open_to_all: bool) -> tuple[str, int]:
    """Host and port; raises MisuseError `usage` or `unsafe-listen`."""
    host, colon, port = text.rpartition(":")
    host = host.strip("[]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise MisuseError(codes.USAGE, f"--listen is {text[:80]!r}, expected HOST:PORT")
    if not is_loopback(host) and not open_to_all:
        raise MisuseError(codes.UNSAFE_LISTEN, f"{host} is reachable from elsewhere, and nobody would be asked who they are")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
