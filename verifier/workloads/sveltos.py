"""Sveltos: charts in ClusterProfile and Profile, and in what is made of them or makes them.

Sources: the CRDs of projectsveltos/addon-controller and event-manager v1.5.0; addon-controller controllers/handlers_helm.go for how a name is joined
to an OCI repository: a leading `repositoryName/` is taken away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from msgspec.structs import replace

from verifier.formats.loose import get, items, mapping, texts
from verifier.model.reference import SCHEME
from verifier.workloads.object import Found, Object, Reader
from verifier.workloads.use import ChartUse, Named, Unverifiable, fetched_dependencies, from_repository, is_template, only, unpinnable, unverifiable

_CHART = frozenset(
    (
        "chartName",
        "chartVersion",
        "helmChartAction",
        "options",
        "registryCredentialsConfig",
        "releaseName",
        "releaseNamespace",
        "repositoryName",
        "repositoryURL",
        "values",
        "valuesFrom",
        "signatureVerification",
        "provenanceVerification",
    )
)
_NO_FIELD = "Sveltos has no field for a digest, and its own check of signatures breaks on one in chartName"


def _charts(item: Object, _: Found, *, path: tuple[str, ...], made_later: bool = False) -> Iterator[ChartUse]:
    spec: Mapping[str, Any] = item.value
    for part in path:
        spec = mapping(spec, part)
    for index, chart in enumerate(items(get(spec, "helmCharts"))):
        place = item.at(f"{'.'.join(path)}.helmCharts[{index}]")
        for use in _chart(place, chart) if isinstance(chart, dict) else (unverifiable(place, "not an object"),):
            match use:
                case Named():
                    yield replace(use, made_later=made_later)
                case Unverifiable(problem=problem):
                    yield replace(use, deferred=made_later and is_template(problem))
                case _:
                    yield use


def _chart(place: str, chart: Mapping[str, Any]) -> Iterator[ChartUse]:
    if get(chart, "helmChartAction") == "Uninstall":
        return
    yield from only(place, chart, _CHART)
    yield from fetched_dependencies(f"{place}.options", mapping(chart, "options"))
    url, name, version, alias = texts(chart, "repositoryURL", "chartName", "chartVersion", "repositoryName")
    if url.startswith(SCHEME) and alias:
        name = name.removeprefix(f"{alias}/")
    yield unpinnable(from_repository(place, url, name, version), _NO_FIELD)


_PROFILE, _LIB = "config.projectsveltos.io", "lib.projectsveltos.io"
READERS = tuple(
    Reader(
        group=group,
        kind=kind,
        versions=("v1beta1", "v1alpha1"),
        uses=partial(_charts, path=path, made_later=made_later),
        checked=f"each of `{'.'.join((*path, 'helmCharts'))}`" + ("; the profiles that it makes are judged themselves" if made_later else ""),
        pin="no: there is no field for a digest",
    )
    for group, kind, path, made_later in (
        (_PROFILE, "ClusterProfile", ("spec",), False),
        (_PROFILE, "Profile", ("spec",), False),
        (_PROFILE, "ClusterSummary", ("spec", "clusterProfileSpec"), False),
        (_PROFILE, "ClusterPromotion", ("spec", "profileSpec"), True),
        (_LIB, "EventTrigger", ("spec",), True),
    )
)
