"""What a look for evidence finds: evidence, a rejection of what is none, or a gap where something could not be read (semantics 20)."""

from __future__ import annotations

from collections.abc import Callable

from verifier.model.claim import Rejection
from verifier.model.errors import FailedError, InconclusiveError, VerifierError
from verifier.model.evidence import Evidence, Gap, Location

Found = Evidence | Rejection | Gap


def guarded(location: Location, read: Callable[[], list[Found]]) -> list[Found]:
    """What was read, or why not."""
    try:
        return read()
    except FailedError as error:
        return [Rejection(scheme=None, code=error.code, reason=error.reason, location=location)]
    except InconclusiveError as error:
        return [as_gap("evidence", location.where, error)]


def as_gap(kind: str, where: str, error: VerifierError) -> Gap:
    """A gap of an error."""
    return Gap(kind=kind, where=error.where or where, code=error.code, reason=error.reason, retry_after=error.retry_after)
