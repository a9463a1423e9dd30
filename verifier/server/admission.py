"""The admission webhooks: POST /admission/validate and /admission/mutate (semantics 31, 32).

The answer is always an AdmissionReview with HTTP 200, in time: what we could not tell is denied with a reason, which a person sees, instead of a
failed call, which nobody understands. The API server says in the query how long it waits; we answer a second earlier.
"""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from msgspec import Struct

from verifier.kube.cluster import Cluster
from verifier.model import codes
from verifier.model.context import Context
from verifier.model.decision import Outcome
from verifier.model.errors import InconclusiveError, VerifierError
from verifier.model.mistakes import advise
from verifier.operations.review import Review, read_review
from verifier.operations.verdict import Finding, Verdict, finding_of
from verifier.policy.cluster import Admission
from verifier.report.text import safe
from verifier.server.callers import Callers
from verifier.server.events import Events
from verifier.server.service import DecisionService
from verifier.server.tracing import current

_DURATION = re.compile(r"(?:(\d{1,4})m)?(?:(\d{1,5})(?:\.\d+)?s)?")  # as Go writes it: 10s, 1m30s
_MARGIN_SECONDS = 1.0
_LEAST_SECONDS = 0.5
_MESSAGE = 3_500  # characters; the API server cuts nothing, but people read terminals
_WARNING = 250  # the API server cuts after 256
_STATUS = {Outcome.DENIED: (403, "Forbidden"), Outcome.INCONCLUSIVE: (503, "ServiceUnavailable")}


class AdmissionSettings(Struct, frozen=True, kw_only=True):
    """`seconds`: the longest time to an answer. `mode`: whether a denial denies, is only told, or is only written into the audit log.

    `pins`: the mutating webhook writes digests; otherwise it changes nothing.
    """

    seconds: float = 8.0
    mode: str = "enforce"
    pins: bool = False


class Gate(Struct, frozen=True, kw_only=True):
    """What the webhook needs."""

    service: DecisionService
    callers: Callers
    context: Context
    cluster: Cluster | None
    settings: AdmissionSettings
    events: Events | None = None


def add_admission(app: FastAPI, gate: Gate, unauthenticated: type[Exception]) -> None:
    """Add the webhook's route."""

    @app.post("/admission/validate", response_class=Response)
    async def validate(request: Request) -> Response:
        """Whether an object may be in the cluster: an AdmissionReview of admission.k8s.io/v1, answered by one."""
        started = time.monotonic()
        if not await _may_ask(gate, request):
            raise unauthenticated
        review = read_review(await request.body())
        verdict = await _verdict(gate, review, _seconds(request, gate))
        took = time.monotonic() - started
        current().set_attributes({"verifier.object": safe(review.what)[:300], "verifier.outcome": verdict.outcome.value, "verifier.mode": gate.settings.mode})
        gate.service.metrics.count_admission(verdict, gate.settings.mode, took)
        gate.service.log.admission(review, verdict, gate.settings.mode, took)
        if gate.events is not None:
            gate.events.tell(review, verdict)
        return JSONResponse(answer(review, verdict, gate.settings.mode))

    @app.post("/admission/mutate", response_class=Response)
    async def mutate(request: Request) -> Response:
        """The object with the verified digest in it, where its controller obeys one: an AdmissionReview, answered by one. It denies nothing."""
        if not await _may_ask(gate, request):
            raise unauthenticated
        review = read_review(await request.body())
        patch = await _patch(gate, review, _seconds(request, gate)) if gate.settings.pins else ()
        return JSONResponse(patched(review, patch))


def _seconds(request: Request, gate: Gate) -> float:
    return seconds_for(request.query_params.get("timeout", "")[:20], gate.settings.seconds)


async def _may_ask(gate: Gate, request: Request) -> bool:
    """Who has shown a certificate to the listener, or has a token with the role."""
    if request.scope.get("verifier.authenticated", False):
        return True
    caller = await gate.callers.identify(request.headers.get("authorization", ""))
    return caller is not None and caller.may("admission")


async def _patch(gate: Gate, review: Review, seconds: float) -> tuple[dict[str, Any], ...]:
    """What could not be found out in time is left as it is; the validating webhook says why it does not do."""
    try:
        return await gate.service.pin(review, gate.cluster, gate.context, seconds)
    except InconclusiveError:
        return ()


def patched(review: Review, patch: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """The AdmissionReview that answers with a JSON patch, or with none."""
    response: dict[str, Any] = {"uid": review.uid, "allowed": True}
    if patch:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode(), "auditAnnotations": {"pinned": "true"}}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


async def _verdict(gate: Gate, review: Review, seconds: float) -> Verdict:
    try:
        return await gate.service.admit(review, gate.cluster, gate.context, seconds)
    except InconclusiveError as error:
        return Verdict(findings=(finding_of("", error),))
    except VerifierError:
        raise
    except Exception as error:  # noqa: BLE001  # a fault of ours denies, and says that it is ours
        fault = InconclusiveError(codes.INTERNAL, f"internal error ({type(error).__name__}); nothing was decided")
        return Verdict(findings=(finding_of("", fault),))


def seconds_for(timeout: str, most: float) -> float:
    """How long an answer may take: less than the API server waits (webhook `timeoutSeconds`, which it puts into the query)."""
    found = _DURATION.fullmatch(timeout)
    if found is None or not timeout:
        return most
    told = int(found[1] or 0) * 60 + int(found[2] or 0)
    return min(most, max(told - _MARGIN_SECONDS, _LEAST_SECONDS))


def answer(review: Review, verdict: Verdict, mode: str) -> dict[str, Any]:
    """The AdmissionReview that answers."""
    enforced = mode == "enforce"
    response: dict[str, Any] = {"uid": review.uid, "allowed": verdict.allowed or not enforced, "auditAnnotations": _annotations(verdict, mode)}
    if not verdict.allowed and enforced:
        code, reason = _STATUS[verdict.outcome]
        response["status"] = {"status": "Failure", "code": code, "reason": reason, "message": message(review, verdict)}
    warnings = [*verdict.warnings, *_warnings(verdict, mode)]
    if warnings:
        response["warnings"] = [safe(warning)[:_WARNING] for warning in warnings[:10]]
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def message(review: Review, verdict: Verdict) -> str:
    """Why it is denied, in some lines for a person."""
    lines = [f"verifier: {safe(review.what)[:300]}"]
    wrong = [finding for finding in verdict.findings if finding.outcome is not Outcome.ALLOWED]
    lines += [f"  {_line(finding)}" for finding in wrong]
    lines += [f"  next: {advice}" for advice in dict.fromkeys(_advice(finding) for finding in wrong) if advice]
    return "\n".join(lines)[:_MESSAGE]


def _advice(finding: Finding) -> str:
    where = str(finding.decision.request.reference) if finding.decision is not None else ""
    return advise(finding.code, where, finding.reason) if finding.code is not None else ""


def _line(finding: Finding) -> str:
    place = f"{safe(finding.place)[:200]}: " if finding.place else ""
    named = f"{safe(str(finding.decision.request.reference))}: " if finding.decision is not None else ""
    return f"{place}{named if named not in finding.reason else ''}{safe(finding.reason)[:800]} [{finding.code.name if finding.code is not None else ''}]"


def _warnings(verdict: Verdict, mode: str) -> list[str]:
    found = [f"verifier: {finding.reason}" for finding in verdict.findings if finding.unsafe]
    found += [f"verifier would deny: {_line(finding)}" for finding in verdict.findings if finding.softened is Admission.WARN]
    found += [warning for finding in verdict.findings if finding.decision is not None for warning in finding.decision.warnings]
    if mode == "warn":
        found += [f"verifier would deny: {_line(finding)}" for finding in verdict.findings if finding.outcome is not Outcome.ALLOWED]
    return found


def _annotations(verdict: Verdict, mode: str) -> dict[str, str]:
    """For the API server's audit log."""
    decided = [finding for finding in verdict.findings if finding.decision is not None]
    found = {"outcome": str(verdict.outcome), "mode": mode}
    unsafe = list(dict.fromkeys(finding.unsafe for finding in verdict.findings if finding.unsafe is not None))
    if unsafe:
        found["unverified"] = ",".join(unsafe)
    if any(finding.softened is not None for finding in verdict.findings):
        found["softened"] = "true"
    if verdict.findings:
        found["codes"] = ",".join(dict.fromkeys(finding.code.name for finding in verdict.findings if finding.code is not None))
    if decided:
        found["decisions"] = ",".join(finding.decision.id for finding in decided if finding.decision is not None)[:1_000]
        found["charts"] = safe(" ".join(_charts(decided)))[:2_000]
        found["policy"] = safe(decided[0].decision.policy.digest if decided[0].decision is not None else "")
    return {key: value for key, value in found.items() if value}


def _charts(findings: list[Finding]) -> list[str]:
    decisions = [finding.decision for finding in findings if finding.decision is not None]
    return [f"{item.request.reference}{'=' + str(item.artifact.digests[0]) if item.artifact is not None else ''}" for item in decisions]
