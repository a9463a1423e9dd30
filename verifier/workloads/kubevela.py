"""KubeVela: components of an Application that are charts.

Source: kubevela.io docs "Helm Chart" (type `helm` of the FluxCD addon, and `helmchart`). A policy of type `override` may change any component.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from verifier.formats.loose import get, items, mapping, text, texts
from verifier.workloads.object import Found, Object, Reader
from verifier.workloads.use import ChartUse, from_helm, from_repository, only, unpinnable, unverifiable

_NO_FIELD = "KubeVela has no field for a digest"
_CHART = frozenset(("source", "repoURL", "version", "auth"))
_NAMING = ("chart", "url", "repoType", "version", "repoURL", "source")


def _application(item: Object, _: Found) -> Iterator[ChartUse]:
    for index, component in enumerate(items(get(item.spec, "components"))):
        place, properties = item.at(f"spec.components[{index}].properties"), mapping(component, "properties")
        match text(get(component, "type")):
            case "helmchart":
                yield from _helmchart(f"{place}.chart", mapping(properties, "chart"))
            case "helm":
                yield unpinnable(_helm(place, properties), _NO_FIELD)
            case _:
                pass
    for index, policy in enumerate(items(get(item.spec, "policies"))):
        for number, component in enumerate(items(get(mapping(policy, "properties"), "components"))):
            if any(field in mapping(component, "properties") for field in _NAMING):
                yield unverifiable(item.at(f"spec.policies[{index}].properties.components[{number}]"), "it changes which chart a component is")


def _helmchart(place: str, chart: Mapping[str, Any]) -> Iterator[ChartUse]:
    yield from only(place, chart, _CHART)
    source, repository, version = texts(chart, "source", "repoURL", "version")
    yield unpinnable(from_helm(place, source, repository, version), _NO_FIELD)


def _helm(place: str, properties: Mapping[str, Any]) -> ChartUse:
    kind, url, chart, version = texts(properties, "repoType", "url", "chart", "version")
    if kind not in ("oci", "helm", ""):
        return unverifiable(place, f"the chart lies in {kind[:40]} at {url[:200]!r}")
    return from_repository(place, url, chart, version)


READERS = (
    Reader(
        group="core.oam.dev",
        kind="Application",
        versions=("v1beta1",),
        uses=_application,
        checked="each component of type `helmchart` or `helm`; a policy that changes which chart it is, is refused",
        pin="no: there is no field for a digest",
    ),
)
