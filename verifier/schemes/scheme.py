"""What every scheme promises."""

from __future__ import annotations

from typing import Protocol

from verifier.model.artifact import Artifact
from verifier.model.claim import Claim, Rejection
from verifier.model.evidence import Evidence
from verifier.trust.anchors import TrustMaterial


class Scheme(Protocol):
    """One way of proving."""

    @property
    def name(self) -> str:
        """The scheme's word in decisions."""

    def verify(self, evidence: Evidence, artifact: Artifact, trust: TrustMaterial) -> tuple[Claim | Rejection, ...]:
        """Total: never raises on data, whatever it is."""
