"""Anchors and their digests.

An anchor is raw trust material with a name from the policy; the scheme that knows its kind parses it, memoised by digest.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from msgspec import Struct

from verifier.model.digest import sha256

OPENPGP = "openpgp"
KEY = "key"


class Anchor(Struct, frozen=True, kw_only=True):
    """One thing that we believe in. `kind` is OPENPGP (a keyring) or KEY (a PEM public key).

    `fingerprints` limits a keyring to these primary keys (upper-case hex); the window limits a key.
    """

    name: str
    kind: str
    data: bytes
    fingerprints: frozenset[str] = frozenset()
    any_key: bool = False
    not_before: datetime | None = None
    not_after: datetime | None = None

    @property
    def digest(self) -> str:
        """Of the data and of all that limits it."""
        parts = (self.name, self.kind, str(sha256(self.data)), *sorted(self.fingerprints), str(self.any_key), str(self.not_before), str(self.not_after))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class TrustMaterial(Struct, frozen=True):
    """All anchors of a policy together."""

    anchors: tuple[Anchor, ...] = ()

    @property
    def digest(self) -> str:
        """`sha256:HEX` over all anchors; part of every decision and cache key."""
        return "sha256:" + hashlib.sha256("\n".join(sorted(anchor.digest for anchor in self.anchors)).encode()).hexdigest()

    def of_kind(self, kind: str) -> tuple[Anchor, ...]:
        """The anchors of one kind."""
        return tuple(anchor for anchor in self.anchors if anchor.kind == kind)
