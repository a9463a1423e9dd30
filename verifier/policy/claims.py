"""Judging claims for whatever requirement needs one: `signed`, `attested` and `verified` ask the same question.

A claim counts for a requirement when

1. it verifies under one of the trust names in `by`; a keyless claim under those whose root and identity it has (semantics 9),
2. the repository that it names, if any, is the rule's or one of its `origins` (semantics 6),
3. the key's window, expiry and revocation allow it, judged at the proven signing time, else at `now` (semantics 18, 19), and a
   log holds it where the trust name demands that,
4. what the requirement itself adds holds: its `problems`.

The first claim that counts passes the requirement. If none does, a gap leaves it open; else the first refused claim says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from verifier.model import codes
from verifier.model.claim import Attestation, CertificateSigner, Claim, Signature
from verifier.model.codes import Code
from verifier.model.decision import Check, Result
from verifier.policy.case import Case
from verifier.policy.document import Attested, By, Policy, Signed, TrustEntry
from verifier.policy.identity import mismatch

Problem = tuple[Code, str]


class Wanted(Struct, frozen=True, kw_only=True):
    """What a requirement looks for among the claims.

    `what` names it ("signature by a or b"); `problems` says all that keeps a candidate from counting, `passed` how one that counts reads;
    near misses of `kind` are told where there are any; `missing` is the answer when nothing was even a candidate.
    """

    requirement: By
    what: str
    candidate: Callable[[Claim], bool]
    problems: Callable[[Claim], Iterator[Problem]]
    passed: Callable[[Claim], str]
    missing: Problem
    kind: type[Signature | Attestation] | None = None


def judge(wanted: Wanted, case: Case, name: str) -> Check:
    """Passed by any claim that counts; otherwise the most telling reason."""
    action, children = wanted.requirement.action, list[Check]()
    for index, claim in enumerate(case.claims):
        if not wanted.candidate(claim):
            continue
        problems = tuple(wanted.problems(claim))
        if not problems:
            reason = wanted.passed(claim)
            return Check(name=name, outcome=Result.PASSED, reason=reason, action=action, claims=(index,), children=tuple(children))
        children.append(_refused(index, claim, problems))
    if wanted.kind is not None:
        children += _near_misses(wanted.requirement, case, wanted.kind)
    outcome, code, reason = _unsatisfied(wanted, case, children)
    return Check(name=name, outcome=outcome, reason=reason, code=code, action=action, children=tuple(children))


def named(requirement: By, claim: Claim) -> bool:  # 1
    """Whether a claim verifies under one of the requirement's names."""
    return not claim.anchors.isdisjoint(requirement.by)


def by_names(requirement: By, claim: Claim) -> str:
    """How a claim that counts reads: under which of the requirement's names, and whose it is."""
    return f"by {' or '.join(sorted(claim.anchors & set(requirement.by)))}: {claim.signer}"


def _unsatisfied(wanted: Wanted, case: Case, children: list[Check]) -> tuple[Result, Code | None, str]:
    for unknown, why in case.facts.unknown:
        if unknown in wanted.requirement.by:
            return Result.INCONCLUSIVE, codes.NAMESPACE_KEY, f"no {wanted.what}, and the key of {unknown} is not known: {why}"
    gap = next(iter(case.facts.gaps), None)
    if gap is not None:
        return Result.INCONCLUSIVE, gap.code, f"no {wanted.what} among what could be read; {gap.where}: {gap.reason}"
    if children:
        return Result.FAILED, children[0].code, children[0].reason
    return Result.FAILED, *wanted.missing


def _refused(index: int, claim: Claim, problems: tuple[Problem, ...]) -> Check:
    """Why a claim does not count: the first reason, and the others below it."""
    (code, reason), *others = problems
    more = tuple(Check(name="also", outcome=Result.FAILED, reason=other, code=other_code) for other_code, other in others)
    return Check(name=str(claim.signer), outcome=Result.FAILED, reason=reason, code=code, claims=(index,), children=more)


def attributed(policy: Policy, claim: Claim) -> Claim:
    """2: a keyless claim with the names of the trust entries that mean its signer; others know theirs from the scheme."""
    signer = claim.signer
    if not isinstance(signer, CertificateSigner):
        return claim
    return replace(claim, anchors=frozenset(entry.name for entry in policy.trust if why_not(entry, signer) is None))


def why_not(entry: TrustEntry, signer: CertificateSigner) -> str | None:
    """Why a trust entry does not mean a certified signer; None if it does."""
    if entry.identity is None:
        return "not a keyless entry"
    if entry.root != signer.root:
        return f"certified under the root {signer.root}, expected {entry.root}"
    return mismatch(entry.identity, signer)


def _near_misses(requirement: By, case: Case, kind: type[Signature | Attestation]) -> list[Check]:
    """Keyless claims of a kind by others than the identities that are meant, each with what differs."""
    entries = [entry for entry in case.policy.trust if entry.name in requirement.by and entry.identity is not None]
    found = []
    for index, claim in enumerate(case.claims):
        if isinstance(claim.signer, CertificateSigner) and claim.anchors.isdisjoint(requirement.by) and isinstance(claim.kind, kind):
            for entry in entries:
                reason = f"not {entry.name}: {why_not(entry, claim.signer)}"
                found.append(_refused(index, claim, ((codes.IDENTITY_MISMATCH, reason),)))
    return found


def claim_problems(claim: Claim, requirement: By, case: Case) -> Iterator[Problem]:
    """2 and 3: all that keeps a claim under one of the requirement's names from counting all the same."""
    problem = _repository_problem(claim, requirement, case)
    if problem is not None:
        yield problem
    yield from key_problems(claim, requirement, case.policy, case.now)


def expression_problems(claim: Claim, requirement: Signed | Attested, case: Case) -> Iterator[Problem]:
    """Why the requirement's expression does not hold for a claim, if it has one and it does not."""
    if requirement.expr is not None:
        from verifier.policy.expression import claim_expression

        problem = claim_expression(requirement, claim, case)
        if problem is not None:
            yield problem


def _repository_problem(claim: Claim, requirement: By, case: Case) -> Problem | None:  # 2
    if case.repository is None:
        return None
    if claim.repository is None:
        if requirement.bind_repository:
            return codes.REPOSITORY_UNBOUND, "the signature names no repository, and the rule demands it"
        return None
    if claim.repository not in {case.repository, *case.rule.origins}:
        return codes.ORIGIN_MISMATCH, f"the signature names {claim.repository}, the chart was asked for from {case.repository}"
    return None


def key_problems(claim: Claim, requirement: By, policy: Policy, now: datetime) -> Iterator[Problem]:  # 3
    """All that keeps a claim under one of the requirement's names from counting for reasons of time, log or root."""
    signed_at = next((time.at for time in claim.times if time.proven), None)
    at = signed_at or now
    entries = [entry for entry in policy.trust if entry.name in claim.anchors and entry.name in requirement.by]
    current = [entry for entry in entries if in_window(entry, at)]
    if not current:
        yield codes.KEY_OUTSIDE_WINDOW, f"the key is outside its window in the policy at {at:%Y-%m-%d %H:%M}Z"
    if not any(claim.logs or not entry.tlog_required for entry in current or entries):
        yield codes.TLOG_REQUIRED, "no trusted log holds the signature, and the policy demands that of this key"
    if isinstance(claim.signer, CertificateSigner) and (problem := _root_problem(claim.signer.root, policy, now)) is not None:
        yield problem
    if claim.key_revoked and not requirement.retired_keys:
        yield codes.KEY_RETIRED, "the key was revoked after it had signed"
    if claim.key_expires is not None and claim.key_expires <= at and not requirement.expired_keys:
        yield codes.KEY_EXPIRED, f"the key expired at {claim.key_expires:%Y-%m-%d %H:%M}Z"


def _root_problem(name: str, policy: Policy, now: datetime) -> Problem | None:
    root = next((root for root in policy.roots if root.name == name), None)
    if root is None or root.max_age is None:
        return None
    if root.as_of is None or now - root.as_of > root.max_age:
        return codes.ROOT_TOO_OLD, f"the root {name} is of {f'{root.as_of:%Y-%m-%d}' if root.as_of else 'an unknown day'}, the policy bounds its age"
    return None


def in_window(entry: TrustEntry, at: datetime) -> bool:
    """Whether a trust entry counts at a time; both ends are inclusive."""
    return (entry.not_before is None or entry.not_before <= at) and (entry.not_after is None or at <= entry.not_after)
