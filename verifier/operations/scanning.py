"""What is installed now, judged: Helm's releases, and every object that names a chart.

Nothing is changed and nothing is stored. What would be denied if the webhook enforced is told before it does; a kind whose API the cluster does not
serve has no objects. Of Helm's releases those that are deployed count, not their history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from msgspec import Struct

from verifier.formats.loose import get, mapping, text
from verifier.kube.cluster import EVERYTHING, Cluster, Resources, Selector
from verifier.model import limits
from verifier.model.context import Context
from verifier.model.errors import FailedError, InconclusiveError
from verifier.model.reference import Origin
from verifier.operations.admission import judge_use, named_charts, shown
from verifier.operations.records import judge_record, read_record
from verifier.operations.verdict import Judged, Verdict, World, finding_of
from verifier.workloads.kinds import READERS
from verifier.workloads.object import Object

_AT_ONCE = 8
_RECORDS = Selector(labels={"owner": "helm"})
RESOURCES: Resources = {
    **{(reader.group, reader.kind): (reader.plural, reader.versions) for reader in READERS},
    ("", "Secret"): ("secrets", ("v1",)),
    ("", "ConfigMap"): ("configmaps", ("v1",)),
}


class Scanned(Struct, frozen=True, kw_only=True):
    """One object, and what would come of it; no findings: it names no chart."""

    what: str
    verdict: Verdict


def once(decide: Callable[[Origin, Context], Judged]) -> Callable[[Origin, Context], Judged]:
    """The same question is decided on once in one scan."""
    known: dict[tuple[str, Context], Judged] = {}
    lock = Lock()

    def ask(reference: Origin, context: Context) -> Judged:
        key = str(reference), context
        with lock:
            if key in known:
                return known[key]
        found = decide(reference, context)
        with lock:
            return known.setdefault(key, found)

    return ask


def scan(cluster: Cluster, world: World, namespaces: frozenset[str]) -> Iterator[Scanned]:
    """Every object of the namespaces (of all, if there are none named); raises InconclusiveError `lookup-failed`."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        objects = [item for reader in READERS for item in _objects(cluster, reader.group, reader.kind) if _is_meant(item, namespaces)]
        yield from (found for found in pool.map(lambda item: _judge(item, world), objects) if found.verdict.findings)
        records = [item for kind in ("Secret", "ConfigMap") for item in _objects(cluster, "", kind, _RECORDS) if _is_meant(item, namespaces)]
        for scanned in pool.map(lambda item: _judge_record(item, world), records):
            if scanned is not None:
                yield scanned


def _objects(cluster: Cluster, group: str, kind: str, which: Selector = EVERYTHING) -> Iterator[Object]:
    for value in cluster.every(group, kind, None, limits.ADMISSION_OBJECTS, which):
        yield shown(kind, {"kind": kind, "apiVersion": "v1", **value})


def _is_meant(item: Object, namespaces: frozenset[str]) -> bool:
    return not namespaces or item.namespace in namespaces


def _judge(item: Object, world: World) -> Scanned:
    try:
        findings = tuple(found for use in named_charts(item, world) for found in judge_use(use, item.namespace, world))
    except (FailedError, InconclusiveError) as error:
        findings = (finding_of("", error),)
    return Scanned(what=item.what, verdict=Verdict(findings=findings))


def _judge_record(item: Object, world: World) -> Scanned | None:
    what = f"release in {item.what}"
    try:
        record = read_record(item.value, item.kind, what)
        if text(get(mapping(record.value, "info"), "status")) != "deployed":
            return None
        what = f"release {item.namespace}/{record.name} (revision {record.revision}, {record.fingerprint.name} {record.fingerprint.version})"
        findings = tuple(judge_record(record, item.namespace, world))
    except (FailedError, InconclusiveError) as error:
        findings = (finding_of("data.release", error),)
    return Scanned(what=what, verdict=Verdict(findings=findings))
