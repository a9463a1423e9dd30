"""For whom a chart is asked: the context that rules select on (semantics 1), and the facts of one decision."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from verifier.model.artifact import Artifact
from verifier.model.claim import Claim, Rejection
from verifier.model.codes import Code
from verifier.model.evidence import Gap
from verifier.model.reference import AnyReference

CONTEXT_KEYS = ("environment", "cluster", "namespace")
Selection = tuple[tuple[str, frozenset[str]], ...]  # `when:` of a rule or source: a key, and the values that match


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

    def fits(self, selection: Selection) -> bool:
        """Whether each key that is selected on has one of the values; a key that is missing fits nothing."""
        return all(self.value(key) in values for key, values in selection)


class Request(Struct, frozen=True, kw_only=True):
    """One question: may this be installed, in this context?"""

    reference: AnyReference
    context: Context


class Facts(Struct, frozen=True, kw_only=True):
    """All that a policy may look at: verified claims, kept failures, gaps. `artifact` is None when it could not be had;
    then a rejection or a gap says why, and nothing is allowed. `images_from` says where images were looked for: that none is among the
    parts means nothing otherwise. `unknown` are trust names whose key could not be had, each with the reason.
    """

    request: Request
    artifact: Artifact | None
    claims: tuple[Claim, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    gaps: tuple[Gap, ...] = ()
    parts: tuple[Part, ...] = ()
    images_from: frozenset[str] = frozenset()
    unknown: tuple[tuple[str, str], ...] = ()


class PartKind(StrEnum):
    """What a chart is made of beside its own files."""

    SUBCHART = "subchart"
    IMAGE = "image"


class Part(Struct, frozen=True, kw_only=True):
    """A subchart or an image, with the facts about it where it comes from; without them `code` and `reason` say why there are none."""

    kind: PartKind
    path: str
    facts: Facts | None = None
    code: Code | None = None
    reason: str = ""
