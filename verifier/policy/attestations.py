"""Judging `attested`: an attestation of exactly one type, by one of the trust names, that says what the rule demands.

An attestation counts when

1. its predicate type is exactly the rule's (semantics 8); a signature never counts here,
2. it verifies under one of the trust names, and repository, key, log and root allow it (signatures.claim_problem),
3. what a build job could forge agrees with the certificate: source repository and ref (slsa-verifier does the same),
4. the conditions on build provenance hold (slsa.dev, "Verifying artifacts").
"""

from __future__ import annotations

from collections.abc import Iterator

from verifier.attest.predicates import Provenance, read_provenance
from verifier.model import codes
from verifier.model.claim import Attestation, CertificateSigner, Claim
from verifier.model.codes import Code
from verifier.model.decision import Check, Result
from verifier.policy.case import Case
from verifier.policy.document import Attested, BuildConditions
from verifier.policy.signatures import claim_problem, near_misses

_Problem = tuple[Code, str]


def check_attested(requirement: Attested, case: Case, name: str) -> Check:
    """Passed by any attestation that counts; otherwise the most telling reason."""
    children: list[Check] = []
    for index, claim in enumerate(case.claims):
        if not _candidate(claim, requirement):
            continue
        problem = claim_problem(claim, requirement, case) or _provenance_problem(claim, requirement)
        if problem is None:
            reason = f"attested by {' or '.join(sorted(claim.anchors & set(requirement.by)))}: {claim.signer}"
            return Check(name=name, outcome=Result.PASSED, reason=reason, action=requirement.action, claims=(index,), children=tuple(children))
        children.append(Check(name=str(claim.signer), outcome=Result.FAILED, reason=problem[1], code=problem[0], claims=(index,)))
    children += near_misses(requirement, case, Attestation)
    return _unsatisfied(requirement, case, name, children)


def _candidate(claim: Claim, requirement: Attested) -> bool:  # 1, 2
    kind = claim.kind
    return isinstance(kind, Attestation) and kind.predicate_type == requirement.predicate_type and not claim.anchors.isdisjoint(requirement.by)


def _unsatisfied(requirement: Attested, case: Case, name: str, children: list[Check]) -> Check:
    wanted = f"{requirement.predicate_type} by {' or '.join(requirement.by)}"
    gap = next(iter(case.facts.gaps), None)
    if gap is not None:
        reason = f"no attestation {wanted} among what could be read; {gap.where}: {gap.reason}"
        return Check(name=name, outcome=Result.INCONCLUSIVE, reason=reason, code=gap.code, action=requirement.action, children=tuple(children))
    reason, code = (children[0].reason, children[0].code) if children else (f"expected an attestation {wanted}; none is attached", codes.ATTESTATION_MISSING)
    return Check(name=name, outcome=Result.FAILED, reason=reason, code=code, action=requirement.action, children=tuple(children))


def _provenance_problem(claim: Claim, requirement: Attested) -> _Problem | None:
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
