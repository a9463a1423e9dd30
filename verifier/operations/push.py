"""Pushing a chart as `helm push` does. Source: helm/helm pkg/registry/client.go, chart.go.

1. The archive is read under its rules; a `.prov` must be one clean message (its signer is not judged here).
2. Config: the metadata as Go writes it. Layers: chart, then `.prov`, sorted by digest string, as Helm's packer does.
3. Annotations: Chart.yaml's, with title, version and the like on top; `created` is the file's time.
4. Blobs, then the manifest by digest, then the tag. A published version with other content is refused: tags never move.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from verifier.charts.archive import ChartArchive, read_archive
from verifier.charts.clearsign import read_clearsigned
from verifier.charts.provenance import check_provenance, read_provenance
from verifier.formats.json import dump_go_json
from verifier.model import codes, limits
from verifier.model.artifact import ChartFacts
from verifier.model.digest import Digest, sha256
from verifier.model.errors import MisuseError
from verifier.model.reference import LayoutReference, Reference, canonical_tag, parse
from verifier.net.deadline import Deadline
from verifier.oci.manifest import HELM_CHART, HELM_CONFIG, HELM_PROVENANCE, MANIFEST
from verifier.oci.source import Target, resolve_if_there
from verifier.operations.connections import Connections
from verifier.operations.resolve import read_local

_PREFIX = "org.opencontainers.image."


class Pushed(Struct, frozen=True, kw_only=True):
    """Where it is now."""

    reference: str
    tag: str
    digest: Digest
    existed: bool


def push(path: Path, base: str, connections: Connections, *, seconds: float = 300.0) -> Pushed:
    """Push a `.tgz`, with the `.prov` beside it if there is one, below `base` (`oci://HOST/PATH` or `oci-layout://DIR`)."""
    data = read_local(path, limits.ARCHIVE_BYTES)
    archive = read_archive(data, where=str(path))
    provenance = _provenance(Path(f"{path}.prov"), archive)
    reference = target_reference(base, archive.facts)
    target = connections.target(reference, Deadline.after(seconds))
    manifest, blobs = build_manifest(archive.facts, data, provenance, created=datetime.fromtimestamp(path.stat().st_mtime, UTC))
    tag = reference.tag or ""
    existed = _already_there(target, tag, manifest)
    if not existed:
        for blob in blobs:
            target.push_blob(blob)
        target.push_manifest(manifest, MANIFEST, tag)
    return Pushed(reference=str(reference), tag=tag, digest=sha256(manifest), existed=existed)


def target_reference(base: str, facts: ChartFacts) -> Reference | LayoutReference:
    """`BASE/NAME:VERSION`; in a layout the tag alone says what it is."""
    tag = canonical_tag(facts.version, written=facts.version)
    if base.startswith("oci-layout://"):
        parsed = parse(f"{base}:{tag}")
    else:
        parsed = parse(f"{base.rstrip('/')}/{facts.name}:{tag}")
    if not isinstance(parsed, Reference | LayoutReference):
        raise MisuseError(codes.REFERENCE_INVALID, "expected oci://HOST/PATH or oci-layout://DIR", where=repr(base[:200]))
    return parsed


def build_manifest(facts: ChartFacts, archive: bytes, provenance: bytes | None, *, created: datetime) -> tuple[bytes, tuple[bytes, ...]]:
    """The manifest that Helm would write, and the blobs that it names."""
    config = dump_go_json(dict(facts.metadata))
    layers = [(HELM_CHART, archive)] + ([(HELM_PROVENANCE, provenance)] if provenance is not None else [])
    described = sorted((_descriptor(media_type, data) for media_type, data in layers), key=lambda item: str(item["digest"]))
    manifest = {
        "schemaVersion": 2,
        "config": _descriptor(HELM_CONFIG, config),
        "layers": described,
        "annotations": _annotations(facts.metadata, created),
    }
    blobs = (config, *(data for _, data in layers))
    return dump_go_json(manifest), blobs


def _already_there(target: Target, tag: str, manifest: bytes) -> bool:
    present = resolve_if_there(target, tag)
    if present is None:
        return False
    if present.digest == sha256(manifest):
        return True
    raise MisuseError(codes.TAG_EXISTS, f"{tag} is published as {present.digest.short}..., yours is {sha256(manifest).short}...", where=target.where)


def _provenance(path: Path, archive: ChartArchive) -> bytes | None:
    if not path.is_file():
        return None
    data = read_local(path, limits.PROVENANCE_BYTES)
    text = read_clearsigned(data, where=str(path)).text
    check_provenance(read_provenance(text, where=str(path)), archive.facts, archive.digest, where=str(path))
    return data


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(sha256(data)), "size": len(data)}


def _annotations(metadata: Mapping[str, Any], created: datetime) -> dict[str, str]:
    """Helm's: the chart's own annotations, and what is derived from the metadata; title and version are not overridden."""
    own = {
        f"{_PREFIX}title": metadata.get("name", ""),
        f"{_PREFIX}version": metadata.get("version", ""),
        f"{_PREFIX}description": metadata.get("description", ""),
        f"{_PREFIX}url": metadata.get("home", ""),
        f"{_PREFIX}created": created.replace(microsecond=0).isoformat().replace("+00:00", "Z"),
        f"{_PREFIX}source": (metadata.get("sources") or [""])[0],
        f"{_PREFIX}authors": ", ".join(_author(person) for person in metadata.get("maintainers") or []),
    }
    protected = (f"{_PREFIX}title", f"{_PREFIX}version")
    theirs = {key: value for key, value in (metadata.get("annotations") or {}).items() if key not in protected}
    merged = {**{key: value for key, value in own.items() if value}, **theirs}
    return {key: merged[key] for key in sorted(merged)}


def _author(person: Mapping[str, str]) -> str:
    name, email = person.get("name", ""), person.get("email", "")
    return f"{name} ({email})" if email else name
