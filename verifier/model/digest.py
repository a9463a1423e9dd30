"""Digests: computed, never believed.

Grammar of opencontainers/image-spec descriptor.md "Digests", restricted to the registered algorithms that we compute.
"""

from __future__ import annotations

import hashlib
import re

from msgspec import Struct

_LENGTHS = {"sha256": 64, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")


class Digest(Struct, frozen=True):
    """An algorithm and lower-case hex of exactly its length."""

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        """Enough to recognise it in a report; never enough to compare."""
        return f"{self.algorithm}:{self.hex[:12]}"

    def matches(self, data: bytes) -> bool:
        """Whether `data` hashes to this digest."""
        return hashlib.new(self.algorithm, data, usedforsecurity=True).hexdigest() == self.hex


def parse_digest(text: str) -> Digest:
    """Read `sha256:HEX` or `sha512:HEX`; raises ValueError on any other form, upper-case hex included."""
    algorithm, separator, hexadecimal = text.partition(":")
    if not separator or algorithm not in _LENGTHS:
        raise ValueError(f"not a sha256 or sha512 digest: {text[:100]!r}")
    if len(hexadecimal) != _LENGTHS[algorithm] or not _HEX.fullmatch(hexadecimal):
        raise ValueError(f"a {algorithm} digest has {_LENGTHS[algorithm]} lower-case hex digits: {text[:150]!r}")
    return Digest(algorithm, hexadecimal)


def sha256(data: bytes) -> Digest:
    """The SHA-256 digest of `data`."""
    return Digest("sha256", hashlib.sha256(data).hexdigest())
