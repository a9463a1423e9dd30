"""Signing as `cosign sign` 3 does: a v0.3 bundle around a DSSE in-toto statement."""

from __future__ import annotations

from verifier.attest.bundle import Bundle, PublicKeyHint, write_bundle
from verifier.attest.dsse import IN_TOTO, Envelope, pae
from verifier.attest.statement import write_sign_statement
from verifier.model.digest import Digest
from verifier.signers.key import SigningKey


def sign_statement(statement: bytes, key: SigningKey) -> bytes:
    """The bundle around an in-toto statement."""
    envelope = Envelope(payload_type=IN_TOTO, payload=statement, signature=key.sign(pae(IN_TOTO, statement)))
    return write_bundle(Bundle(content=envelope, material=PublicKeyHint(key.public.hint)))


def sign_digest(digest: Digest, key: SigningKey, *, name: str) -> bytes:
    """The bundle that signs `digest`; `name` becomes `subject[0].name` (`oci://host/repository`, or a file name)."""
    return sign_statement(write_sign_statement(digest, name=name), key)
