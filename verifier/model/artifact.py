"""Artifacts: the pinned thing that was asked for, with the chart's facts and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from verifier.model.digest import Digest
from verifier.model.reference import PinnedReference, Reference


class Descriptor(Struct, frozen=True, kw_only=True):
    """An OCI content descriptor (image-spec descriptor.md); `size` in bytes."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str | None = None


class Subchart(Struct, frozen=True, kw_only=True):
    """A chart inside a chart, in `charts/`: packed (then with a digest) or unpacked.

    `repository` is where the parent declares it to come from; what lies here need not be what that repository holds. `problem` says why
    it could not be read.
    """

    path: str
    name: str = ""
    version: str = ""
    digest: Digest | None = None
    repository: str | None = None
    problem: str | None = None
    subcharts: tuple[Subchart, ...] = ()


class ChartFacts(Struct, frozen=True, kw_only=True):
    """What Chart.yaml says, as Helm reads it; `metadata` is the whole of it after Helm's normalisation.

    `lock_problem` says why the dependencies are not locked, where the chart's files were read; None where they are.
    """

    name: str
    version: str
    metadata: Mapping[str, Any]
    lock_problem: str | None = None
    subcharts: tuple[Subchart, ...] = ()

    @property
    def composed(self) -> bool:
        """Whether other charts are part of it, declared or not."""
        return bool(self.subcharts or self.metadata.get("dependencies"))

    @property
    def label(self) -> str:
        """`NAME-VERSION`, the stem of the archive's file name."""
        return f"{self.name}-{self.version}"


class Image(Struct, frozen=True, kw_only=True):
    """A container image that a chart names: as it is `written`, and `where`. `problem` says why it is no reference."""

    written: str
    where: str
    reference: Reference | None = None
    problem: str | None = None


class OciChart(Struct, frozen=True, kw_only=True):
    """A chart in a registry or image layout: manifest bytes, chart layer, and its facts."""

    reference: PinnedReference
    manifest: bytes
    config: bytes
    chart: Descriptor
    provenance: Descriptor | None
    facts: ChartFacts
    archive: bytes

    @property
    def digests(self) -> tuple[Digest, Digest]:
        """What a signature may speak of: the manifest's digest, or the chart layer's (semantics 5)."""
        return self.reference.digest, self.chart.digest

    @property
    def archive_digest(self) -> Digest:
        """The digest of the .tgz bytes."""
        return self.chart.digest


class ChartFile(Struct, frozen=True, kw_only=True):
    """A local .tgz; `stands_for` is what the caller asserts by `--as`."""

    path: str
    digest: Digest
    facts: ChartFacts
    archive: bytes

    @property
    def digests(self) -> tuple[Digest]:
        """What a signature may speak of: only the archive's digest."""
        return (self.digest,)

    @property
    def archive_digest(self) -> Digest:
        """The digest of the .tgz bytes."""
        return self.digest


class RepositoryChart(Struct, frozen=True, kw_only=True):
    """A chart from a chart repository over https: its archive, whose digest is all that names it."""

    reference: PinnedReference
    facts: ChartFacts
    archive: bytes

    @property
    def digests(self) -> tuple[Digest]:
        """What a signature may speak of: only the archive's digest."""
        return (self.reference.digest,)

    @property
    def archive_digest(self) -> Digest:
        """The digest of the .tgz bytes."""
        return self.reference.digest


class OciImage(Struct, frozen=True, kw_only=True):
    """A container image in a registry: its manifest or index."""

    reference: PinnedReference
    manifest: bytes

    @property
    def digests(self) -> tuple[Digest]:
        """What a signature may speak of."""
        return (self.reference.digest,)


Chart = OciChart | RepositoryChart | ChartFile
Artifact = Chart | OciImage
