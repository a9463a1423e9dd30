"""The root of sigstore's public instance as it was when this version was made; `verifier trust update` gets a newer one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

AS_OF = datetime(2026, 10, 20, tzinfo=UTC)
_FILE = Path(__file__).parent / "public_good.json"


def public_good_root() -> bytes:
    """The trusted root's JSON."""
    return _FILE.read_bytes()
