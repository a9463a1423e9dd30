"""k3s and RKE2: HelmChart of helm.cattle.io.

Sources: the CRDs of k3s-io/helm-controller v0.17.9 and its pkg/controllers/chart/chart.go. `chartContent` wins over all others; a chart that is a URL
is handed to Helm 4 as it is, with the version beside it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

from verifier.formats.loose import get, text, texts
from verifier.model.reference import SCHEME
from verifier.workloads.object import Found, Object, Reader
from verifier.workloads.use import ChartUse, Inline, from_helm, pinnable, unpinnable, unverifiable


def _helm_chart(item: Object, _: Found) -> Iterator[ChartUse]:
    chart, repository, version, content = texts(item.spec, "chart", "repo", "version", "chartContent")
    if text(get(item.spec, "jobImage")):
        yield unverifiable(item.at("spec.jobImage"), "an image of one's own installs the chart, and may install anything")
    if get(item.spec, "chartContent") is not None:
        yield inline(item.at("spec.chartContent"), content)
        return
    use = from_helm(item.at("spec.chart"), chart, repository, version)
    if chart.startswith(SCHEME):
        yield pinnable(use, "spec", "chart", whole=True, beside={("spec", "version"): None})
    else:
        yield unpinnable(use, "repo and chart have no place for a digest; write chart: oci://HOST/PATH/NAME@sha256:HEX")


def inline(place: str, content: str) -> ChartUse:
    """An archive in base64."""
    try:
        return Inline(place=place, archive=base64.b64decode("".join(content.split()), validate=True))
    except (binascii.Error, ValueError):
        return unverifiable(place, "no base64")


READERS = (
    Reader(
        group="helm.cattle.io",
        kind="HelmChart",
        versions=("v1",),
        uses=_helm_chart,
        checked="`spec.chartContent`, or `spec.chart` with `spec.repo` and `spec.version`; a `spec.jobImage` of one's own is refused",
        pin="`spec.chart`, where it is `oci://`",
        pins=True,
    ),
)
