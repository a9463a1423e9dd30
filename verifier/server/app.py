"""The HTTP API: POST /v1/verify, health, readiness, metrics, OpenAPI (semantics 35).

200 allowed, 403 denied, 503 inconclusive, each with the whole decision; `?enforce=false` answers 200 with the decision.
Errors are problem documents (RFC 9457). Handlers are async; what blocks runs on the service's threads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field

from verifier import __version__
from verifier.model import codes
from verifier.model.codes import Code, Family
from verifier.model.context import Context
from verifier.model.decision import Decision, Outcome
from verifier.model.errors import InconclusiveError, VerifierError
from verifier.model.reference import parse_origin
from verifier.report.schema import decision_schema
from verifier.server.admission import Gate, add_admission
from verifier.server.body_limit import BodyLimit
from verifier.server.callers import Callers
from verifier.server.history import add_history
from verifier.server.metrics import CONTENT_TYPE
from verifier.server.rate import RateLimit
from verifier.server.service import DecisionService
from verifier.server.tracing import telemetry

_STATUS = {Outcome.ALLOWED: 200, Outcome.DENIED: 403, Outcome.INCONCLUSIVE: 503}
_PROBLEM_STATUS = {Family.MISUSE: 422, Family.FAILED: 403, Family.INCONCLUSIVE: 503}
_RETRY_SECONDS = 5
_Authorization = Annotated[str, Header()]


class ClaimedContext(BaseModel):
    """What the caller says of where the chart goes; counts only as far as it is granted."""

    model_config = ConfigDict(extra="forbid")
    environment: str | None = Field(default=None, max_length=253)
    cluster: str | None = Field(default=None, max_length=253)
    namespace: str | None = Field(default=None, max_length=253)


class Question(BaseModel):
    """May this chart be installed?"""

    model_config = ConfigDict(extra="forbid")
    reference: str = Field(max_length=512, examples=["oci://ghcr.io/acme/charts/web:1.4.2"])
    context: ClaimedContext = Field(default_factory=ClaimedContext)


class AppSettings(Struct, frozen=True, kw_only=True):
    """`rate`: how many questions a second each caller may ask, by token or by address; 0 sets no limit, and the API server is not limited.

    `traced`: the environment names a collector of traces.
    """

    rate: float = 0.0
    traced: bool = False


def create_app(service: DecisionService, callers: Callers, own_context: Context, gate: Gate | None = None, settings: AppSettings | None = None) -> FastAPI:
    """The application; `own_context` is what the server's settings say of where it stands. With a `gate`, the admission webhook, too."""
    settings = settings or AppSettings()
    limit = RateLimit(settings.rate)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        following = asyncio.create_task(service.follow())
        yield
        following.cancel()
        service.close()

    app = FastAPI(title="verifier", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, telemetry=telemetry(exported=settings.traced))
    app.add_middleware(BodyLimit)
    _add_errors(app, service)
    _add_health(app, service)
    if gate is not None:
        add_admission(app, gate, _Unauthenticated)
    if service.store is not None:
        add_history(app, service.store, callers, _Unauthenticated)

    @app.post("/v1/verify", responses=_documented_responses(), response_class=Response)
    async def verify(question: Question, request: Request, authorization: _Authorization = "", enforce: Annotated[bool, Query()] = True) -> Response:
        """Decide; the body is the whole decision, whatever the answer."""
        started = time.monotonic()
        caller = await callers.identify(authorization)
        if caller is None or not caller.may("verify"):
            raise _Unauthenticated
        _check_rate(limit, caller.name if callers.callers else request.client.host if request.client is not None else "")
        context = caller.context(own_context, question.context.model_dump(exclude_none=True))
        answered = await service.answer(parse_origin(question.reference), context)
        took = time.monotonic() - started
        service.metrics.count(answered.decision, took)
        service.log.decision(answered.decision, caller.name, took)
        status = _STATUS[answered.decision.outcome] if enforce else 200
        return Response(answered.body, status, headers=_headers(answered.decision, status), media_type="application/json")

    return app


def _check_rate(limit: RateLimit, caller: str) -> None:
    wait = limit.wait(caller)
    if wait:
        raise InconclusiveError(codes.TOO_MANY, f"{caller[:100]} asks more than its share", retry_after=max(wait, 1.0))


class _Unauthenticated(Exception):
    """No caller has this token."""


def _headers(decision: Decision, status: int) -> dict[str, str]:
    if status != 503:
        return {}
    wait = max((gap.retry_after or 0 for gap in decision.gaps), default=0)
    return {"Retry-After": str(int(wait) or _RETRY_SECONDS)}


def _add_health(app: FastAPI, service: DecisionService) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> dict[str, Any]:
        """A policy is loaded."""
        loaded = service.snapshots.current.loaded
        policy, problem = loaded.policy, service.snapshots.problem
        roots = [{"name": root.name, "digest": root.digest, "asOf": root.as_of.isoformat() if root.as_of else None} for root in policy.roots]
        held = {"status": "ready", "policy": {"name": policy.name, "digest": policy.digest}, "trust": {"digest": loaded.trust_digest, "roots": roots}}
        return held if problem is None else {**held, "status": "ready with an older policy", "problem": problem}

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Prometheus metrics."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)


def _add_errors(app: FastAPI, service: DecisionService) -> None:
    async def misuse(_: Request, error: Exception) -> Response:
        assert isinstance(error, VerifierError)
        wait = {"Retry-After": str(int(error.retry_after or _RETRY_SECONDS))} if error.code.family is Family.INCONCLUSIVE else {}
        status = 429 if error.code is codes.TOO_MANY else _PROBLEM_STATUS[error.code.family]
        return _problem(service, status, error.code, str(error), wait)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return _problem(service, 422, codes.USAGE, f"{place}: {first['msg']}", {})

    async def unauthenticated(_: Request, __: Exception) -> Response:
        return _problem(service, 401, codes.UNAUTHENTICATED, "no caller with the right to ask has this bearer token", {"WWW-Authenticate": "Bearer"})

    async def fault(_: Request, error: Exception) -> Response:
        return _problem(service, 503, codes.INTERNAL, f"internal error ({type(error).__name__}); nothing was decided", {"Retry-After": "5"})

    app.add_exception_handler(VerifierError, misuse)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(_Unauthenticated, unauthenticated)
    app.add_exception_handler(Exception, fault)


def _problem(service: DecisionService, status: int, code: Code, detail: str, headers: dict[str, str]) -> Response:
    service.metrics.refused.labels(str(status)).inc()
    service.log.refused(status, code.name)
    body = {"type": f"urn:verifier:code:{code.name}", "title": code.name, "status": status, "detail": detail[:2000], "advice": code.advice}
    return JSONResponse(body, status, headers=headers, media_type="application/problem+json")


def _documented_responses() -> dict[int | str, dict[str, Any]]:
    schema = {"application/json": {"schema": {key: value for key, value in decision_schema().items() if key not in ("$schema", "$defs")}}}
    problem = {"application/problem+json": {"schema": {"type": "object"}}}
    return {
        200: {"description": "Allowed (or any decision with enforce=false).", "content": _inlined(schema)},
        403: {"description": "Denied; the body says why."},
        503: {"description": "Could not tell; try again after Retry-After seconds."},
        422: {"description": "The question makes no sense.", "content": problem},
        401: {"description": "No valid bearer token.", "content": problem},
    }


def _inlined(value: Any) -> Any:
    """The schema without its one recursive reference, which OpenAPI would look for elsewhere."""
    if isinstance(value, dict):
        return {key: ({"type": "object"} if inner == {"$ref": "#/$defs/check"} else _inlined(inner)) for key, inner in value.items()}
    return [_inlined(item) for item in value] if isinstance(value, list) else value
