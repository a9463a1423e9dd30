"""A trusted root made ready: keys and certificates parsed once, memoised by the root's bytes."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import Struct

from verifier.model import codes
from verifier.model.errors import MisuseError, first_line
from verifier.signers.public import PublicKey, any_public_key, load_der_public_key, public_der
from verifier.trust.trusted_root import Authority, Log, Validity, read_trusted_root

_ED25519_NOTE = b"\x0a\x01"
_RSA_NOTE = b"\x0a\xffPKIX-RSA-PKCS#1v1.5"


class ReadyLog(Struct, frozen=True, kw_only=True):
    """A log's key. `note_ids` are the first bytes by which its signature on a checkpoint is found; `host` is the checkpoint's origin."""

    key: PublicKey
    log_id: bytes
    note_ids: frozenset[bytes]
    host: str
    validity: Validity
    authority: str


class ReadyAuthority(Struct, frozen=True, kw_only=True):
    """A CA or TSA: the certificates up to, and the one that is, its anchor; `authority` is what thresholds count."""

    intermediates: tuple[x509.Certificate, ...]
    anchor: x509.Certificate
    validity: Validity
    authority: str


class ReadyRoot(Struct, frozen=True, kw_only=True):
    """Logs by their id; several may share one (a log that was renewed)."""

    logs: tuple[ReadyLog, ...]
    ct_logs: tuple[ReadyLog, ...]
    certificate_authorities: tuple[ReadyAuthority, ...]
    timestamp_authorities: tuple[ReadyAuthority, ...]


@lru_cache(maxsize=32)
def prepare_root(data: bytes) -> ReadyRoot:
    """Parse a trusted root wholly; raises MisuseError `trust-invalid` for anything in it that cannot be used."""
    root = read_trusted_root(data, where="")
    return ReadyRoot(
        logs=tuple(_log(item) for item in root.logs),
        ct_logs=tuple(_log(item) for item in root.ct_logs),
        certificate_authorities=tuple(_authority(item) for item in root.certificate_authorities),
        timestamp_authorities=tuple(_authority(item) for item in root.timestamp_authorities),
    )


def _log(log: Log) -> ReadyLog:
    key = load_der_public_key(log.key)
    host = urlsplit(log.base_url).hostname or log.base_url
    return ReadyLog(
        key=key,
        log_id=log.log_id or log.checkpoint_id or key.spki_sha256,
        note_ids=frozenset((_note_id(key, host), *(item[:4] for item in (log.checkpoint_id, log.log_id) if item))),
        host=host,
        validity=log.validity,
        authority=log.operator or host or key.key_id,
    )


def _note_id(key: PublicKey, name: str) -> bytes:
    """The key id of a signed note (C2SP signed-note, "Signatures")."""
    match key.key:
        case ed25519.Ed25519PublicKey():
            return hashlib.sha256(name.encode() + _ED25519_NOTE + key.key.public_bytes(Encoding.Raw, PublicFormat.Raw)).digest()[:4]
        case ec.EllipticCurvePublicKey():
            return key.spki_sha256[:4]
        case _:
            return hashlib.sha256(name.encode() + _RSA_NOTE + public_der(key)).digest()[:4]


def load_certificate(der: bytes) -> x509.Certificate:
    """Read a certificate; raises ValueError. What `cryptography` only warns of (a serial number of zero, say) is an error where warnings are."""
    try:
        return x509.load_der_x509_certificate(der)
    except (Warning, x509.InvalidVersion) as error:
        raise ValueError(str(error)) from error


def certificate_key(certificate: x509.Certificate) -> PublicKey:
    """The certificate's key; raises ValueError for one that is malformed or of an algorithm that nobody here verifies."""
    try:
        return any_public_key(certificate.public_key())
    except (UnsupportedAlgorithm, MisuseError, TypeError, Warning) as error:
        raise ValueError(first_line(error)) from error


def _authority(authority: Authority) -> ReadyAuthority:
    try:
        chain = [load_certificate(item) for item in authority.chain]
    except ValueError as error:
        raise MisuseError(codes.TRUST_INVALID, f"a certificate of {authority.uri[:100]!r} cannot be read: {first_line(error)}") from error
    fingerprint = hashlib.sha256(authority.chain[-1]).hexdigest()
    return ReadyAuthority(
        intermediates=tuple(chain[:-1]),
        anchor=chain[-1],
        validity=authority.validity,
        authority=authority.operator or authority.uri or fingerprint,
    )
