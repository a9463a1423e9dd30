"""Crossplane: Release of provider-helm, of the cluster and of namespaces.

Sources: the CRDs of crossplane-contrib/provider-helm v1.2.0 and its pkg/clients/helm/client.go; `digest` is in later ones.
"""

from __future__ import annotations

from collections.abc import Iterator

from verifier.formats.loose import mapping, texts
from verifier.workloads.object import Found, Object, Reader
from verifier.workloads.use import ChartUse, from_repository, only, pinnable, pinned, unpinnable, unverifiable

_CHART = frozenset(("repository", "name", "version", "url", "digest", "pullSecretRef"))
_AT = ("spec", "forProvider", "chart")


def _release(item: Object, _: Found) -> Iterator[ChartUse]:
    """`url` wins over the others."""
    chart = mapping(mapping(item.spec, "forProvider"), "chart")
    place = item.at("spec.forProvider.chart")
    yield from only(place, chart, _CHART)
    url, repository, name, version, digest = texts(chart, "url", "repository", "name", "version", "digest")
    if url:
        if digest and "@" in url:
            yield unverifiable(place, "both digest and a digest in url: which of them counts is not said")
            return
        use = pinned(place, url, "", digest) if url.startswith("oci://") else from_repository(place, url, "", version)
        yield pinnable(use, *_AT, "digest") if "@" not in url else use
    else:
        use = from_repository(place, repository, name, version)
        if digest and repository.startswith("oci://"):
            use = pinned(place, f"{repository.rstrip('/')}/{name}", version, digest)
        yield pinnable(use, *_AT, "digest") if repository.startswith("oci://") else unpinnable(use, "a digest is obeyed for OCI only")


_CHECKED = "`spec.forProvider.chart`: `url`, or `repository`, `name` and `version`"
_PIN = "`spec.forProvider.chart.digest`, in providers that have it"
READERS = tuple(
    Reader(group=group, kind="Release", versions=versions, uses=_release, checked=_CHECKED, pin=_PIN, pins=True)
    for group, versions in (("helm.crossplane.io", ("v1beta1", "v1alpha1")), ("helm.m.crossplane.io", ("v1beta1",)))
)
