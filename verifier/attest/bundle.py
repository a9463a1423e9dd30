"""Sigstore bundles: the JSON form of sigstore/protobuf-specs sigstore_bundle.proto, versions 0.1 to 0.3.

Read is what the specification allows; written is v0.3 with a DSSE statement and a key hint, which `cosign verify` 3 reads.
A hint helps to find a key and proves nothing; a missing or foreign hint does not matter when a key verifies.
"""

from __future__ import annotations

import base64
from typing import Any

from msgspec import Struct

from verifier.attest.dsse import Envelope, decode_base64, read_envelope, write_envelope
from verifier.formats.json import dump_json, parse_object
from verifier.model import codes
from verifier.model.errors import FailedError

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_OLD = "application/vnd.dev.sigstore.bundle+json;version="
MEDIA_TYPES = (MEDIA_TYPE, f"{_OLD}0.1", f"{_OLD}0.2", f"{_OLD}0.3")


class MessageSignature(Struct, frozen=True, kw_only=True):
    """A signature over an artifact's bytes; the digest is a hint until it is compared."""

    algorithm: str
    digest: bytes
    signature: bytes


class PublicKeyHint(Struct, frozen=True):
    """The signer is a public key that the verifier must already have."""

    hint: str


class Certificates(Struct, frozen=True):
    """The signer is the first of these X.509 certificates (DER)."""

    chain: tuple[bytes, ...]


class Bundle(Struct, frozen=True, kw_only=True):
    """One signature and what is needed to verify it."""

    content: Envelope | MessageSignature
    material: PublicKeyHint | Certificates


def read_bundle(data: bytes, *, where: str) -> Bundle:
    """Read a bundle; raises FailedError `json-invalid` or `bundle-malformed`."""
    value = parse_object(data, where=where)
    if value.get("mediaType") not in MEDIA_TYPES:
        raise _malformed(f"mediaType {str(value.get('mediaType'))[:100]!r} is not a sigstore bundle's", where)
    material = value.get("verificationMaterial")
    if not isinstance(material, dict):
        raise _malformed("verificationMaterial is missing", where)
    return Bundle(content=_content(value, where), material=_material(material, where))


def write_bundle(envelope: Envelope, *, hint: str) -> bytes:
    """A v0.3 bundle of a key's signature, without log entries or timestamps."""
    material = {"publicKey": {"hint": hint}}
    return dump_json({"mediaType": MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": write_envelope(envelope)})


def key_hint(spki_sha256: bytes) -> str:
    """The hint that cosign and sigstore-go write: base64 of the SHA-256 of the DER public key."""
    return base64.b64encode(spki_sha256).decode()


def _content(value: dict[str, Any], where: str) -> Envelope | MessageSignature:
    if ("dsseEnvelope" in value) == ("messageSignature" in value):
        raise _malformed("exactly one of dsseEnvelope and messageSignature must be there", where)
    if "dsseEnvelope" in value:
        return read_envelope(value["dsseEnvelope"], where=where)
    message = value["messageSignature"]
    digest = message.get("messageDigest") if isinstance(message, dict) else None
    if not isinstance(digest, dict):
        raise _malformed("messageSignature has no messageDigest", where)
    return MessageSignature(
        algorithm=str(digest.get("algorithm")),
        digest=decode_base64(digest.get("digest"), "messageDigest.digest", where=where),
        signature=decode_base64(message.get("signature"), "signature", where=where),
    )


def _material(material: dict[str, Any], where: str) -> PublicKeyHint | Certificates:
    kinds = [kind for kind in ("publicKey", "certificate", "x509CertificateChain") if kind in material]
    if len(kinds) != 1:
        raise _malformed(f"exactly one kind of key material must be there, found {', '.join(kinds) or 'none'}", where)
    value = material[kinds[0]]
    if not isinstance(value, dict):
        raise _malformed(f"{kinds[0]} is not an object", where)
    match kinds[0]:
        case "publicKey":
            return PublicKeyHint(str(value.get("hint", "")))
        case "certificate":
            return Certificates((decode_base64(value.get("rawBytes"), "rawBytes", where=where),))
        case _:
            chain = value.get("certificates")
            if not isinstance(chain, list) or not chain or not all(isinstance(item, dict) for item in chain):
                raise _malformed("an empty certificate chain", where)
            return Certificates(tuple(decode_base64(item.get("rawBytes"), "rawBytes", where=where) for item in chain))


def _malformed(reason: str, where: str) -> FailedError:
    return FailedError(codes.BUNDLE_MALFORMED, reason, where=where)
