"""Judging `signed` and `atLeast`: which claims count, and how many distinct principals stand behind them.

A claim counts for a `signed` requirement when

1. it is a signature in a form that the requirement takes (semantics 8),
2. it verifies under one of the trust names in `by`; a keyless claim under those whose root and identity it has (semantics 9),
3. the repository that it names, if any, is the rule's or one of its `origins` (semantics 6),
4. the key's window, expiry and revocation allow it, judged at the proven signing time, else at `now` (semantics 18, 19), and a
   log holds it where the trust name demands that,
5. it is not older than the rule's `maxAge`, by a clock that the rule believes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from verifier.model import codes
from verifier.model.claim import Attestation, CertificateSigner, Claim, OpenPGPSigner, Signature
from verifier.model.codes import Code
from verifier.model.decision import Check, Result
from verifier.policy.case import Case
from verifier.policy.document import AtLeast, By, Policy, Signed, TrustEntry
from verifier.policy.identity import mismatch

_Problem = tuple[Code, str]


def attributed(policy: Policy, claim: Claim) -> Claim:
    """2: a keyless claim with the names of the trust entries that mean its signer; others know theirs from the scheme."""
    signer = claim.signer
    if not isinstance(signer, CertificateSigner):
        return claim
    return replace(claim, anchors=frozenset(entry.name for entry in policy.trust if _why_not(entry, signer) is None))


def _why_not(entry: TrustEntry, signer: CertificateSigner) -> str | None:
    if entry.identity is None:
        return "not a keyless entry"
    if entry.root != signer.root:
        return f"certified under the root {signer.root}, expected {entry.root}"
    return mismatch(entry.identity, signer)


def check_signed(requirement: Signed, case: Case, name: str) -> Check:
    """Passed by any claim that counts; otherwise the most telling reason."""
    candidates = [(index, claim) for index, claim in enumerate(case.claims) if _candidate(claim, requirement)]
    children: list[Check] = []
    for index, claim in candidates:
        problem = claim_problem(claim, requirement, case) or _age_problem(claim, case)
        if problem is None:
            reason = f"signed by {' or '.join(sorted(claim.anchors & set(requirement.by)))}: {claim.signer}"
            return Check(name=name, outcome=Result.PASSED, reason=reason, action=requirement.action, claims=(index,), children=tuple(children))
        children.append(Check(name=str(claim.signer), outcome=Result.FAILED, reason=problem[1], code=problem[0], claims=(index,)))
    children += near_misses(requirement, case, Signature)
    return _unsatisfied(requirement, case, name, children)


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


def near_misses(requirement: By, case: Case, kind: type[Signature | Attestation]) -> list[Check]:
    """Keyless claims of a kind by others than the identities that are meant, each with what differs."""
    entries = [entry for entry in case.policy.trust if entry.name in requirement.by and entry.identity is not None]
    found = []
    for index, claim in enumerate(case.claims):
        if isinstance(claim.signer, CertificateSigner) and claim.anchors.isdisjoint(requirement.by) and isinstance(claim.kind, kind):
            for entry in entries:
                reason = f"not {entry.name}: {_why_not(entry, claim.signer)}"
                found.append(Check(name=str(claim.signer), outcome=Result.FAILED, reason=reason, code=codes.IDENTITY_MISMATCH, claims=(index,)))
    return found


def _candidate(claim: Claim, requirement: Signed) -> bool:
    """1 and 2."""
    return isinstance(claim.kind, Signature) and claim.kind.form in requirement.forms and not claim.anchors.isdisjoint(requirement.by)


def claim_problem(claim: Claim, requirement: By, case: Case) -> _Problem | None:
    """3 and 4: why a claim under one of the requirement's names does not count all the same; None if it does."""
    return _repository_problem(claim, requirement, case) or key_problem(claim, requirement, case.policy, case.now)


def _repository_problem(claim: Claim, requirement: By, case: Case) -> _Problem | None:  # 3
    if case.repository is None:
        return None
    if claim.repository is None:
        if requirement.bind_repository:
            return codes.REPOSITORY_UNBOUND, "the signature names no repository, and the rule demands it"
        return None
    if claim.repository not in {case.repository, *case.rule.origins}:
        return codes.ORIGIN_MISMATCH, f"the signature names {claim.repository}, the chart was asked for from {case.repository}"
    return None


def key_problem(claim: Claim, requirement: By, policy: Policy, now: datetime) -> _Problem | None:  # 4
    """Why a claim under one of the requirement's names does not count for reasons of time, log or root; None if it does."""
    signed_at = next((time.at for time in claim.times if time.proven), None)
    at = signed_at or now
    entries = [entry for entry in policy.trust if entry.name in claim.anchors and entry.name in requirement.by]
    if not any(_in_window(entry, at) for entry in entries):
        return codes.KEY_OUTSIDE_WINDOW, f"the key is outside its window in the policy at {at:%Y-%m-%d %H:%M}Z"
    if not any(claim.logs or not entry.tlog_required for entry in entries if _in_window(entry, at)):
        return codes.TLOG_REQUIRED, "no trusted log holds the signature, and the policy demands that of this key"
    if isinstance(claim.signer, CertificateSigner) and (problem := _root_problem(claim.signer.root, policy, now)) is not None:
        return problem
    if claim.key_revoked and not requirement.retired_keys:
        return codes.KEY_RETIRED, "the key was revoked after it had signed"
    if claim.key_expires is not None and claim.key_expires <= at and not requirement.expired_keys:
        return codes.KEY_EXPIRED, f"the key expired at {claim.key_expires:%Y-%m-%d %H:%M}Z"
    return None


def _root_problem(name: str, policy: Policy, now: datetime) -> _Problem | None:
    root = next((root for root in policy.roots if root.name == name), None)
    if root is None or root.max_age is None:
        return None
    if root.as_of is None or now - root.as_of > root.max_age:
        return codes.ROOT_TOO_OLD, f"the root {name} is of {f'{root.as_of:%Y-%m-%d}' if root.as_of else 'an unknown day'}, the policy bounds its age"
    return None


def _in_window(entry: TrustEntry, at: datetime) -> bool:
    """Both ends inclusive."""
    return (entry.not_before is None or entry.not_before <= at) and (entry.not_after is None or at <= entry.not_after)


def _age_problem(claim: Claim, case: Case) -> _Problem | None:  # 5
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


def _unsatisfied(requirement: Signed, case: Case, name: str, children: list[Check]) -> Check:
    wanted = " or ".join(requirement.by)
    gap = next(iter(case.facts.gaps), None)
    if gap is not None:
        reason = f"no signature by {wanted} among what could be read; {gap.where}: {gap.reason}"
        return Check(name=name, outcome=Result.INCONCLUSIVE, reason=reason, code=gap.code, action=requirement.action, children=tuple(children))
    if children:
        first = children[0]
        return Check(name=name, outcome=Result.FAILED, reason=first.reason, code=first.code, action=requirement.action, children=tuple(children))
    found = len(case.claims) + len(case.facts.rejections)
    if not found:
        reason = f"expected a signature by {wanted}; nothing is attached to the chart"
        return Check(name=name, outcome=Result.FAILED, reason=reason, code=codes.UNSIGNED, action=requirement.action)
    reason = f"expected a signature by {wanted}; what is attached ({found}) proves none"
    return Check(name=name, outcome=Result.FAILED, reason=reason, code=codes.SIGNER_NOT_ALLOWED, action=requirement.action)


def _satisfying(requirement: Signed, case: Case, principals: Mapping[str, int]) -> frozenset[int]:
    """The principals that satisfy one branch; a branch outside its window has none."""
    window = requirement.window
    if (window.since and case.now < window.since) or (window.until and case.now >= window.until):
        return frozenset()
    good = [claim for claim in case.claims if _candidate(claim, requirement) and (claim_problem(claim, requirement, case) or _age_problem(claim, case)) is None]
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
