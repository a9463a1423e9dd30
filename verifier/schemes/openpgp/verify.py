"""Verifying a `.prov` file: clear-signed text that binds a chart's metadata and its archive's hash to a signer.

1. Clear-sign gate: exactly one clean message (charts.clearsign).
2. The signature packets, each judged on its own: one bad or foreign signature neither helps nor hides another.
3. Text or binary document signature, with a hash that is not broken.
4. The issuer is a certificate of an OpenPGP anchor, and one of the fingerprints that the anchor names.
5. The signature verifies over the canonical text (RFC 9580), under the library's policy for hashes, keys and flags.
6. The verified bytes, and nothing else, are read as provenance and bound to the archive (semantics 4).

Time is left to the policy: the claim carries the signer's own time, the key's expiry and whether it was revoked. The
library refuses hard revocations and expired signatures by itself; the clock is read here only to name that reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pysequoia
from msgspec import Struct
from pysequoia import packet

from verifier.charts.clearsign import ClearSigned, read_clearsigned
from verifier.charts.provenance import check_provenance, read_provenance
from verifier.model import codes, limits
from verifier.model.artifact import Artifact, Chart, OciImage
from verifier.model.claim import Claim, Clock, Form, OpenPGPSigner, Rejection, Role, Signature, SigningTime
from verifier.model.digest import sha256
from verifier.model.errors import FailedError, first_line
from verifier.model.evidence import Evidence, Location
from verifier.schemes.openpgp.certificates import Certificate, Key, read_keyring
from verifier.schemes.openpgp.packets import with_exact_numbers
from verifier.trust.anchors import OPENPGP, Anchor, TrustMaterial

NAME = "openpgp"
PROVENANCE_MEDIA_TYPE = "application/vnd.cncf.helm.chart.provenance.v1.prov"
_WEAK_HASHES = (packet.HashAlgorithm.MD5, packet.HashAlgorithm.SHA1, packet.HashAlgorithm.RipeMD)
_DOCUMENT = (packet.SignatureType.Text, packet.SignatureType.Binary)


class OpenPGPScheme:
    """The scheme `openpgp`; total on data."""

    name = NAME

    def verify(self, evidence: Evidence, artifact: Artifact, trust: TrustMaterial) -> tuple[Claim | Rejection, ...]:
        """One claim or rejection for each signature in the message."""
        where = evidence.location.where
        if isinstance(artifact, OciImage):
            reason = "a .prov speaks of charts, and this is an image"
            return (Rejection(scheme=NAME, code=codes.EVIDENCE_FOREIGN, reason=reason, location=evidence.location),)
        try:
            message = read_clearsigned(evidence.payload, where=where)  # 1
            packets = _signatures(message.signature, where)  # 2
        except FailedError as error:
            return (Rejection(scheme=NAME, code=error.code, reason=error.reason, location=evidence.location),)
        return tuple(_verify_one(item, message, artifact, trust, evidence.location) for item in packets)


def _signatures(data: bytes, where: str) -> list[packet.Packet]:
    try:
        packets = list(packet.PacketPile.from_bytes(with_exact_numbers(data)))
        foreign = any(item.tag != packet.Tag.Signature for item in packets)
    except Exception as error:  # pysequoia's errors share no base class
        raise FailedError(codes.PROVENANCE_MALFORMED, f"not OpenPGP packets: {first_line(error)}", where=where) from error
    if foreign:
        raise FailedError(codes.PROVENANCE_MALFORMED, "the armor holds more than signatures", where=where)
    if not 1 <= len(packets) <= limits.SIGNATURES:
        raise FailedError(codes.PROVENANCE_MALFORMED, f"{len(packets)} signatures, expected 1 to {limits.SIGNATURES}", where=where)
    return packets


class _Said(Struct, frozen=True, kw_only=True):
    """What a signature packet says of itself; `issuer` is lower-case hex, and as untrusted as the rest."""

    data: bytes
    kind: packet.SignatureType | None
    hash: packet.HashAlgorithm | None
    issuer: str
    created: datetime | None
    ends: datetime | None


def _read(item: packet.Packet) -> _Said:
    """Read once, here: the library raises for every value that it does not know, whichever field it is in."""
    try:
        return _Said(
            data=bytes(item),
            kind=item.signature_type,
            hash=item.hash_algorithm,
            issuer=str(item.issuer_fingerprint or item.issuer_key_id or ""),
            created=item.signature_created,
            ends=item.signature_expiration_time,
        )
    except Exception as error:
        raise FailedError(codes.PROVENANCE_MALFORMED, f"a signature that cannot be read: {first_line(error)}") from error


def _verify_one(found: packet.Packet, message: ClearSigned, artifact: Chart, trust: TrustMaterial, location: Location) -> Claim | Rejection:
    issuer = ""
    try:
        item = _read(found)
        issuer = item.issuer
        _check_signature(item)  # 3
        signer = _find(issuer, trust)  # 4
        signing_key = _verify_text(item, message, signer.certificate)  # 5
        text = bytes(message.canonical).decode("utf-8")  # 6: the very bytes that verified
        # A layer may be named by another hash than Helm writes, which is SHA-256 always.
        archive = artifact.archive_digest if artifact.archive_digest.algorithm == "sha256" else sha256(artifact.archive)
        check_provenance(read_provenance(text, where=location.where), artifact.facts, archive, where=location.where)
    except FailedError as error:
        return Rejection(scheme=NAME, code=error.code, reason=error.reason, location=location, signer=f"OpenPGP {issuer.upper()}" if issuer else None)
    return _claim(item, signing_key, signer, artifact, location)


def _check_signature(item: _Said) -> None:
    if item.kind not in _DOCUMENT:
        raise FailedError(codes.OPENPGP_BAD_SIGNATURE, f"a signature of type {item.kind}, not over a document")
    if item.hash in _WEAK_HASHES:
        raise FailedError(codes.OPENPGP_WEAK, f"the signature uses {str(item.hash).rpartition('.')[2]}")


class _Signer(Struct, frozen=True):
    """A certificate, and the names of the anchors under which it counts."""

    certificate: Certificate
    anchors: frozenset[str]


def _find(issuer: str, trust: TrustMaterial) -> _Signer:
    """The certificate that holds the issuing key, and the anchors under which it counts; a revoked copy beats others."""
    holding = [(anchor, cert) for anchor, cert in _certificates(trust.of_kind(OPENPGP)) if cert.key(issuer) is not None]
    if not holding:
        raise FailedError(codes.OPENPGP_UNKNOWN_KEY, f"signed by key {issuer.upper()}, which no keyring of the policy holds")
    named = [(anchor, cert) for anchor, cert in holding if anchor.any_key or cert.fingerprint in anchor.fingerprints]
    if not named:
        unnamed = holding[0][1].fingerprint
        raise FailedError(codes.OPENPGP_UNKNOWN_KEY, f"signed by {unnamed}, which is in a keyring but not among the fingerprints that the policy names")
    certificate = next((cert for _, cert in named if cert.revoked), named[0][1])
    return _Signer(certificate, frozenset(anchor.name for anchor, cert in named if cert.fingerprint == certificate.fingerprint))


def _certificates(anchors: Sequence[Anchor]) -> Iterator[tuple[Anchor, Certificate]]:
    for anchor in anchors:
        for certificate in read_keyring(anchor.data):
            yield anchor, certificate


def _verify_text(item: _Said, message: ClearSigned, certificate: Certificate) -> Key:
    try:
        result = pysequoia.verify(
            bytes=message.canonical,
            store=lambda _ids: [certificate.handle],
            signature=pysequoia.Sig.from_bytes(item.data),
        )
    except Exception as error:  # pysequoia tells only "no valid signatures found"
        raise _why(item, certificate, first_line(error)) from error
    for valid in result.valid_sigs:
        key = certificate.key(valid.signing_key)
        if key is not None and valid.certificate.upper() == certificate.fingerprint and not key.weak:
            return key
    raise _why(item, certificate, "the signing key does not belong to the certificate")


def _why(item: _Said, certificate: Certificate, reason: str) -> FailedError:
    """The likeliest reason for a signature that did not verify, most telling first."""
    now = datetime.now(UTC)
    issuer, created, ends = item.issuer, item.created, item.ends
    key = certificate.key(issuer)
    if key is not None and key.weak:
        return FailedError(codes.OPENPGP_WEAK, f"the key {issuer.upper()} is RSA with {key.rsa_bits} bits, expected at least 2048")
    if key is not None and key.unsupported_curve:
        return FailedError(codes.OPENPGP_UNSUPPORTED, f"the key {issuer.upper()} lies on a curve that this version cannot verify")
    if certificate.revoked or (key is not None and key.revoked):
        return FailedError(codes.OPENPGP_KEY_REVOKED, f"the key {certificate.fingerprint} was revoked")
    if ends is not None and ends <= now:
        return FailedError(codes.OPENPGP_EXPIRED_SIGNATURE, f"the signature expired at {ends.isoformat()}")
    if created is not None and created > now + timedelta(seconds=limits.CLOCK_SKEW_SECONDS):
        return FailedError(codes.OPENPGP_FUTURE, f"the signature is dated {created.isoformat()}")
    return FailedError(codes.OPENPGP_BAD_SIGNATURE, f"the signature of {certificate.fingerprint} does not verify: {reason}")


def _claim(item: _Said, key: Key, signer: _Signer, artifact: Chart, location: Location) -> Claim:
    created, certificate = item.created, signer.certificate
    expiries = [moment for moment in (certificate.expires, key.expires) if moment is not None]
    return Claim(
        scheme=NAME,
        kind=Signature(form=Form.PROVENANCE),
        signer=OpenPGPSigner(fingerprint=certificate.fingerprint, signing_key=key.fingerprint.upper(), user_id=certificate.user_id, key_id=key.plain_id),
        anchors=signer.anchors,
        role=Role.ARCHIVE,
        digest=artifact.archive_digest,
        location=location,
        times=(SigningTime(at=created, clock=Clock.SIGNER),) if created is not None else (),
        key_expires=min(expiries, default=None),
        key_revoked=certificate.revoked or key.revoked,
    )
