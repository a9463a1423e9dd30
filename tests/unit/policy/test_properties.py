"""What must hold for every policy and all facts: evidence only ever helps, order means nothing, and a decision is as good as it says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.unit.policy.test_engine import HERE, MANIFEST_DIGEST, by_alice, by_ci, chart, facts
from verifier.charts.version import parse_range
from verifier.model import codes
from verifier.model.artifact import Artifact
from verifier.model.claim import Attestation, Claim, Clock, OpenPGPSigner, Rejection, SigningTime
from verifier.model.decision import Action, Check, Decision, Outcome, Result, Waiver
from verifier.model.evidence import Gap, Kind
from verifier.policy.document import (
    All,
    AnyOf,
    AtLeast,
    Attested,
    ChartIs,
    Denied,
    DigestIn,
    Exemption,
    Expr,
    Policy,
    Requirement,
    ReviewedDigest,
    Rule,
    Signed,
    TrustEntry,
    TrustKind,
    Window,
)
from verifier.policy.engine import AHEAD, decide
from verifier.policy.exceptions import WAIVABLE
from verifier.policy.logic import all_of, any_of
from verifier.policy.scopes import parse_scope
from verifier.report.codec import encode
from verifier.report.text import explain

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAYS = st.integers(-30, 30).filter(bool).map(lambda days: NOW + timedelta(days=days))
NAMES = ("alice", "bob", "ci")
SBOM = "https://spdx.dev/Document"

# Policies

by = st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True).map(tuple)
EXPRESSIONS = st.none() | st.sampled_from(
    ["signature.kind == 'key'", "signature.kind != 'key'", "signature.logs == 0 && !chart.deprecated", "now < timestamp(signature.time)"]
)
signed = st.builds(lambda by, **flags: Signed(by=by, **flags), by, expired_keys=st.booleans(), retired_keys=st.booleans(), expr=EXPRESSIONS)
leaf = st.one_of(
    signed,
    st.builds(lambda by: Attested(by=by, predicate_type=SBOM), by),
    st.builds(
        lambda digest, at: DigestIn(entries=(ReviewedDigest(digest=digest, owner="o", reason="r", expires=at),)),
        st.sampled_from([str(MANIFEST_DIGEST), "sha256:0"]),
        DAYS,
    ),
    st.sampled_from([Expr(text="chart.name == 'web'"), Expr(text="request.pinned")]),
    st.sampled_from([ChartIs(version=parse_range(">=1.0.0")), ChartIs(version=parse_range(">=2.0.0")), ChartIs(prerelease=False)]),
)


def windowed(item: Requirement, since: datetime | None, until: datetime | None) -> Requirement:
    return replace(item, window=Window(since=since, until=until))


def extended(inner: st.SearchStrategy[Requirement]) -> st.SearchStrategy[Requirement]:
    several = st.lists(inner, min_size=1, max_size=3).map(tuple)
    branches = st.lists(st.builds(windowed, inner, st.none() | DAYS, st.none() | DAYS), min_size=1, max_size=3).map(tuple)
    counted = st.lists(st.builds(windowed, signed, st.none() | DAYS, st.none() | DAYS), min_size=1, max_size=3).map(tuple)
    return st.one_of(
        st.builds(lambda of: All(of=of), several),
        st.builds(lambda of: AnyOf(of=of), branches),
        st.builds(lambda of, count: AtLeast(of=of, count=min(count, len(of))), counted, st.integers(1, 3)),
    )


requirement: st.SearchStrategy[Requirement] = st.recursive(leaf, extended, max_leaves=6)


exemptions = st.lists(
    st.builds(
        lambda names, expires: Exemption(
            repository="reg.example.test/acme/web",
            digest=str(MANIFEST_DIGEST),
            rule="ours",
            codes=frozenset(names),
            waiver=Waiver(owner="o", reason="r", ticket="t", expires=expires),
        ),
        st.lists(st.sampled_from(sorted(WAIVABLE)), min_size=1, max_size=3),
        DAYS,
    ),
    max_size=2,
)


def make_policy(require: Requirement, ci_window: tuple[datetime | None, datetime | None], baseline: list[Requirement], exceptions: list[Exemption]) -> Policy:
    trust = (
        TrustEntry(name="alice", kind=TrustKind.OPENPGP, path="a"),
        TrustEntry(name="bob", kind=TrustKind.OPENPGP, path="b"),
        TrustEntry(name="ci", kind=TrustKind.KEY, path="c", not_before=ci_window[0], not_after=ci_window[1]),
    )
    rule = Rule(name="ours", scopes=(parse_scope("oci://reg.example.test/acme/*"),), require=require)
    return Policy(name="p", digest="sha256:1", trust=trust, rules=(rule,), baseline=tuple(baseline), exceptions=tuple(exceptions))


policies = st.builds(make_policy, requirement, st.tuples(st.none() | DAYS, st.none() | DAYS), st.lists(leaf, max_size=1), exemptions)

# Facts


def make_claim(name: str, attests: bool, expires: datetime | None, revoked: bool, at: datetime | None) -> Claim:
    claim = (
        by_ci(key_expires=None) if name == "ci" else replace(by_alice(), signer=OpenPGPSigner(fingerprint=name, signing_key=name), anchors=frozenset((name,)))
    )
    kind = Attestation(predicate_type=SBOM, predicate={}) if attests else claim.kind
    times = (SigningTime(at=at, clock=Clock.LOG),) if at is not None else ()
    return replace(claim, kind=kind, key_expires=expires, key_revoked=revoked, times=times)


claims = st.lists(
    st.builds(make_claim, st.sampled_from(NAMES), st.booleans(), st.none() | DAYS, st.booleans(), st.none() | DAYS.filter(lambda at: at < NOW)), max_size=4
)
STRANGER = replace(by_alice(), signer=OpenPGPSigner(fingerprint="E" * 40, signing_key="E" * 40), anchors=frozenset())
FOREIGN = Rejection(scheme=None, code=codes.EVIDENCE_FOREIGN, reason="something", location=HERE)
GAP = Gap(kind=Kind.REFERRER, where="x", code=codes.REGISTRY_ERROR, reason="an error")
CHART: Artifact = chart()


def judged(policy: Policy, found: list[Claim], *, now: datetime = NOW, **more: Any) -> Decision:
    return decide(policy, facts(CHART, *found, **more), now)


@given(policies, claims, st.data())
def test_evidence_only_ever_helps(policy: Policy, found: list[Claim], data: st.DataObject) -> None:
    """What is allowed with some of the evidence is allowed with all of it; so nothing is approved by what is missing."""
    some = [claim for claim in found if data.draw(st.booleans())]
    if judged(policy, some).allowed:
        assert judged(policy, found).allowed


@given(policies, claims)
def test_unrelated_evidence_changes_nothing(policy: Policy, found: list[Claim]) -> None:
    before = judged(policy, found).outcome
    assert judged(policy, [STRANGER, *found, STRANGER]).outcome is before
    assert judged(policy, found, rejections=(FOREIGN,)).outcome is before


@given(policies, claims, st.randoms(use_true_random=False))
def test_the_order_of_evidence_means_nothing(policy: Policy, found: list[Claim], random: Any) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)
    assert judged(policy, shuffled).outcome is judged(policy, found).outcome


@given(policies, claims)
def test_the_same_evidence_twice_counts_once(policy: Policy, found: list[Claim]) -> None:
    assert judged(policy, found * 2).outcome is judged(policy, found).outcome


@given(policies, claims)
def test_what_could_not_be_read_never_approves_and_never_denies(policy: Policy, found: list[Claim]) -> None:
    """An exception lets failures pass and never what could not be told (semantics 23): an allow that leans on one may be left open."""
    decision, after = judged(policy, found), judged(policy, found, gaps=(GAP,)).outcome
    before = decision.outcome
    assert after in ({before} if before is Outcome.ALLOWED and not decision.exceptions else {before, Outcome.INCONCLUSIVE})


@given(
    policies, claims, st.sampled_from([Denied(fingerprint="alice"), Denied(name="web"), Denied(digest=str(MANIFEST_DIGEST)), Denied(key="sha256:" + "1" * 64)])
)
def test_the_deny_list_only_takes_away(policy: Policy, found: list[Claim], entry: Denied) -> None:
    if judged(replace(policy, deny=(entry,)), found).allowed:
        assert judged(policy, found).allowed


@given(policies, claims, requirement)
def test_one_more_baseline_only_takes_away(policy: Policy, found: list[Claim], more: Requirement) -> None:
    if judged(replace(policy, baseline=(*policy.baseline, more)), found).allowed:
        assert judged(policy, found).allowed


@given(policies, claims, st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_a_decision_holds_until_it_says(policy: Policy, found: list[Claim], part: float) -> None:
    decision = judged(policy, found)
    end = decision.valid_until or NOW + timedelta(days=400)
    moment = min(NOW + (end - NOW) * part, end - timedelta(microseconds=1))  # a part close to 1 would round to the end itself
    assert judged(policy, found, now=moment).outcome is decision.outcome


@given(policies, claims)
def test_the_warning_ahead_is_true_and_none_is_missing(policy: Policy, found: list[Claim]) -> None:
    decision = judged(policy, found)
    told = [warning for warning in decision.warnings if warning.startswith("allowed until")]
    if not decision.allowed:
        assert not told
        return
    edges = sorted({NOW + timedelta(days=day, microseconds=1) for day in range(1, AHEAD.days + 1)})
    later = next((moment for moment in edges if not judged(policy, found, now=moment).allowed), None)
    assert bool(told) is (later is not None)
    if later is not None:
        assert told[0].startswith(f"allowed until {later:%Y-%m-%d %H:%M}Z")


@given(policies, claims, st.booleans())
def test_every_report_agrees_with_the_outcome(policy: Policy, found: list[Claim], gap: bool) -> None:
    decision = judged(policy, found, gaps=(GAP,) if gap else ())
    value = encode(decision)
    assert (value["allowed"], value["outcome"]) == (decision.outcome is Outcome.ALLOWED, str(decision.outcome))
    assert explain(decision).startswith(str(decision.outcome).upper())
    assert decision.allowed or decision.check.code is not None


# Kleene

STATES = (Result.PASSED, Result.INCONCLUSIVE, Result.FAILED)


def check(outcome: Result) -> Check:
    return Check(name="x", outcome=outcome, reason="r", code=None if outcome is Result.PASSED else codes.UNSIGNED)


def test_the_tables_of_kleene() -> None:
    """Failed < inconclusive < passed: `all` is the least, `any` the greatest."""
    order = {Result.FAILED: 0, Result.INCONCLUSIVE: 1, Result.PASSED: 2}
    for size in (1, 2, 3):
        for states in product(STATES, repeat=size):
            children = [check(state) for state in states]
            assert all_of("a", children).outcome is min(states, key=order.__getitem__)
            assert any_of("a", children).outcome is max(states, key=order.__getitem__)


def test_a_check_that_only_warns_counts_as_passed_in_all() -> None:
    children = [check(Result.PASSED), replace(check(Result.FAILED), action=Action.WARN)]
    assert all_of("a", children).outcome is Result.PASSED
    assert all_of("a", []).outcome is Result.FAILED
