"""k0s: Chart of helm.k0sproject.io.

Source: docs.k0sproject.io "Helm Charts": `chartName` is `oci://...`, or ALIAS/NAME of a repository in the cluster's configuration.
"""

from __future__ import annotations

from collections.abc import Iterator

from verifier.formats.loose import get, mapping, text
from verifier.workloads.object import Found, Object, Reader
from verifier.workloads.use import ChartUse, from_helm, unpinnable


def _chart(item: Object, _: Found) -> Iterator[ChartUse]:
    name, version = text(get(item.spec, "chartName")), text(get(item.spec, "version"))
    url = text(get(mapping(item.spec, "repository"), "url"))
    yield unpinnable(from_helm(item.at("spec"), name, url, version), "whether k0s obeys a digest is not confirmed; write it into `chartName` yourself")


READERS = (
    Reader(
        group="helm.k0sproject.io",
        kind="Chart",
        versions=("v1beta1",),
        uses=_chart,
        checked="`spec.chartName`, where it is `oci://` or `spec.repository.url` is; a repository's alias is refused",
        pin="by hand in `spec.chartName`; not confirmed with k0s itself",
    ),
)
