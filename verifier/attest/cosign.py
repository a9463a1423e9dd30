"""Cosign's old forms: a signature or attestation as a layer of an image, its material in the layer's annotations.

Sources: sigstore/cosign specs/SIGNATURE_SPEC.md and, where it differs, pkg/oci/static/signature.go (the code wins: certificate and
chain are under `dev.sigstore.cosign/`). Each layer becomes a bundle, so that one recipe judges all forms: a simple signing
payload is what a message signature is over, a DSSE envelope stays one.
"""

from __future__ import annotations

import base64
import binascii
import re
import textwrap
from collections.abc import Mapping

from msgspec import Struct

from verifier.attest.bundle import Bundle, Certificates, MessageSignature, PublicKeyHint
from verifier.attest.dsse import Envelope, read_envelope
from verifier.attest.log_entry import LogEntry, parse_body
from verifier.formats.json import dump_json, parse_object
from verifier.formats.protojson import Message, encode_base64
from verifier.model import codes, limits
from verifier.model.digest import Digest, parse_digest
from verifier.model.errors import FailedError

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE = "application/vnd.dsse.envelope.v1+json"
ARTIFACT = "application/vnd.dev.cosign.artifact.sig.v1+json"  # the referrers that `--registry-referrers-mode=oci-1-1` wrote
LAYERS = (SIMPLE_SIGNING, DSSE)

_SIGNATURE = "dev.cosignproject.cosign/signature"
_CERTIFICATE = "dev.sigstore.cosign/certificate"
_CHAIN = "dev.sigstore.cosign/chain"
_BUNDLE = "dev.sigstore.cosign/bundle"
_TIMESTAMP = "dev.sigstore.cosign/rfc3161timestamp"
_TYPE = "cosign container image signature"
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


class SimpleSigning(Struct, frozen=True, kw_only=True):
    """What a simple signing payload says: the manifest's digest, and the repository that it names (empty: none)."""

    digest: Digest
    repository: str


def read_layer(media_type: str, payload: bytes, annotations: Mapping[str, str], *, where: str) -> Bundle:
    """One layer as a bundle; raises FailedError `bundle-malformed` or `json-invalid`."""
    content: Envelope | MessageSignature
    if media_type == DSSE:
        content = read_envelope(parse_object(payload, where=where), where=where)
    else:
        content = MessageSignature(algorithm="", digest=b"", signature=_signature(annotations, where))
    return Bundle(content=content, material=_material(annotations, where), entries=_entries(annotations, where), timestamps=_timestamps(annotations, where))


def read_simple_signing(payload: bytes, *, where: str) -> SimpleSigning:
    """Read a payload strictly; raises FailedError `bundle-malformed` or `json-invalid`."""
    critical = Message(parse_object(payload, where=where), "the signed payload", codes.BUNDLE_MALFORMED, where).need("critical")
    if critical.text("type") != _TYPE:
        critical.refuse(f"has type {critical.text('type')[:60]!r}, expected {_TYPE!r}")
    try:
        digest = parse_digest(critical.need("image").text("docker-manifest-digest"))
    except ValueError as error:
        critical.refuse(f"names no digest: {error}")
    identity = critical.message("identity")
    return SimpleSigning(digest=digest, repository=identity.text("docker-reference") if identity is not None else "")


def write_simple_signing(digest: Digest, repository: str) -> bytes:
    """The payload that cosign 1 and 2 sign; `repository` is HOST/PATH, which podman compares."""
    image = {"docker-manifest-digest": str(digest)}
    return dump_json({"critical": {"identity": {"docker-reference": repository}, "image": image, "type": _TYPE}, "optional": None})


def write_annotations(bundle: Bundle) -> dict[str, str]:
    """A message signature's material as cosign 1 and 2 lay it in a layer's annotations.

    The log's promise is written, as this form knows no proof: an entry without one (Rekor v2) cannot be carried, and a timestamp
    then proves the time.
    """
    found = {_SIGNATURE: encode_base64(bundle.signature)}
    if isinstance(bundle.material, Certificates):
        found[_CERTIFICATE] = _pem_of(bundle.material.chain[0])
    for entry in bundle.entries[:1]:
        if entry.promise:
            payload = {"body": encode_base64(entry.body), "integratedTime": entry.integrated_time, "logIndex": entry.log_index, "logID": entry.log_id.hex()}
            found[_BUNDLE] = dump_json({"SignedEntryTimestamp": encode_base64(entry.promise), "Payload": payload}).decode()
    for stamp in bundle.timestamps[:1]:
        found[_TIMESTAMP] = dump_json({"SignedRFC3161Timestamp": encode_base64(stamp)}).decode()
    return found


def _pem_of(der: bytes) -> str:
    lines = textwrap.wrap(encode_base64(der), 64)
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""))


def _signature(annotations: Mapping[str, str], where: str) -> bytes:
    written = annotations.get(_SIGNATURE, "")
    try:
        found = base64.b64decode(written, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed("the signature annotation is not base64", where) from error
    return found or _refuse("the signature annotation is missing", where)


def _material(annotations: Mapping[str, str], where: str) -> PublicKeyHint | Certificates:
    if not annotations.get(_CERTIFICATE):
        return PublicKeyHint("")
    leaf, chain = _pem(annotations[_CERTIFICATE], where), _pem(annotations.get(_CHAIN, ""), where)
    return Certificates((*(leaf or _refuse("the certificate annotation holds no certificate", where)), *chain))


def _pem(text: str, where: str) -> tuple[bytes, ...]:
    found = _PEM.findall(text)
    if len(found) > limits.CERTIFICATES:
        raise _malformed(f"more than {limits.CERTIFICATES} certificates", where)
    try:
        return tuple(base64.b64decode("".join(item.split()), validate=True) for item in found)
    except (binascii.Error, ValueError) as error:
        raise _malformed("a certificate annotation is not PEM", where) from error


def _entries(annotations: Mapping[str, str], where: str) -> tuple[LogEntry, ...]:
    """The log's promise; this form carries no inclusion proof."""
    if not annotations.get(_BUNDLE):
        return ()
    value = Message(parse_object(annotations[_BUNDLE].encode(), where=where), "the log bundle annotation", codes.BUNDLE_MALFORMED, where)
    payload = value.need("Payload")
    body = payload.need_data("body")
    kind = parse_body(body, where)
    try:
        log_id = bytes.fromhex(payload.text("logID"))
    except ValueError as error:
        raise _malformed("the log bundle's logID is not hex", where) from error
    entry = LogEntry(
        log_index=payload.integer("logIndex"),
        log_id=log_id,
        kind=str(kind.get("kind")),
        version=str(kind.get("apiVersion")),
        integrated_time=payload.integer("integratedTime"),
        body=body,
        promise=value.need_data("SignedEntryTimestamp"),
    )
    return (entry,)


def _timestamps(annotations: Mapping[str, str], where: str) -> tuple[bytes, ...]:
    if not annotations.get(_TIMESTAMP):
        return ()
    value = Message(parse_object(annotations[_TIMESTAMP].encode(), where=where), "the timestamp annotation", codes.BUNDLE_MALFORMED, where)
    return (value.need_data("SignedRFC3161Timestamp"),)


def _refuse(reason: str, where: str) -> bytes:
    raise _malformed(reason, where)


def _malformed(reason: str, where: str) -> FailedError:
    return FailedError(codes.BUNDLE_MALFORMED, reason, where=where)
