"""Verifying one sigstore bundle over any file or digest: the recipe, and who is trusted; no registry and no policy file.

1. The recipe: signature, time, logs (schemes.sigstore.recipe).
2. An envelope holds an in-toto statement, and one of its subjects is the file.
3. The signer is one that the trust flags name, under the same rules as in a policy.
"""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from verifier.attest.bundle import read_bundle
from verifier.attest.dsse import IN_TOTO, Envelope
from verifier.attest.statement import read_statement
from verifier.model import codes
from verifier.model.claim import CertificateSigner, Claim, Form, Role, Signature
from verifier.model.digest import Digest
from verifier.model.errors import FailedError, MisuseError
from verifier.model.evidence import Kind, Location
from verifier.operations.policies import LoadedPolicy
from verifier.policy.claims import attributed, key_problems, why_not
from verifier.policy.document import Signed as SignedRequirement
from verifier.policy.document import walk
from verifier.schemes.sigstore.recipe import Signed
from verifier.schemes.sigstore.verify import NAME, Proof, prove


class Blob(Struct, frozen=True, kw_only=True):
    """What was accepted: the claim, and what the envelope's statement says it is (None for a plain signature)."""

    claim: Claim
    predicate_type: str | None


def verify_blob(signed: Signed, bundle: bytes, loaded: LoadedPolicy, where: str) -> Blob:
    """Accept a bundle over `signed`; raises FailedError with the reason, or MisuseError when the flags name signers of several kinds."""
    requirements = [node for rule in loaded.policy.rules for node in walk(rule.require) if isinstance(node, SignedRequirement)]
    if len(requirements) != 1:
        raise MisuseError(codes.USAGE, "one bundle has one signature: name keys or a keyless identity, not both, and no OpenPGP keyring")
    read = read_bundle(bundle, where=where)
    proofs = prove(read, signed, loaded.trust)  # 1
    predicate_type = _predicate_type(read.content.payload_type, read.content.payload, signed, where) if isinstance(read.content, Envelope) else None  # 2
    return Blob(claim=_trusted(proofs, signed, requirements[0], loaded, datetime.now(UTC)), predicate_type=predicate_type)


def _predicate_type(payload_type: str, payload: bytes, signed: Signed, where: str) -> str:
    if payload_type != IN_TOTO:
        raise FailedError(codes.BUNDLE_MALFORMED, f"payloadType is {payload_type[:100]!r}, expected {IN_TOTO}", where=where)
    statement = read_statement(payload, where=where)
    if statement.subject_of([_digest(signed)]) is None:
        raise FailedError(codes.SUBJECT_MISMATCH, "the statement is of other files", where=where)
    return statement.predicate_type


def _trusted(proofs: list[Proof], signed: Signed, requirement: SignedRequirement, loaded: LoadedPolicy, now: datetime) -> Claim:  # 3
    claims = [attributed(loaded.policy, _claim(proof, signed)) for proof in proofs]
    for claim in claims:
        if not claim.anchors.isdisjoint(requirement.by):
            problem = next(key_problems(claim, requirement, loaded.policy, now), None)
            if problem is None:
                return claim
            raise FailedError(*problem)
    raise FailedError(codes.IDENTITY_MISMATCH, f"signed by {claims[0].signer}: {_why(claims[0], loaded)}")


def _why(claim: Claim, loaded: LoadedPolicy) -> str:
    signer = claim.signer
    reasons = [why_not(entry, signer) for entry in loaded.policy.trust if entry.identity is not None and isinstance(signer, CertificateSigner)]
    return next((reason for reason in reasons if reason), "not a signer that is trusted")


def _claim(proof: Proof, signed: Signed) -> Claim:
    return Claim(
        scheme=NAME,
        kind=Signature(form=Form.MESSAGE),
        signer=proof.signer,
        anchors=proof.anchors,
        role=Role.ARCHIVE,
        digest=_digest(signed),
        location=Location(kind=Kind.FILE, where="bundle"),
        times=proof.vouched.times,
        logs=proof.vouched.logs,
    )


def _digest(signed: Signed) -> Digest:
    return Digest("sha256", signed.sha256.hex())
