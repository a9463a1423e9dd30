"""Definitions of kinds whose own could not be had, written after their published fields: enough for a real API server to prune what is none of them.

Each says where its fields are published. What holds values for a chart is left open, as it is in the originals.
"""

from __future__ import annotations

from typing import Any

TEXT: dict[str, Any] = {"type": "string"}
FLAG: dict[str, Any] = {"type": "boolean"}
OPEN: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def fields(**properties: Any) -> dict[str, Any]:
    """An object with these fields and no others."""
    return {"type": "object", "properties": properties}


def many(item: Any) -> dict[str, Any]:
    """A list."""
    return {"type": "array", "items": item}


def definition(group: str, versions: tuple[str, ...], kind: str, *, cluster_wide: bool = False, **top: Any) -> dict[str, Any]:
    """A CustomResourceDefinition; `top` are the fields beside metadata."""
    name = kind.lower()
    plural = f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"
    schema = {"openAPIV3Schema": fields(**top)}
    served = [{"name": version, "served": True, "storage": index == 0, "schema": schema} for index, version in enumerate(versions)]
    names = {"kind": kind, "plural": plural, "singular": name, "listKind": f"{kind}List"}
    spec = {"group": group, "names": names, "scope": "Cluster" if cluster_wide else "Namespaced", "versions": served}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.{group}"}, "spec": spec}


# kubernetes-sigs/cluster-api-addon-provider-helm, docs/quick-start.md and api/v1alpha1 (HelmChartProxySpec, HelmReleaseProxySpec).
_PROXY = fields(
    repoURL=TEXT,
    chartName=TEXT,
    version=TEXT,
    releaseName=TEXT,
    namespace=TEXT,
    valuesTemplate=TEXT,
    options=fields(dependencyUpdate=FLAG),
    clusterSelector=OPEN,
)
# carvel.dev "App CR spec": fetch, template, deploy.
_APP = fields(
    serviceAccountName=TEXT,
    fetch=many(
        fields(
            helmChart=fields(name=TEXT, version=TEXT, repository=fields(url=TEXT, secretRef=OPEN)),
            http=fields(url=TEXT, sha256=TEXT),
            imgpkgBundle=fields(image=TEXT),
            image=fields(url=TEXT),
            git=fields(url=TEXT, ref=TEXT),
            inline=fields(paths=OPEN),
        )
    ),
    template=many(fields(ytt=OPEN, helmTemplate=OPEN)),
    deploy=many(fields(kapp=OPEN)),
)
# kubevela.io "Application"; what a component's properties are depends on its type, so that the original leaves them open.
_VELA = fields(components=many(fields(name=TEXT, type=TEXT, properties=OPEN)), policies=many(fields(name=TEXT, type=TEXT, properties=OPEN)))
# docs.k0sproject.io "Helm Charts".
_K0S = fields(chartName=TEXT, version=TEXT, releaseName=TEXT, namespace=TEXT, values=TEXT, repository=fields(url=TEXT, insecure=FLAG))
# Google Cloud "RootSync and RepoSync fields".
_SYNC = fields(
    sourceFormat=TEXT, sourceType=TEXT, git=OPEN, helm=fields(repo=TEXT, chart=TEXT, version=TEXT, auth=TEXT, period=TEXT, releaseName=TEXT, values=OPEN)
)
# gardener.cloud "ControllerDeployment" and "Extension".
_HELM = fields(rawChart=TEXT, values=OPEN, ociRepository=fields(ref=TEXT, repository=TEXT, tag=TEXT, digest=TEXT, pullSecretRef=OPEN))
_PARTS = fields(extension=fields(helm=_HELM), admission=fields(runtimeCluster=fields(helm=_HELM), virtualCluster=fields(helm=_HELM)))
# fleet.rancher.io "HelmOp"; the definition that could be had is older, and calls it HelmApp.
_FLEET = fields(repo=TEXT, chart=TEXT, version=TEXT, releaseName=TEXT, values=OPEN)
# projectsveltos.github.io "EventTrigger": the charts of a profile, which may be templates over the event.
_CHART = fields(repositoryURL=TEXT, repositoryName=TEXT, chartName=TEXT, chartVersion=TEXT, releaseName=TEXT, releaseNamespace=TEXT, values=TEXT)

DEFINITIONS = (
    definition("fleet.cattle.io", ("v1alpha1",), "HelmOp", spec=fields(helm=_FLEET, targets=many(fields(name=TEXT, helm=_FLEET)))),
    definition("lib.projectsveltos.io", ("v1beta1",), "EventTrigger", cluster_wide=True, spec=fields(eventSourceName=TEXT, helmCharts=many(_CHART))),
    *(definition("addons.cluster.x-k8s.io", ("v1alpha1",), kind, spec=_PROXY) for kind in ("HelmChartProxy", "HelmReleaseProxy")),
    definition("kappctrl.k14s.io", ("v1alpha1",), "App", spec=_APP),
    definition("data.packaging.carvel.dev", ("v1alpha1",), "Package", spec=fields(refName=TEXT, version=TEXT, template=fields(spec=_APP))),
    definition("core.oam.dev", ("v1beta1",), "Application", spec=_VELA),
    definition("helm.k0sproject.io", ("v1beta1",), "Chart", spec=_K0S),
    *(definition("configsync.gke.io", ("v1beta1", "v1alpha1"), kind, spec=_SYNC) for kind in ("RootSync", "RepoSync")),
    definition("core.gardener.cloud", ("v1",), "ControllerDeployment", cluster_wide=True, helm=_HELM),
    definition("operator.gardener.cloud", ("v1alpha1",), "Extension", cluster_wide=True, spec=fields(deployment=_PARTS)),
)
