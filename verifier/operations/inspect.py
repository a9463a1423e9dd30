"""Inspecting: everything that is attached to a chart, each with its state word, its signer and where it was found."""

from __future__ import annotations

from msgspec import Struct

from verifier.model.artifact import Artifact
from verifier.model.claim import Claim, Rejection
from verifier.model.context import Context, Request
from verifier.model.evidence import Gap
from verifier.model.reference import AnyReference
from verifier.operations.connections import Connections
from verifier.operations.verification import Options, examine, prove
from verifier.trust.anchors import TrustMaterial


class Inspection(Struct, frozen=True, kw_only=True):
    """What lies there; without trust material nothing is ever called verified."""

    artifact: Artifact | None
    verified: tuple[Claim, ...]
    present: tuple[Rejection, ...]
    unknown: tuple[Gap, ...]


def inspect(reference: AnyReference, trust: TrustMaterial, connections: Connections, options: Options) -> Inspection:
    """Look at a chart without judging it."""
    examined = examine(Request(reference=reference, context=Context()), connections, options).whole()
    artifact, gathered = examined.artifact, examined.gathered
    claims, rejections = prove(gathered.evidence, artifact, trust)
    return Inspection(artifact=artifact, verified=claims, present=gathered.rejections + rejections, unknown=gathered.gaps)
