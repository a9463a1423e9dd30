"""Replaying: a recorded decision judged again, under its own or another policy, at its own or another time.

Evidence is verified again with the trust of the policy that judges; the clock that moves is the policy's: windows, ages, expiry of
reviews and keys. What the network said then, it says again. This is no answer to what a registry holds now.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from verifier.model import codes
from verifier.model.decision import Decision
from verifier.model.errors import MisuseError
from verifier.operations.policies import LoadedPolicy
from verifier.operations.recording import Recording
from verifier.operations.verification import Options, judge
from verifier.report.codec import encode


def replay(recording: Recording, loaded: LoadedPolicy | None = None, at: datetime | None = None) -> Decision:
    """The decision under `loaded` at `at`; without them under the recorded policy, at the recorded time.

    Raises MisuseError `no-policy` where none was recorded: trust flags are no document.
    """
    under = loaded or recording.loaded
    if under is None:
        raise MisuseError(codes.NO_POLICY, "the decision was recorded under trust flags, which are no document; say --policy")
    moment = at or recording.time
    return judge(recording.request, recording.examined, under, Options(clock=lambda: moment, unsafe=recording.unsafe))


def changes(recording: Recording, decision: Decision) -> Iterator[str]:
    """What differs from what was told then, a line each; nothing where the answer and all that stands behind it are the same."""
    told, now = recording.decision, encode(decision)
    for name in ("outcome", "code"):
        yield from _change(name, told.get(name), now[name])
    policy = told.get("policy")
    yield from _change("rule", policy.get("rule") if isinstance(policy, dict) else None, now["policy"]["rule"])
    before, after = (dict.fromkeys(line for check in value.get("checks") or () for line in _lines(check, "")) for value in (told, now))
    yield from (f"- {line}" for line in before if line not in after)
    yield from (f"+ {line}" for line in after if line not in before)


def read_moment(written: str | None) -> datetime | None:
    """A time that a person wrote, or `now`; raises MisuseError."""
    if written is None or written == "now":
        return datetime.now(UTC) if written else None
    try:
        moment = datetime.fromisoformat(written)
    except ValueError as error:
        raise MisuseError(codes.USAGE, f"{written[:40]!r} is not a time such as 2027-01-01T00:00:00Z") from error
    if moment.tzinfo is None:
        raise MisuseError(codes.USAGE, f"{written[:40]!r} names no time zone; end it with Z")
    return moment


def _change(name: str, then: object, now: object) -> Iterator[str]:
    if then != now:
        yield f"{name}: {then or 'none'} -> {now or 'none'}"


def _lines(check: object, above: str) -> Iterator[str]:
    """A check of a decision's JSON and all below it."""
    if isinstance(check, dict):
        name = f"{above}{check.get('name')}"
        yield f"{name}: {check.get('outcome')}" + (f" [{check['code']}]" if check.get("code") else "")
        for child in check.get("children") or ():
            yield from _lines(child, f"{name} / ")
