"""What a place that holds artifacts can do: a registry's repository and an image layout answer the same questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from verifier.model import codes
from verifier.model.artifact import Descriptor
from verifier.model.digest import Digest
from verifier.model.errors import InconclusiveError
from verifier.model.evidence import Gap, Kind


class Fetched(Struct, frozen=True, kw_only=True):
    """A manifest's bytes, under the digest that we computed; `read_from`: the mirror that had them; `gaps`: who was asked in vain before."""

    digest: Digest
    media_type: str
    data: bytes
    read_from: str | None = None
    gaps: tuple[Gap, ...] = ()

    @property
    def descriptor(self) -> Descriptor:
        """Of the manifest itself."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=len(self.data))


class Referrers(Struct, frozen=True, kw_only=True):
    """Descriptors of manifests that say they refer to a subject: hints, each to be fetched and read."""

    descriptors: tuple[Descriptor, ...]
    kind: Kind
    gaps: tuple[Gap, ...] = ()


class Source(Protocol):
    """Reading. Every byte that is returned was compared with its digest."""

    @property
    def where(self) -> str:
        """The place's readable name."""

    def resolve(self, tag: str) -> Fetched:
        """The manifest that a tag names now; raises InconclusiveError."""

    def manifest(self, digest: Digest) -> Fetched:
        """A manifest by digest; raises InconclusiveError, or FailedError `digest-mismatch`."""

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """A blob; raises InconclusiveError, or FailedError `digest-mismatch`."""

    def referrers(self, digest: Digest) -> Referrers:
        """What refers to `digest`; what could not be looked up is a gap."""

    def tags(self) -> tuple[str, ...]:
        """All tags."""


def resolve_if_there(source: Source, tag: str) -> Fetched | None:
    """What a tag names now, or None where there is no such tag; any other trouble is raised, since it is no answer (semantics 21)."""
    try:
        return source.resolve(tag)
    except InconclusiveError as error:
        if error.code is codes.NOT_FOUND:
            return None
        raise


def manifest_if_there(source: Source, digest: Digest) -> Fetched | None:
    """The manifest of a digest, or None where there is none; any other trouble is raised."""
    try:
        return source.manifest(digest)
    except InconclusiveError as error:
        if error.code is codes.NOT_FOUND:
            return None
        raise


class Target(Source, Protocol):
    """Writing."""

    def push_blob(self, data: bytes, *, fresh: bool = False) -> Digest:
        """Store a blob unless it is there; `fresh`: it was made just now, so that nobody need look."""

    def push_manifest(self, data: bytes, media_type: str, tag: str | None = None) -> Digest:
        """Store a manifest, by digest or under a tag."""

    def attach(self, manifests: Sequence[bytes], subject: Descriptor) -> None:
        """Store manifests that refer to `subject` so that they are listed among its referrers; read back before returning."""

    def delete_manifest(self, reference: str) -> None:
        """Remove a manifest by digest, or a tag."""
