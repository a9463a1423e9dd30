"""Deciding: pure, total, and the only user of `now`.

1. The winning rule: most specific scope, then context (semantics 1, 15). None, or context missing: denied, and the caller
   can know that without asking any registry.
2. No artifact: what kept it from us decides (semantics 20, 21).
3. The deny list beats everything else; signers on it do not count (semantics 16).
4. Binding, baseline, the rule's chart conditions and its requirement, subcharts and images are joined by `all`; nothing else can
   allow.
5. The answer holds until the first moment at which anything that it rests on may change (semantics 22).
6. Where the same facts would no longer be allowed within a fortnight, the decision says when and why.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from verifier import __version__
from verifier.model import codes
from verifier.model.artifact import Chart, ChartFacts, OciImage
from verifier.model.context import Facts, PartKind
from verifier.model.decision import Action, Check, Decision, JudgedPart, Outcome, PartState, PolicyName, Result, RootUsed
from verifier.model.evidence import Kind
from verifier.policy.attestations import check_attested
from verifier.policy.case import Case, asked_reference, asked_repository
from verifier.policy.conditions import check_binding, check_chart, check_dependencies, check_digest
from verifier.policy.deny import counted, deny_listed
from verifier.policy.document import (
    All,
    AnyOf,
    AtLeast,
    Attested,
    ChartIs,
    DigestIn,
    Expr,
    Policy,
    Requirement,
    Rule,
    Signed,
    Verified,
    requirements_of,
)
from verifier.policy.exceptions import excused, excused_evidence
from verifier.policy.logic import all_of, any_of
from verifier.policy.parts import join, judge_images, judge_subcharts
from verifier.policy.predicates import scan_ends
from verifier.policy.select import Selection, select_rule
from verifier.policy.signatures import check_at_least, check_signed
from verifier.policy.verified import check_verified, ends

AHEAD = timedelta(days=14)
_JUST_AFTER = timedelta(microseconds=1)  # the last moment of a key's window is still inside it
_OUTCOMES = {Result.PASSED: Outcome.ALLOWED, Result.FAILED: Outcome.DENIED, Result.SKIPPED: Outcome.DENIED, Result.INCONCLUSIVE: Outcome.INCONCLUSIVE}


def decide(policy: Policy, facts: Facts, now: datetime, *, trust_digest: str = "", unsafe: Sequence[str] = ()) -> Decision:
    """The decision for these facts at `now` (an aware datetime); never raises on facts."""
    facts = counted(policy, facts)
    judged = _judge(policy, facts, now)
    rule, check = judged.rule, judged.check
    edges = sorted({moment for moment in _edges(policy, rule, facts) if moment > now})
    # That a policy from a registry must be fetched anew is nothing that the reader of a decision can see to.
    soon = [moment for moment in edges if moment <= now + AHEAD and moment != policy.stale_at]
    return Decision(
        id=str(uuid.uuid4()),
        time=now,
        outcome=_OUTCOMES[check.outcome],
        request=facts.request,
        artifact=_chart_of(facts),
        policy=PolicyName(name=policy.name, digest=policy.digest, rule=rule.name if rule else None),
        trust_digest=trust_digest,
        check=check,
        roots=tuple(RootUsed(name=root.name, digest=root.digest, as_of=root.as_of) for root in policy.roots),
        claims=facts.claims,
        rejections=facts.rejections,
        gaps=facts.gaps,
        parts=judged.parts,
        warnings=(*_warnings(check, facts), *_unjudged(judged, facts), *_ending(policy, facts, check, soon)),
        unsafe=tuple(unsafe),
        valid_until=next(iter(edges), None),
        versions={"verifier": __version__},
    )


class _Judged(Struct, frozen=True):
    """What came of one chart: by which rule, and its parts where the rule speaks of them."""

    rule: Rule | None
    check: Check
    parts: tuple[JudgedPart, ...] = ()


def _judge(policy: Policy, facts: Facts, now: datetime) -> _Judged:
    over = _over(policy, now)
    if over is not None:
        return _Judged(None, all_of("decision", [over]))
    selection = select_rule(policy, facts)  # 1
    if not isinstance(selection, Rule):
        return _Judged(None, all_of("decision", [_not_selected(selection)]))
    chart = _chart_of(facts)
    if chart is None:  # 2
        return _Judged(selection, _without_artifact(facts))
    listed = deny_listed(policy, facts, chart)  # 3
    if listed is not None:
        return _Judged(None, all_of("decision", [listed]))
    case = Case(policy=policy, rule=selection, facts=facts, artifact=chart, claims=facts.claims, now=now)
    children = [check_binding(case)]  # 4
    children += [_check(item, case, f"baseline[{index}]") for index, item in enumerate(policy.baseline)]
    if selection.chart is not None:
        children.append(check_chart(selection.chart, case, "chart"))
    children.append(_check(selection.require, case, "require"))
    children += check_dependencies(chart.facts)
    parts = _parts(case, chart.facts)
    if selection.subcharts is not None:
        children.append(join("subcharts", [part for part in parts if part.kind is PartKind.SUBCHART], "no chart lies in it"))
    if selection.images is not None:
        children.append(join("images", [part for part in parts if part.kind is PartKind.IMAGE], f"no image was found in its {selection.images.source}"))
    return _Judged(selection, all_of("decision", children), parts)


def _over(policy: Policy, now: datetime) -> Check | None:
    """Whether the policy itself may still decide (semantics 27)."""
    ends = (
        (policy.expires, codes.POLICY_EXPIRED, "the policy ended"),
        (policy.stale_at, codes.POLICY_STALE, "the policy should have been fetched anew"),
    )
    for moment, code, what in ends:
        if moment is not None and now >= moment:
            return Check(name="policy", outcome=Result.INCONCLUSIVE, reason=f"{what} at {moment:%Y-%m-%d %H:%M}Z", code=code)
    return None


def _parts(case: Case, chart: ChartFacts) -> tuple[JudgedPart, ...]:
    found: tuple[JudgedPart, ...] = ()
    if case.rule.subcharts is not None:
        found += judge_subcharts(case.rule.subcharts, case, chart, lambda facts: _judge(case.policy, counted(case.policy, facts), case.now).check)
    if case.rule.images is not None:
        found += judge_images(case.rule.images, case, meets)
    return found


def meets(requirement: Requirement, case: Case) -> Check:
    """Whether a requirement that speaks of signatures is met, of whatever artifact; the deny list of the case's policy counts."""
    facts = counted(case.policy, case.facts)
    return _check(requirement, replace(case, facts=facts, claims=facts.claims), "require")


def _chart_of(facts: Facts) -> Chart | None:
    return None if isinstance(facts.artifact, OciImage) else facts.artifact


def _without_artifact(facts: Facts) -> Check:
    for rejection in facts.rejections:
        if rejection.location.kind is Kind.CHART:
            return all_of("decision", [Check(name="chart", outcome=Result.FAILED, reason=rejection.reason, code=rejection.code)])
    for gap in facts.gaps:
        return all_of("decision", [Check(name="chart", outcome=Result.INCONCLUSIVE, reason=gap.reason, code=gap.code)])
    return all_of("decision", [])


def _not_selected(selection: Selection) -> Check:
    return Check(name="rule", outcome=Result.FAILED, reason=selection.reason, code=selection.code)


def _check(requirement: Requirement, case: Case, name: str) -> Check:
    window = requirement.window
    if window.enforce_from is not None and case.now < window.enforce_from:
        requirement = replace(requirement, action=Action.WARN)
    if window.since is not None and case.now < window.since:
        return _closed(requirement, name, case, f"counts only from {window.since:%Y-%m-%d %H:%M}Z")
    if window.until is not None and case.now >= window.until:
        return _closed(requirement, name, case, f"counted only until {window.until:%Y-%m-%d %H:%M}Z")
    match requirement:
        case ChartIs():
            return check_chart(requirement, case, name)
        case All(of=of):
            return all_of(name, _checks(of, case, name), action=requirement.action)
        case AnyOf(of=of):
            return any_of(name, _checks(of, case, name), action=requirement.action)
        case AtLeast(of=of):
            return excused(check_at_least(requirement, case, name, _checks(of, case, name)), case)
        case Signed() | Attested() | Verified() | DigestIn() | Expr():
            return _leaf(requirement, case, name)


def _leaf(requirement: Signed | Attested | Verified | DigestIn | Expr, case: Case, name: str) -> Check:
    match requirement:
        case Signed():
            return excused_evidence(check_signed(requirement, case, name), case, codes.UNSIGNED)
        case Attested():
            return excused_evidence(check_attested(requirement, case, name), case, codes.ATTESTATION_MISSING)
        case Verified():
            return excused_evidence(check_verified(requirement, case, name), case, codes.SUMMARY_MISSING)
        case DigestIn():
            return excused(check_digest(requirement, case, name), case)
        case Expr():
            from verifier.policy.expression import check_expression  # the extra `cel`

            return excused(check_expression(requirement, case, name), case)


def _checks(requirements: Sequence[Requirement], case: Case, name: str) -> list[Check]:
    return [_check(item, case, f"{name}[{index}]") for index, item in enumerate(requirements)]


def _closed(requirement: Requirement, name: str, case: Case, reason: str) -> Check:
    check = Check(name=name, outcome=Result.FAILED, reason=f"this branch {reason}", code=codes.WINDOW_CLOSED, action=requirement.action)
    return excused(check, case)


def _warnings(check: Check, facts: Facts) -> Iterator[str]:
    if check.action is Action.WARN and check.outcome is not Result.PASSED:
        yield f"{check.name}: {check.reason} (this rule only warns)"
    if check.waived is not None:
        yield f"{check.name}: {check.reason}; let pass by the exception {check.waived}"
    for child in check.children:
        yield from _warnings(child, facts)
    if check.name == "decision" and facts.request.reference != asked_reference(facts) and asked_repository(facts):
        yield f"judged as {asked_reference(facts)} because the caller says so"


def _unjudged(judged: _Judged, facts: Facts) -> Iterator[str]:
    """What no rule has judged, though it is part of the chart."""
    chart = _chart_of(facts)
    if chart is not None and chart.facts.composed and (judged.rule is None or judged.rule.subcharts is None):
        yield "subcharts: not judged"
    for part in judged.parts:
        if part.kind is PartKind.SUBCHART and part.state is PartState.UNJUDGED:
            yield f"{part.check.name}: {part.check.reason}"


def _ending(policy: Policy, facts: Facts, check: Check, edges: Sequence[datetime]) -> Iterator[str]:  # 6
    """The first edge after which the same facts would not be allowed, with the reason that will be given then."""
    if check.outcome is not Result.PASSED:
        return
    for moment in edges:
        later = _judge(policy, facts, moment + _JUST_AFTER).check
        if later.outcome is not Result.PASSED:
            code = f" [{later.code.name}]" if later.code else ""
            yield f"allowed until {moment:%Y-%m-%d %H:%M}Z, then {_OUTCOMES[later.outcome]}: {later.reason}{code}"
            return


def _edges(policy: Policy, rule: Rule | None, facts: Facts) -> Iterator[datetime]:  # 5
    """The moments at which the answer may change."""
    for requirement in requirements_of(policy, [rule] if rule else []):
        yield from requirement.window.edges
        if isinstance(requirement, Verified):
            yield from (moment for claim in facts.claims for moment in ends(requirement, claim))
        if isinstance(requirement, Attested):
            yield from (moment for claim in facts.claims for moment in scan_ends(requirement, claim))
        if isinstance(requirement, DigestIn):
            yield from (entry.expires for entry in requirement.entries)
    yield from (moment for entry in policy.trust for moment in (entry.not_before, entry.not_after) if moment is not None)
    yield from (root.as_of + root.max_age for root in policy.roots if root.as_of is not None and root.max_age is not None)
    yield from (moment for moment in (policy.expires, policy.stale_at) if moment is not None)
    yield from (item.waiver.expires for item in policy.exceptions if rule is not None and item.rule == rule.name)
    for part in facts.parts:
        if part.facts is not None:
            selected = select_rule(policy, part.facts) if part.kind is PartKind.SUBCHART else rule
            yield from _edges(policy, selected if isinstance(selected, Rule) else None, part.facts)
    for claim in facts.claims:
        if claim.key_expires:
            yield claim.key_expires
        if rule and rule.chart and rule.chart.max_age:
            yield from (time.at + rule.chart.max_age for time in claim.times)
