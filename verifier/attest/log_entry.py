"""Transparency log entries as bundles carry them, and what their bodies say was logged.

Sources: sigstore/protobuf-specs sigstore_rekor.proto; the entry types of Rekor v1 (hashedrekord 0.0.1, dsse 0.0.1, intoto 0.0.2)
and of Rekor v2 (hashedrekord 0.0.2; a DSSE envelope is logged there by the hash of its pre-authentication encoding).
Nothing is verified here.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from msgspec import Struct

from verifier.formats.json import parse_object
from verifier.formats.protojson import Message, encode_base64
from verifier.model import codes, limits
from verifier.model.errors import FailedError

ALGORITHMS = {"SHA2_256": "sha256", "SHA2_384": "sha384", "SHA2_512": "sha512"}
V1 = (("hashedrekord", "0.0.1"), ("dsse", "0.0.1"), ("intoto", "0.0.2"))
V2 = (("hashedrekord", "0.0.2"),)


class InclusionProof(Struct, frozen=True, kw_only=True):
    """A Merkle audit path (RFC 6962, 2.1.1) and the signed note that commits to its root; all of it as the bundle says."""

    log_index: int
    root_hash: bytes
    tree_size: int
    hashes: tuple[bytes, ...]
    checkpoint: str


class LogEntry(Struct, frozen=True, kw_only=True):
    """One entry. `integrated_time` (UNIX seconds, 0: none) proves nothing without the `promise`, the log's signature over it."""

    log_index: int
    log_id: bytes
    kind: str
    version: str
    integrated_time: int
    body: bytes
    promise: bytes = b""
    proof: InclusionProof | None = None


class LoggedKey(Struct, frozen=True):
    """The verifier that an entry names: PEM or DER of a certificate or public key; `details` is Rekor v2's algorithm."""

    data: bytes
    details: str = ""


class Logged(Struct, frozen=True, kw_only=True):
    """What an entry's body says. `over` tells what the digest is of: the `artifact`, the DSSE `payload` or its `pae`."""

    over: str
    algorithm: str
    digest: bytes
    signature: bytes
    key: LoggedKey


def read_log_entry(value: Message) -> LogEntry:
    """Read an entry of a bundle; raises FailedError with the message's code."""
    kind = value.need("kindVersion")
    promise, proof = value.message("inclusionPromise"), value.message("inclusionProof")
    return LogEntry(
        log_index=value.integer("logIndex"),
        log_id=value.need("logId").need_data("keyId"),
        kind=kind.text("kind"),
        version=kind.text("version"),
        integrated_time=value.integer("integratedTime"),
        body=value.need_data("canonicalizedBody"),
        promise=promise.need_data("signedEntryTimestamp") if promise is not None else b"",
        proof=_proof(proof) if proof is not None else None,
    )


def _proof(value: Message) -> InclusionProof:
    checkpoint = value.message("checkpoint")
    return InclusionProof(
        log_index=value.integer("logIndex"),
        root_hash=value.need_data("rootHash"),
        tree_size=value.integer("treeSize"),
        hashes=value.many_data("hashes", most=limits.PROOF_HASHES),
        checkpoint=checkpoint.text("envelope") if checkpoint is not None else "",
    )


def write_log_entry(entry: LogEntry) -> dict[str, Any]:
    """The entry as a JSON value."""
    value: dict[str, Any] = {
        "logIndex": str(entry.log_index),
        "logId": {"keyId": encode_base64(entry.log_id)},
        "kindVersion": {"kind": entry.kind, "version": entry.version},
        "canonicalizedBody": encode_base64(entry.body),
    }
    if entry.integrated_time:
        value["integratedTime"] = str(entry.integrated_time)
    if entry.promise:
        value["inclusionPromise"] = {"signedEntryTimestamp": encode_base64(entry.promise)}
    if entry.proof is not None:
        value["inclusionProof"] = {
            "logIndex": str(entry.proof.log_index),
            "rootHash": encode_base64(entry.proof.root_hash),
            "treeSize": str(entry.proof.tree_size),
            "hashes": [encode_base64(item) for item in entry.proof.hashes],
            "checkpoint": {"envelope": entry.proof.checkpoint},
        }
    return value


def read_logged(entry: LogEntry, *, where: str) -> Logged:
    """Read an entry's body; raises FailedError `log-entry-invalid` for one that is malformed or of a type that is not known."""
    body = Message(parse_body(entry.body, where), "the log entry's body", codes.LOG_ENTRY_INVALID, where)
    found = (body.text("kind"), body.text("apiVersion"))
    if found != (entry.kind, entry.version):
        body.refuse(f"is a {'/'.join(found)[:80]}, the entry says {f'{entry.kind}/{entry.version}'[:80]}")
    spec = body.need("spec")
    match found:
        case ("hashedrekord", "0.0.1"):
            return _hashedrekord(spec)
        case ("hashedrekord", "0.0.2"):
            return _hashedrekord_v2(spec.need("hashedRekordV002"))
        case ("dsse", "0.0.1"):
            return _dsse(spec)
        case ("intoto", "0.0.2"):
            return _intoto(spec.need("content"))
        case _:
            body.refuse(f"is a {'/'.join(found)[:80]}, which is not a type of entry that signs charts")


def parse_body(data: bytes, where: str) -> dict[str, Any]:
    """The body's JSON."""
    try:
        return parse_object(data, where=where)
    except FailedError as error:
        raise FailedError(codes.LOG_ENTRY_INVALID, f"the log entry's body: {error.reason}", where=where) from error


def _hashedrekord(spec: Message) -> Logged:
    signature = spec.need("signature")
    algorithm, digest = _hex_hash(spec.need("data").need("hash"))
    key = LoggedKey(signature.need("publicKey").need_data("content"))
    return Logged(over="artifact", algorithm=algorithm, digest=digest, signature=signature.need_data("content"), key=key)


def _hashedrekord_v2(spec: Message) -> Logged:
    signature, data = spec.need("signature"), spec.need("data")
    verifier = signature.need("verifier")
    kinds = [kind for kind in ("publicKey", "x509Certificate") if verifier.has(kind)]
    if len(kinds) != 1:
        verifier.refuse("names not exactly one of publicKey and x509Certificate")
    algorithm = ALGORITHMS.get(data.text("algorithm")) or data.refuse(f"has the hash algorithm {data.text('algorithm')[:40]!r}")
    key = LoggedKey(verifier.need(kinds[0]).need_data("rawBytes"), verifier.text("keyDetails"))
    return Logged(over="", algorithm=algorithm, digest=data.need_data("digest"), signature=signature.need_data("content"), key=key)


def _dsse(spec: Message) -> Logged:
    signature = _only_signature(spec)
    algorithm, digest = _hex_hash(spec.need("payloadHash"))
    key = LoggedKey(signature.need_data("verifier"))
    return Logged(over="payload", algorithm=algorithm, digest=digest, signature=signature.need_data("signature"), key=key)


def _intoto(content: Message) -> Logged:
    signature = _only_signature(content.need("envelope"))
    algorithm, digest = _hex_hash(content.need("payloadHash"))
    try:
        # The signature is base64 within base64: Rekor took the envelope's text for bytes (sigstore/rekor pkg/types/intoto/v0.0.2).
        raw = base64.b64decode(signature.need_data("sig"), validate=True)
    except (binascii.Error, ValueError):
        signature.refuse("has a sig that is not base64 within base64")
    return Logged(over="payload", algorithm=algorithm, digest=digest, signature=raw, key=LoggedKey(signature.need_data("publicKey")))


def _only_signature(value: Message) -> Message:
    signatures = value.messages("signatures", most=limits.LOG_ENTRIES)
    if len(signatures) != 1:
        value.refuse(f"has {len(signatures)} signatures, expected one")
    return signatures[0]


def _hex_hash(value: Message) -> tuple[str, bytes]:
    algorithm, written = value.text("algorithm"), value.text("value")
    if algorithm not in ALGORITHMS.values():
        value.refuse(f"has the algorithm {algorithm[:40]!r}")
    try:
        return algorithm, bytes.fromhex(written)
    except ValueError:
        value.refuse("has a value that is not hex")
