"""Argo CD: Application and ApplicationSet.

Sources: the CRDs of argoproj/argo-cd v3.5.0; argo-cd docs/user-guide "OCI" and "Helm"; pkg/apis/application/v1alpha1 types.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from verifier.formats.loose import get, items, mapping, texts
from verifier.model.reference import SCHEME
from verifier.workloads.object import Found, Object, Reader
from verifier.workloads.use import ChartUse, Named, Unverifiable, from_repository, is_template, only, pinnable, pinned, unpinnable, unverifiable

_GROUP = "argoproj.io"
_SOURCE = frozenset(
    ("chart", "directory", "helm", "kustomize", "name", "path", "plugin", "ref", "repoURL", "tagPrefix", "targetRevision"),
)
_SYNC = frozenset(
    ("autoHealAttemptsCount", "dryRun", "manifests", "prune", "resources", "revision", "revisions", "source", "sources", "syncOptions", "syncStrategy"),
)
_CLASSIC = "Argo CD asks a chart's repository for a version, never for a digest; write repoURL: oci://HOST/PATH/NAME with path: . and no chart"
Path = tuple[str | int, ...]


def _application(item: Object, _: Found) -> Iterator[ChartUse]:
    sources = list(_sources(item.spec, ("spec",)))
    for path, source in sources:
        yield from _of_source(item, path, source)
    hydrated = mapping(item.spec, "sourceHydrator")
    if mapping(hydrated, "drySource"):
        yield from _of_source(item, ("spec", "sourceHydrator", "drySource"), mapping(hydrated, "drySource"))
    sync = mapping(mapping(item.value, "operation"), "sync")
    if sync:
        yield from _of_sync(item, sync, sources)


def _sources(spec: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Any]]:
    if get(spec, "source") is not None:
        yield (*path, "source"), get(spec, "source")
    for index, source in enumerate(items(get(spec, "sources"))):
        yield (*path, "sources", index), source


def _of_sync(item: Object, sync: Mapping[str, Any], sources: list[tuple[Path, Any]]) -> Iterator[ChartUse]:
    """An operation installs what it says, whatever the spec says."""
    yield from only(item.at("operation.sync"), sync, _SYNC)
    if get(sync, "manifests"):
        yield unverifiable(item.at("operation.sync.manifests"), "manifests instead of the chart")
    own = list(_sources(sync, ("operation", "sync")))
    for path, source in own:
        yield from _of_source(item, path, source)
    several, single = items(get(sync, "revisions")), get(sync, "revision")
    revisions = several or ([single] if single is not None else [])
    for index, revision in enumerate(revisions):
        used = own or sources
        if index < len(used) and isinstance(used[index][1], dict):
            path = ("operation", "sync", "revisions", index) if several else ("operation", "sync", "revision")
            yield from _of_source(item, used[index][0], {**used[index][1], "targetRevision": revision}, revision_at=path)


def _of_source(item: Object, path: Path, source: Any, *, revision_at: Path | None = None) -> Iterator[ChartUse]:
    """A source with `chart:`, or one whose repository is OCI; a source in git names no chart that a registry holds."""
    place = item.at(dotted(revision_at or path))
    if not isinstance(source, dict):
        yield unverifiable(place, "not an object")
        return
    yield from only(place, source, _SOURCE)
    url, chart, revision = texts(source, "repoURL", "chart", "targetRevision")
    if chart:
        # For an OCI repository Argo CD wants no scheme before the host.
        yield unpinnable(from_repository(place, url if "://" in url else f"{SCHEME}{url}", chart, revision), _CLASSIC)
    elif url.startswith(SCHEME):
        yield pinnable(pinned(place, url.rstrip("/"), revision), *(revision_at or (*path, "targetRevision")))
    elif is_template(url):
        yield unverifiable(place, f"{url[:200]!r} is a template; render the file first")
    elif get(source, "helm") is not None or get(source, "ref") is None:
        yield Unverifiable(place=place, problem=f"it lies in {url[:200]!r}, where nobody can tell whether it is a chart", git=True)


def dotted(path: Path) -> str:
    """For people: `spec.sources[1].chart`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _application_set(item: Object, _: Found) -> Iterator[ChartUse]:
    """It makes Applications, which are judged themselves; what is certain already is judged early."""
    spec = mapping(mapping(item.spec, "template"), "spec")
    for path, source in _sources(spec, ("spec", "template", "spec")):
        for use in _of_source(item, path, source):
            match use:
                case Unverifiable(problem=problem) if is_template(problem) or use.git:
                    yield replace(use, deferred=True)
                case Named():
                    # Without a pin: the Application that it makes is where a digest is demanded.
                    yield replace(use, pin=None, unpinnable="", made_later=True)
                case _:
                    yield use


READERS = (
    Reader(
        group=_GROUP,
        kind="Application",
        versions=("v1alpha1",),
        uses=_application,
        checked="`spec.source`, each of `spec.sources`, `spec.sourceHydrator.drySource`, and the sources and revisions of `operation.sync`",
        pin="`targetRevision`, where `repoURL` is `oci://`; a classic `chart:` has no field for a digest; git cannot be checked",
        pins=True,
    ),
    Reader(
        group=_GROUP,
        kind="ApplicationSet",
        versions=("v1alpha1",),
        uses=_application_set,
        checked="what `spec.template` names without a template; the Applications that it makes are judged themselves",
        pin="no: in the Applications",
    ),
)
