"""Admission: may this object be in the cluster?

1. The review is read (`review`).
2. What installs nothing passes: a deletion, and a Secret or ConfigMap that is no release record. A kind that we do not know does not pass, nor does
   a subresource through which an object that we do not see may be changed.
3. The object is read as it will be, with what it leaves to others looked up; each chart that it names is decided on in the context of its namespace.
   It does not matter whether it named the same chart before, for a tag may have moved (threats T-20).
4. An object that is being deleted may lose its finalizers, and nothing else.
5. What was allowed must be named by the digest that was verified, unless the rule says otherwise (semantics 31).
6. Charts that no field names, in release records and inside of objects, are compared with what the policy's sources hold (`records`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from msgspec.structs import replace

from verifier.formats.loose import get, items, mapping
from verifier.kube.cluster import Cluster
from verifier.model import codes, limits
from verifier.model.codes import Code
from verifier.model.decision import Decision, Outcome
from verifier.model.errors import FailedError, InconclusiveError, MisuseError
from verifier.model.reference import parse_origin
from verifier.operations.records import admit_record, judge_inline
from verifier.operations.review import Review
from verifier.operations.verdict import Finding, Verdict, World, decided, finding, finding_of
from verifier.policy.cluster import GIT, Leniency
from verifier.policy.sources import allows_git
from verifier.workloads.kinds import new_needs, reader_of, uses_of
from verifier.workloads.object import Every, Found, Need, Object, read_object
from verifier.workloads.use import ChartUse, Inline, Named, Unverifiable

_ROUNDS = 4  # of look-ups; what one finds may name another


def admit(review: Review, world: World) -> Verdict:
    """The verdict; raises MisuseError for what is no review of an object, and nothing else."""
    if review.operation == "DELETE":  # 2
        return Verdict()
    if review.operation not in ("CREATE", "UPDATE") or review.new is None:
        return _refused(codes.KIND_UNKNOWN, f"{review.operation[:40] or 'no operation'} of a {review.what[:200]} is nothing that can be judged")
    try:
        if (review.group, review.kind) in (("", "Secret"), ("", "ConfigMap")):
            return admit_record(review, world)
        return _admit_object(review, world)
    except (FailedError, InconclusiveError) as error:
        return Verdict(findings=(finding_of("", error),))


def _admit_object(review: Review, world: World) -> Verdict:
    item = as_object(review)
    if reader_of(item) is None:
        where = f"{review.group}/{review.version}" if review.group else review.version
        return _refused(codes.KIND_UNKNOWN, f"{review.kind[:100]} of {where[:100]}: whether it names a chart is not known")
    if _only_loses_finalizers(review):  # 4
        return Verdict(warnings=("it is being deleted, and only its finalizers changed",))
    named = named_charts(item, world)
    uses = _bounded((*named, *_taken_elsewhere(item, named, world)))
    return Verdict(findings=tuple(world.softened(found) for use in uses for found in judge_use(use, review.namespace, world)))


def named_charts(item: Object, world: World) -> tuple[ChartUse, ...]:
    """3: the charts that an object names; raises InconclusiveError `lookup-failed`, or FailedError for too many."""
    return _bounded(uses_of(item, _looked_up(item, world.cluster)))


def _bounded(uses: tuple[ChartUse, ...]) -> tuple[ChartUse, ...]:
    if len(uses) > limits.ADMISSION_CHARTS:
        raise FailedError(codes.CHART_UNVERIFIABLE, f"{len(uses)} charts are named, at most {limits.ADMISSION_CHARTS} are judged in one object")
    return uses


def _taken_elsewhere(item: Object, uses: tuple[ChartUse, ...], world: World) -> Iterator[ChartUse]:
    """3: a source's charts once more for each other namespace with an object that installs them, where that may be another answer."""
    reader = reader_of(item)
    if reader is None or reader.takers is None or not world.policy.tells_namespaces_apart:
        return
    takers = [other for other in _look_up(reader.takers.all, world.cluster) if reader.takers.takes(other, item)]
    for namespace in sorted({other.namespace for other in takers} - {item.namespace}):
        yield from (replace(use, namespace=namespace, place=f"{use.place} (for {namespace})") for use in uses if isinstance(use, Named))


def judge_use(use: ChartUse, namespace: str, world: World) -> Iterator[Finding]:
    """3, 5 and 6: what comes of one chart that an object names."""
    match use:
        case Unverifiable(deferred=True):
            return
        case Unverifiable(git=True) if allows_git(world.policy, world.within(namespace)):
            yield Finding(place=use.place, outcome=Outcome.ALLOWED, unsafe=GIT, reason=f"UNSEEN, since a source of the policy says {GIT}: {use.problem}")
        case Unverifiable():
            yield finding(use.place, use.code, use.problem)
        case Inline():
            yield from judge_inline(use, namespace, world)
        case Named():
            yield _judge_named(use, namespace, world)


def _judge_named(use: Named, namespace: str, world: World) -> Finding:
    try:
        reference = parse_origin(use.reference)
    except MisuseError as error:
        return finding(use.place, codes.CHART_UNVERIFIABLE, error.reason)
    decision = world.decide(reference, world.within(use.namespace if use.namespace is not None else namespace)).decision
    found = decided(use.place, decision)
    if decision.allowed and reference.digest is None and not use.made_later:
        return replace(_unpinned(found, use, decision, world), use=use)
    return replace(found, use=use)


def _unpinned(found: Finding, use: Named, decision: Decision, world: World) -> Finding:  # 5
    if not world.always_pinned and world.lets_pass(decision, Leniency.UNPINNED):
        return replace(found, unsafe=Leniency.UNPINNED, reason=f"allowed by its name, which may be another chart tomorrow: the rule says {Leniency.UNPINNED}")
    assert decision.artifact is not None
    digest = decision.artifact.digests[0]
    how = use.unpinnable or (f"write {digest} into {'.'.join(str(part) for part in use.pin.path)}" if use.pin is not None else "no place for a digest is known")
    return replace(
        found, outcome=Outcome.DENIED, code=codes.UNPINNED, reason=f"{use.reference} was verified as {digest}, and may be another chart tomorrow; {how}"
    )


def as_object(review: Review) -> Object:
    """The object as it will be. What the API server says of it counts, not what stands in it."""
    read = read_object("", review.new)
    if read is None or (read.group, read.version, read.kind) != (review.group, review.version, review.kind):
        raise MisuseError(codes.REVIEW_INVALID, f"the object is no {review.kind[:100]} of {review.group[:100]}/{review.version[:40]}")
    return replace(read, namespace=review.namespace, name=review.name or read.name)


def _only_loses_finalizers(review: Review) -> bool:  # 4
    new, old = review.new, review.old
    if review.operation != "UPDATE" or new is None or old is None or not get(mapping(old, "metadata"), "deletionTimestamp"):
        return False
    kept, before = (items(get(mapping(item, "metadata"), "finalizers")) for item in (new, old))
    return all(item in before for item in kept) and _without_finalizers(new) == _without_finalizers(old)


def _without_finalizers(value: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: inner for key, inner in mapping(value, "metadata").items() if key not in ("finalizers", "managedFields", "resourceVersion", "generation")}
    return {**value, "metadata": metadata}


def _looked_up(item: Object, cluster: Cluster | None) -> Found:
    found: dict[Need, tuple[Object, ...]] = {}
    for _ in range(_ROUNDS):
        needs = tuple(islice(new_needs(item, found), limits.ADMISSION_CHARTS))
        if not needs:
            return found
        for need in needs:
            found[need] = tuple(_look_up(need, cluster))
    raise InconclusiveError(codes.LOOKUP_FAILED, f"what it names names others, more than {_ROUNDS} times")


def _look_up(need: Need, cluster: Cluster | None) -> Iterator[Object]:
    if cluster is None:
        raise InconclusiveError(codes.LOOKUP_FAILED, f"the {need.kind} that it refers to can only be found in the cluster, and no Kubernetes API is configured")
    match need:
        case Every(group=group, kind=kind, namespace=namespace):
            values = cluster.every(group, kind, namespace, limits.ADMISSION_OBJECTS)
        case name:
            one = cluster.get(name.group, name.kind, name.namespace, name.name) if name.name else None
            values = [one] if one is not None else []
    for value in values:
        item = shown(need.kind, value)
        yield replace(item, place=item.what) if isinstance(need, Every) else item


def shown(kind: str, value: Mapping[str, Any]) -> Object:
    """What the API shows; raises InconclusiveError `lookup-failed`."""
    item = read_object("", value)
    if item is None:
        raise InconclusiveError(codes.LOOKUP_FAILED, f"the Kubernetes API shows a {kind} that is no object")
    return item


def _refused(code: Code, reason: str) -> Verdict:
    return Verdict(findings=(finding("", code, reason),))
