"""What was decided: GET /v1/decisions and /v1/decisions/ID, for callers with the role `decisions`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Header, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from verifier.formats.json import parse_object
from verifier.model import codes
from verifier.model.errors import InconclusiveError
from verifier.report.codec import timestamp
from verifier.server.callers import Callers
from verifier.store.rows import MOST
from verifier.store.rows import Query as Wanted

if TYPE_CHECKING:
    from verifier.store.decisions import DecisionStore

_Header = Annotated[str, Header()]
_Text = Annotated[str | None, Field(max_length=512)]


class Which(BaseModel):
    """Which decisions; `before` the `time` of the last one goes on from there."""

    model_config = ConfigDict(extra="forbid")
    outcome: _Text = None
    reference: _Text = None
    digest: _Text = None
    namespace: _Text = None
    code: _Text = None
    since: datetime | None = None
    before: datetime | None = None
    limit: int = Field(default=100, ge=1, le=MOST)


def add_history(app: FastAPI, store: DecisionStore, callers: Callers, unauthenticated: type[Exception]) -> None:
    """Add the two routes."""

    @app.get("/v1/decisions", response_class=Response)
    async def decisions(which: Annotated[Which, Query()], authorization: _Header = "") -> Response:
        """Decisions that were given, newest first."""
        await _check(callers, authorization, unauthenticated)
        given = which.model_dump()
        wanted = Wanted(**given | {"since": _utc(which.since), "before": _utc(which.before)})
        found = await asyncio.to_thread(store.find, wanted)
        items = [
            {
                "id": item.id,
                "time": timestamp(item.time),
                "outcome": item.outcome,
                "code": item.code,
                "reference": item.reference,
                "digest": item.digest,
                "namespace": item.namespace,
                "rule": item.rule,
                "policy": item.policy,
            }
            for item in found
        ]
        return JSONResponse({"apiVersion": "verifier/v1", "kind": "DecisionList", "items": items})

    @app.get("/v1/decisions/{identifier}", response_class=Response)
    async def decision(identifier: str, authorization: _Header = "") -> Response:
        """One decision, whole, as it was given."""
        await _check(callers, authorization, unauthenticated)
        found = await asyncio.to_thread(store.get, identifier[:64])
        if found is None:
            raise InconclusiveError(codes.NOT_FOUND, f"no decision {identifier[:64]!r} is kept")
        return JSONResponse(parse_object(found.body, where="a kept decision"))


async def _check(callers: Callers, authorization: str, unauthenticated: type[Exception]) -> None:
    caller = await callers.identify(authorization)
    if caller is None or not caller.may("decisions"):
        raise unauthenticated


def _utc(moment: datetime | None) -> datetime | None:
    """A time without a zone is meant in UTC."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
