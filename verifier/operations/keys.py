"""What a trust file holds, and new key pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from verifier.model import codes, limits
from verifier.model.errors import MisuseError
from verifier.operations.resolve import read_local

if TYPE_CHECKING:
    from verifier.schemes.openpgp.certificates import Certificate
    from verifier.signers.public import PublicKey


class KeyLine(Struct, frozen=True, kw_only=True):
    """One key: its kind, what names it in a policy, and what else is worth knowing."""

    kind: str
    name: str
    detail: str


def read_certificates(path: Path) -> tuple[Certificate, ...]:
    """The certificates of a keyring in any form; raises MisuseError."""
    from verifier.operations.policies import without_keybox
    from verifier.schemes.openpgp.certificates import read_keyring

    return read_keyring(without_keybox(read_local(path, limits.KEYRING_BYTES)))


def describe_keys(path: Path) -> list[KeyLine]:
    """What a file holds: a public key, a private key (its public half), or OpenPGP certificates; raises MisuseError."""
    data = read_local(path, limits.KEYRING_BYTES)
    if b"-----BEGIN ENCRYPTED" in data and (b"SIGSTORE" in data or b"COSIGN" in data):
        return [KeyLine(kind="private key", name="encrypted", detail="cosign's format; its public half is in the .pub file beside it")]
    if b"PRIVATE KEY-----" in data and b"PGP" not in data:
        return [KeyLine(kind="private key", name="unnamed", detail="never put this where a policy is read")]
    if b"-----BEGIN PUBLIC KEY-----" in data:
        from verifier.signers.public import load_public_key

        return [describe_key(load_public_key(data))]
    return [_certificate_line(certificate) for certificate in read_certificates(path)]


def describe_key(key: PublicKey) -> KeyLine:
    """A public key in one line."""
    return KeyLine(kind="key", name=key.key_id, detail=key.algorithm)


def generate_pair(prefix: Path, password: bytes, *, force: bool = False) -> tuple[Path, Path]:
    """Write PREFIX.key (encrypted, mode 0600) and PREFIX.pub; raises MisuseError `write-failed` if one is there."""
    from verifier.operations.signing import write_new
    from verifier.signers.key import generate_key, private_pem
    from verifier.signers.public import public_pem

    private, public = prefix.with_name(f"{prefix.name}.key"), prefix.with_name(f"{prefix.name}.pub")
    for path in (private, public):
        if path.exists() and not force:
            raise MisuseError(codes.WRITE_FAILED, "the file is there already; a key is never overwritten", where=str(path))
    key = generate_key()
    write_new(private, private_pem(key, password), 0o600)
    write_new(public, public_pem(key.public))
    return private, public


def _certificate_line(certificate: Certificate) -> KeyLine:
    notes = [certificate.user_id or "no user id"]
    notes += [f"expires {certificate.expires:%Y-%m-%d}"] if certificate.expires else []
    notes += ["REVOKED"] if certificate.revoked else []
    return KeyLine(kind="openpgp", name=certificate.fingerprint, detail=", ".join(notes))
