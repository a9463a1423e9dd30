"""Gardener: ControllerDeployment, and the operator's Extension.

Source: gardener/gardener v1.130.0 pkg/apis/core/v1/types_controllerdeployment.go (`GetURL`: `ref` wins, then a digest, then the tag; `oci://` may lead)
and pkg/apis/operator/v1alpha1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from verifier.formats.loose import get, mapping, text, texts
from verifier.model.reference import SCHEME
from verifier.workloads.k3s import inline
from verifier.workloads.object import Found, Object, Reader
from verifier.workloads.use import ChartUse, only, pinnable, pinned, unpinnable, unverifiable

_HELM = frozenset(("rawChart", "values", "ociRepository"))
_OCI = frozenset(("ref", "repository", "tag", "digest", "pullSecretRef", "caBundleSecretRef"))
_EXTENSION = (("extension", "helm"), ("admission", "runtimeCluster", "helm"), ("admission", "virtualCluster", "helm"))


def _deployment(item: Object, _: Found) -> Iterator[ChartUse]:
    if text(get(item.value, "type")) == "helm" or mapping(item.value, "providerConfig"):  # v1beta1
        yield inline(item.at("providerConfig.chart"), text(get(mapping(item.value, "providerConfig"), "chart")))
    elif mapping(item.value, "helm"):
        yield from _helm(item, ("helm",), mapping(item.value, "helm"))


def _extension(item: Object, _: Found) -> Iterator[ChartUse]:
    for parts in _EXTENSION:
        stanza: Mapping[str, Any] = mapping(item.spec, "deployment")
        for part in parts:
            stanza = mapping(stanza, part)
        if stanza:
            yield from _helm(item, ("spec", "deployment", *parts), stanza)


def _helm(item: Object, path: tuple[str, ...], helm: Mapping[str, Any]) -> Iterator[ChartUse]:
    place = item.at(".".join(path))
    yield from only(place, helm, _HELM)
    if get(helm, "rawChart") is not None:
        yield inline(f"{place}.rawChart", text(get(helm, "rawChart")))
    oci = mapping(helm, "ociRepository")
    if not oci:
        if get(helm, "rawChart") is None:
            yield unverifiable(place, "it names neither rawChart nor ociRepository")
        return
    yield from only(f"{place}.ociRepository", oci, _OCI)
    ref, repository, tag, digest = (item.removeprefix(SCHEME) for item in texts(oci, "ref", "repository", "tag", "digest"))
    if ref:
        yield unpinnable(pinned(f"{place}.ociRepository", f"{SCHEME}{ref}", ""), "`ref` wins over `digest`; write the digest into it")
    else:
        use = pinned(f"{place}.ociRepository", f"{SCHEME}{repository}", "" if digest else tag, digest)
        yield pinnable(use, *path, "ociRepository", "digest")


READERS = (
    Reader(
        group="core.gardener.cloud",
        kind="ControllerDeployment",
        versions=("v1", "v1beta1"),
        uses=_deployment,
        checked="`helm.ociRepository` and `helm.rawChart`, in v1beta1 `providerConfig.chart`",
        pin="`helm.ociRepository.digest`, unless `ref` is used",
        pins=True,
    ),
    Reader(
        group="operator.gardener.cloud",
        kind="Extension",
        versions=("v1alpha1",),
        uses=_extension,
        checked="the `helm` of `spec.deployment.extension` and of both parts of `spec.deployment.admission`",
        pin="`ociRepository.digest`, unless `ref` is used",
        pins=True,
    ),
)
