"""Releasing a chart: package, push, sign, attest, verify, and only then give it its version.

1. The directory is packaged byte for byte the same every time, and checked for what would fail later: at Helm, at a registry, or at a policy.
2. A version that is published with other bytes is refused, for a tag is never moved. With the same bytes the release goes on and completes what is
   missing, by referrers (semantics 29).
3. Otherwise the manifest is pushed by its digest, under no tag: nobody can ask for the version yet. A `.prov` is part of it.
4. The digest that was computed is signed and attested (semantics 28), each signature only if none of ours is there; each is read back from the registry.
5. The result is verified as a consumer would, from the registry: under the policy, or with our own public halves where none is given.
6. Last of all the tag is written, and read back. Wherever this is interrupted, a version that has its tag is whole, and a repeat completes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from verifier.attest.statement import SIGN_PREDICATE
from verifier.charts.archive import ChartArchive
from verifier.charts.packaging import package_directory
from verifier.charts.provenance import write_provenance
from verifier.charts.version import parse_version
from verifier.model import codes
from verifier.model.artifact import ChartFacts, OciChart
from verifier.model.claim import Attestation, CertificateSigner, Claim, Signature
from verifier.model.context import Context, Request
from verifier.model.decision import Decision
from verifier.model.digest import Digest
from verifier.model.errors import FailedError, InconclusiveError, MisuseError, VerifierError, error
from verifier.model.reference import LayoutReference, Reference, is_repository
from verifier.net.deadline import Deadline
from verifier.oci.manifest import HELM_PROVENANCE, MANIFEST
from verifier.oci.repository import describe
from verifier.oci.source import Fetched, Target, resolve_if_there
from verifier.operations.connections import Connections
from verifier.operations.gather import EVERYTHING
from verifier.operations.policies import LoadedPolicy
from verifier.operations.push import build_manifest, target_reference
from verifier.operations.resolve import resolve
from verifier.operations.signing import Attachment, Predicate, Signing, attach, make_attestation, make_signature
from verifier.operations.verification import Examined, Options, examine, facts_of, verify
from verifier.policy.parts import missing_dependency
from verifier.trust.anchors import ROOT, TrustMaterial

_SECONDS = 600.0  # all of one chart's requests; a keyless signature waits for logs
_WHOLE = 3


class Way(Struct, frozen=True, kw_only=True):
    """One way to sign, and how its signatures are known again: our public half, and for keyless the identity that the token is for."""

    name: str
    signing: Signing
    trust: TrustMaterial
    identity: str | None = None

    def made(self, claim: Claim) -> bool:
        """Whether a claim rests on a signature of this way. Where the token did not tell its identity, each run signs anew, which harms nothing."""
        if isinstance(claim.signer, CertificateSigner):
            return self.identity is not None and claim.signer.identity == self.identity
        return bool(claim.anchors & {anchor.name for anchor in self.trust.anchors})


class Plan(Struct, frozen=True, kw_only=True):
    """What a release does. `openpgp` signs provenance files, `statements` the manifest and what is attested."""

    base: str
    created: datetime
    openpgp: Way | None = None
    statements: Way | None = None
    predicates: tuple[Predicate, ...] = ()
    policy: LoadedPolicy | None = None
    context: Context = Context()
    unsafe: tuple[str, ...] = ()


class Released(Struct, frozen=True, kw_only=True):
    """What came of one chart. `state` is "published", "completed", "unchanged"; or, where the policy does not allow it, "withheld", or "refused" for
    what had its tag before.
    """

    facts: ChartFacts
    reference: str
    digest: Digest
    archive: Digest
    state: str
    steps: tuple[str, ...]
    decision: Decision | None = None


class _Work(Struct, kw_only=True):
    """One chart on its way; `steps` grows."""

    chart: ChartArchive
    data: bytes
    plan: Plan
    connections: Connections
    target: Target
    reference: Reference | LayoutReference
    steps: list[str] = field(default_factory=list)

    def pinned(self, digest: Digest) -> Reference | LayoutReference:
        """The digest, under no tag."""
        return replace(self.reference, tag=None, digest=digest)

    @property
    def ways(self) -> tuple[Way, ...]:
        """Those that sign."""
        return tuple(way for way in (self.plan.openpgp, self.plan.statements) if way is not None)

    @property
    def trust(self) -> TrustMaterial:
        """Our own public halves."""
        return TrustMaterial(tuple(anchor for way in self.ways for anchor in way.trust.anchors))


def present() -> datetime:
    """The time of this machine: when a release began or ended."""
    return datetime.now(UTC)


def package(directory: Path, epoch: int) -> tuple[ChartArchive, bytes]:
    """1; raises MisuseError `chart-invalid` for what would fail later."""
    chart, data = package_directory(directory, epoch=epoch)
    problem = next(_problems(chart.facts), None)
    if problem is not None:
        raise MisuseError(codes.CHART_INVALID, problem, where=str(directory))
    return chart, data


def release(chart: ChartArchive, data: bytes, plan: Plan, connections: Connections) -> Released:
    """2 to 6. Raises MisuseError `tag-exists`, or any VerifierError; the reason then says what is published and what is missing."""
    reference = target_reference(plan.base, chart.facts)
    target = connections.target(reference, Deadline.after(_SECONDS))
    work = _Work(chart=chart, data=data, plan=plan, connections=connections, target=target, reference=reference)
    published = _published(work)  # 2
    digest = published if published is not None else _push(work)  # 3
    try:
        _complete(work, digest)  # 4
        decision = _verified(work, digest)  # 5
        if decision is not None and not decision.allowed:
            return _released(work, digest, "withheld" if published is None else "refused", decision)
        if published is None:
            _name_it(work, digest)  # 6
    except VerifierError as problem:
        raise _unfinished(problem, work, digest, named=published is not None) from problem
    state = "published" if published is None else "completed" if work.steps else "unchanged"
    return _released(work, digest, state, decision)


def _problems(facts: ChartFacts) -> Iterator[str]:  # 1
    version = parse_version(facts.version)
    if not is_repository(facts.name) or "/" in facts.name:
        yield f"the name {facts.name!r} is no repository's name: lower-case words joined by '.', '_' or '-'"
    if version is None or version.parts != _WHOLE or facts.version.startswith("v"):
        yield f"the version {facts.version!r} is not three numbers, as `helm push` demands"
    missing = missing_dependency(facts)
    if missing is not None:
        yield f"the dependency {missing!r} does not lie in charts/; run `helm dependency update`"
    if facts.lock_problem is not None:
        yield f"Chart.lock: {facts.lock_problem}; run `helm dependency update`"
    for item in facts.subcharts:
        if item.problem is not None:
            yield f"{item.path}: {item.problem}"


def _published(work: _Work) -> Digest | None:  # 2
    found = resolve_if_there(work.target, work.reference.tag or "")
    if found is None:
        return None
    held = resolve(work.pinned(found.digest), work.target).chart.digest
    if held != work.chart.digest:
        reason = f"{work.reference.tag} is published with the archive {held.short}..., yours is {work.chart.digest.short}..."
        raise MisuseError(codes.TAG_EXISTS, reason, where=work.target.where)
    return found.digest


def _push(work: _Work) -> Digest:  # 3
    sign_text = work.plan.openpgp.signing.sign_text if work.plan.openpgp is not None else None
    provenance = sign_text(write_provenance(work.chart.facts, work.chart.digest)) if sign_text is not None else None
    manifest, blobs = build_manifest(work.chart.facts, work.data, provenance, created=work.plan.created)
    for blob in blobs:
        work.target.push_blob(blob)
    digest = work.target.push_manifest(manifest, MANIFEST)
    work.steps.append("pushed the chart" + (" with its .prov" if provenance is not None else ""))
    return digest


def _complete(work: _Work, digest: Digest) -> None:  # 4
    """All of it is made before any is attached: together they cost one look at the list."""
    artifact, claims = _claims(work, digest)
    lacking = list(_lacking(work.plan, artifact, claims))
    if not lacking:
        return
    attach(work.target, describe(artifact.manifest, MANIFEST), *(attachment for _, attachment in lacking))
    work.steps += [step for step, _ in lacking]


def _lacking(plan: Plan, artifact: OciChart, claims: Sequence[Claim]) -> Iterator[tuple[str, Attachment]]:
    """What is to be attached, each signed here, and how that is told."""
    openpgp, statements = plan.openpgp, plan.statements
    if openpgp is not None and not any(openpgp.made(claim) for claim in claims):
        yield f"attached a .prov, signed by {openpgp.name}", make_signature(artifact, openpgp.signing)
    if statements is None:
        return
    held = {_predicate_type(claim) for claim in claims if statements.made(claim)}
    if SIGN_PREDICATE not in held:
        yield f"signed by {statements.name}", make_signature(artifact, statements.signing)
    for predicate in plan.predicates:
        if predicate.type not in held:
            yield f"attested {predicate.type}", make_attestation(artifact, predicate, statements.signing)


def _predicate_type(claim: Claim) -> str:
    match claim.kind:
        case Attestation(predicate_type=predicate_type):
            return predicate_type
        case Signature():
            return SIGN_PREDICATE if claim.scheme != "openpgp" else HELM_PROVENANCE


def _claims(work: _Work, digest: Digest) -> tuple[OciChart, tuple[Claim, ...]]:
    """The chart, and what our own keys prove about it as it lies in the registry; raises where it is not there as it was pushed."""
    request = Request(reference=work.pinned(digest), context=work.plan.context)
    examined = examine(request, work.connections, Options(seconds=_SECONDS), EVERYTHING)
    if not isinstance(examined.artifact, OciChart):
        raise _without_chart(examined, work)
    if examined.artifact.archive_digest != work.chart.digest:
        raise FailedError(codes.DIGEST_MISMATCH, f"the registry holds the archive {examined.artifact.archive_digest.short}...", where=work.target.where)
    return examined.artifact, facts_of(request, examined, work.trust).claims


def _without_chart(examined: Examined, work: _Work) -> VerifierError:
    told = [(item.code, item.reason) for item in examined.gathered.rejections] + [(item.code, item.reason) for item in examined.gathered.gaps]
    code, reason = told[0] if told else (codes.NOT_FOUND, "nothing is there")
    return error(code, f"what was pushed does not come back: {reason}", where=work.target.where)


def _verified(work: _Work, digest: Digest) -> Decision | None:  # 5
    if work.plan.policy is not None:
        request = Request(reference=work.pinned(digest), context=work.plan.context)
        return verify(request, work.plan.policy, work.connections, Options(seconds=_SECONDS, unsafe=work.plan.unsafe))
    _, claims = _claims(work, digest)
    for way in work.ways:
        # Which identity a CA certifies for a token is its own affair; ours was verified as it was made.
        keyless = bool(way.trust.of_kind(ROOT))
        if not any(isinstance(claim.signer, CertificateSigner) if keyless else way.made(claim) for claim in claims):
            raise InconclusiveError(codes.ATTACHMENT_LOST, f"no signature by {way.name} comes back from the registry", where=work.target.where)
    return None


def _name_it(work: _Work, digest: Digest) -> None:  # 6
    """Write the tag; whoever was faster keeps it."""
    manifest = work.target.manifest(digest).data
    _unless_taken(work, digest, resolve_if_there(work.target, work.reference.tag or ""))
    work.target.push_manifest(manifest, MANIFEST, work.reference.tag)
    _unless_taken(work, digest, work.target.resolve(work.reference.tag or ""))
    work.steps.append(f"named it {work.reference.tag}")


def _unless_taken(work: _Work, digest: Digest, found: Fetched | None) -> None:
    if found is not None and found.digest != digest:
        reason = f"{work.reference.tag} was published as {found.digest.short}... by another release meanwhile, yours is {digest.short}..."
        raise MisuseError(codes.TAG_EXISTS, reason, where=work.target.where)


def _unfinished(problem: VerifierError, work: _Work, digest: Digest, *, named: bool) -> VerifierError:
    """The same error, and what a person must know of what lies in the registry now."""
    where = "it is published, and not complete" if named else f"{work.reference.tag} does not name it yet, so nobody gets it"
    done = f"; done: {', '.join(work.steps)}" if work.steps else ""
    reason = f"{problem.reason}. {work.chart.facts.label} lies there as {digest}; {where}{done}. The same command again completes it"
    return error(problem.code, reason, where=problem.where, retry_after=problem.retry_after)


def _released(work: _Work, digest: Digest, state: str, decision: Decision | None) -> Released:
    return Released(
        facts=work.chart.facts,
        reference=f"{work.reference}@{digest}" if state != "withheld" else str(work.pinned(digest)),
        digest=digest,
        archive=work.chart.digest,
        state=state,
        steps=tuple(work.steps),
        decision=decision,
    )


def release_all(packaged: Sequence[tuple[ChartArchive, bytes]], plan_for: Callable[[], Plan], connections: Connections) -> Iterator[Released | VerifierError]:
    """One after the other; what goes wrong with one does not keep the others. `plan_for` is asked when a chart's turn comes, since tokens end."""
    for chart, data in packaged:
        try:
            yield release(chart, data, plan_for(), connections)
        except VerifierError as problem:
            yield problem
