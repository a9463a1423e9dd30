"""Resolving: a reference becomes a pinned artifact, in exactly one place.

1. A tag is looked up now; with `tag@digest` it must name that digest (semantics 3).
2. The manifest's bytes hash to the digest; its media type agrees with the transport's.
3. Exactly one Helm config, exactly one chart layer, at most one provenance layer (semantics 4).
4. The archive is read under its rules, and the config says what its Chart.yaml says, as a whole.

Raises FailedError (the chart is bad) or InconclusiveError (it could not be had); the caller turns both into facts.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from verifier.charts.archive import read_archive
from verifier.charts.metadata import read_metadata_json
from verifier.formats.json import dump_go_json
from verifier.model import codes, limits
from verifier.model.artifact import ChartFacts, ChartFile, Descriptor, OciChart
from verifier.model.digest import sha256
from verifier.model.errors import FailedError, MisuseError
from verifier.model.reference import FileReference, LayoutReference, PinnedReference, Reference
from verifier.oci.manifest import DOCKER_MANIFEST, HELM_CHART, HELM_CHART_LEGACY, HELM_CONFIG, HELM_PROVENANCE, MANIFEST, Index, Manifest, read_manifest
from verifier.oci.source import Fetched, Source


class Pinned(Struct, frozen=True, kw_only=True):
    """A manifest with its pinned reference: what evidence can be looked up for."""

    reference: PinnedReference
    source: Source
    fetched: Fetched
    manifest: Manifest
    chart: Descriptor
    provenance: Descriptor | None


class PinnedImage(Struct, frozen=True, kw_only=True):
    """The same of a container image: a manifest, or an index of them."""

    reference: PinnedReference
    source: Source
    fetched: Fetched

    @property
    def provenance(self) -> None:
        """Images have no such layer."""


def resolve_image(reference: Reference, source: Source) -> PinnedImage:
    """Step 1, and the first half of 2, for an image; what it is made of is not looked at."""
    fetched = _fetch(reference, source)
    read_manifest(fetched.data, where=f"{source.where}@{fetched.digest.short}")
    return PinnedImage(reference=_pinned(reference, fetched), source=source, fetched=fetched)


def resolve(reference: Reference | LayoutReference, source: Source) -> Pinned:
    """Steps 1 to 3."""
    fetched = _fetch(reference, source)
    parsed = _manifest(fetched, source.where)
    chart, provenance = _layers(parsed, source.where)
    return Pinned(reference=_pinned(reference, fetched), source=source, fetched=fetched, manifest=parsed, chart=chart, provenance=provenance)


def read_chart(pinned: Pinned) -> OciChart:
    """Step 4: fetch the archive, and hold the config against it."""
    where = f"{pinned.source.where}@{pinned.fetched.digest.short}"
    archive = pinned.source.blob(pinned.chart, limits.ARCHIVE_BYTES)
    facts = read_archive(archive, where=where).facts
    return OciChart(
        reference=pinned.reference,
        manifest=pinned.fetched.data,
        config=_config(pinned, facts, where),
        chart=pinned.chart,
        provenance=pinned.provenance,
        facts=facts,
        archive=archive,
    )


def read_file(reference: FileReference) -> ChartFile:
    """A local archive; raises MisuseError `file-unreadable` or FailedError."""
    path = Path(reference.path)
    data = read_local(path, limits.ARCHIVE_BYTES)
    return ChartFile(path=reference.path, digest=sha256(data), facts=read_archive(data, where=reference.path).facts, archive=data)


def read_local(path: Path, limit: int) -> bytes:
    """A local file of at most `limit` bytes; raises MisuseError `file-unreadable`."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise MisuseError(codes.FILE_UNREADABLE, error.strerror or str(error), where=str(path)) from error
    if len(data) > limit:
        raise MisuseError(codes.FILE_UNREADABLE, f"larger than {limit} bytes", where=str(path))
    return data


def _fetch(reference: Reference | LayoutReference, source: Source) -> Fetched:  # 1
    if reference.tag is None and reference.digest is None:
        raise MisuseError(codes.REFERENCE_INVALID, "a version or digest is needed: NAME:VERSION or NAME@sha256:HEX", where=reference.written)
    if reference.tag is None:
        assert reference.digest is not None
        return source.manifest(reference.digest)
    fetched = source.resolve(reference.tag)
    if reference.digest is not None and fetched.digest != reference.digest:
        if reference.digest.matches(fetched.data):  # a digest of another algorithm
            return fetched
        reason = f"the tag {reference.tag} names {fetched.digest.short}..., {reference.digest.short}... was asked for"
        raise FailedError(codes.TAG_MOVED, reason, where=source.where)
    return fetched


def _manifest(fetched: Fetched, where: str) -> Manifest:  # 2
    place = f"{where}@{fetched.digest.short}"
    parsed = read_manifest(fetched.data, where=place)
    if isinstance(parsed, Index):
        raise FailedError(codes.INDEX_NOT_CHART, f"an image index of {len(parsed.manifests)} manifests, expected one chart", where=place)
    if parsed.media_type is not None and fetched.media_type in (MANIFEST, DOCKER_MANIFEST) and parsed.media_type != fetched.media_type:
        raise FailedError(codes.CHART_MANIFEST_INVALID, f"served as {fetched.media_type}, says {parsed.media_type}", where=place)
    return parsed


def _layers(manifest: Manifest, where: str) -> tuple[Descriptor, Descriptor | None]:  # 3
    if manifest.config.media_type != HELM_CONFIG:
        raise FailedError(codes.NOT_A_CHART, f"the config is of type {manifest.config.media_type[:100]!r}, expected {HELM_CONFIG}", where=where)
    charts = [layer for layer in manifest.layers if layer.media_type in (HELM_CHART, HELM_CHART_LEGACY)]
    provenance = [layer for layer in manifest.layers if layer.media_type == HELM_PROVENANCE]
    if len(charts) != 1 or len(provenance) > 1:
        found = f"{len(charts)} chart layers and {len(provenance)} provenance layers"
        raise FailedError(codes.CHART_LAYERS, f"{found}, expected one and at most one", where=where)
    return charts[0], provenance[0] if provenance else None


def _config(pinned: Pinned, facts: ChartFacts, where: str) -> bytes:  # 4
    """The config, known to say what the archive says.

    Helm writes the metadata as Go does, and so can we: if the digest in the manifest is that of these bytes, they are the
    config, and no request is needed. Otherwise it is fetched and compared as a whole.
    """
    expected = dump_go_json(dict(facts.metadata))
    if pinned.manifest.config.size == len(expected) and pinned.manifest.config.digest.matches(expected):
        return expected
    config = pinned.source.blob(pinned.manifest.config, limits.CONFIG_BYTES)
    said = read_metadata_json(config, where=f"{where}: config")
    if said != facts.metadata:
        differing = sorted(key for key in {*said, *facts.metadata} if said.get(key) != facts.metadata.get(key))
        first = differing[0]
        reason = f"{first}: the config says {_short(said.get(first))}, the archive's Chart.yaml says {_short(facts.metadata.get(first))}"
        raise FailedError(codes.CONFIG_MISMATCH, reason, where=where)
    return config


def _short(value: object) -> str:
    return repr(value)[:80]


def _pinned(reference: Reference | LayoutReference, fetched: Fetched) -> PinnedReference:
    tag, was_pinned = reference.tag, reference.digest is not None
    match reference:
        case Reference():
            return PinnedReference(
                registry=reference.registry,
                repository=reference.repository,
                digest=fetched.digest,
                tag=tag,
                was_pinned=was_pinned,
                read_from=fetched.read_from,
            )
        case LayoutReference(asserted=Reference() as origin):
            return PinnedReference(
                registry=origin.registry, repository=origin.repository, digest=fetched.digest, tag=origin.tag, was_pinned=was_pinned, read_from=str(reference)
            )
        case LayoutReference():
            return PinnedReference(registry="", repository=reference.path, digest=fetched.digest, tag=tag, was_pinned=was_pinned)
