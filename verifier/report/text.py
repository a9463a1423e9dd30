"""The decision for a person under stress: the answer first, then why, what was found, and what to do next.

Nothing that comes from outside reaches a terminal raw: control characters, escape sequences and bidirectional overrides
are shown as escapes (threats T-23). The words for a signature's state are verified, present, absent and unknown only.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from verifier.model.artifact import OciChart, RepositoryChart, Subchart
from verifier.model.claim import Attestation, Claim, Rejection, Signature
from verifier.model.codes import Code
from verifier.model.decision import Action, Check, Decision, Outcome, PartState, Result
from verifier.model.mistakes import advise

_MARKS = {Result.PASSED: "+", Result.FAILED: "-", Result.INCONCLUSIVE: "?", Result.SKIPPED: "."}
_COLOURS = {Outcome.ALLOWED: "32", Outcome.DENIED: "31", Outcome.INCONCLUSIVE: "33"}


STATE_WORDS = {
    PartState.VERIFIED: "allowed by its own rule",
    PartState.PARENT: "left to the chart's own signature",
    PartState.UNJUDGED: "judged by nobody",
    PartState.DENIED: "denied",
    PartState.UNKNOWN: "unknown",
}


def explain(decision: Decision, *, colour: bool = False, quiet: bool = False) -> str:
    """The whole report; `quiet` keeps the answer and its reason only."""
    lines = [_headline(decision, colour)]
    if not decision.allowed:
        lines += [f"  why     {safe(decision.check.reason)}{_code(decision.check.code)}"]
    if not quiet:
        lines += _body(decision)
    lines += _next_steps(decision)
    return "\n".join(lines)


def safe(text: str) -> str:
    """The text with everything that a terminal could act on escaped."""
    if text.isascii() and text.isprintable():
        return text  # as most is; the rest takes a look at each character
    return "".join(character if _is_printable(character) else _escaped(character) for character in text)


def _is_printable(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMNPS" or character == " "


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _headline(decision: Decision, colour: bool) -> str:
    word = decision.outcome.value.upper()
    painted = f"\x1b[1;{_COLOURS[decision.outcome]}m{word}\x1b[0m" if colour else word
    return f"{painted}  {safe(str(decision.request.reference))}"


def _body(decision: Decision) -> Iterator[str]:
    artifact = decision.artifact
    if artifact is not None:
        yield f"  chart   {safe(artifact.facts.name)} {safe(artifact.facts.version)}, archive {artifact.archive_digest}"
        yield from _subcharts(artifact.facts.subcharts, "", {part.path: part.state for part in decision.parts})
    if isinstance(artifact, OciChart | RepositoryChart):
        how = "the tag was resolved now" if isinstance(artifact, OciChart) else "the version was looked up now"
        pinned = "the digest was asked for" if artifact.reference.was_pinned else how
        yield f"  digest  {artifact.reference.digest} ({pinned})"
        if artifact.reference.read_from:
            yield f"  read    from {safe(artifact.reference.read_from)}"
    rule = f", rule {safe(decision.policy.rule)!r}" if decision.policy.rule else ""
    yield f"  policy  {safe(decision.policy.name)}{rule}"
    for root in decision.roots:
        yield f"  root    {safe(root.name)}, of {f'{root.as_of:%Y-%m-%d}' if root.as_of else 'an unknown day'}"
    yield "  checks"
    for check in decision.check.children:
        yield from _check(check, 4)
    yield from _evidence(decision)
    for warning in decision.warnings:
        yield f"  warning {safe(warning)}"
    for unsafe in decision.unsafe:
        yield f"  UNSAFE  {safe(unsafe)}"


def _subcharts(items: Sequence[Subchart], above: str, states: Mapping[str, PartState]) -> Iterator[str]:
    for item in items:
        path = f"{above}{item.path}"
        state = STATE_WORDS[states[path]] if path in states else "not judged"
        what = f"{item.name} {item.version}" if item.problem is None else f"cannot be read ({item.problem})"
        kind = f"archive {item.digest.short}..." if item.digest else "unpacked"
        origin = f", declared from {item.repository}" if item.repository else ", not declared" if item.problem is None else ""
        yield f"{' ' * (10 + 2 * above.count('charts/'))}{safe(item.path)}: {safe(what)}, {kind}{safe(origin)}; {state}"
        if item.digest is None or path not in states:  # what lies in a packed one that was judged is part of that one
            yield from _subcharts(item.subcharts, f"{path}/", states)


def _check(check: Check, indent: int) -> Iterator[str]:
    warns = " (warns only)" if check.action is Action.WARN else ""
    passes = f" (let pass: {safe(check.waived.ticket)}, {safe(check.waived.owner)})" if check.waived is not None else ""
    yield f"{' ' * indent}{_MARKS[check.outcome]} {safe(check.name)}: {safe(check.reason)}{_code(check.code)}{warns}{passes}"
    for child in check.children:
        yield from _check(child, indent + 2)


def _evidence(decision: Decision) -> Iterator[str]:
    if not (decision.claims or decision.rejections or decision.gaps):
        yield "  found   no signature: absent"
        return
    yield "  found"
    for claim in decision.claims:
        yield f"    verified  {describe_claim(claim)}"
    for rejection in decision.rejections:
        yield f"    present   {describe_rejection(rejection)}"
    for gap in decision.gaps:
        yield f"    unknown   {safe(gap.kind)} at {safe(gap.where)}: {safe(gap.reason)}{_code(gap.code)}"


def describe_claim(claim: Claim) -> str:
    """One line about what was proven."""
    match claim.kind:
        case Signature(form=form):
            what = f"{form.value} signature of the {claim.role.value}"
        case Attestation(predicate_type=predicate_type):
            what = f"attestation {safe(predicate_type)} of the {claim.role.value}"
    when = f", signed {claim.times[0].at:%Y-%m-%d %H:%M}Z by the {claim.times[0].clock.value}'s clock" if claim.times else ""
    trusted = f"trusted as {', '.join(sorted(claim.anchors))}" if claim.anchors else "an identity that no trust entry names"
    return f"{what} by {safe(str(claim.signer))}, {trusted}{when} ({claim.location.kind.value})"


def describe_rejection(rejection: Rejection) -> str:
    """One line about what proved nothing, and why."""
    who = f" by {safe(rejection.signer)}" if rejection.signer else ""
    return f"{rejection.location.kind.value}{who}: {safe(rejection.reason)}{_code(rejection.code)}"


def _code(code: Code | None) -> str:
    return f" [{code.name}]" if code is not None else ""


def _next_steps(decision: Decision) -> Iterator[str]:
    if decision.allowed:
        return
    yield from (f"  next    {line}" for line in next_steps(decision))


def next_steps(decision: Decision) -> tuple[str, ...]:
    """What to do, once for each code: `CODE: advice`."""
    named = [(decision.check.code, str(decision.request.reference), decision.check.reason)]
    named += [(rejection.code, "", rejection.reason) for rejection in decision.rejections]
    named += [(gap.code, gap.where, gap.reason) for gap in decision.gaps]
    found = {code: advise(code, where, reason) for code, where, reason in reversed(named) if code is not None}
    return tuple(f"{code.name}: {found[code]}" for code in dict.fromkeys(code for code, _, _ in named if code is not None))
