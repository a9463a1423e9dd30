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
ROOT = "root"
PUBLIC_GOOD = "public-good"


class Thresholds(Struct, frozen=True, kw_only=True):
    """How many distinct authorities must vouch, by kind; a proven time is always needed as well (semantics 19)."""

    sct: int = 1
    tlog: int = 1
    timestamp: int = 0


class Anchor(Struct, frozen=True, kw_only=True):
    """One thing that we believe in. `kind` is OPENPGP (a keyring), KEY (a PEM public key) or ROOT (a sigstore trusted root).

    `fingerprints` limits a keyring to these primary keys (upper-case hex); the window limits a key. `thresholds` are a
    root's. `root` names the root under which a key's log entries and timestamps are verified; without one they are not read.
    """

    name: str
    kind: str
    data: bytes
    fingerprints: frozenset[str] = frozenset()
    any_key: bool = False
    not_before: datetime | None = None
    not_after: datetime | None = None
    thresholds: Thresholds = Thresholds()
    root: str | None = None

    @property
    def digest(self) -> str:
        """Of the data and of all that limits it."""
        limits = (self.any_key, self.not_before, self.not_after, self.thresholds, self.root)
        parts = (self.name, self.kind, str(sha256(self.data)), *sorted(self.fingerprints), *(str(item) for item in limits))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class TrustMaterial(Struct, frozen=True):
    """All anchors of a policy together; `unknown` are names whose key could not be had, each with the reason."""

    anchors: tuple[Anchor, ...] = ()
    unknown: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """`sha256:HEX` over all anchors; part of every decision and cache key."""
        return "sha256:" + hashlib.sha256("\n".join(sorted(anchor.digest for anchor in self.anchors)).encode()).hexdigest()

    def of_kind(self, kind: str) -> tuple[Anchor, ...]:
        """The anchors of one kind."""
        return tuple(anchor for anchor in self.anchors if anchor.kind == kind)
