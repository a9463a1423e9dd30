"""Asking a log and a timestamp authority for a key's signature (the `sigstore` package does so for certificates only).

Sources: the Rekor v1 and v2 HTTP APIs; RFC 3161, 3.4. Everything that is answered is verified before it is used (sign.py).
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable

from verifier.attest.dsse import Envelope, pae, write_envelope
from verifier.attest.log_entry import InclusionProof, LogEntry, parse_body, read_log_entry
from verifier.formats.json import parse_object
from verifier.formats.protojson import Message, encode_base64
from verifier.model import codes
from verifier.model.errors import FailedError, InconclusiveError
from verifier.schemes.sigstore.log import key_details
from verifier.signers.public import PublicKey, public_der, public_pem
from verifier.trust.signing_config import Service

# method, URL, content type, body -> status and body; raises InconclusiveError
Post = Callable[[str, str, bytes], tuple[int, bytes]]


def log_envelope(envelope: Envelope, key: PublicKey, service: Service, post: Post) -> LogEntry:
    """A log entry for a key's signature; raises InconclusiveError `signing-service-failed`."""
    if service.version == 1:
        return _log_v1(envelope, key, service, post)
    verifier = {"publicKey": {"rawBytes": encode_base64(public_der(key))}, "keyDetails": key_details(key)[0]}
    digest = hashlib.new(key.hash, pae(envelope.payload_type, envelope.payload)).digest()
    request = {"hashedRekordRequestV002": {"digest": encode_base64(digest), "signature": {"content": encode_base64(envelope.signature), "verifier": verifier}}}
    url = f"{service.url}/api/v2/log/entries"
    return _read(url, lambda: read_log_entry(_answer(post(url, "application/json", json.dumps(request).encode()), url)))


def _log_v1(envelope: Envelope, key: PublicKey, service: Service, post: Post) -> LogEntry:
    content = {"envelope": json.dumps(write_envelope(envelope)), "verifiers": [encode_base64(public_pem(key))]}
    request = {"apiVersion": "0.0.1", "kind": "dsse", "spec": {"proposedContent": content}}
    url = f"{service.url}/api/v1/log/entries"
    return _read(url, lambda: _entry_v1(_answer(post(url, "application/json", json.dumps(request).encode()), url), url))


def _entry_v1(answer: Message, url: str) -> LogEntry:
    """The answer is a map from the entry's id to the entry; numbers and hex where bundles have text and base64."""
    uuids = answer.keys()
    if len(uuids) != 1:
        answer.refuse(f"holds {len(uuids)} entries, expected one")
    entry = answer.need(uuids[0])
    body, verification = entry.need_data("body"), entry.need("verification")
    kind, proof = parse_body(body, url), verification.need("inclusionProof")
    return LogEntry(
        log_index=entry.integer("logIndex"),
        log_id=_hex(entry, "logID"),
        kind=str(kind.get("kind")),
        version=str(kind.get("apiVersion")),
        integrated_time=entry.integer("integratedTime"),
        body=body,
        promise=verification.need_data("signedEntryTimestamp"),
        proof=InclusionProof(
            log_index=proof.integer("logIndex"),
            root_hash=_hex(proof, "rootHash"),
            tree_size=proof.integer("treeSize"),
            hashes=tuple(bytes.fromhex(str(item)) for item in proof.get("hashes") or ()),
            checkpoint=proof.text("checkpoint"),
        ),
    )


def request_timestamp(signature: bytes, service: Service, post: Post) -> bytes:
    """An RFC 3161 response over a signature; raises InconclusiveError `signing-service-failed`."""
    from asn1crypto import tsp

    imprint = {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": hashlib.sha256(signature).digest()}
    request = tsp.TimeStampReq({"version": "v1", "message_imprint": imprint, "nonce": secrets.randbits(64), "cert_req": True})
    status, body = post(service.url, "application/timestamp-query", request.dump())
    if status not in (200, 201):
        raise _failed(service.url, f"answered {status}")
    return body


def _answer(answered: tuple[int, bytes], url: str) -> Message:
    status, body = answered
    if status not in (200, 201):
        raise _failed(url, f"answered {status}: {body[:200].decode('utf-8', 'replace')}")
    return Message(parse_object(body, where=url), "the log's answer", codes.LOG_ENTRY_INVALID, url)


def _read(url: str, read: Callable[[], LogEntry]) -> LogEntry:
    try:
        return read()
    except (FailedError, ValueError) as error:
        raise _failed(url, f"answered nonsense: {error}") from error


def _hex(value: Message, key: str) -> bytes:
    return bytes.fromhex(value.text(key))


def _failed(url: str, reason: str) -> InconclusiveError:
    return InconclusiveError(codes.SIGNING_SERVICE_FAILED, reason, where=url)
