"""Signing a decision as a SLSA verification summary, and attaching it to the chart (semantics 24).

Only an allowed decision about a chart in a registry or layout is attached. What it leaned on is written down, so that whoever
reads it can refuse to build on it.
"""

from __future__ import annotations

from collections.abc import Iterator

from verifier import __version__
from verifier.attest.statement import write_statement
from verifier.attest.summary import SUMMARY, Summary, write_summary
from verifier.model import codes
from verifier.model.artifact import OciChart
from verifier.model.context import CONTEXT_KEYS
from verifier.model.decision import Action, Check, Decision, Result
from verifier.model.digest import Digest
from verifier.model.errors import MisuseError
from verifier.model.reference import LayoutReference, Reference
from verifier.net.deadline import Deadline
from verifier.operations.connections import Connections
from verifier.operations.signing import SignStatement, attach, in_bundle

_SECONDS = 120.0


def summarize(decision: Decision, verifier_id: str) -> Summary:
    """What the summary says; raises MisuseError for a decision that cannot be summarized."""
    if not isinstance(decision.artifact, OciChart) or not decision.allowed:
        raise MisuseError(codes.USAGE, "only an allowed decision about a chart in a registry is attached")
    values = {key: value for key in CONTEXT_KEYS if (value := decision.request.context.value(key)) is not None}
    reference = decision.artifact.reference
    return Summary(
        verifier=verifier_id,
        time=decision.time,
        resource=f"oci://{reference.registry}/{reference.repository}@{reference.digest}",
        passed=True,
        policy=decision.policy.digest,
        trust=decision.trust_digest,
        rule=decision.policy.rule or "",
        context=values,
        leaned_on=tuple(_leaned_on(decision)),
    )


def attach_summary(decision: Decision, verifier_id: str, sign: SignStatement, connections: Connections) -> Digest:
    """Sign and attach; returns the attached manifest's digest."""
    summary = summarize(decision, verifier_id)
    artifact, reference = decision.artifact, decision.request.reference
    assert isinstance(artifact, OciChart)
    if not isinstance(reference, Reference | LayoutReference):
        raise MisuseError(codes.USAGE, "a summary is attached to a chart in a registry or layout")
    digest = artifact.reference.digest
    statement = write_statement(
        digest, SUMMARY, write_summary(summary, __version__), name=f"oci://{artifact.reference.registry}/{artifact.reference.repository}"
    )
    target = connections.target(reference, Deadline.after(_SECONDS))
    (attached,) = attach(target, target.manifest(digest).descriptor, in_bundle(sign(statement), SUMMARY))
    return attached


def _leaned_on(decision: Decision) -> Iterator[str]:
    yield from (f"unsafe switch {name}" for name in decision.unsafe)
    yield from _weak(decision.check)
    yield from (f"the exception {check.waived.ticket}" for _, check in decision.exceptions if check.waived is not None)
    if decision.subcharts in ("not judged", "partial"):
        yield "subcharts that were not judged"
    if _uses_summary(decision.check, decision):
        yield "another summary"


def _weak(check: Check) -> Iterator[str]:
    if check.action is Action.WARN and check.outcome is not Result.PASSED:
        yield f"a failure that only warns: {check.name}"
    for child in check.children:
        yield from _weak(child)


def _uses_summary(check: Check, decision: Decision) -> bool:
    """Whether a check that passed rests on a summary."""
    own = any(getattr(decision.claims[index].kind, "predicate_type", "") == SUMMARY for index in check.claims)
    return (check.outcome is Result.PASSED and own) or any(_uses_summary(child, decision) for child in check.children)
