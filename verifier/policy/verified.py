"""Judging `verified`: a signed summary of a decision that another verifier made (semantics 24).

A summary counts when

1. it is a VSA of ours, under one of the trust names in `by`; key, log and root allow it (claims.key_problems),
2. it passed, and its verifier's id is the one that the rule binds to the key,
3. its resource is this repository at this digest, its context is the request's,
4. its policy, trust and rule are among those that the rule allows,
5. it was made in the past, and not longer ago than `maxAge`,
6. it leaned on no exception, unsafe switch, warned failure, partial state or other summary.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from verifier.attest.summary import SUMMARY, Summary, read_summary
from verifier.model import codes, limits
from verifier.model.artifact import OciChart
from verifier.model.claim import Attestation, Claim
from verifier.model.context import CONTEXT_KEYS
from verifier.model.decision import Check
from verifier.policy.case import Case
from verifier.policy.claims import Problem, Wanted, judge, key_problems, named
from verifier.policy.document import Verified


def check_verified(requirement: Verified, case: Case, name: str) -> Check:
    """Passed by any summary that counts; otherwise the most telling reason."""
    names = " or ".join(requirement.by)
    wanted = Wanted(
        requirement=requirement,
        what=f"summary by {names}",
        candidate=lambda claim: _candidate(claim, requirement),
        problems=lambda claim: _problems(claim, requirement, case),
        passed=lambda claim: f"verified by {requirement.verifier}, signed by {claim.signer}",
        missing=(codes.SUMMARY_MISSING, f"expected a verification summary by {names}; none is attached"),
    )
    return judge(wanted, case, name)


def ends(requirement: Verified, claim: Claim) -> Iterator[datetime]:
    """When a summary that counts stops counting."""
    if _candidate(claim, requirement):
        assert isinstance(claim.kind, Attestation)
        summary = read_summary(claim.kind.predicate)
        if summary is not None:
            yield summary.time + requirement.max_age


def _candidate(claim: Claim, requirement: Verified) -> bool:  # 1
    return isinstance(claim.kind, Attestation) and claim.kind.predicate_type == SUMMARY and named(requirement, claim)


def _problems(claim: Claim, requirement: Verified, case: Case) -> Iterator[Problem]:
    yield from key_problems(claim, requirement, case.policy, case.now)
    assert isinstance(claim.kind, Attestation)
    summary = read_summary(claim.kind.predicate)
    if summary is None:
        yield codes.SUMMARY_REFUSED, "the summary is malformed, or not of this verifier's making"
        return
    yield from ((codes.SUMMARY_REFUSED, reason) for reason in _reasons(summary, requirement, case))


def _reasons(summary: Summary, requirement: Verified, case: Case) -> Iterator[str]:
    if not summary.passed or summary.verifier != requirement.verifier:  # 2
        yield f"its verifier is {summary.verifier!r} and its result {'PASSED' if summary.passed else 'FAILED'}, expected {requirement.verifier!r} and PASSED"
    expected = resource(case)
    if expected is None or summary.resource != expected:  # 3
        yield f"it is of {summary.resource!r}, expected {expected!r}"
    context = {key: value for key in CONTEXT_KEYS if (value := case.facts.request.context.value(key)) is not None}
    if dict(summary.context) != context:
        yield f"it was made in the context {dict(summary.context)}, this is {context}"
    for what, found, allowed in (  # 4
        ("policy", summary.policy, requirement.policies),
        ("trust", summary.trust, requirement.trusts),
        ("rule", summary.rule, requirement.rules),
    ):
        if allowed and found not in allowed:
            yield f"its {what} is {found!r}, which the rule does not allow"
    if summary.time > case.now + timedelta(seconds=limits.CLOCK_SKEW_SECONDS) or case.now - summary.time > requirement.max_age:  # 5
        yield f"it was made at {summary.time:%Y-%m-%d %H:%M}Z, outside the age that the rule allows"
    if summary.leaned_on:  # 6
        yield f"it leaned on {', '.join(summary.leaned_on)[:200]}"


def resource(case: Case) -> str | None:
    """`oci://REPOSITORY@DIGEST` of the chart; None for local files."""
    if not isinstance(case.artifact, OciChart) or case.repository is None:
        return None
    return f"oci://{case.repository}@{case.artifact.reference.digest}"
