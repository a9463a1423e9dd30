"""Sigstore trusted roots: the logs, certificate and timestamp authorities of one sigstore instance, as raw values.

Source: sigstore/protobuf-specs sigstore_trustroot.proto, TrustedRoot 0.1 and 0.2. Each authority has a window, both ends
inclusive. A log or authority of one operator counts once, however many keys it has.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from verifier.formats.json import parse_object
from verifier.formats.protojson import Message
from verifier.model import codes, limits
from verifier.model.errors import FailedError, MisuseError

_MEDIA_TYPES = (
    "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    "application/vnd.dev.sigstore.trustedroot.v0.1+json",
    "application/vnd.dev.sigstore.trustedroot+json;version=0.2",
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
)
CLIENT_TRUST = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"


class Validity(Struct, frozen=True):
    """From when to when, both ends inclusive; None is open."""

    start: datetime | None
    end: datetime | None

    def holds(self, at: datetime) -> bool:
        """Whether `at` lies within."""
        return (self.start is None or self.start <= at) and (self.end is None or at <= self.end)


class Log(Struct, frozen=True, kw_only=True):
    """A transparency log or certificate transparency log; `key` is a SubjectPublicKeyInfo (DER)."""

    base_url: str
    key: bytes
    log_id: bytes
    checkpoint_id: bytes
    operator: str
    validity: Validity


class Authority(Struct, frozen=True, kw_only=True):
    """A certificate or timestamp authority; `chain` (DER) ends at what is trusted."""

    uri: str
    chain: tuple[bytes, ...]
    operator: str
    validity: Validity


class TrustedRoot(Struct, frozen=True, kw_only=True):
    """All that one sigstore instance is verified with."""

    logs: tuple[Log, ...]
    ct_logs: tuple[Log, ...]
    certificate_authorities: tuple[Authority, ...]
    timestamp_authorities: tuple[Authority, ...]


def read_trusted_root(data: bytes, *, where: str) -> TrustedRoot:
    """Read a trusted root, or the one inside a ClientTrustConfig; raises MisuseError `trust-invalid`."""
    try:
        if len(data) > limits.TRUSTED_ROOT_BYTES:
            raise FailedError(codes.JSON_INVALID, f"larger than {limits.TRUSTED_ROOT_BYTES} bytes")
        value = Message(parse_object(data, where=where), "the trusted root", codes.JSON_INVALID, where)
        if value.text("mediaType") == CLIENT_TRUST:
            value = value.need("trustedRoot")
        if value.text("mediaType") not in _MEDIA_TYPES:
            value.refuse(f"has mediaType {value.text('mediaType')[:100]!r}, expected {_MEDIA_TYPES[0]!r} or its 0.2")
        return _root(value)
    except FailedError as error:
        raise MisuseError(codes.TRUST_INVALID, error.reason, where=where) from error


def _root(value: Message) -> TrustedRoot:
    root = TrustedRoot(
        logs=tuple(_log(item) for item in value.messages("tlogs", most=limits.AUTHORITIES)),
        ct_logs=tuple(_log(item) for item in value.messages("ctlogs", most=limits.AUTHORITIES)),
        certificate_authorities=tuple(_authority(item) for item in value.messages("certificateAuthorities", most=limits.AUTHORITIES)),
        timestamp_authorities=tuple(_authority(item) for item in value.messages("timestampAuthorities", most=limits.AUTHORITIES)),
    )
    if not (root.certificate_authorities or root.logs or root.timestamp_authorities):
        value.refuse("names no log and no authority")
    return root


def _log(value: Message) -> Log:
    key, log_id, checkpoint_id = value.need("publicKey"), value.message("logId"), value.message("checkpointKeyId")
    return Log(
        base_url=value.text("baseUrl"),
        key=key.need_data("rawBytes"),
        log_id=log_id.need_data("keyId") if log_id is not None else b"",
        checkpoint_id=checkpoint_id.need_data("keyId") if checkpoint_id is not None else b"",
        operator=value.text("operator"),
        validity=_validity(key.message("validFor")),
    )


def _authority(value: Message) -> Authority:
    chain = value.need("certChain").messages("certificates", most=limits.CERTIFICATES)
    if not chain:
        value.refuse("has an empty certificate chain")
    return Authority(
        uri=value.text("uri"),
        chain=tuple(item.need_data("rawBytes") for item in chain),
        operator=value.text("operator"),
        validity=_validity(value.message("validFor")),
    )


def _validity(value: Message | None) -> Validity:
    return Validity(value.time("start"), value.time("end")) if value is not None else Validity(None, None)
