"""Reading and writing OCI manifests and indexes. Source: opencontainers/image-spec manifest.md, image-index.md, descriptor.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from verifier.formats.json import dump_json, parse_object
from verifier.model import codes
from verifier.model.artifact import Descriptor
from verifier.model.digest import Digest, parse_digest, sha256
from verifier.model.errors import FailedError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
EMPTY = "application/vnd.oci.empty.v1+json"
EMPTY_BYTES = b"{}"
ACCEPT = f"{MANIFEST}, {INDEX}, {DOCKER_MANIFEST}, {DOCKER_INDEX}"
HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
HELM_CHART_LEGACY = "application/tar+gzip"
HELM_PROVENANCE = "application/vnd.cncf.helm.chart.provenance.v1.prov"


class Manifest(Struct, frozen=True, kw_only=True):
    """An image manifest; `media_type` is what the body says, if it says so."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str | None = None
    artifact_type: str | None = None
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The artifact's type: its own `artifactType`, else its config's media type (image-spec)."""
        return self.artifact_type or self.config.media_type


class Index(Struct, frozen=True):
    """An image index: a list of descriptors, each only a hint."""

    manifests: tuple[Descriptor, ...]


def read_manifest(data: bytes, *, where: str) -> Manifest | Index:
    """Read either; raises FailedError `json-invalid` or `chart-manifest-invalid`. One that is both is neither."""
    value = parse_object(data, where=where)
    if ("manifests" in value) == ("layers" in value):
        raise _invalid("it must have either layers or manifests", where)
    media_type = value.get("mediaType")
    if not isinstance(media_type, str | None):
        raise _invalid("mediaType is not text", where)
    if "manifests" in value:
        if media_type not in (None, INDEX, DOCKER_INDEX):
            raise _invalid(f"an index with mediaType {media_type[:100]!r}", where)
        return Index(_descriptors(value["manifests"], where))
    if media_type not in (None, MANIFEST, DOCKER_MANIFEST):
        raise _invalid(f"a manifest with mediaType {media_type[:100]!r}", where)
    artifact_type = value.get("artifactType")
    if not isinstance(artifact_type, str | None):
        raise _invalid("artifactType is not text", where)
    return Manifest(
        media_type=media_type,
        artifact_type=artifact_type or None,
        config=read_descriptor(value.get("config"), where=where),
        layers=_descriptors(value["layers"], where),
        subject=read_descriptor(value["subject"], where=where) if value.get("subject") is not None else None,
        annotations=_annotations(value.get("annotations"), where),
    )


def read_descriptor(value: Any, *, where: str) -> Descriptor:
    """Read one descriptor; raises FailedError `chart-manifest-invalid`."""
    if not isinstance(value, dict):
        raise _invalid("a descriptor is missing or no object", where)
    size, media_type, artifact_type = value.get("size"), value.get("mediaType"), value.get("artifactType")
    if not isinstance(media_type, str) or type(size) is not int or size < 0:
        raise _invalid("a descriptor without mediaType or size", where)
    return Descriptor(
        media_type=media_type,
        digest=_digest(value.get("digest"), where),
        size=size,
        annotations=_annotations(value.get("annotations"), where),
        artifact_type=artifact_type if isinstance(artifact_type, str) and artifact_type else None,
    )


def descriptor_value(descriptor: Descriptor) -> dict[str, Any]:
    """A descriptor as a JSON value."""
    value: dict[str, Any] = {"mediaType": descriptor.media_type, "digest": str(descriptor.digest), "size": descriptor.size}
    if descriptor.artifact_type:
        value["artifactType"] = descriptor.artifact_type
    if descriptor.annotations:
        value["annotations"] = dict(descriptor.annotations)
    return value


def write_index(descriptors: Sequence[Descriptor]) -> bytes:
    """An index of these descriptors, as a fallback tag holds it."""
    manifests = [descriptor_value(item) for item in descriptors]
    return dump_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})


def write_referrer(subject: Descriptor, payload: Descriptor, annotations: Mapping[str, str]) -> bytes:
    """A manifest that attaches one blob to `subject`, with the empty config; its artifactType is the blob's media type."""
    config = {"mediaType": EMPTY, "digest": str(sha256(EMPTY_BYTES)), "size": len(EMPTY_BYTES), "data": "e30="}
    return dump_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": payload.media_type,
            "config": config,
            "layers": [descriptor_value(payload)],
            "subject": {"mediaType": subject.media_type, "digest": str(subject.digest), "size": subject.size},
            "annotations": dict(annotations),
        }
    )


def _descriptors(value: Any, where: str) -> tuple[Descriptor, ...]:
    if not isinstance(value, list):
        raise _invalid("a list of descriptors is no list", where)
    return tuple(read_descriptor(item, where=where) for item in value)


def _digest(value: Any, where: str) -> Digest:
    try:
        return parse_digest(str(value))
    except ValueError as error:
        raise _invalid(str(error), where) from error


def _annotations(value: Any, where: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise _invalid("annotations are not a map of texts", where)
    return value


def _invalid(reason: str, where: str) -> FailedError:
    return FailedError(codes.CHART_MANIFEST_INVALID, reason, where=where)
