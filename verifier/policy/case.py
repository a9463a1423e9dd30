"""The case before the engine: facts, the rule that won, and the moment at which it is judged."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from verifier.model.artifact import Artifact, Chart, ChartFile, OciImage
from verifier.model.claim import Claim
from verifier.model.context import Facts
from verifier.model.reference import AnyReference, ChartRepositoryReference, FileReference, LayoutReference, Origin, Reference
from verifier.policy.document import Policy, Rule


class Case(Struct, frozen=True, kw_only=True):
    """`claims` are those that count: what the deny list strikes out is not among them."""

    policy: Policy
    rule: Rule
    facts: Facts
    artifact: Artifact
    claims: tuple[Claim, ...]
    now: datetime

    @property
    def chart(self) -> Chart:
        """The artifact, where what is asked makes sense of charts only; the loader keeps the rest away from images."""
        if isinstance(self.artifact, OciImage):
            raise AssertionError("a condition on charts was asked of an image")
        return self.artifact

    @property
    def repository(self) -> str | None:
        """`host/repository` that the chart is judged as, with `https://` before it in a chart repository; None for a file that stands for nothing."""
        return asked_repository(self.facts)

    @property
    def tag(self) -> str | None:
        """The tag under which it was asked for."""
        reference = asked_reference(self.facts)
        return reference.tag if reference is not None else None

    @property
    def pinned(self) -> bool:
        """Whether the caller named the digest; local bytes are what they are."""
        return True if isinstance(self.artifact, ChartFile) else self.artifact.reference.was_pinned


def asked_of(reference: AnyReference) -> Origin | None:
    """Where the chart comes from, a registry or a chart repository, also when a file stands for it."""
    match reference:
        case Reference() | ChartRepositoryReference():
            return reference
        case FileReference(asserted=asserted) | LayoutReference(asserted=asserted):
            return asserted


def asked_reference(facts: Facts) -> Origin | None:
    """Where the chart that the request is for comes from."""
    return asked_of(facts.request.reference)


def asked_repository(facts: Facts) -> str | None:
    """`host/repository` of `asked_reference`."""
    reference = asked_reference(facts)
    return reference.name if reference is not None else None
