"""Pulling: decide, then write exactly the bytes that were judged, or nothing."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from verifier.model.context import Request
from verifier.model.decision import Decision
from verifier.operations.connections import Connections
from verifier.operations.policies import LoadedPolicy
from verifier.operations.signing import write_new
from verifier.operations.verification import Options, verify


class Pulled(Struct, frozen=True, kw_only=True):
    """The decision, and the file that was written if it allows."""

    decision: Decision
    path: Path | None


def pull(request: Request, loaded: LoadedPolicy, connections: Connections, options: Options, directory: Path) -> Pulled:
    """Write `NAME-VERSION.tgz` into `directory` when the decision allows; raises MisuseError `write-failed`."""
    decision = verify(request, loaded, connections, options)
    if not decision.allowed or decision.artifact is None:
        return Pulled(decision=decision, path=None)
    path = directory / f"{decision.artifact.facts.label}.tgz"
    write_new(path, decision.artifact.archive)
    return Pulled(decision=decision, path=path)
