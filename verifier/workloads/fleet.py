"""Rancher Fleet: HelmOp, Bundle, BundleDeployment and GitRepo.

Sources: the CRDs of rancher/fleet v0.12.0 and pkg/apis v0.14.0 (there `helmAppOptions` became `helmOpOptions`, and HelmApp became HelmOp);
internal/bundlereader. Each target may say another chart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from verifier.formats.loose import get, items, mapping, text, texts
from verifier.workloads.object import Found, Object, Reader
from verifier.workloads.use import ChartUse, Unverifiable, from_helm, unpinnable, unverifiable

_GROUP = "fleet.cattle.io"
_UNPACKED = "an unpacked chart, of which no archive's digest is known"


def _op(item: Object, _: Found) -> Iterator[ChartUse]:
    yield from _remote(item, "spec.helm", mapping(item.spec, "helm"))
    yield from _targets(item)


def _targets(item: Object) -> Iterator[ChartUse]:
    """What a target does not say is what the whole says."""
    whole = mapping(item.spec, "helm")
    for index, target in enumerate(items(get(item.spec, "targets"))):
        own = mapping(target, "helm")
        if any(get(own, field) for field in ("chart", "repo", "version")):
            yield from _remote(item, f"spec.targets[{index}].helm", {**whole, **own})


def _remote(item: Object, path: str, helm: Mapping[str, Any]) -> Iterator[ChartUse]:
    chart, repository, version = texts(helm, "chart", "repo", "version")
    if repository.startswith("oci://") and not chart:
        use = from_helm(item.at(path), repository, "", version)
    else:
        use = from_helm(item.at(path), chart, repository, version)
    yield unpinnable(use, "whether Fleet obeys a digest is not confirmed; write it into `chart` yourself")


def _bundle(item: Object, found: Found) -> Iterator[ChartUse]:
    """A bundle brings its files along; with the options of a HelmOp it fetches a chart."""
    if mapping(item.spec, "helmOpOptions") or mapping(item.spec, "helmAppOptions"):
        yield from _op(item, found)
        return
    for index, resource in enumerate(items(get(item.spec, "resources"))):
        if text(get(resource, "name")).rpartition("/")[2] == "Chart.yaml":
            yield unverifiable(item.at(f"spec.resources[{index}]"), _UNPACKED)
    if text(get(item.spec, "contentsId")) and any(mapping(item.spec, "helm").get(field) for field in ("chart", "repo")):
        yield unverifiable(item.at("spec.contentsId"), "its content lies elsewhere")


def _deployment(item: Object, _: Found) -> Iterator[ChartUse]:
    for path in ("options", "stagedOptions"):
        helm = mapping(mapping(item.spec, path), "helm")
        if not text(get(helm, "chart")) and not text(get(helm, "repo")):
            continue
        if mapping(item.spec, "helmChartOptions"):
            yield from _remote(item, f"spec.{path}.helm", helm)
        else:
            yield unverifiable(item.at(f"spec.{path}.helm"), _UNPACKED)


def _git(item: Object, _: Found) -> Iterator[ChartUse]:
    yield Unverifiable(place=item.at("spec.repo"), problem=f"its charts are named in files of {text(get(item.spec, 'repo'))[:200]!r}", git=True)


def _row(kind: str, uses: Any, checked: str, pin: str) -> Reader:
    return Reader(group=_GROUP, kind=kind, versions=("v1alpha1",), uses=uses, checked=checked, pin=pin)


_NO = "by hand in `spec.helm.chart`, where it is `oci://`; not confirmed with Fleet itself"
READERS = (
    _row("HelmOp", _op, "`spec.helm.repo`, `chart` and `version`, and those of each target", _NO),
    _row("HelmApp", _op, "as HelmOp, of which it is the older name", _NO),
    _row("Bundle", _bundle, "a chart that it fetches; one that it brings along unpacked is refused", "no: files without an archive"),
    _row("BundleDeployment", _deployment, "the charts of `spec.options` and `spec.stagedOptions`", "no: files without an archive"),
    _row("GitRepo", _git, "nothing: its charts are named in git; refused unless the policy lets git pass", "no"),
)
