"""Verifying a bundle that a key signed.

1. The bundle is well-formed and signed by a key, not a certificate (certificates: not judged yet, never counted).
2. DSSE: payloadType is in-toto; the signature is some anchor's over the PAE. The hint orders the search, nothing else.
3. The statement is well-formed, and one of its subjects carries the manifest's or the archive's digest (semantics 5).
4. predicateType SIGN_PREDICATE exactly makes a signature; any other makes an attestation, which never counts as one.
5. A plain message signature is a signature over the manifest's (or the file's) bytes, of the form `message`.

Left out: log entries and timestamps. A key's signature does not need them; no signing time is claimed without them.
Source: sigstore/architecture-docs client-spec.md section 4, sigstore/cosign specs/BUNDLE_SPEC.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from verifier.attest.bundle import Bundle, Certificates, MessageSignature, PublicKeyHint, read_bundle
from verifier.attest.dsse import IN_TOTO, Envelope, pae
from verifier.attest.statement import SIGN_PREDICATE, Statement, Subject, read_statement
from verifier.model import codes
from verifier.model.artifact import Artifact, OciChart
from verifier.model.claim import Attestation, Claim, Form, KeySigner, Rejection, Role, Signature
from verifier.model.digest import Digest
from verifier.model.errors import FailedError, MisuseError
from verifier.model.evidence import Evidence
from verifier.model.reference import SCHEME, parse_oci
from verifier.signers.public import PublicKey, load_public_key
from verifier.trust.anchors import KEY, TrustMaterial

NAME = "sigstore"
# sigstore/protobuf-specs sigstore_common.proto HashAlgorithm; larger curves come with larger hashes.
_MESSAGE_HASHES = {"SHA2_256": "sha256", "SHA2_384": "sha384", "SHA2_512": "sha512"}


class SigstoreScheme:
    """The scheme `sigstore`; total on data."""

    name = NAME

    def verify(self, evidence: Evidence, artifact: Artifact, trust: TrustMaterial) -> tuple[Claim | Rejection, ...]:
        """One claim or rejection."""
        where = evidence.location.where
        signer: str | None = None
        try:
            bundle = read_bundle(evidence.payload, where=where)  # 1
            hint = _hint(bundle)
            key, anchors = _find_key(bundle.content, artifact, hint, trust)  # 2, 5
            signer = f"key {key.key_id}"
            return (_claim(bundle.content, key, anchors, artifact, evidence),)  # 3, 4
        except FailedError as error:
            return (Rejection(scheme=NAME, code=error.code, reason=error.reason, location=evidence.location, signer=signer),)


def _hint(bundle: Bundle) -> str:
    match bundle.material:
        case PublicKeyHint(hint):
            return hint
        case Certificates():
            raise FailedError(codes.BUNDLE_UNSUPPORTED, "signed with a certificate, which this version does not judge")


def _find_key(content: Envelope | MessageSignature, artifact: Artifact, hint: str, trust: TrustMaterial) -> tuple[PublicKey, frozenset[str]]:
    verifies = _verifier(content, artifact)
    keys = [(anchor.name, load_public_key(anchor.data)) for anchor in trust.of_kind(KEY)]
    keys.sort(key=lambda item: item[1].hint != hint)
    found = next((key for _, key in keys if verifies(key)), None)
    if found is None:
        tried = f"{len(keys)} trusted key{'s' if len(keys) != 1 else ''} tried" if keys else "the policy trusts no public key"
        raise FailedError(codes.KEY_UNKNOWN, f"no trusted key verifies it ({tried}; the signature's hint is {hint[:60]!r})")
    return found, frozenset(name for name, key in keys if key.spki_sha256 == found.spki_sha256)


def _verifier(content: Envelope | MessageSignature, artifact: Artifact) -> Callable[[PublicKey], bool]:
    match content:
        case Envelope():
            if content.payload_type != IN_TOTO:
                raise FailedError(codes.BUNDLE_MALFORMED, f"payloadType is {content.payload_type[:100]!r}, expected {IN_TOTO}")
            message = pae(content.payload_type, content.payload)
            return lambda key: key.verifies(content.signature, message)
        case MessageSignature():
            data = artifact.manifest if isinstance(artifact, OciChart) else artifact.archive
            algorithm = _MESSAGE_HASHES.get(content.algorithm)
            if algorithm is None or hashlib.new(algorithm, data).digest() != content.digest:
                raise FailedError(codes.SUBJECT_MISMATCH, "the message signature is over other bytes")
            return lambda key: key.verifies(content.signature, data)


def _claim(content: Envelope | MessageSignature, key: PublicKey, anchors: frozenset[str], artifact: Artifact, evidence: Evidence) -> Claim:
    kind: Signature | Attestation
    match content:
        case MessageSignature():
            kind, digest, repository = Signature(form=Form.MESSAGE), artifact.digests[0], None
        case Envelope():
            statement = read_statement(content.payload, where=evidence.location.where)
            subject, digest = _subject(statement, artifact)
            kind, repository = _kind(statement), _repository(subject)
    return Claim(
        scheme=NAME,
        kind=kind,
        signer=KeySigner(key_id=key.key_id, algorithm=key.algorithm),
        anchors=anchors,
        role=Role.ARCHIVE if digest == artifact.archive_digest else Role.MANIFEST,
        digest=digest,
        location=evidence.location,
        repository=repository,
    )


def _subject(statement: Statement, artifact: Artifact) -> tuple[Subject, Digest]:
    found = statement.subject_of(artifact.digests)
    if found is None:
        spoken = next(iter(statement.subjects[0].digest.items()), ("", ""))
        raise FailedError(
            codes.SUBJECT_MISMATCH, f"it signs {spoken[0]}:{spoken[1][:16]}..., expected {' or '.join(digest.short for digest in artifact.digests)}..."
        )
    return found


def _kind(statement: Statement) -> Signature | Attestation:
    if statement.predicate_type == SIGN_PREDICATE:
        return Signature(form=Form.STATEMENT)
    return Attestation(predicate_type=statement.predicate_type, predicate=statement.predicate)


def _repository(subject: Subject) -> str | None:
    """The repository that a subject of ours names, canonical; a name that is none binds to nothing that exists."""
    if not subject.name.startswith(SCHEME):
        return None
    try:
        return parse_oci(subject.name).name
    except MisuseError:
        return subject.name
