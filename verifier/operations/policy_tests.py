"""Running a policy's cases: offline, without a registry or a key's secret half.

A case that states facts is judged as if its signatures had been verified: it tests the policy, not the cryptography. A case with a
recording is the real thing: its evidence is verified under the policy's own trust.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from verifier.charts.archive import read_archive
from verifier.charts.images import image
from verifier.charts.packaging import write_archive
from verifier.model import codes, limits
from verifier.model.artifact import Chart, ChartFile, Descriptor, OciChart, RepositoryChart
from verifier.model.claim import Attestation, CertificateSigner, Claim, Clock, Form, KeySigner, OpenPGPSigner, Role, SanType, Signature, SigningTime
from verifier.model.context import Context, Facts, Part, PartKind, Request
from verifier.model.decision import Decision
from verifier.model.digest import sha256
from verifier.model.errors import FailedError, MisuseError
from verifier.model.evidence import Gap, Kind, Location
from verifier.model.reference import AnyReference, ChartRepositoryReference, FileReference, PinnedReference, parse
from verifier.oci.manifest import HELM_CHART
from verifier.operations.policies import LoadedPolicy
from verifier.operations.recording import read_recording
from verifier.operations.replay import replay
from verifier.operations.resolve import read_local
from verifier.policy.case import asked_of
from verifier.policy.cases import Case, Identity, StatedAttestation, read_cases
from verifier.policy.document import ImageSource, TrustEntry, TrustKind
from verifier.policy.engine import decide
from verifier.policy.fields import known
from verifier.policy.identity import san_type
from verifier.signers.public import load_public_key

_EPOCH = 315532800  # the first moment that a tar in a zip may have; any will do
_HERE = Location(kind=Kind.REFERRER, where="the case")


class Ran(Struct, frozen=True, kw_only=True):
    """One case with the answer that it got; `problem` says what was expected instead, None where it is as expected."""

    case: Case
    decision: Decision
    problem: str | None


def cases_of(policy: Path) -> tuple[Path, ...]:
    """`NAME.test.yaml` beside `NAME.yaml`; of a directory all `*.test.yaml` in it. Raises MisuseError where there is none."""
    found = sorted(policy.glob("*.test.yaml")) if policy.is_dir() else [policy.with_name(f"{policy.stem}.test.yaml")]
    if not found or not found[0].is_file():
        where = policy / "*.test.yaml" if policy.is_dir() else found[0]
        raise MisuseError(codes.FILE_UNREADABLE, "there are no cases: a policy without tests is not known to mean what it should", where=str(where))
    return tuple(found)


def run_cases(loaded: LoadedPolicy, cases: Path, now: datetime | None = None) -> Iterator[Ran]:
    """Each case in order; raises MisuseError for cases that cannot be read, or that name what the policy does not have."""
    now = now or datetime.now(UTC)
    for case in read_cases(read_local(cases, limits.POLICY_BYTES), where=str(cases)):
        try:
            decision = _judged(case, loaded, cases.parent, now)
        except (MisuseError, FailedError) as error:
            raise MisuseError(codes.POLICY_INVALID, f"case {case.name!r}: {error.reason}", where=f"{cases} {case.place}") from error
        yield Ran(case=case, decision=decision, problem=_problem(case, decision))


def unreached(loaded: LoadedPolicy, ran: list[Ran]) -> Iterator[str]:
    """Rules of which no case sees an allow, or none a denial: a test that never fails proves little."""
    for rule in loaded.policy.rules:
        answers = {item.decision.allowed for item in ran if item.decision.policy.rule == rule.name}
        if True not in answers:
            yield f"rule {rule.name!r}: no case is allowed by it"
        if False not in answers:
            yield f"rule {rule.name!r}: no case is denied by it"


def _judged(case: Case, loaded: LoadedPolicy, base: Path, now: datetime) -> Decision:
    if case.recording is not None:
        return replay(read_recording(base / case.recording), loaded, case.at)
    return decide(loaded.policy, _facts(case, loaded, case.at or now), case.at or now, trust_digest=loaded.trust_digest)


def _problem(case: Case, decision: Decision) -> str | None:
    expected = case.expected
    code = decision.check.code.name if decision.check.code else None
    wanted = expected.code.name if expected.code else None
    if (decision.outcome, code) != (expected.outcome, wanted):
        found = f"{decision.outcome.value}{f' [{code}]' if code else ''}: {decision.check.reason}"
        return f"expected {expected.outcome.value}{f' [{wanted}]' if wanted else ''}, found {found}"
    if expected.warns is not None and not any(expected.warns in warning for warning in decision.warnings):
        return f"expected a warning with {expected.warns!r}, found {'; '.join(decision.warnings) or 'none'}"
    return None


# What a case states


def _facts(case: Case, loaded: LoadedPolicy, at: datetime) -> Facts:
    assert case.reference is not None
    stated, reference = case.stated, parse(case.reference)
    request = Request(reference=reference, context=Context(**case.context, asserted_by="the case"))
    gaps = (Gap(kind="evidence", where="the case", code=stated.unread, reason="the case says so"),) if stated.unread is not None else ()
    return Facts(
        request=request,
        artifact=_artifact(case, reference),
        claims=tuple(_claims(case, loaded, at)),
        gaps=gaps,
        parts=tuple(_image(item, request) for item in stated.images or ()),
        images_from=frozenset(ImageSource) if stated.images is not None else frozenset(),
    )


def _artifact(case: Case, reference: AnyReference) -> Chart:
    """A chart of what the case states: declared dependencies lie in it, unpacked."""
    stated = case.stated
    asked = asked_of(reference)
    name = str(stated.chart.get("name") or (asked.repository.rpartition("/")[2] if asked else "chart"))
    version = str(stated.chart.get("version") or ((asked.tag or "1.0.0").replace("_", "+").removeprefix("v") if asked else "1.0.0"))
    metadata = {"apiVersion": "v2", **stated.chart, "name": name, "version": version}
    files = {"Chart.yaml": json.dumps(metadata).encode()}  # YAML is a superset of JSON
    declared = stated.chart.get("dependencies")
    for item in (item for item in declared if isinstance(item, dict)) if isinstance(declared, list) else ():
        below = {"apiVersion": "v2", "name": str(item.get("name")), "version": str(item.get("version"))}
        files[f"charts/{item.get('name')}/Chart.yaml"] = json.dumps(below).encode()
    archive = write_archive(name, files, epoch=_EPOCH)
    facts = read_archive(archive, where="the case's chart").facts
    facts = replace(facts, lock_problem=None) if stated.locked else facts
    if asked is None or isinstance(reference, FileReference):
        return ChartFile(path=str(reference), digest=sha256(archive), facts=facts, archive=archive)
    pinned = PinnedReference(
        registry=asked.registry,
        repository=asked.repository,
        digest=asked.digest or sha256(b"a manifest"),
        tag=asked.tag,
        was_pinned=stated.pinned or asked.digest is not None,
    )
    if isinstance(asked, ChartRepositoryReference):
        return RepositoryChart(reference=replace(pinned, digest=asked.digest or sha256(archive)), facts=facts, archive=archive)
    layer = Descriptor(media_type=HELM_CHART, digest=sha256(archive), size=len(archive))
    return OciChart(reference=pinned, manifest=b"", config=b"", chart=layer, provenance=None, facts=facts, archive=archive)


def _claims(case: Case, loaded: LoadedPolicy, at: datetime) -> Iterator[Claim]:
    stated = case.stated
    for name in stated.signed_by:
        yield _by_name(name, loaded, stated.signed_at, None)
    for identity in stated.certified:
        yield _by_certificate(identity, stated.signed_at or at, Signature(form=Form.STATEMENT))
    for item in stated.attested:
        kind = Attestation(predicate_type=item.predicate_type, predicate=item.predicate)
        yield _attestation(item, kind, loaded, (stated.signed_at, at))


def _attestation(item: StatedAttestation, kind: Attestation, loaded: LoadedPolicy, times: tuple[datetime | None, datetime]) -> Claim:
    if item.by is not None:
        return _by_name(item.by, loaded, times[0], kind)
    assert item.certified is not None
    return _by_certificate(item.certified, times[0] or times[1], kind)


def _by_name(name: str, loaded: LoadedPolicy, at: datetime | None, kind: Attestation | None) -> Claim:
    entry = next((entry for entry in loaded.policy.trust if entry.name == name), None)
    if entry is None:
        raise MisuseError(codes.POLICY_INVALID, f"{name!r} is not a name under trust; {known(name, [item.name for item in loaded.policy.trust])}")
    openpgp = entry.kind is TrustKind.OPENPGP
    return Claim(
        scheme="openpgp" if openpgp else "sigstore",
        kind=kind or Signature(form=Form.PROVENANCE if openpgp else Form.STATEMENT),
        signer=_signer(entry, loaded),
        anchors=frozenset((name,)),
        role=Role.ARCHIVE if openpgp else Role.MANIFEST,
        digest=sha256(b"a manifest"),
        location=_HERE,
        times=(SigningTime(at=at, clock=Clock.LOG),) if at is not None else (),
        logs=1 if entry.tlog_required and at is not None else 0,
    )


def _signer(entry: TrustEntry, loaded: LoadedPolicy) -> OpenPGPSigner | KeySigner:
    data = next((anchor.data for anchor in loaded.trust.anchors if anchor.name == entry.name), b"")
    match entry.kind:
        case TrustKind.OPENPGP:
            from verifier.schemes.openpgp.certificates import read_keyring

            fingerprint = entry.fingerprints[0] if entry.fingerprints else read_keyring(data)[0].fingerprint
            return OpenPGPSigner(fingerprint=fingerprint, signing_key=fingerprint)
        case TrustKind.KEY:
            key = load_public_key(data)
            return KeySigner(key_id=key.key_id, algorithm=key.algorithm)
        case TrustKind.KEYLESS:
            raise MisuseError(codes.POLICY_INVALID, f"{entry.name} is keyless: say whom a CA certified (certified: {{identity, issuer, claims}})")


def _by_certificate(said: Identity, at: datetime, kind: Signature | Attestation) -> Claim:
    kind_of_name = san_type(said.identity) or SanType.OTHER
    return Claim(
        scheme="sigstore",
        kind=kind,
        signer=CertificateSigner(identity=said.identity, san_type=kind_of_name, issuer=said.issuer, root=said.root, extensions=dict(said.claims)),
        anchors=frozenset((said.root,)),
        role=Role.MANIFEST,
        digest=sha256(b"a manifest"),
        location=_HERE,
        times=(SigningTime(at=at, clock=Clock.LOG),),
        logs=1,
    )


def _image(written: str, request: Request) -> Part:
    found = image(written, "the case")
    if found.reference is None:
        return Part(kind=PartKind.IMAGE, path=written, code=codes.IMAGE_REFUSED, reason=str(found.problem))
    return Part(kind=PartKind.IMAGE, path=written, facts=Facts(request=replace(request, reference=found.reference), artifact=None))
