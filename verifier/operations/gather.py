"""Gathering: evidence and gaps for an artifact, bounded; independent look-ups side by side; signatures first.

What is listed is a hint: each referrer's manifest is fetched by digest, its own `subject` and type are read, and its one
blob is the evidence. What cannot be read is a gap, what is foreign a rejection; neither ends the search (semantics 20).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct

from verifier.attest.bundle import MEDIA_TYPE as BUNDLE
from verifier.attest.bundle import MEDIA_TYPES as BUNDLES
from verifier.attest.cosign import ARTIFACT as COSIGN
from verifier.model import codes, limits
from verifier.model.artifact import Descriptor
from verifier.model.claim import Rejection
from verifier.model.evidence import Evidence, Gap, Kind, Location
from verifier.oci.manifest import EMPTY, HELM_PROVENANCE, Manifest, read_manifest
from verifier.oci.source import Referrers
from verifier.operations.connections import Connections
from verifier.operations.cosign_tags import read_layers, read_tag
from verifier.operations.found import Found, guarded
from verifier.operations.resolve import Pinned, PinnedImage, read_local

EVIDENCE_TYPES = (*BUNDLES, HELM_PROVENANCE)
_LISTED = (*EVIDENCE_TYPES, COSIGN)
# The media types that are worth a request: what no anchor of the policy could prove is listed and not read.
Wanted = frozenset[str]
EVERYTHING: Wanted = frozenset(EVIDENCE_TYPES)


class Gathered(Struct, frozen=True):
    """Untrusted evidence, evidence that is none, and what could not be read."""

    evidence: tuple[Evidence, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    gaps: tuple[Gap, ...] = ()


class EvidenceFiles(Struct, frozen=True, kw_only=True):
    """Evidence that the user gives as files."""

    provenance: tuple[str, ...] = ()
    bundles: tuple[str, ...] = ()

    def beside(self, path: str) -> EvidenceFiles:
        """With `PATH.prov` and `PATH.sigstore.json`, if they are there and nothing of their kind was given."""
        prov, bundle = f"{path}.prov", f"{path}.sigstore.json"
        return EvidenceFiles(
            provenance=self.provenance or ((prov,) if Path(prov).is_file() else ()),
            bundles=self.bundles or ((bundle,) if Path(bundle).is_file() else ()),
        )


def gather(pinned: Pinned | PinnedImage, connections: Connections, listing: Referrers, wanted: Wanted) -> Gathered:
    """All evidence for a manifest in a registry or layout; never raises on what it meets."""
    layer = connections.start(lambda: _provenance_layer(pinned, wanted)) if pinned.provenance is not None else None
    found = _read_referrers(pinned, listing, connections, wanted)
    return sort_found([*layer.result(), *found] if layer is not None else found)


def gather_files(files: EvidenceFiles) -> Gathered:
    """Evidence from files that the user named; raises MisuseError `file-unreadable`."""
    named = [(path, HELM_PROVENANCE, limits.PROVENANCE_BYTES) for path in files.provenance]
    named += [(path, BUNDLE, limits.EVIDENCE_BYTES) for path in files.bundles]
    return Gathered(
        evidence=tuple(
            Evidence(location=Location(kind=Kind.FILE, where=path, media_type=media_type), media_type=media_type, payload=read_local(Path(path), limit))
            for path, media_type, limit in named
        )
    )


def joined(one: Gathered, two: Gathered) -> Gathered:
    """Both."""
    return Gathered(one.evidence + two.evidence, one.rejections + two.rejections, one.gaps + two.gaps)


def sort_found(found: Sequence[Found]) -> Gathered:
    """By what it is."""
    return Gathered(
        tuple(item for item in found if isinstance(item, Evidence)),
        tuple(item for item in found if isinstance(item, Rejection)),
        tuple(item for item in found if isinstance(item, Gap)),
    )


def _provenance_layer(pinned: Pinned | PinnedImage, wanted: Wanted) -> list[Found]:
    layer = pinned.provenance
    assert layer is not None
    where = f"{pinned.source.where}@{pinned.fetched.digest.short}"
    location = Location(kind=Kind.PROV_LAYER, where=where, digest=layer.digest, media_type=HELM_PROVENANCE)
    if HELM_PROVENANCE not in wanted:
        return [_unused(location)]
    read = partial(pinned.source.blob, layer, limits.PROVENANCE_BYTES)
    return guarded(location, lambda: [Evidence(location=location, media_type=HELM_PROVENANCE, payload=read())])


def _read_referrers(pinned: Pinned | PinnedImage, listing: Referrers, connections: Connections, wanted: Wanted) -> list[Found]:
    distinct = {item.digest: item for item in listing.descriptors if item.digest != pinned.fetched.digest}
    ordered = sorted(distinct.values(), key=lambda item: item.artifact_type not in _LISTED)
    found: list[Found] = list(listing.gaps)
    if len(ordered) > limits.REFERRERS:
        reason = f"{len(ordered)} referrers are listed, {limits.REFERRERS} were read"
        found.append(Gap(kind="referrers", where=pinned.source.where, code=codes.EVIDENCE_LIMIT, reason=reason))
    chosen = ordered[: limits.REFERRERS]
    if chosen:
        several = connections.side_by_side(lambda item: _read_referrer(pinned, listing.kind, item, wanted), chosen)
        found += [item for items in several for item in items]
    return _within_total(found, pinned.source.where)


def _read_referrer(pinned: Pinned | PinnedImage, kind: Kind, descriptor: Descriptor, wanted: Wanted) -> list[Found]:
    location = Location(kind=kind, where=pinned.source.where, digest=descriptor.digest, media_type=descriptor.artifact_type or "")
    return guarded(location, lambda: _referrer(pinned, kind, descriptor, wanted))


def _referrer(pinned: Pinned | PinnedImage, kind: Kind, descriptor: Descriptor, wanted: Wanted) -> list[Found]:
    manifest = read_manifest(pinned.source.manifest(descriptor.digest).data, where=f"{pinned.source.where}@{descriptor.digest.short}")
    media_type = _evidence_type(manifest)
    location = Location(kind=kind, where=pinned.source.where, digest=descriptor.digest, media_type=media_type)
    if not isinstance(manifest, Manifest) or media_type not in _LISTED:
        return [Rejection(scheme=None, code=codes.EVIDENCE_FOREIGN, reason=f"an artifact of type {media_type[:100]!r}", location=location)]
    if manifest.subject is None or manifest.subject.digest != pinned.fetched.digest:
        subject = manifest.subject.digest.short if manifest.subject else "nothing"
        return [Rejection(scheme=None, code=codes.SUBJECT_MISMATCH, reason=f"it is listed here but refers to {subject}", location=location)]
    if media_type == COSIGN:
        return list(read_layers(pinned.source, manifest, location)) if BUNDLE in wanted else [_unused(location)]
    if len(manifest.layers) != 1:
        return [Rejection(scheme=None, code=codes.BUNDLE_MALFORMED, reason=f"{len(manifest.layers)} layers, expected one", location=location)]
    if media_type not in wanted:
        return [_unused(location)]
    payload = pinned.source.blob(manifest.layers[0], limits.EVIDENCE_BYTES)
    return [Evidence(location=location, media_type=media_type, payload=payload, annotations=manifest.annotations)]


def gather_old(pinned: Pinned | PinnedImage, connections: Connections) -> Gathered:
    """What cosign 1 and 2 left under its tags.

    Asked for only when the rest does not satisfy the policy: more evidence never turns an allow into a deny.
    """
    found = connections.side_by_side(lambda suffix: read_tag(pinned.source, pinned.fetched.digest, suffix), ("sig", "att"))
    return sort_found(_within_total([item for items in found for item in items], pinned.source.where))


def _unused(location: Location) -> Rejection:
    return Rejection(scheme=None, code=codes.EVIDENCE_UNUSED, reason="not read: the policy trusts no key of this kind", location=location)


def _evidence_type(manifest: object) -> str:
    """The artifact's type; of one that has only the empty config, its single layer's type."""
    if not isinstance(manifest, Manifest):
        return "an index"
    if manifest.kind == EMPTY and len(manifest.layers) == 1:
        return manifest.layers[0].media_type
    return manifest.kind


def _within_total(found: list[Found], where: str) -> list[Found]:
    kept: list[Found] = []
    total = 0
    for item in found:
        total += len(item.payload) if isinstance(item, Evidence) else 0
        if total > limits.EVIDENCE_TOTAL_BYTES:
            reason = f"more than {limits.EVIDENCE_TOTAL_BYTES} bytes of evidence"
            return [*kept, Gap(kind="evidence", where=where, code=codes.EVIDENCE_LIMIT, reason=reason)]
        kept.append(item)
    return kept
