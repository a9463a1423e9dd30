"""Verification: resolve, gather, verify, decide. Read this first.

Every target gets a decision; only misuse is raised. What keeps the chart itself from us becomes a rejection (it is bad) or
a gap (it could not be had), and the policy, which sees facts and never evidence, says no.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial

from msgspec import Struct, field
from msgspec.structs import replace

from verifier.attest.bundle import MEDIA_TYPE as BUNDLE
from verifier.model import codes, limits
from verifier.model.artifact import Artifact, OciImage
from verifier.model.claim import Claim, Rejection
from verifier.model.codes import Code
from verifier.model.context import Facts, Part, PartKind, Request
from verifier.model.decision import Decision
from verifier.model.errors import FailedError, InconclusiveError, MisuseError
from verifier.model.evidence import Evidence, Kind, Location
from verifier.model.reference import AnyReference, ChartRepositoryReference, FileReference, LayoutReference, Origin, Reference
from verifier.net.deadline import Deadline
from verifier.oci.manifest import HELM_PROVENANCE
from verifier.operations.connections import Connections
from verifier.operations.found import as_gap
from verifier.operations.gather import EVERYTHING, EvidenceFiles, Gathered, Wanted, gather, gather_files, gather_old, joined
from verifier.operations.policies import LoadedPolicy
from verifier.operations.resolve import Pinned, read_chart, read_file, resolve
from verifier.policy.conditions import has_version_floor
from verifier.policy.document import Rule
from verifier.policy.engine import decide
from verifier.policy.select import select_rule
from verifier.schemes.scheme import Scheme
from verifier.trust.anchors import KEY, OPENPGP, ROOT, TrustMaterial


class Options(Struct, frozen=True, kw_only=True):
    """What a caller may add to a question. `helm` is the program that renders charts, where a rule asks for that."""

    files: EvidenceFiles = field(default_factory=EvidenceFiles)
    seconds: float = limits.DECISION_SECONDS
    unsafe: tuple[str, ...] = ()
    helm: str = "helm"
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


class Examined(Struct, frozen=True, kw_only=True):
    """What was found before anything is judged. `later` looks where signatures seldom lie any more."""

    artifact: Artifact | None = None
    gathered: Gathered = Gathered()
    later: Callable[[], Gathered] | None = None
    parts: tuple[ExaminedPart, ...] = ()
    images_from: frozenset[str] = frozenset()

    def whole(self) -> Examined:
        """With what lies in the seldom places, too, of all parts."""
        gathered = self.gathered if self.later is None else joined(self.gathered, self.later())
        return replace(self, gathered=gathered, later=None, parts=tuple(part.whole() for part in self.parts))

    @property
    def is_whole(self) -> bool:
        """Whether there is no place left to look at."""
        return self.later is None and all(part.examined is None or part.examined.is_whole for part in self.parts)


class ExaminedPart(Struct, frozen=True, kw_only=True):
    """A subchart or an image: what was found where it comes from, or why nothing was."""

    kind: PartKind
    path: str
    request: Request | None = None
    examined: Examined | None = None
    code: Code | None = None
    reason: str = ""

    def whole(self) -> ExaminedPart:
        """With what lies in the seldom places, too."""
        return self if self.examined is None else replace(self, examined=self.examined.whole())


def verify(request: Request, loaded: LoadedPolicy, connections: Connections, options: Options) -> Decision:
    """The decision for one chart; raises MisuseError only."""
    if not speaks_of(loaded, request):
        return judge(request, Examined(), loaded, options)
    examined = examine(request, under_rule(request, loaded, connections), options, wanted(loaded.trust))
    return judge(request, with_parts(request, examined, loaded, connections, options), loaded, options)


def examine_all(request: Request, loaded: LoadedPolicy, connections: Connections, options: Options) -> Examined:
    """All that there is, also what the policy could not prove anything with: for a recording, which another policy may judge."""
    if not speaks_of(loaded, request):
        return Examined()
    return with_parts(request, examine(request, under_rule(request, loaded, connections), options), loaded, connections, options).whole()


def with_parts(request: Request, examined: Examined, loaded: LoadedPolicy, connections: Connections, options: Options) -> Examined:
    """With the subcharts and images that the rule for this chart speaks of; most rules speak of none."""
    rule, chart = rule_of(loaded, request), examined.artifact
    if rule is None or (rule.subcharts is None and rule.images is None) or chart is None or isinstance(chart, OciImage):
        return examined
    from verifier.operations.parts import Examiner

    return Examiner(loaded=loaded, connections=connections, options=options).with_parts(request, replace(examined, artifact=chart), rule)


def speaks_of(loaded: LoadedPolicy, request: Request) -> bool:
    """Whether a rule covers the request; if none does it is denied, and no packet goes to a host that the policy does not name."""
    return rule_of(loaded, request) is not None


def rule_of(loaded: LoadedPolicy, request: Request) -> Rule | None:
    """The rule that covers the request; what is asked is all that it takes to tell."""
    selected = select_rule(loaded.policy, Facts(request=request, artifact=None))
    return selected if isinstance(selected, Rule) else None


def under_rule(request: Request, loaded: LoadedPolicy, connections: Connections) -> Connections:
    """The connections as the rule for this question has them: what a mirror may answer depends on it (semantics 26)."""
    if connections.mirrors is None:
        return connections
    rule = rule_of(loaded, request)
    return connections.with_floor(rule is not None and has_version_floor(loaded.policy, rule))


def judge(request: Request, examined: Examined, loaded: LoadedPolicy, options: Options) -> Decision:
    """Verify the evidence, and decide; what does not suffice is judged again with all that there is."""
    decision = _judge(request, examined, loaded, options)
    if decision.allowed or examined.is_whole:
        return decision
    return _judge(request, examined.whole(), loaded, options)


def _judge(request: Request, examined: Examined, loaded: LoadedPolicy, options: Options) -> Decision:
    facts = facts_of(request, examined, loaded.trust)
    return decide(loaded.policy, facts, options.clock(), trust_digest=loaded.trust_digest, unsafe=options.unsafe)


def facts_of(request: Request, examined: Examined, trust: TrustMaterial) -> Facts:
    """What the evidence proves, of the chart and of its parts."""
    gathered = examined.gathered
    claims, rejections = prove(gathered.evidence, examined.artifact, trust)
    return Facts(
        request=request,
        artifact=examined.artifact,
        claims=claims,
        rejections=gathered.rejections + rejections,
        gaps=gathered.gaps,
        parts=tuple(_part(part, trust) for part in examined.parts),
        images_from=examined.images_from,
        unknown=trust.unknown,
    )


def _part(part: ExaminedPart, trust: TrustMaterial) -> Part:
    facts = facts_of(part.request, part.examined, trust) if part.request is not None and part.examined is not None else None
    return Part(kind=part.kind, path=part.path, facts=facts, code=part.code, reason=part.reason)


def verify_all(requests: Sequence[Request], loaded: LoadedPolicy, connections: Connections, options: Options) -> list[Decision | MisuseError]:
    """Decisions for several charts, in their order; they share connections and run side by side. Misuse stays with its target."""

    def one(request: Request) -> Decision | MisuseError:
        try:
            return verify(request, loaded, connections, options)
        except MisuseError as error:
            return error

    if len(requests) == 1:
        return [one(requests[0])]
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(8, thread_name_prefix="verify")
    try:
        return list(pool.map(one, requests))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def examine(request: Request, connections: Connections, options: Options, media_types: Wanted = EVERYTHING) -> Examined:
    """Resolve and gather: the artifact, if it can be had and is sound, and what lies around it."""
    reference = request.reference
    try:
        match reference:
            case FileReference():
                return Examined(artifact=read_file(reference), gathered=gather_files(options.files.beside(reference.path)))
            case Reference() | LayoutReference():
                pinned = resolve(reference, connections.source(reference, Deadline.after(options.seconds)))
                return examine_pinned(pinned, connections, options, media_types)
            case ChartRepositoryReference():
                from verifier.operations.chart_repository import examine_chart

                given = gather_files(options.files)
                chart, gathered = examine_chart(reference, connections, Deadline.after(options.seconds), media_types)
                return Examined(artifact=chart, gathered=joined(given, gathered))
    except (FailedError, InconclusiveError) as error:
        return without_chart(error, str(reference))


def without_chart(error: FailedError | InconclusiveError, where: str) -> Examined:
    """What is known when the chart itself could not be had (a gap), or is bad (a rejection)."""
    if isinstance(error, InconclusiveError):
        return Examined(gathered=Gathered(gaps=(as_gap("chart", where, error),)))
    location = Location(kind=Kind.CHART, where=error.where or where)
    return Examined(gathered=Gathered(rejections=(Rejection(scheme=None, code=error.code, reason=error.reason, location=location),)))


def prove(evidence: Sequence[Evidence], artifact: Artifact | None, trust: TrustMaterial) -> tuple[tuple[Claim, ...], tuple[Rejection, ...]]:
    """Each piece of evidence judged by the scheme of its media type."""
    if artifact is None:
        return (), ()
    results = [result for item in evidence for result in _verified(item, artifact, trust)]
    return tuple(item for item in results if isinstance(item, Claim)), tuple(item for item in results if isinstance(item, Rejection))


def _verified(item: Evidence, artifact: Artifact, trust: TrustMaterial) -> tuple[Claim | Rejection, ...]:
    """Schemes are total; should one of them not be, its evidence counts for nothing and the others' still does."""
    try:
        return scheme_for(item.media_type).verify(item, artifact, trust)
    except Exception as error:  # noqa: BLE001  # a fault of ours must not let whoever attaches evidence block a chart
        reason = f"a fault while it was judged: {type(error).__name__}"
        return (Rejection(scheme=None, code=codes.INTERNAL, reason=reason, location=item.location),)


def wanted(trust: TrustMaterial) -> Wanted:
    """The evidence that some anchor could prove; for the rest a request would be in vain."""
    provenance = frozenset((HELM_PROVENANCE,)) if trust.of_kind(OPENPGP) else frozenset()
    return provenance | (EVERYTHING - {HELM_PROVENANCE} if trust.of_kind(KEY) or trust.of_kind(ROOT) else frozenset())


@lru_cache(maxsize=32)
def scheme_for(media_type: str) -> Scheme:
    """The scheme that judges a media type; imported when its first evidence is met, so that nobody pays for another's."""
    if media_type == HELM_PROVENANCE:
        from verifier.schemes.openpgp.verify import OpenPGPScheme

        return OpenPGPScheme()
    from verifier.schemes.sigstore.verify import SigstoreScheme

    return SigstoreScheme()


def examine_pinned(pinned: Pinned, connections: Connections, options: Options, media_types: Wanted = EVERYTHING) -> Examined:
    """Fetch the chart and what refers to it, side by side."""
    given = gather_files(options.files)
    listing = connections.start(lambda: pinned.source.referrers(pinned.fetched.digest))
    try:
        read = Examined(artifact=read_chart(pinned))
    except (FailedError, InconclusiveError) as error:
        read = without_chart(error, str(pinned.reference))
    gathered = joined(read.gathered, joined(given, gather(pinned, connections, listing.result(), media_types)))
    gathered = joined(gathered, Gathered(gaps=pinned.fetched.gaps))
    later = partial(gather_old, pinned, connections) if BUNDLE in media_types and read.artifact is not None else None
    return Examined(artifact=read.artifact, gathered=gathered, later=later)


def asserted(reference: AnyReference, text: Origin | None) -> AnyReference:
    """A local reference that stands for another, as `--as` says; raises MisuseError for one that is no local one."""
    if text is None:
        return reference
    if isinstance(reference, Reference | ChartRepositoryReference):
        raise MisuseError(codes.USAGE, "--as goes with a local file or an image layout", where=reference.written)
    return replace(reference, asserted=text)
