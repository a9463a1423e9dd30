"""DSSE envelopes. Source: secure-systems-lab/dsse protocol.md and envelope.md, v1.0."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from verifier.formats.protojson import Message, encode_base64
from verifier.model import codes, limits

IN_TOTO = "application/vnd.in-toto+json"


class Envelope(Struct, frozen=True, kw_only=True):
    """An envelope with exactly one signature, as sigstore bundles demand."""

    payload_type: str
    payload: bytes
    signature: bytes
    key_id: str = ""


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def read_envelope(value: Any, *, where: str) -> Envelope:
    """Read an envelope's JSON value; raises FailedError `bundle-malformed`."""
    message = Message(value, "dsseEnvelope", codes.BUNDLE_MALFORMED, where)
    signatures = message.messages("signatures", most=limits.SIGNATURES)
    if len(signatures) != 1:
        message.refuse(f"has {len(signatures)} signatures, a bundle's envelope has exactly one")
    if not message.text("payloadType"):
        message.refuse("has no payloadType")
    return Envelope(
        payload_type=message.text("payloadType"),
        payload=message.need_data("payload"),
        signature=signatures[0].need_data("sig"),
        key_id=signatures[0].text("keyid"),
    )


def write_envelope(envelope: Envelope) -> dict[str, Any]:
    """The envelope as a JSON value."""
    return {
        "payload": encode_base64(envelope.payload),
        "payloadType": envelope.payload_type,
        "signatures": [{"sig": encode_base64(envelope.signature)}],
    }
