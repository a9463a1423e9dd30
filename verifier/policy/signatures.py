"""Judging `signed` and `atLeast`: which claims count, and how many distinct principals stand behind them.

A claim counts for a `signed` requirement when

1. it is a signature in a form that the requirement takes (semantics 8),
2. it verifies under one of the trust names, and repository, key, log and root allow it (claims.claim_problems),
3. it is not older than the rule's `maxAge`, by a clock that the rule believes,
4. the requirement's own expression holds for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from verifier.model import codes
from verifier.model.claim import CertificateSigner, Claim, OpenPGPSigner, Signature
from verifier.model.decision import Check, Result
from verifier.model.evidence import Kind
from verifier.policy.case import Case
from verifier.policy.claims import Problem, Wanted, by_names, claim_problems, expression_problems, judge, named
from verifier.policy.document import AtLeast, Signed


def check_signed(requirement: Signed, case: Case, name: str) -> Check:
    """Passed by any claim that counts; otherwise the most telling reason."""
    wanted = Wanted(
        requirement=requirement,
        what=f"signature by {' or '.join(requirement.by)}",
        candidate=lambda claim: _candidate(claim, requirement),
        problems=lambda claim: _problems(claim, requirement, case),
        passed=lambda claim: f"signed {by_names(requirement, claim)}",
        missing=_missing(requirement, case),
        kind=Signature,
    )
    return judge(wanted, case, name)


def check_at_least(requirement: AtLeast, case: Case, name: str, children: Sequence[Check]) -> Check:
    """A matching of passed branches to distinct principals (semantics 10), not a count of signatures."""
    principals = _principals(case.claims)
    slots = [_satisfying(child, case, principals) for child in requirement.of if isinstance(child, Signed)]
    matched = _matching(slots)
    possible = matched + sum(child.outcome is Result.INCONCLUSIVE for child in children)
    found = f"{matched} of {requirement.count} distinct signers"
    claims = tuple(index for child in children for index in child.claims)
    if matched >= requirement.count:
        return Check(name=name, outcome=Result.PASSED, reason=found, action=requirement.action, claims=claims, children=tuple(children))
    outcome = Result.INCONCLUSIVE if possible >= requirement.count else Result.FAILED
    unclear = next((child.code for child in children if child.outcome is Result.INCONCLUSIVE), None)
    code = unclear if outcome is Result.INCONCLUSIVE else codes.THRESHOLD
    return Check(name=name, outcome=outcome, reason=found, code=code, action=requirement.action, claims=claims, children=tuple(children))


def _candidate(claim: Claim, requirement: Signed) -> bool:
    """1 and 2."""
    return isinstance(claim.kind, Signature) and claim.kind.form in requirement.forms and named(requirement, claim)


def _problems(claim: Claim, requirement: Signed, case: Case) -> Iterator[Problem]:
    yield from claim_problems(claim, requirement, case)
    age = _age_problem(claim, case)
    if age is not None:
        yield age
    yield from expression_problems(claim, requirement, case)


def _age_problem(claim: Claim, case: Case) -> Problem | None:  # 3
    wanted = case.rule.chart
    if wanted is None or wanted.max_age is None:
        return None
    times = [time for time in claim.times if time.proven or wanted.clock is time.clock]
    if not times:
        return codes.AGE_UNPROVEN, "no clock that the rule believes says when it was signed"
    signed_at = min(time.at for time in times)
    if case.now - signed_at > wanted.max_age:
        return codes.TOO_OLD, f"signed at {signed_at:%Y-%m-%d %H:%M}Z, more than {wanted.max_age.days} days and {wanted.max_age.seconds} s ago"
    return None


def _missing(requirement: Signed, case: Case) -> Problem:
    wanted = " or ".join(requirement.by)
    found = len(case.claims) + sum(rejection.location.kind is not Kind.CHART for rejection in case.facts.rejections)
    if not found:
        return codes.UNSIGNED, f"expected a signature by {wanted}; nothing is attached to the chart"
    return codes.SIGNER_NOT_ALLOWED, f"expected a signature by {wanted}; what is attached ({found}) proves none"


def _satisfying(requirement: Signed, case: Case, principals: Mapping[str, int]) -> frozenset[int]:
    """The principals that satisfy one branch; a branch outside its window has none."""
    window = requirement.window
    if (window.since and case.now < window.since) or (window.until and case.now >= window.until):
        return frozenset()
    good = [claim for claim in case.claims if _candidate(claim, requirement) and not any(_problems(claim, requirement, case))]
    return frozenset(principals[claim.signer.principal] for claim in good)


def _principals(claims: Sequence[Claim]) -> dict[str, int]:
    """A number for each signer; signers that share a trust entry or a public key share the number."""
    groups: list[set[str]] = []
    for claim in claims:
        names = {claim.signer.principal}
        if not isinstance(claim.signer, CertificateSigner):  # of a keyless entry the certified workflow is counted, not the entry
            names.update(f"entry:{name}" for name in claim.anchors)
        if isinstance(claim.signer, OpenPGPSigner) and claim.signer.key_id:
            names.add(f"key:{claim.signer.key_id}")
        joined = [group for group in groups if group & names]
        groups = [group for group in groups if not group & names] + [names.union(*joined)]
    return {name: number for number, group in enumerate(groups) for name in group}


def _matching(slots: Sequence[frozenset[int]]) -> int:
    """The size of a maximum matching of slots to principals (augmenting paths)."""
    taken: dict[int, int] = {}

    def place(slot: int, tried: set[int]) -> bool:
        for principal in sorted(slots[slot] - tried):
            tried.add(principal)
            if principal not in taken or place(taken[principal], tried):
                taken[principal] = slot
                return True
        return False

    return sum(place(slot, set()) for slot in range(len(slots)))
