"""What an admission rests on, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from verifier.charts.fingerprint import Fingerprint
from verifier.kube.cluster import Cluster
from verifier.model.codes import Code, Family
from verifier.model.context import Context
from verifier.model.decision import Decision, Outcome
from verifier.model.errors import VerifierError
from verifier.model.reference import Origin, without_userinfo
from verifier.policy.cluster import Admission, Leniency
from verifier.policy.document import Policy, Rule
from verifier.store.rows import Verified
from verifier.workloads.use import Named


class Judged(Struct, frozen=True, kw_only=True):
    """A decision, and what of the chart can be compared with a release record, where that was asked for."""

    decision: Decision
    fingerprint: Fingerprint | None = None


class World(Struct, frozen=True, kw_only=True):
    """What an admission rests on: how a chart is decided on, under which policy, where, and whom to ask for other objects.

    `verified`: the charts that were allowed before and have a fingerprint, where that is kept.
    """

    decide: Callable[[Origin, Context], Judged]
    policy: Policy
    context: Context
    cluster: Cluster | None = None
    verified: Callable[[str], Sequence[Verified]] | None = None
    always_pinned: bool = False

    def within(self, namespace: str) -> Context:
        """The context of an object in a namespace: what the server's settings say, and what the API server vouches for."""
        return replace(self.context, namespace=namespace or None, asserted_by="admission")

    def lets_pass(self, decision: Decision, leniency: Leniency) -> bool:
        """Whether the rule that decided says so."""
        rule = self._rule(decision)
        return rule is not None and leniency in rule.lenient

    def softened(self, found: Finding) -> Finding:
        """A denial under a rule that does not enforce yet lets the object in, and stays what it is for all who look."""
        rule = self._rule(found.decision) if found.decision is not None else None
        if found.outcome is Outcome.ALLOWED or rule is None or rule.admission is Admission.ENFORCE:
            return found
        return replace(found, outcome=Outcome.ALLOWED, softened=rule.admission)

    def _rule(self, decision: Decision) -> Rule | None:
        return next((rule for rule in self.policy.rules if rule.name == decision.policy.rule), None)


class Finding(Struct, frozen=True, kw_only=True):
    """One chart of the object, or one thing that is wrong with it; `code` is None where nothing is.

    `softened`: it would be denied, and its rule only warns or audits. `unsafe`: the permission by which it passes unverified.
    """

    place: str
    outcome: Outcome
    reason: str
    code: Code | None = None
    decision: Decision | None = None
    use: Named | None = None
    softened: Admission | None = None
    unsafe: str | None = None


class Verdict(Struct, frozen=True, kw_only=True):
    """The answer: denied by any finding that denies."""

    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """Denied before inconclusive before allowed."""
        outcomes = {finding.outcome for finding in self.findings}
        return next((outcome for outcome in (Outcome.DENIED, Outcome.INCONCLUSIVE) if outcome in outcomes), Outcome.ALLOWED)

    @property
    def allowed(self) -> bool:
        """Whether the object may be there."""
        return self.outcome is Outcome.ALLOWED


def decided(place: str, decision: Decision) -> Finding:
    """A finding out of a decision."""
    code = None if decision.allowed else decision.check.code
    return Finding(place=place, outcome=decision.outcome, reason=decision.check.reason, code=code, decision=decision)


def finding_of(place: str, error: VerifierError) -> Finding:
    """A finding out of what went wrong."""
    return finding(place, error.code, error.reason)


def finding(place: str, code: Code, reason: str) -> Finding:
    """A finding that denies: what is wrong, by its code. What somebody wrote into a URL before the `@` is nobody else's business."""
    outcome = Outcome.INCONCLUSIVE if code.family is Family.INCONCLUSIVE else Outcome.DENIED
    return Finding(place=place, outcome=outcome, code=code, reason=without_userinfo(reason))
