"""DSSE envelopes. Source: secure-systems-lab/dsse protocol.md and envelope.md, v1.0."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from msgspec import Struct

from verifier.model import codes
from verifier.model.errors import FailedError

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
    if not isinstance(value, dict):
        raise _malformed("dsseEnvelope is not an object", where)
    signatures = value.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
        count = len(signatures) if isinstance(signatures, list) else "no"
        raise _malformed(f"a bundle's envelope has exactly one signature, found {count}", where)
    payload_type, key_id = value.get("payloadType"), signatures[0].get("keyid", "")
    if not isinstance(payload_type, str) or not isinstance(key_id, str):
        raise _malformed("payloadType and keyid must be text", where)
    return Envelope(
        payload_type=payload_type,
        payload=decode_base64(value.get("payload"), "payload", where=where),
        signature=decode_base64(signatures[0].get("sig"), "sig", where=where),
        key_id=key_id,
    )


def write_envelope(envelope: Envelope) -> dict[str, Any]:
    """The envelope as a JSON value."""
    return {
        "payload": base64.b64encode(envelope.payload).decode(),
        "payloadType": envelope.payload_type,
        "signatures": [{"sig": base64.b64encode(envelope.signature).decode()}],
    }


def decode_base64(value: Any, field: str, *, where: str) -> bytes:
    """Standard or URL-safe base64, which the protobuf JSON mapping allows both; raises FailedError `bundle-malformed`."""
    if not isinstance(value, str) or not value:
        raise _malformed(f"{field} is missing or not text", where)
    try:
        return base64.b64decode(value.replace("-", "+").replace("_", "/") + "=" * (-len(value) % 4), validate=True)
    except binascii.Error as error:
        raise _malformed(f"{field} is not base64", where) from error


def _malformed(reason: str, where: str) -> FailedError:
    return FailedError(codes.BUNDLE_MALFORMED, reason, where=where)
