"""Verify what sigstore's clients write: bundles, and cosign's old layers, signed with keys or certificates.

1. Read the bundle (attest.bundle), or the layer as one (attest.cosign).
2. With a key hint, find the key among the anchors: a hint helps to order them and proves nothing. With certificates, try each
   trusted root: the claim names the root, and the policy decides whose identity counts.
3. An envelope holds an in-toto statement; its payload type is exact (attest.statement).
4. One of its subjects is the chart's manifest or archive (semantics 5). A simple signing payload names the manifest; a plain
   message signature must be over the manifest's bytes.
5. The signature, the time and those who vouch for both: recipe.py.

A statement of cosign's sign predicate is a signature; any other verified statement is an attestation and never satisfies
`signed` (semantics 8). Nothing here imports the `sigstore` package: verification is ours alone (ADR 8).
"""

from __future__ import annotations

from msgspec import Struct

from verifier.attest.bundle import Bundle, Certificates, PublicKeyHint, read_bundle
from verifier.attest.cosign import LAYERS, SIMPLE_SIGNING, SimpleSigning, read_layer, read_simple_signing
from verifier.attest.dsse import IN_TOTO, Envelope
from verifier.attest.statement import SIGN_PREDICATE, Statement, read_statement
from verifier.model import codes
from verifier.model.artifact import Artifact, ChartFile, OciImage, RepositoryChart
from verifier.model.claim import Attestation, Claim, Form, KeySigner, Rejection, Role, Signature, Signer
from verifier.model.digest import Digest
from verifier.model.errors import FailedError, MisuseError
from verifier.model.evidence import Evidence
from verifier.model.reference import SCHEME, parse_oci
from verifier.schemes.sigstore.recipe import Signed, Vouched, check_digest, signature_holds
from verifier.signers.public import PublicKey, load_public_key
from verifier.trust.anchors import KEY, ROOT, Anchor, TrustMaterial

NAME = "sigstore"


class _Said(Struct, frozen=True, kw_only=True):
    """What the content says, if the signature holds."""

    kind: Signature | Attestation
    digest: Digest
    repository: str | None


class Proof(Struct, frozen=True, kw_only=True):
    """Who signed, under which trust entries, and what vouches for it."""

    signer: Signer
    anchors: frozenset[str]
    vouched: Vouched


class SigstoreScheme:
    """The scheme `sigstore`; total on data."""

    name = NAME

    def verify(self, evidence: Evidence, artifact: Artifact, trust: TrustMaterial) -> tuple[Claim | Rejection, ...]:
        """A claim for the key, or for each root, under which the signature holds; else one rejection."""
        signer: str | None = None
        try:
            bundle = _read(evidence)  # 1
            signed = _signed(evidence, artifact)
            proofs = prove(bundle, signed, trust)  # 2, 5
            signer = str(proofs[0].signer)
            said = _content(bundle, evidence, artifact)  # 3, 4
        except FailedError as error:
            return (Rejection(scheme=NAME, code=error.code, reason=error.reason, location=evidence.location, signer=signer),)
        return tuple(_claim(said, proof, artifact, evidence) for proof in proofs)


def _read(evidence: Evidence) -> Bundle:
    where = evidence.location.where
    if evidence.media_type in LAYERS:
        return read_layer(evidence.media_type, evidence.payload, evidence.annotations, where=where)
    return read_bundle(evidence.payload, where=where)


def _signed(evidence: Evidence, artifact: Artifact) -> Signed:
    """What a message signature must be over."""
    if evidence.media_type == SIMPLE_SIGNING:
        return Signed.of(evidence.payload)
    return Signed.of(artifact.archive if isinstance(artifact, ChartFile | RepositoryChart) else artifact.manifest)


def prove(bundle: Bundle, signed: Signed, trust: TrustMaterial) -> list[Proof]:
    """Who signed, under the key or under each root that proves it; raises FailedError. The recipe and nothing else (2, 5)."""
    check_digest(bundle.content, signed)
    match bundle.material:
        case PublicKeyHint(hint):
            return [_by_key(bundle, signed, hint, trust)]
        case Certificates():
            return _by_certificate(bundle, signed, trust)


def _by_key(bundle: Bundle, signed: Signed, hint: str, trust: TrustMaterial) -> Proof:
    keys = [(anchor, load_public_key(anchor.data)) for anchor in trust.of_kind(KEY)]
    if len(keys) > 1:
        keys.sort(key=lambda item: item[1].hint != hint)
    found = next((key for _, key in keys if signature_holds(bundle.content, signed, key)), None)
    if found is None:
        tried = f"{len(keys)} trusted key{'s' if len(keys) != 1 else ''} tried" if keys else "the policy trusts no public key"
        raise FailedError(codes.KEY_UNKNOWN, f"no trusted key verifies it ({tried}; the signature's hint is {hint[:60]!r})")
    anchors = [anchor for anchor, key in keys if key.spki_sha256 == found.spki_sha256]
    return Proof(
        signer=KeySigner(key_id=found.key_id, algorithm=found.algorithm),
        anchors=frozenset(anchor.name for anchor in anchors),
        vouched=_vouched(bundle, signed, found, [root for root in trust.of_kind(ROOT) if root.name in {anchor.root for anchor in anchors}]),
    )


def _vouched(bundle: Bundle, signed: Signed, key: PublicKey, roots: list[Anchor]) -> Vouched:
    if not roots or not (bundle.entries or bundle.timestamps):
        return Vouched()
    from verifier.schemes.sigstore.certified import vouch_for_key

    found = [vouch_for_key(bundle, signed, key, root) for root in roots]
    return Vouched(times=tuple(time for item in found for time in item.times), logs=max(item.logs for item in found))


def _by_certificate(bundle: Bundle, signed: Signed, trust: TrustMaterial) -> list[Proof]:
    roots = trust.of_kind(ROOT)
    if not roots:
        raise FailedError(codes.CERTIFICATE_UNTRUSTED, "signed with a certificate, and the policy trusts no keyless identity")
    from verifier.schemes.sigstore.certified import verify_certified

    proofs, failures = [], []
    for root in roots:
        try:
            certified = verify_certified(bundle, signed, root)
        except FailedError as error:
            failures.append(error)
        else:
            proofs.append(Proof(signer=certified.signer, anchors=frozenset(), vouched=certified.vouched))
    if not proofs:  # the most telling reason: the one of the root that issued the certificate
        raise min(failures, key=lambda error: error.code is codes.CERTIFICATE_UNTRUSTED)
    return proofs


def _content(bundle: Bundle, evidence: Evidence, artifact: Artifact) -> _Said:
    where = evidence.location.where
    if isinstance(bundle.content, Envelope):
        if bundle.content.payload_type != IN_TOTO:  # 3
            raise FailedError(codes.BUNDLE_MALFORMED, f"payloadType is {bundle.content.payload_type[:100]!r}, expected {IN_TOTO}")
        return _statement(read_statement(bundle.content.payload, where=where), artifact)
    if evidence.media_type == SIMPLE_SIGNING:
        return _simple(read_simple_signing(evidence.payload, where=where), artifact)
    return _Said(kind=Signature(form=Form.MESSAGE), digest=artifact.digests[0], repository=None)


def _statement(statement: Statement, artifact: Artifact) -> _Said:  # 4
    found = statement.subject_of(artifact.digests)
    if found is None:
        spoken = next(iter(statement.subjects[0].digest.items()), ("", ""))
        expected = " or ".join(digest.short for digest in artifact.digests)
        raise FailedError(codes.SUBJECT_MISMATCH, f"it signs {spoken[0]}:{spoken[1][:16]}..., expected {expected}...")
    subject, digest = found
    repository = _repository(subject.name.removeprefix(SCHEME)) if subject.name.startswith(SCHEME) else None
    return _Said(kind=_kind(statement), digest=digest, repository=repository)


def _simple(payload: SimpleSigning, artifact: Artifact) -> _Said:  # 4
    if payload.digest not in artifact.digests:
        raise FailedError(codes.SUBJECT_MISMATCH, f"it signs {payload.digest.short}..., expected {artifact.digests[0].short}...")
    repository = _repository(payload.repository) if payload.repository else None
    return _Said(kind=Signature(form=Form.SIMPLE_SIGNING), digest=payload.digest, repository=repository)


def _kind(statement: Statement) -> Signature | Attestation:
    if statement.predicate_type == SIGN_PREDICATE:
        return Signature(form=Form.STATEMENT)
    return Attestation(predicate_type=statement.predicate_type, predicate=statement.predicate)


def _repository(named: str) -> str:
    """The repository that the content names, canonical; a name that is none binds to nothing that exists."""
    try:
        return parse_oci(f"{SCHEME}{named}").name
    except MisuseError:
        return named


def _claim(said: _Said, proof: Proof, artifact: Artifact, evidence: Evidence) -> Claim:
    return Claim(
        scheme=NAME,
        kind=said.kind,
        signer=proof.signer,
        anchors=proof.anchors,
        role=Role.MANIFEST if isinstance(artifact, OciImage) or said.digest != artifact.archive_digest else Role.ARCHIVE,
        digest=said.digest,
        location=evidence.location,
        times=proof.vouched.times,
        logs=proof.vouched.logs,
        repository=said.repository,
    )
