"""Sigstore bundles: the JSON form of sigstore/protobuf-specs sigstore_bundle.proto, versions 0.1 to 0.3.

Read is what the specification allows; written is v0.3, which every current client reads. What the versions differ in:

1. 0.1: a certificate chain or key hint; each log entry has the log's promise (SET).
2. 0.2: each log entry has an inclusion proof with a checkpoint.
3. 0.3: as 0.2, and one certificate instead of a chain.

A hint helps to find a key and proves nothing; a missing or foreign hint does not matter when a key verifies. The
specification wants the hint of bundle and envelope to be equal: it cannot matter for one who does not believe either.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from verifier.attest.dsse import Envelope, read_envelope, write_envelope
from verifier.attest.log_entry import V2, LogEntry, read_log_entry, write_log_entry
from verifier.formats.json import dump_json, parse_object
from verifier.formats.protojson import Message, encode_base64
from verifier.model import codes, limits

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_OLD = "application/vnd.dev.sigstore.bundle+json;version="
_VERSIONS = {MEDIA_TYPE: 3, f"{_OLD}0.1": 1, f"{_OLD}0.2": 2, f"{_OLD}0.3": 3}
MEDIA_TYPES = tuple(_VERSIONS)


class MessageSignature(Struct, frozen=True, kw_only=True):
    """A signature over an artifact's bytes; algorithm and digest are a hint until compared, and may be missing (empty)."""

    algorithm: str
    digest: bytes
    signature: bytes


class PublicKeyHint(Struct, frozen=True):
    """The signer is a public key that the verifier must already have."""

    hint: str


class Certificates(Struct, frozen=True):
    """The signer is the first of these X.509 certificates (DER); the others may help to build its chain, and are not trusted."""

    chain: tuple[bytes, ...]


class Bundle(Struct, frozen=True, kw_only=True):
    """One signature and what is needed to verify it. `timestamps` are RFC 3161 responses (DER) over the signature."""

    content: Envelope | MessageSignature
    material: PublicKeyHint | Certificates
    entries: tuple[LogEntry, ...] = ()
    timestamps: tuple[bytes, ...] = ()

    @property
    def signature(self) -> bytes:
        """The signature's bytes, which timestamps and log entries speak of."""
        return self.content.signature


def read_bundle(data: bytes, *, where: str) -> Bundle:
    """Read a bundle; raises FailedError `json-invalid` or `bundle-malformed`."""
    value = Message(parse_object(data, where=where), "the bundle", codes.BUNDLE_MALFORMED, where)
    version = _VERSIONS.get(value.text("mediaType"))
    if version is None:
        value.refuse(f"has mediaType {value.text('mediaType')[:100]!r}, which is not a sigstore bundle's")
    material = value.need("verificationMaterial")
    times = material.message("timestampVerificationData")
    stamps = times.messages("rfc3161Timestamps", most=limits.TIMESTAMPS) if times is not None else []
    bundle = Bundle(
        content=_content(value, where),
        material=_material(material, version),
        entries=tuple(read_log_entry(item) for item in material.messages("tlogEntries", most=limits.LOG_ENTRIES)),
        timestamps=tuple(item.need_data("signedTimestamp") for item in stamps),
    )
    _check_entries(bundle, version, material)
    return bundle


def write_bundle(bundle: Bundle) -> bytes:
    """A v0.3 bundle; of certificates only the leaf is written, as the specification demands."""
    material: dict[str, Any]
    match bundle.material:
        case PublicKeyHint(hint):
            material = {"publicKey": {"hint": hint}}
        case Certificates(chain):
            material = {"certificate": {"rawBytes": encode_base64(chain[0])}}
    if bundle.entries:
        material["tlogEntries"] = [write_log_entry(entry) for entry in bundle.entries]
    if bundle.timestamps:
        material["timestampVerificationData"] = {"rfc3161Timestamps": [{"signedTimestamp": encode_base64(item)} for item in bundle.timestamps]}
    return dump_json({"mediaType": MEDIA_TYPE, "verificationMaterial": material, **_written(bundle.content)})


def _written(content: Envelope | MessageSignature) -> dict[str, Any]:
    match content:
        case Envelope():
            return {"dsseEnvelope": write_envelope(content)}
        case MessageSignature():
            digest = {"algorithm": content.algorithm, "digest": encode_base64(content.digest)}
            return {"messageSignature": {"messageDigest": digest, "signature": encode_base64(content.signature)}}


def key_hint(spki_sha256: bytes) -> str:
    """The hint that cosign and sigstore-go write: base64 of the SHA-256 of the DER public key."""
    return encode_base64(spki_sha256)


def _content(value: Message, where: str) -> Envelope | MessageSignature:
    if value.has("dsseEnvelope") == value.has("messageSignature"):
        value.refuse("must have exactly one of dsseEnvelope and messageSignature")
    if value.has("dsseEnvelope"):
        return read_envelope(value.get("dsseEnvelope"), where=where)
    message = value.need("messageSignature")
    digest = message.message("messageDigest")
    return MessageSignature(
        algorithm=digest.text("algorithm") if digest is not None else "",
        digest=digest.data("digest") if digest is not None else b"",
        signature=message.need_data("signature"),
    )


def _material(material: Message, version: int) -> PublicKeyHint | Certificates:
    kinds = [kind for kind in ("publicKey", "certificate", "x509CertificateChain") if material.has(kind)]
    if len(kinds) != 1:
        material.refuse(f"must have exactly one kind of key material, found {', '.join(kinds) or 'none'}")
    value = material.need(kinds[0])
    match kinds[0]:
        case "publicKey":
            return PublicKeyHint(value.text("hint"))
        case "certificate" if version < 3:
            value.refuse(f"is there in a bundle of version 0.{version}, which carries a chain")
        case "certificate":
            return Certificates((value.need_data("rawBytes"),))
        case _:
            # A chain in a 0.3 bundle: only the public instance's keyless signatures may not have one; its leaf counts all the same.
            chain = value.messages("certificates", most=limits.CERTIFICATES)
            if not chain:
                value.refuse("is empty")
            return Certificates(tuple(item.need_data("rawBytes") for item in chain))


def _check_entries(bundle: Bundle, version: int, material: Message) -> None:
    seen = {(entry.log_id, entry.log_index, entry.body) for entry in bundle.entries}
    if len(seen) != len(bundle.entries) or len(set(bundle.timestamps)) != len(bundle.timestamps):
        material.refuse("has the same log entry or timestamp twice, which could pass for two")
    for entry in bundle.entries:
        if entry.proof is not None and not entry.proof.checkpoint:
            material.refuse("has a log entry whose inclusion proof has no checkpoint")
        if version == 1 and not entry.promise:
            material.refuse("has a log entry without inclusion promise, which a 0.1 bundle must have")
        if (version > 1 or (entry.kind, entry.version) in V2) and entry.proof is None:
            material.refuse("has a log entry without inclusion proof")
