"""The Helm add-on of Cluster API: HelmChartProxy and HelmReleaseProxy.

Source: kubernetes-sigs/cluster-api-addon-provider-helm api/v1alpha1. An empty version means the newest, kept up to date.
"""

from __future__ import annotations

from collections.abc import Iterator

from verifier.formats.loose import mapping, texts
from verifier.workloads.object import Found, Object, Reader
from verifier.workloads.use import ChartUse, fetched_dependencies, from_repository, unpinnable


def _proxy(item: Object, _: Found) -> Iterator[ChartUse]:
    yield from fetched_dependencies(item.at("spec.options"), mapping(item.spec, "options"))
    url, name, version = texts(item.spec, "repoURL", "chartName", "version")
    yield unpinnable(from_repository(item.at("spec"), url, name, version), "there is no field for a digest")


READERS = tuple(
    Reader(
        group="addons.cluster.x-k8s.io",
        kind=kind,
        versions=("v1alpha1",),
        uses=_proxy,
        checked="`spec.repoURL`, `spec.chartName` and `spec.version`",
        pin="no: there is no field for a digest",
    )
    for kind in ("HelmChartProxy", "HelmReleaseProxy")
)
