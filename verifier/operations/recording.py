"""Recordings: everything that one decision needed, as a small OCI image layout.

    index.json          the chart's manifest, and the recording's, which is tagged `recording`
    recording's blobs   recording.json, and each piece of evidence, each archive, each document of the policy as it was read

A recording is for tests, for replaying and for a report of a fault; nothing is ever allowed because of one. What it holds is not believed:
digests are compared, archives read and evidence verified again, by the rules of today. What it cannot tell again is what the network
said: gaps, and what was refused before it was evidence, are as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from verifier.charts.archive import read_archive
from verifier.formats.json import dump_json, parse_object
from verifier.formats.protojson import Message
from verifier.model import codes, limits
from verifier.model.artifact import Artifact, ChartFile, Descriptor, OciChart, OciImage, RepositoryChart
from verifier.model.claim import Rejection
from verifier.model.context import CONTEXT_KEYS, Context, PartKind, Request
from verifier.model.decision import Decision
from verifier.model.digest import Digest, parse_digest, sha256
from verifier.model.errors import FailedError, InconclusiveError, MisuseError
from verifier.model.evidence import Evidence, Gap, Kind, Location
from verifier.model.reference import AnyReference, FileReference, LayoutReference, PinnedReference, parse, parse_origin
from verifier.oci.layout import ImageLayout
from verifier.oci.manifest import EMPTY, EMPTY_BYTES, HELM_CHART, HELM_CONFIG, MANIFEST, descriptor_value, read_descriptor
from verifier.operations.exceptions import with_signed
from verifier.operations.gather import Gathered
from verifier.operations.policies import LoadedPolicy, elsewhere
from verifier.operations.resolve import read_chart, resolve
from verifier.operations.verification import Examined, ExaminedPart
from verifier.report.codec import gap_value, location_value
from verifier.trust.anchors import Anchor, Thresholds, TrustMaterial

ARTIFACT = "application/vnd.helm-verifier.recording.v1"
_BLOB = "application/octet-stream"
_API = "verifier/v1"
TAG = "recording"
_MOST = 10_000  # of anything that a recording lists


class Recording(Struct, frozen=True, kw_only=True):
    """What was asked, when, and what was found; the policy with its trust, where it was a document; and the decision as it was told."""

    request: Request
    time: datetime
    examined: Examined
    decision: Mapping[str, Any]
    loaded: LoadedPolicy | None = None
    unsafe: tuple[str, ...] = ()


def write_recording(directory: Path, decision: Decision, told: Mapping[str, Any], examined: Examined, loaded: LoadedPolicy) -> Digest:
    """Write a new layout; returns the recording's digest. `told` is the decision as JSON. Raises MisuseError `write-failed`."""
    if directory.exists() and any(directory.iterdir()):
        raise MisuseError(codes.WRITE_FAILED, "the directory is not empty; a recording is never mixed with anything", where=str(directory))
    layout = ImageLayout(directory)
    writer = Writer(layout)
    value = {
        "apiVersion": _API,
        "kind": "Recording",
        "time": decision.time.isoformat(),
        "request": _request(decision.request),
        "unsafe": list(decision.unsafe),
        "examined": writer.examined(examined),
        "policy": writer.policy(loaded) if loaded.documents else None,
        "decision": dict(told),
    }
    return writer.finish(value, ARTIFACT, TAG)


def read_recording(directory: Path) -> Recording:
    """Read a layout; raises MisuseError `recording-invalid`."""
    layout = ImageLayout(directory)
    try:
        reader = Reader(layout)
        value = reader.document("Recording", ARTIFACT, TAG)
        policy = value.message("policy")
        return Recording(
            request=_read_request(value.need("request")),
            time=datetime.fromisoformat(value.text("time")),
            examined=reader.examined(value.need("examined")),
            decision=value.get("decision") or {},
            loaded=reader.policy(policy) if policy is not None else None,
            unsafe=tuple(value.get("unsafe") or ()),
        )
    except (FailedError, InconclusiveError, MisuseError) as error:
        raise MisuseError(codes.RECORDING_INVALID, error.reason, where=error.where or str(directory)) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise MisuseError(codes.RECORDING_INVALID, f"malformed: {error}"[:200], where=str(directory)) from error


# Requests


def _request(request: Request) -> dict[str, Any]:
    reference = request.reference
    asserted = reference.asserted if isinstance(reference, FileReference | LayoutReference) else None
    context = {key: value for key in CONTEXT_KEYS if (value := request.context.value(key)) is not None}
    return {"reference": str(reference), "as": str(asserted) if asserted else None, "context": context, "assertedBy": request.context.asserted_by}


def _read_request(value: Message) -> Request:
    reference: AnyReference = parse(value.text("reference"))
    if value.has("as") and isinstance(reference, FileReference | LayoutReference):
        reference = replace(reference, asserted=parse_origin(value.text("as")))
    context = value.get("context") or {}
    return Request(reference=reference, context=Context(**{key: context.get(key) for key in CONTEXT_KEYS}, asserted_by=value.text("assertedBy")))


# What was found


class Writer(Struct):
    """Values as JSON, with their bytes as blobs of the layout."""

    layout: ImageLayout
    layers: list[dict[str, Any]] = field(default_factory=list)

    def push(self, data: bytes, media_type: str = _BLOB) -> dict[str, Any]:
        """Store a blob; its descriptor."""
        descriptor = descriptor_value(Descriptor(media_type=media_type, digest=self.layout.push_blob(data), size=len(data)))
        self.layers.append(descriptor)
        return descriptor

    def finish(self, value: Mapping[str, Any], artifact_type: str, tag: str) -> Digest:
        """Store the document that names all blobs, and the artifact of both, under its tag; returns the artifact's digest."""
        described = self.push(dump_json(dict(value)), f"{artifact_type}+json")
        layers = {layer["digest"]: layer for layer in (described, *self.layers)}  # the document first
        self.layout.push_blob(EMPTY_BYTES)
        config = descriptor_value(Descriptor(media_type=EMPTY, digest=sha256(EMPTY_BYTES), size=len(EMPTY_BYTES)))
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": artifact_type, "config": config, "layers": list(layers.values())}
        return self.layout.push_manifest(dump_json(manifest), MANIFEST, tag)

    def examined(self, examined: Examined) -> dict[str, Any]:
        gathered = examined.gathered
        return {
            "artifact": self._artifact(examined.artifact) if examined.artifact is not None else None,
            "evidence": [self._evidence(item) for item in gathered.evidence],
            "rejections": [_rejection(item) for item in gathered.rejections],
            "gaps": [gap_value(item) for item in gathered.gaps],
            "parts": [self._part(item) for item in examined.parts],
            "imagesFrom": sorted(examined.images_from),
        }

    def policy(self, loaded: LoadedPolicy) -> dict[str, Any]:
        return {
            "documents": [{"name": name, "blob": self.push(data)} for name, data in sorted(loaded.documents.items())],
            "exceptions": [{"name": name, "blob": self.push(data)} for name, data in sorted(loaded.signed.items())],
            "anchors": [self._anchor(anchor) for anchor in loaded.trust.anchors],
            "roots": [{"name": root.name, "digest": root.digest, "asOf": _time(root.as_of)} for root in loaded.policy.roots],
        }

    def _artifact(self, artifact: Artifact) -> dict[str, Any]:
        match artifact:
            case ChartFile():
                return {"kind": "file", "path": artifact.path, "archive": self.push(artifact.archive, HELM_CHART)}
            case RepositoryChart():
                return {"kind": "repository", "reference": _pinned(artifact.reference), "archive": self.push(artifact.archive, HELM_CHART)}
            case OciImage():
                return {"kind": "image", "reference": _pinned(artifact.reference), "manifest": self.push(artifact.manifest)}
            case OciChart():
                self.push(artifact.archive, HELM_CHART)
                self.push(artifact.config, HELM_CONFIG)
                self.layout.push_manifest(artifact.manifest, MANIFEST)
                return {"kind": "chart", "reference": _pinned(artifact.reference)}

    def _evidence(self, item: Evidence) -> dict[str, Any]:
        return {
            "location": location_value(item.location),
            "mediaType": item.media_type,
            "payload": self.push(item.payload),
            "annotations": dict(item.annotations),
        }

    def _part(self, part: ExaminedPart) -> dict[str, Any]:
        return {
            "kind": part.kind.value,
            "path": part.path,
            "request": _request(part.request) if part.request is not None else None,
            "examined": self.examined(part.examined) if part.examined is not None else None,
            "code": part.code.name if part.code else None,
            "reason": part.reason,
        }

    def _anchor(self, anchor: Anchor) -> dict[str, Any]:
        thresholds = anchor.thresholds
        return {
            "name": anchor.name,
            "kind": anchor.kind,
            "data": self.push(anchor.data),
            "fingerprints": sorted(anchor.fingerprints),
            "anyKey": anchor.any_key,
            "notBefore": _time(anchor.not_before),
            "notAfter": _time(anchor.not_after),
            "thresholds": [thresholds.sct, thresholds.tlog, thresholds.timestamp],
            "root": anchor.root,
        }


class Reader(Struct, frozen=True):
    """The same back; raises FailedError, InconclusiveError or a plain error of a malformed value."""

    layout: ImageLayout

    def document(self, kind: str, artifact_type: str, tag: str) -> Message:
        """The document of the artifact under a tag, known to be of its kind."""
        where = self.layout.where
        manifest = parse_object(self.layout.resolve(tag).data, where=where)
        if manifest.get("artifactType") != artifact_type:
            raise FailedError(codes.JSON_INVALID, f"the tag {tag!r} names no {kind.lower()}", where=where)
        descriptor = read_descriptor((manifest.get("layers") or [None])[0], where=where)
        document = parse_object(self.layout.blob(descriptor, limits.RECORDING_BYTES), where=where)
        value = Message(document, f"the {kind.lower()}", codes.JSON_INVALID, where)
        if (value.text("apiVersion"), value.text("kind")) != (_API, kind):
            value.refuse(f"is {value.text('kind') or 'nothing'} of {value.text('apiVersion') or 'no version'}, expected a {kind} of {_API}")
        return value

    def examined(self, value: Message) -> Examined:
        artifact = value.message("artifact")
        return Examined(
            artifact=self._artifact(artifact) if artifact is not None else None,
            gathered=Gathered(
                evidence=tuple(self._evidence(item) for item in value.messages("evidence", most=_MOST)),
                rejections=tuple(_read_rejection(item) for item in value.messages("rejections", most=_MOST)),
                gaps=tuple(_read_gap(item) for item in value.messages("gaps", most=_MOST)),
            ),
            parts=tuple(self._part(item) for item in value.messages("parts", most=_MOST)),
            images_from=frozenset(str(item) for item in value.get("imagesFrom") or ()),
        )

    def policy(self, value: Message) -> LoadedPolicy:
        from verifier.policy.loader import load_documents

        if not value.has("documents") or not value.get("documents"):
            value.refuse("has no documents")
        documents = {item.text("name"): self._blob(item, "blob", limits.POLICY_BYTES) for item in value.messages("documents", most=_MOST)}
        anchors = tuple(self._anchor(item) for item in value.messages("anchors", most=_MOST))
        known = {item.text("name"): item for item in value.messages("roots", most=_MOST)}
        policy = load_documents(documents)
        roots = tuple(
            replace(root, digest=known[root.name].text("digest"), as_of=_read_time(known[root.name].get("asOf"))) if root.name in known else root
            for root in policy.roots
        )
        trust = TrustMaterial(anchors, elsewhere(policy))
        loaded = LoadedPolicy(replace(policy, roots=roots), trust, trust.digest, documents=documents)
        signed = {item.text("name"): self._blob(item, "blob", limits.POLICY_BYTES) for item in value.messages("exceptions", most=_MOST)}
        return with_signed(loaded, signed) if signed else loaded

    def _blob(self, value: Message, key: str, limit: int) -> bytes:
        return self.layout.blob(read_descriptor(value.get(key), where=self.layout.where), limit)

    def _artifact(self, value: Message) -> Artifact:
        match value.text("kind"):
            case "file":
                data = self._blob(value, "archive", limits.ARCHIVE_BYTES)
                return ChartFile(path=value.text("path"), digest=sha256(data), facts=read_archive(data, where=value.text("path")).facts, archive=data)
            case "repository":
                reference, data = _read_pinned(value.need("reference")), self._blob(value, "archive", limits.ARCHIVE_BYTES)
                if not reference.digest.matches(data):
                    value.refuse(f"has an archive that is not {reference.digest}")
                return RepositoryChart(reference=reference, facts=read_archive(data, where=str(reference)).facts, archive=data)
            case "image":
                reference, manifest = _read_pinned(value.need("reference")), self._blob(value, "manifest", limits.MANIFEST_BYTES)
                if not reference.digest.matches(manifest):
                    value.refuse(f"has a manifest that is not {reference.digest}")
                return OciImage(reference=reference, manifest=manifest)
            case "chart":
                reference = _read_pinned(value.need("reference"))
                here = LayoutReference(path=str(self.layout.root), tag=None, digest=reference.digest, written="")
                return replace(read_chart(resolve(here, self.layout)), reference=reference)
            case other:
                value.refuse(f"has an artifact of kind {other!r}")

    def _evidence(self, value: Message) -> Evidence:
        return Evidence(
            location=_read_location(value.need("location")),
            media_type=value.text("mediaType"),
            payload=self._blob(value, "payload", limits.EVIDENCE_BYTES),
            annotations=value.get("annotations") or {},
        )

    def _part(self, value: Message) -> ExaminedPart:
        request, examined = value.message("request"), value.message("examined")
        return ExaminedPart(
            kind=PartKind(value.text("kind")),
            path=value.text("path"),
            request=_read_request(request) if request is not None else None,
            examined=self.examined(examined) if examined is not None else None,
            code=codes.ALL[value.text("code")] if value.has("code") else None,
            reason=value.text("reason"),
        )

    def _anchor(self, value: Message) -> Anchor:
        sct, tlog, timestamp = value.get("thresholds")
        return Anchor(
            name=value.text("name"),
            kind=value.text("kind"),
            data=self._blob(value, "data", limits.KEYRING_BYTES),
            fingerprints=frozenset(str(item) for item in value.get("fingerprints") or ()),
            any_key=value.get("anyKey") is True,
            not_before=_read_time(value.get("notBefore")),
            not_after=_read_time(value.get("notAfter")),
            thresholds=Thresholds(sct=sct, tlog=tlog, timestamp=timestamp),
            root=value.get("root"),
        )


# Small values


def _pinned(reference: PinnedReference) -> dict[str, Any]:
    names = {"registry": reference.registry, "repository": reference.repository, "digest": str(reference.digest), "tag": reference.tag}
    return {**names, "pinned": reference.was_pinned, "readFrom": reference.read_from}


def _read_pinned(value: Message) -> PinnedReference:
    return PinnedReference(
        registry=value.text("registry"),
        repository=value.text("repository"),
        digest=parse_digest(value.text("digest")),
        tag=value.get("tag"),
        was_pinned=value.get("pinned") is True,
        read_from=value.get("readFrom"),
    )


def _read_location(value: Message) -> Location:
    digest = parse_digest(value.text("digest")) if value.has("digest") else None
    return Location(kind=Kind(value.text("kind")), where=value.text("where"), digest=digest, media_type=value.text("mediaType"))


def _rejection(item: Rejection) -> dict[str, Any]:
    return {"scheme": item.scheme, "code": item.code.name, "reason": item.reason, "location": location_value(item.location), "signer": item.signer}


def _read_rejection(value: Message) -> Rejection:
    return Rejection(
        scheme=value.get("scheme"),
        code=codes.ALL[value.text("code")],
        reason=value.text("reason"),
        location=_read_location(value.need("location")),
        signer=value.get("signer"),
    )


def _read_gap(value: Message) -> Gap:
    code = codes.ALL[value.text("code")]
    return Gap(kind=value.text("kind"), where=value.text("where"), code=code, reason=value.text("reason"), retry_after=value.get("retryAfter"))


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None


def _read_time(written: str | None) -> datetime | None:
    return datetime.fromisoformat(written) if written is not None else None
