"""The root of sigstore's public instance as it was when this version was made; `verifier trust update` gets a newer one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

AS_OF = datetime(2026, 10, 20, tzinfo=UTC)
PUBLIC_GOOD_TUF = "https://tuf-repo-cdn.sigstore.dev"
_HERE = Path(__file__).parent


def public_good_root() -> bytes:
    """The trusted root's JSON."""
    return (_HERE / "public_good.json").read_bytes()


def public_good_tuf_root() -> bytes:
    """The TUF root that the public instance's repository is first trusted with."""
    return (_HERE / "public_good_tuf_root.json").read_bytes()


def public_good_signing_config() -> bytes:
    """Where the public instance's services are (SigningConfig v0.2)."""
    return (_HERE / "public_good_signing_config.json").read_bytes()
