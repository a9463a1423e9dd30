"""Cosign's tags: `sha256-HEX.sig` and `sha256-HEX.att`, where its versions 1 and 2 keep signatures and attestations.

One manifest holds a layer for each signature, whoever made it. A tag that is not there is an answer; anything else that keeps
us from reading is a gap (semantics 21).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from verifier.attest.cosign import LAYERS
from verifier.model import codes, limits
from verifier.model.artifact import Descriptor
from verifier.model.claim import Rejection
from verifier.model.digest import Digest
from verifier.model.evidence import Evidence, Gap, Kind, Location
from verifier.oci.manifest import Manifest, read_manifest
from verifier.oci.source import Source, resolve_if_there
from verifier.operations.found import Found, guarded


def cosign_tag(digest: Digest, suffix: str) -> str:
    """The tag under which cosign's old form keeps what is of `digest`: `sig`, `att` or `sbom`."""
    return f"{digest.algorithm}-{digest.hex}.{suffix}"


def read_tag(source: Source, digest: Digest, suffix: str) -> list[Found]:
    """All layers under one of the tags of `digest`; never raises on what it meets."""
    tag = cosign_tag(digest, suffix)
    location = Location(kind=Kind.COSIGN_TAG, where=f"{source.where}:{tag}")

    def read() -> list[Found]:
        fetched = resolve_if_there(source, tag)
        if fetched is None:
            return []
        manifest = read_manifest(fetched.data, where=location.where)
        if not isinstance(manifest, Manifest):
            return [Rejection(scheme=None, code=codes.EVIDENCE_FOREIGN, reason="an index, expected cosign's manifest", location=location)]
        return list(read_layers(source, manifest, location))

    return guarded(location, read)


def read_layers(source: Source, manifest: Manifest, location: Location) -> Iterator[Found]:
    """Each layer as evidence, with its own annotations; a bounded number of bytes of them."""
    total = 0
    for index, layer in enumerate(manifest.layers):
        place = Location(kind=location.kind, where=location.where, digest=layer.digest, media_type=layer.media_type)
        total += layer.size
        if index >= limits.SIGNATURE_LAYERS or total > limits.EVIDENCE_TOTAL_BYTES:
            reason = f"{len(manifest.layers)} signatures in one manifest, {index} were read"
            yield Gap(kind="evidence", where=location.where, code=codes.EVIDENCE_LIMIT, reason=reason)
            return
        if layer.media_type not in LAYERS:
            yield Rejection(scheme=None, code=codes.EVIDENCE_FOREIGN, reason=f"a layer of type {layer.media_type[:100]!r}", location=place)
        else:
            yield from guarded(place, partial(_evidence, source, layer, place))


def _evidence(source: Source, layer: Descriptor, location: Location) -> list[Found]:
    payload = source.blob(layer, limits.EVIDENCE_BYTES)
    return [Evidence(location=location, media_type=layer.media_type, payload=payload, annotations=layer.annotations)]
