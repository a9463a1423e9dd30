"""Signing as `cosign sign` 3 does: a v0.3 bundle around a DSSE in-toto statement."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from verifier.attest.bundle import Bundle, MessageSignature, PublicKeyHint, read_bundle, write_bundle
from verifier.attest.dsse import IN_TOTO, Envelope, pae
from verifier.attest.statement import write_sign_statement
from verifier.model import codes
from verifier.model.digest import Digest
from verifier.model.errors import FailedError, MisuseError
from verifier.schemes.sigstore.recipe import Signed
from verifier.signers.key import SigningKey
from verifier.trust.anchors import Anchor
from verifier.trust.signing_config import SigningConfig

if TYPE_CHECKING:
    from verifier.schemes.sigstore.services import Post


def sign_statement(statement: bytes, key: SigningKey) -> bytes:
    """The bundle around an in-toto statement."""
    envelope = _envelope(statement, key)
    return write_bundle(Bundle(content=envelope, material=PublicKeyHint(key.public.hint)))


def _envelope(statement: bytes, key: SigningKey) -> Envelope:
    return Envelope(payload_type=IN_TOTO, payload=statement, signature=key.sign(pae(IN_TOTO, statement)))


def sign_logged(statement: bytes, key: SigningKey, config: SigningConfig, anchor: Anchor, post: Post) -> bytes:
    """The same with a log entry, and a timestamp where the instance has an authority; verified under `anchor` before it is returned.

    Raises InconclusiveError `signing-service-failed`, or MisuseError `signing-failed` or `trust-invalid`.
    """
    from verifier.schemes.sigstore.certified import vouch_for_key
    from verifier.schemes.sigstore.services import log_envelope, request_timestamp

    if not config.logs:
        raise MisuseError(codes.TRUST_INVALID, "the trust configuration names no transparency log")
    envelope = _envelope(statement, key)
    stamps = tuple(request_timestamp(envelope.signature, service, post) for service in config.timestamp_authorities[:1])
    entry = log_envelope(envelope, key.public, config.logs[0], post)
    bundle = Bundle(content=envelope, material=PublicKeyHint(key.public.hint), entries=(entry,), timestamps=stamps)
    made = write_bundle(bundle)
    try:
        vouched = vouch_for_key(read_bundle(made, where="the new signature"), Signed.of(b""), key.public, anchor)
    except FailedError as error:
        raise MisuseError(codes.SIGNING_FAILED, f"what was made does not verify under its own root: {error.reason} ({error.code.name})") from error
    if not vouched.logs:
        raise MisuseError(codes.SIGNING_FAILED, "no trusted log holds what was made, or nothing proves when")
    return made


def sign_message(message: bytes, key: SigningKey) -> bytes:
    """The bundle of a plain signature over a message, which cosign's old form carries."""
    digest = hashlib.sha256(message).digest()
    content = MessageSignature(algorithm="SHA2_256", digest=digest, signature=key.sign(message))
    return write_bundle(Bundle(content=content, material=PublicKeyHint(key.public.hint)))


def sign_digest(digest: Digest, key: SigningKey, *, name: str) -> bytes:
    """The bundle that signs `digest`; `name` becomes `subject[0].name` (`oci://host/repository`, or a file name)."""
    return sign_statement(write_sign_statement(digest, name=name), key)
