"""Signing: a local archive gets a file beside it, a chart in a registry gets a referrer.

1. What is signed is a digest, or a tag together with the archive that its chart layer must equal (semantics 28).
2. The same archive and binding checks run before signing as before installing.
3. The signature is made and read back through our own gate; then attached, and read back from the registry (semantics 30).
4. A `.prov` for a published chart is attached as a referrer: a tag is never moved (semantics 29).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from verifier.attest.bundle import MEDIA_TYPE as BUNDLE
from verifier.attest.statement import SIGN_PREDICATE, write_sign_statement
from verifier.charts.provenance import write_provenance
from verifier.charts.version import tag_fits
from verifier.model import codes, limits
from verifier.model.artifact import ChartFacts, Descriptor, OciChart
from verifier.model.digest import Digest, sha256
from verifier.model.errors import MisuseError
from verifier.model.reference import FileReference, LayoutReference, Reference
from verifier.net.deadline import Deadline
from verifier.oci.layout import replace_file
from verifier.oci.manifest import EMPTY_BYTES, HELM_PROVENANCE, MANIFEST, write_referrer
from verifier.oci.repository import describe
from verifier.oci.source import Target
from verifier.operations.connections import Connections
from verifier.operations.resolve import read_chart, read_file, read_local, resolve
from verifier.operations.roots import Root
from verifier.trust.anchors import ROOT, Anchor

KEYLESS_SECONDS = 180.0  # three services in turn, and a v2 log answers only when it has published the entry
SignText = Callable[[str], bytes]
SignDigest = Callable[[Digest, str], bytes]


class Signing(Struct, frozen=True, kw_only=True):
    """How to sign: one of the two, made from a key by the caller."""

    sign_text: SignText | None = None
    sign_digest: SignDigest | None = None


class Signed(Struct, frozen=True, kw_only=True):
    """What was signed, and where the signature is: a file's path or the attached manifest's digest."""

    target: str
    digest: Digest
    signature: str
    media_type: str


def sign_file(reference: FileReference, signing: Signing) -> Signed:
    """Write `.prov` or `.sigstore.json` beside a `.tgz`; whole or not at all."""
    chart = read_file(reference)  # 2
    if Path(reference.path).name != f"{chart.facts.label}.tgz":
        reason = f"the file is called {Path(reference.path).name!r}, Helm expects '{chart.facts.label}.tgz'"
        raise MisuseError(codes.CHART_MISMATCH, reason, where=reference.path)
    if signing.sign_text is not None:
        data, suffix, media_type = signing.sign_text(write_provenance(chart.facts, chart.digest)), ".prov", HELM_PROVENANCE
    else:
        data, suffix, media_type = _bundle(signing, chart.digest, f"{chart.facts.label}.tgz"), ".sigstore.json", BUNDLE
    path = Path(f"{reference.path}{suffix}")
    write_new(path, data)
    return Signed(target=reference.path, digest=chart.digest, signature=str(path), media_type=media_type)


def sign_reference(
    reference: Reference | LayoutReference, signing: Signing, connections: Connections, *, chart: Path | None = None, seconds: float = 120.0
) -> Signed:
    """Sign a chart in a registry or layout and attach the signature."""
    if reference.digest is None and chart is None:
        raise MisuseError(codes.TAG_NEEDS_CHART, "a tag may move between your look and the signature", where=reference.written)
    target = connections.target(reference, Deadline.after(seconds))
    pinned = resolve(reference, target)
    artifact = read_chart(pinned)  # 2
    _check_same(artifact, chart, reference)  # 1
    if signing.sign_text is not None:
        payload, media_type = signing.sign_text(write_provenance(artifact.facts, artifact.archive_digest)), HELM_PROVENANCE
        extra = {}
    else:
        payload, media_type = _bundle(signing, pinned.fetched.digest, _name(artifact)), BUNDLE
        extra = {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": SIGN_PREDICATE}
    attached = attach(target, pinned.fetched.descriptor, payload, media_type, extra)
    return Signed(target=str(artifact.reference), digest=pinned.fetched.digest, signature=str(attached), media_type=media_type)


def attach(target: Target, subject: Descriptor, payload: bytes, media_type: str, annotations: dict[str, str]) -> Digest:
    """Attach one blob to a subject, and see it listed; raises InconclusiveError `attachment-lost`."""
    blob = Descriptor(media_type=media_type, digest=target.push_blob(payload), size=len(payload))
    target.push_blob(EMPTY_BYTES)
    created = {"org.opencontainers.image.created": datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")}
    manifest = write_referrer(Descriptor(media_type=MANIFEST, digest=subject.digest, size=subject.size), blob, {**annotations, **created})
    target.attach(manifest, subject, describe(manifest, MANIFEST))
    return sha256(manifest)


def keyless_signer(token: str, root: Root, seconds: float = KEYLESS_SECONDS) -> SignDigest:
    """A function that signs digests for the token's identity, under the root's own services."""
    from verifier.schemes.sigstore.keyless import sign_keyless

    anchor = Anchor(name=root.name, kind=ROOT, data=root.data)
    return lambda digest, name: sign_keyless(write_sign_statement(digest, name=name), token, root.trust_config, anchor, seconds=seconds)


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


def _bundle(signing: Signing, digest: Digest, name: str) -> bytes:
    if signing.sign_digest is None:
        raise MisuseError(codes.USAGE, "give a key: --key KEYREF or --openpgp-key KEY")
    return signing.sign_digest(digest, name)


def _name(artifact: OciChart) -> str:
    """What `subject[0].name` says: the repository, or for a layout the chart's own name."""
    return artifact.reference.uri if artifact.reference.registry else f"{artifact.facts.label}.tgz"


def _check_same(artifact: OciChart, chart: Path | None, reference: Reference | LayoutReference) -> None:
    if isinstance(reference, Reference):
        check_binding(artifact.facts, reference)
    if chart is not None and sha256(read_local(chart, limits.ARCHIVE_BYTES)) != artifact.archive_digest:
        raise MisuseError(codes.CHART_MISMATCH, f"its chart layer is {artifact.archive_digest.short}..., your file is another", where=str(chart))
