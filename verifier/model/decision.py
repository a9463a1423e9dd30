"""Decisions: the answer, with everything that is needed to explain and to repeat it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum

from msgspec import Struct, field

from verifier.model.artifact import Chart
from verifier.model.claim import Claim, Rejection
from verifier.model.codes import Code
from verifier.model.context import PartKind, Request
from verifier.model.evidence import Gap


class Result(StrEnum):
    """One check's result; skipped satisfies nothing."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    SKIPPED = "skipped"


class Action(StrEnum):
    """What a failure of a check does."""

    ENFORCE = "enforce"
    WARN = "warn"


class Outcome(StrEnum):
    """The answer; `allowed` is computed from it, never stored beside it."""

    ALLOWED = "allowed"
    DENIED = "denied"
    INCONCLUSIVE = "inconclusive"


class Waiver(Struct, frozen=True, kw_only=True):
    """Who lets a failure pass, why, and until when (semantics 23); `granted_by` is a trust name, or None for the policy itself."""

    owner: str
    reason: str
    ticket: str
    expires: datetime
    granted_by: str | None = None

    def __str__(self) -> str:
        signed = f", signed by {self.granted_by}" if self.granted_by else ""
        return f"{self.ticket} of {self.owner} until {self.expires:%Y-%m-%d %H:%M}Z{signed}: {self.reason}"


class Check(Struct, frozen=True, kw_only=True):
    """One requirement's outcome. `claims` are indexes into the decision's claims; `waived` says that a failure is let pass, and stays one."""

    name: str
    outcome: Result
    reason: str
    code: Code | None = None
    action: Action = Action.ENFORCE
    claims: tuple[int, ...] = ()
    children: tuple[Check, ...] = ()
    waived: Waiver | None = None

    @property
    def leans(self) -> bool:
        """Whether a failure is let pass here or below."""
        return self.waived is not None or any(child.leans for child in self.children)


class PartState(StrEnum):
    """What is known of a part: judged by a rule of its own, or left to the signature of the whole, or not judged by anybody."""

    VERIFIED = "verified"
    PARENT = "parent"
    UNJUDGED = "unjudged"
    DENIED = "denied"
    UNKNOWN = "unknown"


class JudgedPart(Struct, frozen=True, kw_only=True):
    """A subchart or an image with its state; `reference` is where it was compared with its origin, `check` why the state is so."""

    kind: PartKind
    path: str
    state: PartState
    check: Check
    reference: str | None = None
    digest: str | None = None


class PolicyName(Struct, frozen=True, kw_only=True):
    """Which policy and which of its rules decided; `digest` is of the document and all that it refers to."""

    name: str
    digest: str
    rule: str | None = None


class RootUsed(Struct, frozen=True, kw_only=True):
    """A sigstore root that the decision rests on, and of when it is (semantics 19)."""

    name: str
    digest: str
    as_of: datetime | None


class Decision(Struct, frozen=True, kw_only=True):
    """The whole answer."""

    id: str
    time: datetime
    outcome: Outcome
    request: Request
    artifact: Chart | None
    policy: PolicyName
    trust_digest: str
    check: Check
    roots: tuple[RootUsed, ...] = ()
    claims: tuple[Claim, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    gaps: tuple[Gap, ...] = ()
    parts: tuple[JudgedPart, ...] = ()
    warnings: tuple[str, ...] = ()
    unsafe: tuple[str, ...] = ()
    valid_until: datetime | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def exceptions(self) -> tuple[tuple[str, Check], ...]:
        """The failures that were let pass, each with the path of its name; not one of them is called verified."""
        return tuple(_waived(self.check, ""))

    @property
    def subcharts(self) -> str:
        """What was judged of the charts in this chart: `none` lies in it, `not judged`, `judged`, or `partial` (semantics 25)."""
        states = {part.state for part in self.parts if part.kind is PartKind.SUBCHART}
        if self.artifact is None or (self.artifact.facts.composed and not states):
            return "not judged"
        return "partial" if PartState.UNJUDGED in states else "judged" if states else "none"

    @property
    def allowed(self) -> bool:
        """Whether the chart may be installed."""
        return self.outcome is Outcome.ALLOWED


def _waived(check: Check, above: str) -> Iterator[tuple[str, Check]]:
    for child in check.children:
        path = f"{above}{child.name}"
        if child.waived is not None:
            yield path, child
        yield from _waived(child, f"{path} / ")
