"""What the server tells of itself: one JSON object a line on stderr, for machines.

Every answer is told, with its decision's id, by which `GET /v1/decisions/ID` has the whole. Nothing that a caller sent is told but what was parsed, names of
objects, and reasons; credentials in URLs are struck out before they get here, and tokens are never near.
"""

from __future__ import annotations

import sys
from typing import Any

import structlog

from verifier.model.decision import Decision
from verifier.operations.review import Review
from verifier.operations.verdict import Verdict
from verifier.server.tracing import trace_id

_MOST = 2_000  # characters of one value


class Log:
    """One per server; `quiet` tells nothing."""

    def __init__(self, *, quiet: bool = False, stream: Any = None) -> None:
        processors: list[structlog.typing.Processor] = [
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.JSONRenderer(ensure_ascii=True),
        ]
        self._log = structlog.wrap_logger(structlog.PrintLogger(stream or sys.stderr), processors=processors, cache_logger_on_first_use=True)
        self._quiet = quiet

    def decision(self, decision: Decision, caller: str, seconds: float) -> None:
        """An answer of POST /v1/verify."""
        code = decision.check.code.name if decision.check.code is not None and not decision.allowed else None
        self._tell("decision", decision=decision.id, outcome=decision.outcome.value, code=code, rule=decision.policy.rule, caller=caller, seconds=seconds)

    def admission(self, review: Review, verdict: Verdict, mode: str, seconds: float) -> None:
        """An answer to the API server."""
        self._tell(
            "admission",
            object=review.what,
            operation=review.operation,
            user=review.user,
            dryRun=review.dry_run,
            outcome=verdict.outcome.value,
            mode=mode,
            codes=[finding.code.name for finding in verdict.findings if finding.code is not None],
            decisions=[finding.decision.id for finding in verdict.findings if finding.decision is not None],
            reasons=[finding.reason for finding in verdict.findings if finding.code is not None],
            seconds=seconds,
        )

    def refused(self, status: int, code: str) -> None:
        """A request that was not judged."""
        self._tell("refused", status=status, code=code)

    def event(self, name: str, **values: Any) -> None:
        """Something about the server itself."""
        self._tell(name, **values)

    def _tell(self, event: str, **values: Any) -> None:
        if not self._quiet:
            told = {**values, "trace": trace_id()}
            self._log.msg(event, **{key: _bounded(value) for key, value in told.items() if value is not None})


def _bounded(value: Any) -> Any:
    match value:
        case str():
            return value[:_MOST]
        case float():
            return round(value, 4)
        case list():
            return [_bounded(item) for item in value[:20]]
        case _:
            return value
