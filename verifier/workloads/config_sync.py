"""Config Sync: RootSync and RepoSync with `sourceType: helm`.

Source: Config Sync documentation "RootSync and RepoSync fields". An empty version, `latest` and a range are fetched again each period.
"""

from __future__ import annotations

from collections.abc import Iterator

from verifier.formats.loose import get, mapping, texts
from verifier.workloads.object import Found, Object, Reader
from verifier.workloads.use import ChartUse, from_repository, only, unpinnable

_NAMING = ("repo", "chart", "version", "auth", "period", "releaseName", "namespace", "deployNamespace", "secretRef", "caCertSecretRef", "proxy")
_RENDERING = ("values", "valuesFileRefs", "includeCRDs", "gcpServiceAccountEmail", "apiVersions", "kubeVersion")
_HELM = frozenset((*_NAMING, *_RENDERING))


def _sync(item: Object, _: Found) -> Iterator[ChartUse]:
    """Other source types hold manifests; `helm` beside them is ignored there, and here."""
    if get(item.spec, "sourceType") != "helm":
        return
    helm = mapping(item.spec, "helm")
    yield from only(item.at("spec.helm"), helm, _HELM)
    repository, chart, version = texts(helm, "repo", "chart", "version")
    version = f"{version} (moves)" if version == "latest" else version
    yield unpinnable(from_repository(item.at("spec.helm"), repository, chart, version), "there is no field for a digest")


READERS = tuple(
    Reader(
        group="configsync.gke.io",
        kind=kind,
        versions=("v1beta1", "v1alpha1"),
        uses=_sync,
        checked="`spec.helm`, with `sourceType: helm`",
        pin="no: there is no field for a digest",
    )
    for kind in ("RootSync", "RepoSync")
)
