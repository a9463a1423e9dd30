"""Signing: a local archive gets a file beside it, a chart in a registry gets a referrer.

1. What is signed is a digest, or a tag together with the archive that its chart layer must equal (semantics 28).
2. The same archive and binding checks run before signing as before installing.
3. The signature is made and read back through our own gate; then attached, and read back from the registry (semantics 30).
4. A `.prov` for a published chart is attached as a referrer: a tag is never moved (semantics 29).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from verifier.attest.bundle import MEDIA_TYPE as BUNDLE
from verifier.attest.predicates import PROVENANCE, TYPES, predicate_uri, read_provenance
from verifier.attest.statement import SIGN_PREDICATE, write_sign_statement, write_statement
from verifier.charts.provenance import write_provenance
from verifier.charts.version import tag_fits
from verifier.formats.json import parse_object
from verifier.model import codes, limits
from verifier.model.artifact import ChartFacts, Descriptor, OciChart
from verifier.model.digest import Digest, sha256
from verifier.model.errors import FailedError, MisuseError
from verifier.model.reference import FileReference, LayoutReference, Reference
from verifier.net.deadline import Deadline
from verifier.net.transport import Request, Transport
from verifier.oci.layout import replace_file
from verifier.oci.manifest import EMPTY_BYTES, HELM_PROVENANCE, MANIFEST, write_referrer
from verifier.oci.source import Target
from verifier.operations.connections import Connections
from verifier.operations.legacy import SignMessage, write_legacy
from verifier.operations.resolve import Pinned, read_chart, read_file, read_local, resolve
from verifier.operations.roots import Root
from verifier.signers.key import SigningKey
from verifier.trust.anchors import ROOT, Anchor
from verifier.trust.signing_config import read_signing_config

KEYLESS_SECONDS = 180.0  # three services in turn, and a v2 log answers only when it has published the entry
_SIGN_SECONDS = 120.0
_ATTEST_SECONDS = 300.0  # keyless included
SignText = Callable[[str], bytes]
SignStatement = Callable[[bytes], bytes]


class Signing(Struct, frozen=True, kw_only=True):
    """How to sign: one of the two, made from a key by the caller."""

    sign_text: SignText | None = None
    sign_statement: SignStatement | None = None
    sign_message: SignMessage | None = None  # for cosign's old form, where it is asked for


class Predicate(Struct, frozen=True):
    """What an attestation says: a predicate type's URI and its JSON value."""

    type: str
    value: Any


class Attachment(Struct, frozen=True, kw_only=True):
    """What is attached to a subject: one blob, and what its manifest says of it."""

    payload: bytes
    media_type: str
    annotations: Mapping[str, str] = field(default_factory=dict)


class Signed(Struct, frozen=True, kw_only=True):
    """What was signed, and where the signature is: a file's path or the attached manifest's digest."""

    target: str
    digest: Digest
    signature: str
    media_type: str
    legacy_tag: str | None = None


def sign_file(reference: FileReference, signing: Signing) -> Signed:
    """Write `.prov` or `.sigstore.json` beside a `.tgz`; whole or not at all."""
    chart = read_file(reference)  # 2
    if Path(reference.path).name != f"{chart.facts.label}.tgz":
        reason = f"the file is called {Path(reference.path).name!r}, Helm expects '{chart.facts.label}.tgz'"
        raise MisuseError(codes.CHART_MISMATCH, reason, where=reference.path)
    if signing.sign_text is not None:
        data, suffix, media_type = signing.sign_text(write_provenance(chart.facts, chart.digest)), ".prov", HELM_PROVENANCE
    else:
        data, suffix, media_type = _bundle(signing, write_sign_statement(chart.digest, name=f"{chart.facts.label}.tgz")), ".sigstore.json", BUNDLE
    path = Path(f"{reference.path}{suffix}")
    write_new(path, data)
    return Signed(target=reference.path, digest=chart.digest, signature=str(path), media_type=media_type)


def sign_reference(reference: Reference | LayoutReference, signing: Signing, connections: Connections, *, chart: Path | None = None) -> Signed:
    """Sign a chart in a registry or layout and attach the signature."""
    target, pinned, artifact = _signable(reference, connections, chart, _SIGN_SECONDS)
    subject = pinned.fetched.descriptor
    signature = make_signature(artifact, signing)
    (attached,) = attach(target, subject, signature)
    tag = write_legacy(target, pinned.fetched.digest, _repository(artifact), signing.sign_message) if signing.sign_message is not None else None
    return Signed(target=str(artifact.reference), digest=pinned.fetched.digest, signature=str(attached), media_type=signature.media_type, legacy_tag=tag)


def _signable(reference: Reference | LayoutReference, connections: Connections, chart: Path | None, seconds: float) -> tuple[Target, Pinned, OciChart]:
    """1 and 2: the chart that is meant, whole and under a name and tag that a policy would accept."""
    if reference.digest is None and chart is None:
        raise MisuseError(codes.TAG_NEEDS_CHART, "a tag may move between your look and the signature", where=reference.written)
    target = connections.target(reference, Deadline.after(seconds))
    pinned = resolve(reference, target)
    artifact = read_chart(pinned)  # 2
    _check_same(artifact, chart, reference)  # 1
    return target, pinned, artifact


def make_signature(artifact: OciChart, signing: Signing) -> Attachment:
    """3: a signature for a chart that was read: over its `.prov`, or over a statement about its manifest."""
    if signing.sign_text is not None:
        return Attachment(payload=signing.sign_text(write_provenance(artifact.facts, artifact.archive_digest)), media_type=HELM_PROVENANCE)
    return in_bundle(_bundle(signing, write_sign_statement(artifact.reference.digest, name=_name(artifact))), SIGN_PREDICATE)


def make_attestation(artifact: OciChart, predicate: Predicate, signing: Signing) -> Attachment:
    """3: a signed statement about a chart that was read."""
    return in_bundle(_bundle(signing, write_statement(artifact.reference.digest, predicate.type, predicate.value, name=_name(artifact))), predicate.type)


def in_bundle(bundle: bytes, predicate_type: str) -> Attachment:
    """A bundle around a statement of a type, annotated as cosign does it."""
    annotations = {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": predicate_type}
    return Attachment(payload=bundle, media_type=BUNDLE, annotations=annotations)


def attach(target: Target, subject: Descriptor, *attachments: Attachment) -> tuple[Digest, ...]:
    """Attach each to a subject, and see them listed; returns the attached manifests' digests. Raises InconclusiveError `attachment-lost`."""
    target.push_blob(EMPTY_BYTES)
    described = Descriptor(media_type=MANIFEST, digest=subject.digest, size=subject.size)
    created = {"org.opencontainers.image.created": datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")}
    manifests = []
    for item in attachments:
        blob = Descriptor(media_type=item.media_type, digest=target.push_blob(item.payload, fresh=True), size=len(item.payload))
        manifests.append(write_referrer(described, blob, {**item.annotations, **created}))
    target.attach(manifests, subject)
    return tuple(sha256(manifest) for manifest in manifests)


def attest_reference(
    reference: Reference | LayoutReference,
    predicate: Predicate,
    signing: Signing,
    connections: Connections,
    *,
    chart: Path | None = None,
) -> Signed:
    """Sign a statement about a chart in a registry or layout, and attach it; the same checks as for a signature."""
    target, pinned, artifact = _signable(reference, connections, chart, _ATTEST_SECONDS)
    (attached,) = attach(target, pinned.fetched.descriptor, make_attestation(artifact, predicate, signing))
    return Signed(target=str(artifact.reference), digest=pinned.fetched.digest, signature=str(attached), media_type=BUNDLE)


def keyless_signing(token: str, root: Root, *, legacy: bool) -> Signing:
    """Signing for the token's identity, under the root's own services; `legacy` in cosign's old form, too."""
    from verifier.schemes.sigstore.keyless import sign_keyless, sign_keyless_message

    anchor = Anchor(name=root.name, kind=ROOT, data=root.data)
    return Signing(
        sign_statement=lambda statement: sign_keyless(statement, token, root.trust_config, anchor, seconds=KEYLESS_SECONDS),
        sign_message=(lambda message: sign_keyless_message(message, token, root.trust_config, anchor, seconds=KEYLESS_SECONDS)) if legacy else None,
    )


def logged_signer(key: SigningKey, root: Root, transport: Transport) -> SignStatement:
    """A function that signs statements with a key and has the root's own log hold them."""
    from verifier.schemes.sigstore.sign import sign_logged

    config = read_signing_config(root.services, datetime.now(UTC), where=root.source)
    anchor = Anchor(name=root.name, kind=ROOT, data=root.data)

    def post(url: str, kind: str, body: bytes) -> tuple[int, bytes]:
        request = Request(method="POST", url=url, headers={"Content-Type": kind, "Accept": "*/*"}, body=body)
        response = transport.send(request, Deadline.after(KEYLESS_SECONDS), limits.EVIDENCE_BYTES)
        return response.status, response.body

    return lambda statement: sign_logged(statement, key, config, anchor, post)


def read_predicate(written: str, path: Path) -> Predicate:
    """A predicate of a type (an alias or URI) from a JSON file; raises MisuseError `predicate-invalid`."""
    uri = predicate_uri(written)
    if uri is None:
        raise MisuseError(codes.PREDICATE_INVALID, f"{written[:60]!r} is not a predicate type; write its URI or one of: {', '.join(TYPES)}")
    value = _read_object(path)
    if uri in PROVENANCE:
        provenance = read_provenance(uri, value)
        if provenance is None or not provenance.builder or not provenance.build_type:
            raise MisuseError(codes.PREDICATE_INVALID, "build provenance names a builder and a build type", where=str(path))
    return Predicate(uri, value)


def read_sbom(path: Path) -> Predicate:
    """An SPDX or CycloneDX document, as its own fields say; raises MisuseError `predicate-invalid`."""
    value = _read_object(path)
    kind = "spdx" if "spdxVersion" in value else "cyclonedx" if value.get("bomFormat") == "CycloneDX" else None
    if kind is None:
        raise MisuseError(codes.PREDICATE_INVALID, "neither an SPDX document (spdxVersion) nor a CycloneDX one (bomFormat), as JSON", where=str(path))
    return Predicate(TYPES[kind], value)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        return parse_object(read_local(path, limits.EVIDENCE_BYTES), where=str(path))
    except FailedError as error:
        raise MisuseError(codes.PREDICATE_INVALID, error.reason, where=str(path)) from error


def write_new(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file whole or not at all; raises MisuseError `write-failed`."""
    try:
        replace_file(path, data, mode)
    except OSError as error:
        raise MisuseError(codes.WRITE_FAILED, error.strerror or str(error), where=str(path)) from error


def check_binding(facts: ChartFacts, reference: Reference) -> None:
    """Refuse to sign a chart under a name or tag that no policy would accept."""
    name = reference.repository.rpartition("/")[2]
    if facts.name != name or (reference.tag is not None and not tag_fits(reference.tag, facts.version)):
        raise MisuseError(codes.CHART_MISMATCH, f"{reference} holds chart {facts.name!r} version {facts.version!r}", where=reference.written)


def _bundle(signing: Signing, statement: bytes) -> bytes:
    if signing.sign_statement is None:
        raise MisuseError(codes.USAGE, "give a key or --keyless; statements are not signed with OpenPGP")
    return signing.sign_statement(statement)


def _name(artifact: OciChart) -> str:
    """What `subject[0].name` says: the repository, or for a layout the chart's own name."""
    return artifact.reference.uri if artifact.reference.registry else f"{artifact.facts.label}.tgz"


def _repository(artifact: OciChart) -> str:
    """HOST/PATH, as cosign's old form names it; a layout has none."""
    reference = artifact.reference
    return f"{reference.registry}/{reference.repository}" if reference.registry else ""


def _check_same(artifact: OciChart, chart: Path | None, reference: Reference | LayoutReference) -> None:
    if isinstance(reference, Reference):
        check_binding(artifact.facts, reference)
    if chart is not None and sha256(read_local(chart, limits.ARCHIVE_BYTES)) != artifact.archive_digest:
        raise MisuseError(codes.CHART_MISMATCH, f"its chart layer is {artifact.archive_digest.short}..., your file is another", where=str(chart))
