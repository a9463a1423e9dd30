"""Charts named by files of Helm's world: a Chart.yaml (with its Chart.lock), a helmfile, a kustomization.

Sources: helm.sh docs/topics/charts "Chart dependencies"; helmfile.readthedocs.io "Configuration"; kubectl.docs.kubernetes.io "helmCharts".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from verifier.formats.loose import get, items, text
from verifier.model.reference import SCHEME
from verifier.workloads.use import ChartUse, Document, Named, from_repository, pinned, unverifiable

_HELMFILE_KEYS = ("releases", "helmfiles", "bases")
_KUSTOMIZE_KEYS = ("helmCharts", "helmChartInflationGenerator")


def is_chart(value: Any) -> bool:
    """A Chart.yaml: a name and a version, and no kind as objects of Kubernetes have."""
    return bool(text(get(value, "name")) and get(value, "version") is not None and get(value, "kind") is None and get(value, "apiVersion") in ("v1", "v2"))


def of_chart(document: Document, locked: Mapping[str, str]) -> Iterator[ChartUse]:
    """Its dependencies; `locked` are the versions of its Chart.lock, which say what a range stood for."""
    for index, item in enumerate(items(get(document.value, "dependencies"))):
        place, name, repository = f"{document.place}: dependencies[{index}]", text(get(item, "name")), text(get(item, "repository"))
        if repository.startswith("file://") or not repository:
            yield unverifiable(place, f"{name} lies beside the chart; only the signature of the whole covers it")
        elif repository.startswith(("@", "alias:")):
            yield unverifiable(place, f"{name} comes from {repository!r}, a name that only this machine's Helm knows; write the repository's URL")
        else:
            yield from_repository(place, repository, name, locked.get(name) or _version(get(item, "version")))


def locked_versions(value: Any) -> dict[str, str]:
    """Name -> version of a Chart.lock."""
    return {text(get(item, "name")): _version(get(item, "version")) for item in items(get(value, "dependencies"))}


def is_helmfile(value: Any) -> bool:
    """A helmfile, or a part of one that names charts."""
    return isinstance(value, dict) and get(value, "kind") is None and any(key in value for key in _HELMFILE_KEYS)


def of_helmfile(document: Document) -> Iterator[ChartUse]:
    """Its releases, but those that are not to be installed; what other files hold is not guessed at."""
    repositories = {text(get(item, "name")): item for item in items(get(document.value, "repositories"))}
    for key in ("helmfiles", "bases"):
        for index, _ in enumerate(items(get(document.value, key))):
            yield unverifiable(f"{document.place}: {key}[{index}]", "another helmfile; give it with -f, too")
    for index, item in enumerate(items(get(document.value, "releases"))):
        if get(item, "installed") is not False:
            yield _release(f"{document.place}: releases[{index}]", text(get(item, "chart")), _version(get(item, "version")), repositories)


def _release(place: str, chart: str, version: str, repositories: Mapping[str, Any]) -> ChartUse:
    if chart.startswith((SCHEME, "verified+oci://")):
        return from_repository(place, chart, "", version)
    alias, slash, name = chart.partition("/")
    known = repositories.get(alias)
    if known is None or not slash:
        return unverifiable(place, f"the chart {chart[:200]!r} is a local directory, or of a repository that this file does not name")
    url = text(get(known, "url"))
    return from_repository(place, f"{SCHEME}{url.removeprefix(SCHEME)}" if get(known, "oci") is True else url, name, version)


def is_kustomization(value: Any) -> bool:
    """A kustomization that names charts; its `kind` may be left out."""
    return isinstance(value, dict) and get(value, "kind") in (None, "Kustomization", "Component") and any(key in value for key in _KUSTOMIZE_KEYS)


def of_kustomization(document: Document) -> Iterator[ChartUse]:
    """Its charts, in the new form and the old."""
    for key, names in (("helmCharts", ("name", "repo", "version")), ("helmChartInflationGenerator", ("chartName", "chartRepoUrl", "chartVersion"))):
        for index, item in enumerate(items(get(document.value, key))):
            name, repository, version = (get(item, field) for field in names)
            place = f"{document.place}: {key}[{index}]"
            if not text(repository):
                yield unverifiable(place, f"{text(name)} lies beside the kustomization")
            else:
                yield from_repository(place, text(repository), text(name), _version(version))


def of_list(place: str, lines: str) -> Iterator[ChartUse]:
    """One reference a line; `#` begins a remark."""
    for number, line in enumerate(lines.splitlines(), start=1):
        written = line.partition(" #")[0].strip()
        if written and not written.startswith("#"):
            if written.startswith(SCHEME):
                yield pinned(f"{place}:{number}", written, "")
            else:
                yield Named(place=f"{place}:{number}", reference=written)


def _version(value: Any) -> str:
    """YAML reads 1.10 as a number; it is not guessed what was meant."""
    return value if isinstance(value, str) else "" if value is None else f"{value} (not text)"
