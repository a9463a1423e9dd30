"""What breaks when exceptions end: each exception with its state, and the recorded decisions that rest on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from verifier.operations.policies import LoadedPolicy
from verifier.operations.recording import Recording
from verifier.operations.replay import replay
from verifier.policy.document import Exemption
from verifier.policy.exceptions import overlapping
from verifier.policy.words import exempted

_SOON = timedelta(days=14)


def report_exceptions(loaded: LoadedPolicy, recordings: Mapping[str, Recording], now: datetime | None = None) -> Iterator[str]:
    """A line for each exception, for each pair that overlaps, and for each recorded decision that changes when an exception ends."""
    moment = now or datetime.now(UTC)
    for item in sorted(loaded.policy.exceptions, key=lambda item: item.waiver.expires):
        yield f"{_state(item, moment)}  {item.waiver.ticket}: {exempted(item)}, rule {item.rule!r}, {', '.join(sorted(item.codes))}"
        yield f"          {item.waiver} ({item.place})"
    for first, later in overlapping(loaded.policy):
        both = f"{first.waiver.ticket} and {later.waiver.ticket}"
        yield f"overlap   {both} are for the same failure: the one that ends first holds, so take {first.waiver.ticket} away"
    for name, recording in recordings.items():
        yield from _breaks(name, recording, loaded, moment)


def _state(item: Exemption, now: datetime) -> str:
    left = item.waiver.expires - now
    if left <= timedelta():
        return "ended   "
    return f"{left.days:3} days" if left > _SOON else f"SOON {left.days:2}d"


def _breaks(name: str, recording: Recording, loaded: LoadedPolicy, now: datetime) -> Iterator[str]:
    decision = replay(recording, loaded, now)
    used = {check.waived for _, check in decision.exceptions if check.waived is not None}
    if not used:
        yield f"{name}: {decision.outcome.value}, and rests on no exception"
    for waiver in sorted(used, key=lambda waiver: waiver.expires):
        later = replay(recording, loaded, waiver.expires)
        code = f" [{later.check.code.name}]" if later.check.code else ""
        what = f"{later.outcome.value}{code}: {later.check.reason}" if later.outcome is not decision.outcome else f"still {later.outcome.value}"
        yield f"{name}: {decision.outcome.value} by {waiver.ticket} until {waiver.expires:%Y-%m-%d %H:%M}Z, then {what}"
