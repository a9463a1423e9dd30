"""Charts named by objects of Argo CD and Flux, as they stand in files. What one object leaves to another is looked for among those that are given.

Sources: argo-cd docs/operator-manual/application.yaml and applicationset; fluxcd.io/flux/components/source and helm (HelmRelease v2, OCIRepository v1,
HelmRepository v1, HelmChart v1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from verifier.formats.loose import get, items, mapping, text
from verifier.model.reference import SCHEME
from verifier.workloads.use import ChartUse, Document, from_repository, pinned, unverifiable

_CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_ARGO = "argoproj.io/"
_FLUX = ("helm.toolkit.fluxcd.io/", "source.toolkit.fluxcd.io/")
_DEPTH = 3  # lists of lists
Key = tuple[str, str, str]


class Object(Struct, frozen=True, kw_only=True):
    """A Kubernetes object with what names it."""

    place: str
    kind: str
    namespace: str
    name: str
    value: Mapping[str, Any]

    @property
    def key(self) -> Key:
        """Kind, namespace, name."""
        return self.kind, self.namespace, self.name

    @property
    def spec(self) -> dict[str, Any]:
        """Its spec, empty where there is none."""
        return mapping(self.value, "spec")


def objects_in(documents: Sequence[Document], depth: int = 0) -> Iterator[Object]:
    """All objects, those in lists too. Whoever walks them counts: YAML's aliases can make few bytes many objects."""
    for document in documents:
        value = document.value
        if get(value, "kind") == "List" and depth < _DEPTH:
            inner = [Document(place=f"{document.place}: items[{index}]", value=item) for index, item in enumerate(items(get(value, "items")))]
            yield from objects_in(inner, depth + 1)
        elif isinstance(value, dict) and text(value.get("kind")):
            named = mapping(value, "metadata")
            place = f"{document.place}: {text(value['kind'])} {text(get(named, 'name'))}".rstrip()
            yield Object(place=place, kind=text(value["kind"]), namespace=text(get(named, "namespace")), name=text(get(named, "name")), value=value)


def charts_of(found: Sequence[Object]) -> Iterator[ChartUse]:
    """The charts that objects of Argo CD and Flux name."""
    known = {item.key: item for item in found}
    referenced: set[Key] = set()
    for item in found:
        group = text(get(item.value, "apiVersion"))
        if group.startswith(_ARGO) and item.kind == "Application":
            yield from _argo(item.place, item.spec)
        elif group.startswith(_ARGO) and item.kind == "ApplicationSet":
            yield from _argo(item.place, mapping(mapping(item.spec, "template"), "spec"))
        elif group.startswith(_FLUX) and item.kind == "HelmRelease":
            yield _release(item, known, referenced)
        elif group.startswith(_FLUX) and item.kind == "HelmChart":
            yield _chart(item.place, item.spec, item.namespace, known)
    for item in found:
        if item.kind == "OCIRepository" and item.key not in referenced and get(mapping(item.spec, "layerSelector"), "mediaType") == _CHART_LAYER:
            yield _oci_repository(item)


def _argo(place: str, spec: Mapping[str, Any]) -> Iterator[ChartUse]:
    """A source with `chart:`, or one whose repository is OCI; sources in git name no chart that a registry holds."""
    sources = [(f"{place}: source", get(spec, "source"))] + [(f"{place}: sources[{index}]", item) for index, item in enumerate(items(get(spec, "sources")))]
    for where, source in sources:
        url, chart, revision = (text(get(source, field)) for field in ("repoURL", "chart", "targetRevision"))
        if chart:
            # For an OCI repository Argo CD wants no scheme before the host.
            yield from_repository(where, url if "://" in url else f"{SCHEME}{url}", chart, revision)
        elif url.startswith(SCHEME):
            yield pinned(where, url.rstrip("/"), revision)


def _release(item: Object, known: Mapping[Key, Object], referenced: set[Key]) -> ChartUse:
    reference = mapping(item.spec, "chartRef")
    if not reference:
        inline = mapping(mapping(item.spec, "chart"), "spec")
        if not inline:
            return unverifiable(item.place, "it names neither chart nor chartRef")
        return _chart(item.place, inline, item.namespace, known)
    key = text(get(reference, "kind")), text(get(reference, "namespace")) or item.namespace, text(get(reference, "name"))
    referenced.add(key)
    target = known.get(key)
    if target is None:
        return unverifiable(item.place, f"the {key[0]} {key[2]!r} that it names is in none of the files")
    return _oci_repository(target) if target.kind == "OCIRepository" else _chart(target.place, target.spec, target.namespace, known)


def _chart(place: str, spec: Mapping[str, Any], namespace: str, known: Mapping[Key, Object]) -> ChartUse:
    source = mapping(spec, "sourceRef")
    kind, name = text(get(source, "kind")), text(get(source, "name"))
    if kind != "HelmRepository":
        return unverifiable(place, f"the chart {text(get(spec, 'chart'))!r} lies in a {kind or 'source'}; only charts in OCI registries can be verified")
    repository = known.get((kind, text(get(source, "namespace")) or namespace, name))
    if repository is None:
        return unverifiable(place, f"the HelmRepository {name!r} that it names is in none of the files")
    return from_repository(place, text(get(repository.spec, "url")), text(get(spec, "chart")), text(get(spec, "version")))


def _oci_repository(item: Object) -> ChartUse:
    """`digest` wins over `semver`, which wins over `tag`, as Flux's controller has it."""
    reference = mapping(item.spec, "ref")
    url, digest, semver, tag = text(get(item.spec, "url")), *(text(get(reference, field)) for field in ("digest", "semver", "tag"))
    if digest:
        return pinned(item.place, url, "", digest)
    if semver:
        return pinned(item.place, url, f"{semver} (semver)")
    return pinned(item.place, url, tag or "latest")
