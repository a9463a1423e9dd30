"""What Helm's getter hands over: the bytes that were judged, and only when they are allowed.

1. A chart: decide, and hand over exactly the archive that the decision is about.
2. Its `.prov`, for Helm's own `--verify`: decide again, and hand over the one that was judged, a layer or attached later.
3. An index: the tags that the registry lists. It is a hint and not judged; each chart that it names comes back as 1.
4. No packet goes to a host that the policy does not name.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from verifier.helm.asked import ChartAsked, IndexAsked
from verifier.helm.index import Listed, write_index
from verifier.model import codes, limits
from verifier.model.artifact import OciChart
from verifier.model.context import Context, Request
from verifier.model.decision import Decision
from verifier.model.errors import FailedError, InconclusiveError
from verifier.model.reference import is_repository
from verifier.net.deadline import Deadline
from verifier.oci.catalog import repositories_below
from verifier.oci.manifest import HELM_PROVENANCE
from verifier.oci.repository import Repository
from verifier.operations.connections import Connections
from verifier.operations.policies import LoadedPolicy
from verifier.operations.verification import Examined, Options, examine, judge, speaks_of, under_rule, verify, wanted, with_parts


class Handed(Struct, frozen=True, kw_only=True):
    """The bytes for Helm, or the decision that withholds them; `notes` are for the person."""

    data: bytes | None
    decision: Decision | None = None
    notes: tuple[str, ...] = ()


def get_chart(asked: ChartAsked, context: Context, loaded: LoadedPolicy, connections: Connections, options: Options) -> Handed:
    """1 and 2; raises MisuseError, or FailedError for a file name or `.prov` that there is not."""
    request = Request(reference=asked.reference, context=context)
    if asked.provenance:
        decision, provenance = verify_with_provenance(request, loaded, connections, options)
    else:
        decision, provenance = verify(request, loaded, connections, options), None
    artifact = decision.artifact
    if not decision.allowed or not isinstance(artifact, OciChart):
        return Handed(data=None, decision=decision)
    _check_file(asked, artifact)
    if asked.provenance and provenance is None:
        raise FailedError(codes.PROVENANCE_MISSING, "no .prov is among its layers or attached to it", where=str(asked.reference))
    return Handed(data=provenance if asked.provenance else artifact.archive, decision=decision)


def verify_with_provenance(request: Request, loaded: LoadedPolicy, connections: Connections, options: Options) -> tuple[Decision, bytes | None]:
    """2: the decision, and the chart's `.prov` if it has one; one that a claim rests on comes before one that no rule needed."""
    if not speaks_of(loaded, request):  # 4
        return judge(request, Examined(), loaded, options), None
    examined = examine(request, under_rule(request, loaded, connections), options, wanted(loaded.trust) | {HELM_PROVENANCE})
    decision = judge(request, with_parts(request, examined, loaded, connections, options), loaded, options)
    proven = {claim.location.digest for claim in decision.claims}
    found = [item for item in examined.gathered.evidence if item.media_type == HELM_PROVENANCE]
    return decision, min(found, key=lambda item: item.location.digest not in proven).payload if found else None


def _check_file(asked: ChartAsked, artifact: OciChart) -> None:
    """Helm looks its file name up in the `.prov`, and Chart.lock keeps it: it must be the chart's own."""
    own = f"{artifact.facts.label}.tgz"
    if asked.file not in (None, own):
        raise FailedError(codes.NAME_MISMATCH, f"the URL ends with {asked.file!r}, the chart's file is {own!r}", where=asked.reference.written[:200])


def get_index(asked: IndexAsked, loaded: LoadedPolicy, connections: Connections, options: Options) -> Handed:
    """3; raises FailedError `no-rule`, or InconclusiveError where the registry tells of no chart."""
    if not any(scope.host == asked.registry for rule in loaded.policy.rules for scope in rule.scopes):  # 4
        raise FailedError(codes.NO_RULE, f"no rule speaks of {asked.registry}; the default is deny", where=str(asked))
    deadline = Deadline.after(options.seconds)
    names, notes = _names(asked, loaded, connections, deadline)

    def read(repository: str) -> Listed | InconclusiveError:
        try:
            tags = Repository(connections.session, asked.registry, repository, deadline).tags()
        except InconclusiveError as error:
            return error
        return Listed(registry=asked.registry, repository=repository, tags=tags)

    found = list(connections.side_by_side(read, names[: limits.INDEX_CHARTS])) if names else []
    unread = [*notes, *(str(item) for item in found if isinstance(item, InconclusiveError))]
    index = write_index((item for item in found if isinstance(item, Listed)), limits.INDEX_VERSIONS)
    if not index.versions:
        reason = f"the registry tells of no chart there; give the chart's own repository, {asked}/NAME, or the URL of one version"
        raise InconclusiveError(codes.NOT_FOUND, reason, where="; ".join(unread)[:600] or str(asked))
    left_out = [f"{len(names)} charts, {limits.INDEX_CHARTS} are listed"] if len(names) > limits.INDEX_CHARTS else []
    left_out += [f"{index.left_out} older versions are not listed"] if index.left_out else []
    return Handed(data=index.data, notes=tuple(left_out))


def _names(asked: IndexAsked, loaded: LoadedPolicy, connections: Connections, deadline: Deadline) -> tuple[list[str], tuple[str, ...]]:
    """The repositories that may be meant: the path itself, what the policy names exactly below it, and what the registry lists there."""
    found = dict.fromkeys((*([asked.path] if asked.path else ()), *_named_exactly(asked, loaded)))
    notes: tuple[str, ...] = ()
    try:
        for name in repositories_below(Repository(connections.session, asked.registry, asked.path, deadline)):
            found[name] = None
    except InconclusiveError as error:
        notes = (str(error),)
    allowed = [name for name in found if is_repository(name) and _speaks_of(loaded, asked.registry, name)]
    return allowed, notes


def _named_exactly(asked: IndexAsked, loaded: LoadedPolicy) -> Iterator[str]:
    above = tuple(asked.path.split("/")) if asked.path else ()
    for rule in loaded.policy.rules:
        for scope in rule.scopes:
            if scope.host == asked.registry and scope.segments[:-1] == above and "*" not in scope.segments[-1]:
                yield "/".join(scope.segments)


def _speaks_of(loaded: LoadedPolicy, registry: str, repository: str) -> bool:
    """Whether any rule, in any context, does: what none speaks of would be denied anyway."""
    return bool(loaded.policy.index.matching(registry, repository))
