"""Strong Kleene logic over checks (semantics 11). Nothing means no: an empty conjunction cannot be built."""

from __future__ import annotations

from collections.abc import Sequence

from verifier.model import codes
from verifier.model.decision import Action, Check, Result


def effective(check: Check) -> Result:
    """What a check contributes to its parent: a failure that only warns, or that an exception lets pass, does not stand in the way."""
    passes = check.waived is not None or (check.action is Action.WARN and check.outcome is not Result.SKIPPED)
    return Result.PASSED if passes else check.outcome


def all_of(name: str, children: Sequence[Check], *, action: Action = Action.ENFORCE) -> Check:
    """Failed beats inconclusive beats passed; the first in the way gives code and reason."""
    for result in (Result.FAILED, Result.SKIPPED, Result.INCONCLUSIVE):
        blocking = next((child for child in children if effective(child) is result), None)
        if blocking is not None:
            outcome = Result.FAILED if result is Result.SKIPPED else result
            return Check(name=name, outcome=outcome, reason=blocking.reason, code=blocking.code, action=action, children=tuple(children))
    if not children:
        return Check(name=name, outcome=Result.FAILED, reason="nothing is required, so nothing is proven", code=codes.REQUIREMENTS_FAILED)
    waived = sum(child.waived is not None for child in children)
    reason = f"all {len(children)} hold" if not waived else f"{len(children) - waived} of {len(children)} hold, {waived} let pass by exceptions"
    return Check(name=name, outcome=Result.PASSED, reason=reason, action=action, children=tuple(children))


def any_of(name: str, children: Sequence[Check], *, action: Action = Action.ENFORCE) -> Check:
    """Passed beats inconclusive beats failed; the reasons of all branches are kept."""
    if not any(child.outcome is Result.PASSED for child in children):
        waived = next((child for child in children if child.waived is not None), None)
        if waived is not None:
            return Check(name=name, outcome=Result.PASSED, reason=f"{waived.name} is let pass by an exception", action=action, children=tuple(children))
    for result in (Result.PASSED, Result.INCONCLUSIVE):
        found = next((child for child in children if child.outcome is result), None)
        if found is not None:
            claims = found.claims if result is Result.PASSED else ()
            return Check(name=name, outcome=result, reason=found.reason, code=found.code, action=action, claims=claims, children=tuple(children))
    reasons = {child.code for child in children}
    code = reasons.pop() if len(reasons) == 1 else codes.REQUIREMENTS_FAILED
    reason = "no branch holds: " + "; ".join(child.reason for child in children)
    return Check(name=name, outcome=Result.FAILED, reason=reason, code=code, action=action, children=tuple(children))
