"""For whom a chart is asked: the context that rules select on (semantics 1), and the facts of one decision."""

from __future__ import annotations

from msgspec import Struct

from verifier.model.artifact import Artifact
from verifier.model.claim import Claim, Rejection
from verifier.model.evidence import Gap
from verifier.model.reference import AnyReference

CONTEXT_KEYS = ("environment", "cluster", "namespace")


class Context(Struct, frozen=True, kw_only=True):
    """What rules may select on; `asserted_by` says who vouches for it (the caller, the server's settings, a token)."""

    environment: str | None = None
    cluster: str | None = None
    namespace: str | None = None
    asserted_by: str = "nobody"

    def value(self, key: str) -> str | None:
        """The value of one of CONTEXT_KEYS."""
        match key:
            case "environment":
                return self.environment
            case "cluster":
                return self.cluster
            case "namespace":
                return self.namespace
            case _:
                raise KeyError(key)


class Request(Struct, frozen=True, kw_only=True):
    """One question: may this be installed, in this context?"""

    reference: AnyReference
    context: Context


class Facts(Struct, frozen=True, kw_only=True):
    """All that a policy may look at: verified claims, kept failures, gaps. `artifact` is None when it could not be had;
    then a rejection or a gap says why, and nothing is allowed.
    """

    request: Request
    artifact: Artifact | None
    claims: tuple[Claim, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    gaps: tuple[Gap, ...] = ()
