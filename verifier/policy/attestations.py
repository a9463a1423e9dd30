"""Judging `attested`: an attestation of exactly one type, by one of the trust names, that says what the rule demands.

An attestation counts when

1. its predicate type is exactly the rule's (semantics 8); a signature never counts here,
2. it verifies under one of the trust names, and repository, key, log and root allow it (claims.claim_problems),
3. what a build job could forge agrees with the certificate: source repository and ref (slsa-verifier does the same),
4. the conditions on build provenance hold (slsa.dev, "Verifying artifacts"),
5. the conditions on other predicates hold (predicates.py), and the requirement's own expression.
"""

from __future__ import annotations

from collections.abc import Iterator

from verifier.attest.predicates import Provenance, read_provenance
from verifier.model import codes
from verifier.model.claim import Attestation, CertificateSigner, Claim
from verifier.model.decision import Check
from verifier.policy.case import Case
from verifier.policy.claims import Problem, Wanted, by_names, claim_problems, expression_problems, judge, named
from verifier.policy.document import Attested, BuildConditions
from verifier.policy.predicates import failed_condition


def check_attested(requirement: Attested, case: Case, name: str) -> Check:
    """Passed by any attestation that counts; otherwise the most telling reason."""
    what = f"attestation {requirement.predicate_type} by {' or '.join(requirement.by)}"
    wanted = Wanted(
        requirement=requirement,
        what=what,
        candidate=lambda claim: _candidate(claim, requirement),
        problems=lambda claim: _problems(claim, requirement, case),
        passed=lambda claim: f"attested {by_names(requirement, claim)}",
        missing=(codes.ATTESTATION_MISSING, f"expected an {what}; none is attached"),
        kind=Attestation,
    )
    return judge(wanted, case, name)


def _candidate(claim: Claim, requirement: Attested) -> bool:  # 1, 2
    kind = claim.kind
    return isinstance(kind, Attestation) and kind.predicate_type == requirement.predicate_type and named(requirement, claim)


def _problems(claim: Claim, requirement: Attested, case: Case) -> Iterator[Problem]:
    yield from claim_problems(claim, requirement, case)
    provenance = _provenance_problem(claim, requirement)
    if provenance is not None:
        yield provenance
    if (failed := failed_condition(requirement, claim, case.now)) is not None:
        yield codes.ATTESTATION_CONDITION, failed
    yield from expression_problems(claim, requirement, case)


def _provenance_problem(claim: Claim, requirement: Attested) -> Problem | None:
    assert isinstance(claim.kind, Attestation)
    provenance = read_provenance(claim.kind.predicate_type, claim.kind.predicate)
    if provenance is None:
        return (codes.ATTESTATION_CONDITION, "the provenance is malformed or too large to be read") if requirement.build is not None else None
    if isinstance(claim.signer, CertificateSigner) and (forged := next(_forged(provenance, claim.signer), None)) is not None:
        return codes.ATTESTATION_FORGED, forged
    failed = next(_failed(provenance, requirement.build), None) if requirement.build is not None else None
    return (codes.ATTESTATION_CONDITION, failed) if failed is not None else None


def _forged(provenance: Provenance, signer: CertificateSigner) -> Iterator[str]:  # 3
    for name, said, certified in (
        ("source repository", provenance.source_repository, signer.source_repository),
        ("ref", provenance.ref, signer.extensions.get("sourceRepositoryRef", "")),
    ):
        if said and certified and said != certified:
            yield f"the provenance names the {name} {said!r}, the certificate {certified!r}"


def _failed(provenance: Provenance, wanted: BuildConditions) -> Iterator[str]:  # 4
    for name, pattern, found in (
        ("builder", wanted.builder, provenance.builder),
        ("build type", wanted.build_type, provenance.build_type),
        ("ref", wanted.ref, provenance.ref),
    ):
        if pattern is not None and not (found and pattern.matches(found)):
            yield f"its {name} is {found!r}, expected {pattern.text!r}"
    if wanted.source_repository is not None and provenance.source_repository != wanted.source_repository:
        yield f"its source repository is {provenance.source_repository!r}, expected {wanted.source_repository!r}"
    yield from _failed_parameters(provenance, wanted)


def _failed_parameters(provenance: Provenance, wanted: BuildConditions) -> Iterator[str]:
    if wanted.parameters is None:
        return
    named = dict(wanted.parameters)
    for path, pattern in named.items():
        found = provenance.parameters.get(path, "")
        if not pattern.matches(found):
            yield f"its parameter {path} is {found!r}, expected {pattern.text!r}"
    for path in provenance.parameters:
        if path not in named and not wanted.other_parameters:
            yield f"it has the parameter {path}, which the rule does not name (otherParameters: allow)"
