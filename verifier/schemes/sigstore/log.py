"""Transparency log entries: that a trusted log holds this very signature, and when it took it in.

Sources: sigstore/architecture-docs client-spec.md ("Verification") and rekor-v2-spec.md; RFC 6962, 2.1.1; C2SP signed-note
and tlog-checkpoint.

1. The log is one of the root's; an entry of another log is passed over, since it proves nothing here.
2. The promise, if there is one, is the log's signature over the entry as it stands: its time is believed only then.
3. The inclusion proof, if there is one, leads from the entry to its root hash; the checkpoint is signed by this log under the
   name of its origin, and states the same root hash and tree size. One of 2 and 3 must be there. The origin is the log's host;
   a Rekor v1 (`NAME - TREE`) that runs elsewhere than in public calls itself by its pod's name, and is known by its key alone.
4. The entry's body names this signature, this key or certificate, and the hash of what was signed.
5. The log's key holds at the time of signing: the entry's own time, else the times that timestamps prove.

An entry that claims a trusted log and fails is a rejection of the whole bundle, and not an entry fewer: somebody made it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from msgspec import Struct

from verifier.attest.log_entry import InclusionProof, LogEntry, Logged, LoggedKey, read_logged
from verifier.formats.protojson import encode_base64
from verifier.model import codes
from verifier.model.errors import FailedError
from verifier.schemes.sigstore.root import ReadyLog, ReadyRoot
from verifier.signers.public import PublicKey

_ORIGIN = re.compile(r"([^ ]+)( - [0-9]+)?")
_SIGNATURE = re.compile("\u2014 ([^ \n]+) ([A-Za-z0-9+/=]+)")
_LATEST = 253402300799  # the last second of year 9999


class Signature(Struct, frozen=True, kw_only=True):
    """What an entry must speak of. `key` is the certificate (DER) or, of a key's signature, its SubjectPublicKeyInfo.

    `digests` are the hex-free digests of what was signed, by `artifact`, `payload` or `pae`, then by algorithm.
    """

    value: bytes
    certificate: bytes | None
    key: PublicKey
    digests: Mapping[str, Mapping[str, bytes]]


class Found(Struct, frozen=True, kw_only=True):
    """A verified entry: its log, and the time that the log signed, if it signed one."""

    log: ReadyLog
    at: datetime | None


def verify_entries(entries: Sequence[LogEntry], signature: Signature, root: ReadyRoot) -> list[Found]:
    """1 to 4 for each entry of a trusted log; raises FailedError `log-entry-invalid` or `log-entry-mismatch`."""
    return [found for entry in entries if (found := _verify(entry, signature, root)) is not None]


def hold(found: Sequence[Found], stamps: Sequence[datetime]) -> list[Found]:
    """5. An entry without a time of its own is judged at every other proven time; without any, its log's window is not known to hold."""
    timed = [item for item in found if item.at is not None and item.log.validity.holds(item.at)]
    times = [*stamps, *(item.at for item in timed if item.at is not None)]
    return timed + [item for item in found if item.at is None and times and all(item.log.validity.holds(moment) for moment in times)]


def _verify(entry: LogEntry, signature: Signature, root: ReadyRoot) -> Found | None:
    logs = [log for log in root.logs if _is_of(entry, log)]  # 1
    if not logs:
        return None
    failures = []
    for log in logs:
        try:
            return _verify_with(entry, signature, log)
        except FailedError as error:
            failures.append(error)
    raise failures[0]


def _is_of(entry: LogEntry, log: ReadyLog) -> bool:
    return entry.log_id == log.log_id or (len(entry.log_id) == 4 and entry.log_id in log.note_ids)


def _verify_with(entry: LogEntry, signature: Signature, log: ReadyLog) -> Found:
    at = None
    if entry.promise:  # 2
        if not log.key.verifies(entry.promise, _promised(entry)):
            raise _invalid("the log's promise (SET) does not verify")
        at = _time(entry.integrated_time) if entry.integrated_time else None
    if entry.proof is not None:  # 3
        _check_inclusion(entry, entry.proof)
        _check_checkpoint(entry.proof, log)
    elif not entry.promise:
        raise _invalid("the log entry has neither promise nor proof")
    _check_body(read_logged(entry, where=""), signature)  # 4
    return Found(log=log, at=at)


def _time(seconds: int) -> datetime:
    if seconds > _LATEST:
        raise _invalid("the log entry's time is no time")
    return datetime.fromtimestamp(seconds, UTC)


def _promised(entry: LogEntry) -> bytes:
    """RFC 8785 JSON of the entry, which is what the log signs; all names and values are ASCII."""
    body = encode_base64(entry.body)
    value = {"body": body, "integratedTime": entry.integrated_time, "logID": entry.log_id.hex(), "logIndex": entry.log_index}
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _check_inclusion(entry: LogEntry, proof: InclusionProof) -> None:
    if proof.log_index >= proof.tree_size:
        raise _invalid("the inclusion proof's index lies outside its tree")
    inner = (proof.log_index ^ (proof.tree_size - 1)).bit_length()
    border = (proof.log_index >> inner).bit_count()
    if len(proof.hashes) != inner + border:
        raise _invalid(f"the inclusion proof has {len(proof.hashes)} hashes, expected {inner + border}")
    node = hashlib.sha256(b"\0" + entry.body).digest()
    for level, sibling in enumerate(proof.hashes):
        # Above `inner` the path runs along the tree's right edge, where every sibling is on the left.
        left = level >= inner or proof.log_index >> level & 1
        node = hashlib.sha256(b"\1" + (sibling + node if left else node + sibling)).digest()
    if node != proof.root_hash:
        raise _invalid("the inclusion proof does not lead to its root hash")


def _check_checkpoint(proof: InclusionProof, log: ReadyLog) -> None:
    text, separator, signatures = proof.checkpoint.partition("\n\n")
    lines = text.split("\n")
    if not separator or len(lines) < 3:
        raise _invalid("the checkpoint is not a signed note")
    origin = _ORIGIN.fullmatch(lines[0])
    if origin is None or (origin[1] != log.host and not origin[2]):
        raise _invalid(f"the checkpoint's origin is {lines[0][:100]!r}, expected {log.host!r}")
    if lines[1] != str(proof.tree_size):
        raise _invalid(f"the checkpoint is of a tree of {lines[1][:20]!r} entries, the proof of {proof.tree_size}")
    if lines[2] != encode_base64(proof.root_hash):
        raise _invalid("the checkpoint states another root hash than the proof")
    if not any(_note_verifies(line, origin[1], f"{text}\n".encode(), log) for line in signatures.split("\n")):
        raise _invalid(f"the checkpoint has no signature of the log {log.host}")


def _note_verifies(line: str, name: str, note: bytes, log: ReadyLog) -> bool:
    match = _SIGNATURE.fullmatch(line)
    if match is None or match[1] != name:
        return False
    try:
        data = base64.b64decode(match[2], validate=True)
    except ValueError:
        return False
    return data[:4] in log.note_ids and log.key.verifies(data[4:], note)


def _check_body(logged: Logged, signature: Signature) -> None:
    if logged.signature != signature.value:
        raise _mismatch("the log entry is of another signature")
    if not _same_key(logged.key, signature):
        raise _mismatch("the log entry names another key or certificate")
    # A v2 entry does not say what it is the hash of; a DSSE envelope is logged there by its pre-authentication encoding.
    over = logged.over or ("pae" if "pae" in signature.digests else "artifact")
    if signature.digests.get(over, {}).get(logged.algorithm) != logged.digest:
        raise _mismatch("the log entry is of another artifact")


def _same_key(logged: LoggedKey, signature: Signature) -> bool:
    if logged.details and logged.details not in key_details(signature.key):
        return False
    try:
        data = logged.data  # PEM in v1, DER in v2
        if data.startswith(b"-----BEGIN CERTIFICATE"):
            data = x509.load_pem_x509_certificate(data).public_bytes(serialization.Encoding.DER)
        elif data.startswith(b"-----BEGIN"):
            key = serialization.load_pem_public_key(data)
            data = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    except ValueError:
        return False
    if signature.certificate is not None:
        return data == signature.certificate
    return hashlib.sha256(data).digest() == signature.key.spki_sha256


def key_details(key: PublicKey) -> tuple[str, ...]:
    """Names of the key's algorithm, the usual one first, in sigstore/protobuf-specs sigstore_common.proto, PublicKeyDetails."""
    match key.key:
        case ec.EllipticCurvePublicKey(curve=curve):
            bits = curve.name.removeprefix("secp").removesuffix("r1")
            sizes = dict.fromkeys((key.hash.removeprefix("sha"), "256", "384", "512"))
            return tuple(f"PKIX_ECDSA_P{bits}_SHA_{size}" for size in sizes)
        case rsa.RSAPublicKey(key_size=size):
            return (f"PKIX_RSA_PKCS1V15_{size}_SHA256",)
        case _:
            return ("PKIX_ED25519", "PKIX_ED25519_PH")


def _invalid(reason: str) -> FailedError:
    return FailedError(codes.LOG_ENTRY_INVALID, reason)


def _mismatch(reason: str) -> FailedError:
    return FailedError(codes.LOG_ENTRY_MISMATCH, reason)
