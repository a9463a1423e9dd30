"""Flux: OCIRepository, HelmRepository, HelmChart and HelmRelease.

Sources: the CRDs of fluxcd/source-controller v1.9.0 and fluxcd/helm-controller v1.4.0; fluxcd.io/flux/components.
What one object leaves to another is joined: a HelmRelease with the source that it names, and a source with the releases that name it,
for its edit changes what they install.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from verifier.formats.loose import get, mapping, text, texts
from verifier.model import codes
from verifier.workloads.object import Every, Found, Name, Need, Object, Reader, Takers, one
from verifier.workloads.use import ELSEWHERE, ChartUse, Named, Unverifiable, from_repository, only, pinnable, pinned, unpinnable, unverifiable

_SOURCE = "source.toolkit.fluxcd.io"
_HELM = "helm.toolkit.fluxcd.io"
_CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_NO_FIELD = "Flux's {} has no field for a digest; use an OCIRepository and chartRef"
_CHART = frozenset(
    (
        "chart",
        "version",
        "sourceRef",
        "interval",
        "reconcileStrategy",
        "valuesFiles",
        "valuesFile",
        "ignoreMissingValuesFiles",
        "suspend",
        "verify",
        "accessFrom",
    )
)
_REF = frozenset(("tag", "semver", "semverFilter", "digest"))
_RELEASES = Every(_HELM, "HelmRelease")


def _oci_repository(item: Object, found: Found) -> Iterator[ChartUse]:
    """A source of charts if it says so, or if a release takes its chart from it; others hold manifests."""
    if _is_of_charts(item) or any(_refers_to(release, item) for release in found.get(_RELEASES, ())):
        yield from _of_repository(item)


def _oci_repository_needs(item: Object, _: Found) -> Iterator[Need]:
    if not _is_of_charts(item):
        yield _RELEASES


def _is_of_charts(item: Object) -> bool:
    return text(get(mapping(item.spec, "layerSelector"), "mediaType")) == _CHART_LAYER


def _of_repository(item: Object) -> Iterator[ChartUse]:
    """`digest` wins over `semver`, which wins over `tag`, as Flux's controller has it."""
    reference = mapping(item.spec, "ref")
    place = item.at("spec.ref")
    yield from only(place, reference, _REF)
    url, digest, semver, tag = text(get(item.spec, "url")), *texts(reference, "digest", "semver", "tag")
    if digest:
        yield pinnable(pinned(place, url, "", digest), "spec", "ref", "digest")
    elif semver:
        yield pinned(place, url, f"{semver} (semver)")
    else:
        yield pinnable(pinned(place, url, tag or "latest"), "spec", "ref", "digest")


def _helm_repository(item: Object, found: Found) -> Iterator[ChartUse]:
    """It installs nothing by itself; what takes charts from it is judged with it as it is now."""
    for dependent in (*found.get(_RELEASES, ()), *found.get(_charts_in(item), ())):
        spec = mapping(mapping(dependent.spec, "chart"), "spec") if dependent.kind == "HelmRelease" else dependent.spec
        if _repository_of(spec, dependent.namespace) == item.key:
            for use in _from_chart(dependent.at("spec"), spec, item, dependent.kind):
                yield replace(use, namespace=dependent.namespace) if isinstance(use, Named) else use


def _helm_repository_needs(item: Object, _: Found) -> Iterator[Need]:
    yield _RELEASES
    yield _charts_in(item)


def _charts_in(item: Object) -> Every:
    return Every(_SOURCE, "HelmChart", item.namespace)


def _helm_chart(item: Object, found: Found) -> Iterator[ChartUse]:
    yield from _joined(item.at("spec"), item.spec, item, found)


def _helm_chart_needs(item: Object, _: Found) -> Iterator[Need]:
    name = _repository_of(item.spec, item.namespace)
    if name is not None:
        yield name


def _helm_release(item: Object, found: Found) -> Iterator[ChartUse]:
    inline, reference = mapping(item.spec, "chart"), mapping(item.spec, "chartRef")
    if inline and reference:
        yield unverifiable(item.at("spec"), "both chart and chartRef: which of them counts is not said")
    elif reference:
        yield from _referenced(item, reference, found)
    elif inline:
        yield from only(item.at("spec.chart"), inline, frozenset(("metadata", "spec")))
        yield from _joined(item.at("spec.chart.spec"), mapping(inline, "spec"), item, found)
    else:
        yield unverifiable(item.at("spec"), "it names neither chart nor chartRef")


def _helm_release_needs(item: Object, found: Found) -> Iterator[Need]:
    reference = mapping(item.spec, "chartRef")
    if reference:
        name = _target_of(reference, item)
        yield name
        target = one(found, name)
        if target is not None and target.kind == "HelmChart":
            yield from _helm_chart_needs(target, found)
    else:
        name_of_repository = _repository_of(mapping(mapping(item.spec, "chart"), "spec"), item.namespace)
        if name_of_repository is not None:
            yield name_of_repository


def _referenced(item: Object, reference: Mapping[str, Any], found: Found) -> Iterator[ChartUse]:
    place = item.at("spec.chartRef")
    yield from only(place, reference, frozenset(("apiVersion", "kind", "name", "namespace")))
    name = _target_of(reference, item)
    target = one(found, name)
    if name.kind not in ("OCIRepository", "HelmChart"):
        yield unverifiable(place, f"the chart comes from a {name.kind[:60] or 'source'}; {ELSEWHERE}")
    elif target is None:
        yield _missing(place, name)
    else:
        # No pin: the digest belongs into the source, which is judged when it is written.
        for use in _of_repository(target) if target.kind == "OCIRepository" else _joined(place, target.spec, target, found):
            yield (
                replace(use, place=place, pin=None, unpinnable=f"the digest belongs into the {target.kind} {target.name!r}") if isinstance(use, Named) else use
            )


def _joined(place: str, spec: Mapping[str, Any], item: Object, found: Found) -> Iterator[ChartUse]:
    """A chart's name, with the repository that it comes from."""
    name = _repository_of(spec, item.namespace)
    if name is None:
        kind = text(get(mapping(spec, "sourceRef"), "kind"))
        yield unverifiable(place, f"the chart {text(get(spec, 'chart'))[:200]!r} lies in a {kind[:60] or 'source'}; {ELSEWHERE}")
        return
    repository = one(found, name)
    if repository is None:
        yield _missing(place, name)
        return
    yield from _from_chart(place, spec, repository, item.kind)


def _from_chart(place: str, spec: Mapping[str, Any], repository: Object, kind: str) -> Iterator[ChartUse]:
    yield from only(place, spec, _CHART)
    yield from only(f"{place}.sourceRef", mapping(spec, "sourceRef"), frozenset(("apiVersion", "kind", "name", "namespace")))
    use = from_repository(place, text(get(repository.spec, "url")), text(get(spec, "chart")), text(get(spec, "version")))
    yield unpinnable(use, _NO_FIELD.format(kind))


def _repository_of(spec: Mapping[str, Any], namespace: str) -> Name | None:
    source = mapping(spec, "sourceRef")
    if text(get(source, "kind")) != "HelmRepository":
        return None
    return Name(_SOURCE, "HelmRepository", text(get(source, "namespace")) or namespace, text(get(source, "name")))


def _target_of(reference: Mapping[str, Any], item: Object) -> Name:
    return Name(_SOURCE, text(get(reference, "kind")), text(get(reference, "namespace")) or item.namespace, text(get(reference, "name")))


def _refers_to(release: Object, item: Object) -> bool:
    reference = mapping(release.spec, "chartRef")
    return bool(reference) and _target_of(reference, release) == item.key


def _missing(place: str, name: Name) -> Unverifiable:
    return Unverifiable(
        place=place, problem=f"there is no {name.kind} {name.name[:100]!r} in {name.namespace[:100]!r}, which it names", code=codes.ORIGIN_MISSING
    )


_TAKERS = Takers(all=_RELEASES, takes=_refers_to)
READERS = (
    Reader(
        group=_SOURCE,
        kind="OCIRepository",
        versions=("v1", "v1beta2"),
        uses=_oci_repository,
        needs=_oci_repository_needs,
        checked="`spec.url` with `spec.ref`, if it selects the chart's layer or a HelmRelease takes its chart from it",
        pin="`spec.ref.digest`",
        pins=True,
        takers=_TAKERS,
    ),
    Reader(
        group=_SOURCE,
        kind="HelmRepository",
        versions=("v1", "v1beta2", "v1beta1"),
        uses=_helm_repository,
        needs=_helm_repository_needs,
        checked="every HelmRelease and HelmChart that takes a chart from it, with its new `spec.url`",
        pin="no: it names no chart",
    ),
    Reader(
        group=_SOURCE,
        kind="HelmChart",
        versions=("v1", "v1beta2", "v1beta1"),
        uses=_helm_chart,
        needs=_helm_chart_needs,
        checked="`spec.chart` and `spec.version`, joined with the HelmRepository",
        pin="no: there is no field for a digest",
        takers=_TAKERS,
    ),
    Reader(
        group=_HELM,
        kind="HelmRelease",
        versions=("v2", "v2beta2", "v2beta1"),
        uses=_helm_release,
        needs=_helm_release_needs,
        checked="`spec.chart.spec` joined with the HelmRepository, or the OCIRepository or HelmChart of `spec.chartRef`",
        pin="through `chartRef`: the digest stands in the OCIRepository; `spec.chart` has no field for one",
    ),
)
