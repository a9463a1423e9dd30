"""Which charts each kind of object names, what of it can be pinned, and what is refused because nobody can tell."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from verifier.formats.yaml import load_values
from verifier.workloads.kinds import READERS, new_needs, reader_of, uses_of
from verifier.workloads.object import Every, Name, Need, Object, read_object
from verifier.workloads.use import ChartUse, Inline, Named, Unverifiable

DIGEST = "sha256:" + "a" * 64
CHART = base64.b64encode(b"an archive").decode()
FLUX_SOURCE = "source.toolkit.fluxcd.io"
OCM = "apps.open-cluster-management.io"
SVELTOS = "{repositoryURL: oci://reg.test/charts, repositoryName: acme, chartName: acme/web, chartVersion: 1.4.2, releaseName: w, releaseNamespace: w}"

TEMPLATED = SVELTOS.replace("1.4.2", "'{{ v }}'")


def objects(text: str) -> list[Object]:
    found = [read_object("", value) for value in load_values(text.encode())]
    return [item for item in found if item is not None]


def read(text: str, others: str = "") -> list[ChartUse]:
    """The uses of the one object in `text`; `others` are in the cluster."""
    (item,) = objects(text)
    there = objects(others)
    found: dict[Need, tuple[Object, ...]] = {}
    while needs := list(new_needs(item, found)):
        for need in needs:
            match need:
                case Every(group=group, kind=kind, namespace=namespace):
                    found[need] = tuple(other for other in there if (other.group, other.kind) == (group, kind) and namespace in (None, other.namespace))
                case Name():
                    found[need] = tuple(other for other in there if other.key == need)
    return list(uses_of(item, found))


def told(uses: list[ChartUse]) -> list[str]:
    """Each use in a word or two: a reference, with where its digest goes; or the code and the place of a problem."""
    return list(_told(uses))


def _told(uses: list[ChartUse]) -> Iterator[str]:
    for use in uses:
        match use:
            case Named(pin=pin, reference=reference, made_later=later):
                where = ".".join(str(part) for part in pin.path) if pin is not None else "later" if later else "no pin"
                assert pin is None or not use.unpinnable
                assert pin is not None or use.unpinnable or later or "@" in reference or "Fleet" in use.unpinnable, use
                yield f"{reference} ({where})"
            case Inline(archive=data):
                yield f"inline {len(data)}"
            case Unverifiable(code=code, place=place, deferred=deferred, git=git):
                yield f"{code.name} {place}{' deferred' if deferred else ''}{' git' if git else ''}"


def kind(api: str, name: str, body: str) -> str:
    return f"apiVersion: {api}\nkind: {name}\nmetadata: {{name: x, namespace: apps}}\n{body}\n"


def flux(name: str, spec: str, version: str = "v1") -> str:
    return kind(f"{FLUX_SOURCE}/{version}", name, f"spec: {spec}")


def release(spec: str, version: str = "v2") -> str:
    return kind(f"helm.toolkit.fluxcd.io/{version}", "HelmRelease", f"spec: {spec}")


REPOSITORY = flux("HelmRepository", "{type: oci, url: oci://reg.test/charts}").replace("name: x", "name: acme")
SOURCE = "{layerSelector: {mediaType: application/vnd.cncf.helm.chart.content.v1.tar+gzip}, url: oci://reg.test/charts/web, ref: %s}"
IN_CHART = "{chart: web, version: 1.4.2, sourceRef: {kind: HelmRepository, name: acme}}"
K3S = "helm.cattle.io/v1"
CROSSPLANE = "helm.crossplane.io/v1beta1"
FLEET = "fleet.cattle.io/v1alpha1"
GARDENER = "core.gardener.cloud/v1"

CASES: list[tuple[str, str, str, list[str]]] = [
    # name, object, others, told
    ("flux: by digest", flux("OCIRepository", SOURCE % f"{{digest: '{DIGEST}', tag: 1.4.2}}"), "", [f"oci://reg.test/charts/web@{DIGEST} (spec.ref.digest)"]),
    ("flux: by tag", flux("OCIRepository", SOURCE % "{tag: 1.4.2}"), "", ["oci://reg.test/charts/web:1.4.2 (spec.ref.digest)"]),
    ("flux: by nothing", flux("OCIRepository", SOURCE % "{}"), "", ["oci://reg.test/charts/web:latest (spec.ref.digest)"]),
    ("flux: by range", flux("OCIRepository", SOURCE % "{semver: '>=1'}"), "", ["chart-unverifiable spec.ref"]),
    (
        "flux: an unknown field",
        flux("OCIRepository", SOURCE % "{tag: '1', branch: x}"),
        "",
        ["chart-unverifiable spec.ref.branch", "oci://reg.test/charts/web:1 (spec.ref.digest)"],
    ),
    ("flux: of manifests", flux("OCIRepository", "{url: oci://reg.test/manifests, ref: {tag: v1}}"), "", []),
    (
        "flux: of manifests that a release takes its chart from",
        flux("OCIRepository", "{url: oci://reg.test/charts/web, ref: {tag: 1.4.2}}"),
        release("{chartRef: {kind: OCIRepository, name: x}}"),
        ["oci://reg.test/charts/web:1.4.2 (spec.ref.digest)"],
    ),
    ("flux: a repository alone", REPOSITORY, "", []),
    (
        "flux: a repository with dependents",
        REPOSITORY,
        release(f"{{chart: {{spec: {IN_CHART}}}}}")
        + "---\n"
        + flux("HelmChart", IN_CHART)
        + "---\n"
        + release("{chart: {spec: {chart: y, sourceRef: {kind: GitRepository}}}}"),
        ["oci://reg.test/charts/web:1.4.2 (no pin)", "oci://reg.test/charts/web:1.4.2 (no pin)"],
    ),
    ("flux: a chart", flux("HelmChart", IN_CHART), REPOSITORY, ["oci://reg.test/charts/web:1.4.2 (no pin)"]),
    ("flux: a chart of no repository", flux("HelmChart", IN_CHART), "", ["origin-missing spec"]),
    ("flux: a chart in git", flux("HelmChart", "{chart: ./x, sourceRef: {kind: GitRepository, name: g}}"), "", ["chart-unverifiable spec"]),
    (
        "flux: a chart with an unknown field",
        flux("HelmChart", IN_CHART.replace("{chart", "{digest: x, chart")),
        REPOSITORY,
        ["chart-unverifiable spec.digest", "oci://reg.test/charts/web:1.4.2 (no pin)"],
    ),
    ("flux: a release", release(f"{{chart: {{spec: {IN_CHART}}}}}"), REPOSITORY, ["oci://reg.test/charts/web:1.4.2 (no pin)"]),
    ("flux: an old release", release(f"{{chart: {{spec: {IN_CHART}}}}}", "v2beta1"), REPOSITORY, ["oci://reg.test/charts/web:1.4.2 (no pin)"]),
    (
        "flux: a release of https",
        release(f"{{chart: {{spec: {IN_CHART}}}}}"),
        REPOSITORY.replace("oci://reg.test", "https://reg.test"),
        ["https://reg.test/charts/web:1.4.2 (no pin)"],
    ),
    (
        "flux: a release with both",
        release(f"{{chart: {{spec: {IN_CHART}}}, chartRef: {{kind: OCIRepository, name: x}}}}"),
        REPOSITORY,
        ["chart-unverifiable spec"],
    ),
    ("flux: a release with none", release("{}"), "", ["chart-unverifiable spec"]),
    (
        "flux: a release by reference",
        release("{chartRef: {kind: OCIRepository, name: x}}"),
        flux("OCIRepository", SOURCE % f"{{digest: '{DIGEST}'}}"),
        [f"oci://reg.test/charts/web@{DIGEST} (no pin)"],
    ),
    (
        "flux: a release by a chart",
        release("{chartRef: {kind: HelmChart, name: x}}"),
        flux("HelmChart", IN_CHART) + "---\n" + REPOSITORY,
        ["oci://reg.test/charts/web:1.4.2 (no pin)"],
    ),
    ("flux: a release by what is not there", release("{chartRef: {kind: OCIRepository, name: y}}"), "", ["origin-missing spec.chartRef"]),
    ("flux: a release by another kind", release("{chartRef: {kind: ExternalArtifact, name: y}}"), "", ["chart-unverifiable spec.chartRef"]),
    ("flux: an unknown version", release("{}", "v3"), "", ["kind-unknown apiVersion"]),
    (
        "argo: native",
        kind("argoproj.io/v1alpha1", "Application", "spec: {source: {repoURL: oci://reg.test/charts/web, targetRevision: 1.4.2, path: .}}"),
        "",
        ["oci://reg.test/charts/web:1.4.2 (spec.source.targetRevision)"],
    ),
    (
        "argo: native by digest",
        kind("argoproj.io/v1alpha1", "Application", f"spec: {{source: {{repoURL: oci://reg.test/charts/web, targetRevision: '{DIGEST}', path: .}}}}"),
        "",
        [f"oci://reg.test/charts/web@{DIGEST} (spec.source.targetRevision)"],
    ),
    (
        "argo: several",
        kind(
            "argoproj.io/v1alpha1",
            "Application",
            "spec: {sources: [{repoURL: reg.test/charts, chart: web, targetRevision: 1.4.2}, {repoURL: https://git.test/x, path: y}, {repoURL: https://git.test/v, ref: v}, {repoURL: https://h.test, chart: c, targetRevision: 1.0.0}, 1]}",
        ),
        "",
        [
            "oci://reg.test/charts/web:1.4.2 (no pin)",
            "chart-unverifiable spec.sources[1] git",
            "https://h.test/c:1.0.0 (no pin)",
            "chart-unverifiable spec.sources[4]",
        ],
    ),
    (
        "argo: helm out of git",
        kind("argoproj.io/v1alpha1", "Application", "spec: {source: {repoURL: https://git.test/x, ref: v, helm: {}}}"),
        "",
        ["chart-unverifiable spec.source git"],
    ),
    (
        "argo: an unknown field",
        kind("argoproj.io/v1alpha1", "Application", "spec: {source: {repoURL: oci://reg.test/charts/web, targetRevision: 1.4.2, digest: x}}"),
        "",
        ["chart-unverifiable spec.source.digest", "oci://reg.test/charts/web:1.4.2 (spec.source.targetRevision)"],
    ),
    (
        "argo: a hydrator",
        kind("argoproj.io/v1alpha1", "Application", "spec: {sourceHydrator: {drySource: {repoURL: https://git.test/x, path: y}}}"),
        "",
        ["chart-unverifiable spec.sourceHydrator.drySource git"],
    ),
    (
        "argo: an operation",
        kind(
            "argoproj.io/v1alpha1",
            "Application",
            f"spec: {{source: {{repoURL: oci://reg.test/charts/web, targetRevision: '{DIGEST}'}}}}\noperation: {{sync: {{revision: 2.0.0, manifests: [x]}}}}",
        ),
        "",
        [
            f"oci://reg.test/charts/web@{DIGEST} (spec.source.targetRevision)",
            "chart-unverifiable operation.sync.manifests",
            "oci://reg.test/charts/web:2.0.0 (operation.sync.revision)",
        ],
    ),
    (
        "argo: an operation of its own sources",
        kind(
            "argoproj.io/v1alpha1",
            "Application",
            "spec: {}\noperation: {sync: {sources: [{repoURL: oci://reg.test/charts/web, targetRevision: 1.0.0}], revisions: [2.0.0]}}",
        ),
        "",
        ["oci://reg.test/charts/web:1.0.0 (operation.sync.sources.0.targetRevision)", "oci://reg.test/charts/web:2.0.0 (operation.sync.revisions.0)"],
    ),
    (
        "argo: a set",
        kind("argoproj.io/v1alpha1", "ApplicationSet", "spec: {template: {spec: {source: {repoURL: oci://reg.test/charts/web, targetRevision: 1.4.2}}}}"),
        "",
        ["oci://reg.test/charts/web:1.4.2 (later)"],
    ),
    (
        "argo: a templated set",
        kind("argoproj.io/v1alpha1", "ApplicationSet", "spec: {template: {spec: {source: {repoURL: oci://reg.test/charts/web, targetRevision: '{{v}}'}}}}"),
        "",
        ["chart-unverifiable spec.template.spec.source deferred"],
    ),
    (
        "k3s: by digest",
        kind(K3S, "HelmChart", f"spec: {{chart: 'oci://reg.test/charts/web@{DIGEST}'}}"),
        "",
        [f"oci://reg.test/charts/web@{DIGEST} (spec.chart)"],
    ),
    (
        "k3s: by version",
        kind(K3S, "HelmChart", "spec: {chart: oci://reg.test/charts/web, version: 1.4.2}"),
        "",
        ["oci://reg.test/charts/web:1.4.2 (spec.chart)"],
    ),
    (
        "k3s: by both",
        kind(K3S, "HelmChart", f"spec: {{chart: 'oci://reg.test/charts/web@{DIGEST}', version: 1.4.2}}"),
        "",
        [f"oci://reg.test/charts/web:1.4.2@{DIGEST} (spec.chart)"],
    ),
    (
        "k3s: in a repository",
        kind(K3S, "HelmChart", "spec: {chart: web, repo: oci://reg.test/charts, version: 1.4.2}"),
        "",
        ["oci://reg.test/charts/web:1.4.2 (no pin)"],
    ),
    ("k3s: of https", kind(K3S, "HelmChart", "spec: {chart: https://h.test/web-1.tgz}"), "", ["chart-unverifiable spec.chart"]),
    ("k3s: an alias", kind(K3S, "HelmChart", "spec: {chart: stable/web}"), "", ["chart-unverifiable spec.chart"]),
    ("k3s: inline", kind(K3S, "HelmChart", f"spec: {{chart: oci://reg.test/charts/web, version: 1.4.2, chartContent: {CHART}}}"), "", ["inline 10"]),
    ("k3s: inline nonsense", kind(K3S, "HelmChart", "spec: {chartContent: '*'}"), "", ["chart-unverifiable spec.chartContent"]),
    (
        "k3s: its own installer",
        kind(K3S, "HelmChart", "spec: {chart: oci://reg.test/charts/web, version: 1.4.2, jobImage: evil}"),
        "",
        ["chart-unverifiable spec.jobImage", "oci://reg.test/charts/web:1.4.2 (spec.chart)"],
    ),
    (
        "crossplane",
        kind(CROSSPLANE, "Release", "spec: {forProvider: {chart: {repository: oci://reg.test/charts, name: web, version: 1.4.2}}}"),
        "",
        ["oci://reg.test/charts/web:1.4.2 (spec.forProvider.chart.digest)"],
    ),
    (
        "crossplane: by digest",
        kind(CROSSPLANE, "Release", f"spec: {{forProvider: {{chart: {{repository: oci://reg.test/charts, name: web, version: 1.4.2, digest: '{DIGEST}'}}}}}}"),
        "",
        [f"oci://reg.test/charts/web:1.4.2@{DIGEST} (spec.forProvider.chart.digest)"],
    ),
    (
        "crossplane: by url",
        kind("helm.m.crossplane.io/v1beta1", "Release", "spec: {forProvider: {chart: {url: oci://reg.test/charts/web:1.4.2, name: other}}}"),
        "",
        ["oci://reg.test/charts/web:1.4.2 (spec.forProvider.chart.digest)"],
    ),
    (
        "crossplane: two digests",
        kind(CROSSPLANE, "Release", f"spec: {{forProvider: {{chart: {{url: 'oci://reg.test/charts/web@{DIGEST}', digest: '{DIGEST}'}}}}}}"),
        "",
        ["chart-unverifiable spec.forProvider.chart"],
    ),
    (
        "crossplane: of https",
        kind(CROSSPLANE, "Release", "spec: {forProvider: {chart: {repository: https://h.test, name: web, version: 1.4.2}}}"),
        "",
        ["https://h.test/web:1.4.2 (no pin)"],
    ),
    (
        "sveltos",
        kind("config.projectsveltos.io/v1beta1", "ClusterProfile", f"spec: {{helmCharts: [{SVELTOS}]}}"),
        "",
        ["oci://reg.test/charts/web:1.4.2 (no pin)"],
    ),
    (
        "sveltos: a summary",
        kind("config.projectsveltos.io/v1beta1", "ClusterSummary", f"spec: {{clusterProfileSpec: {{helmCharts: [{SVELTOS}]}}}}"),
        "",
        ["oci://reg.test/charts/web:1.4.2 (no pin)"],
    ),
    (
        "sveltos: a promotion",
        kind("config.projectsveltos.io/v1beta1", "ClusterPromotion", f"spec: {{profileSpec: {{helmCharts: [{SVELTOS}]}}}}"),
        "",
        ["oci://reg.test/charts/web:1.4.2 (later)"],
    ),
    (
        "sveltos: a trigger without templates",
        kind("lib.projectsveltos.io/v1beta1", "EventTrigger", f"spec: {{helmCharts: [{SVELTOS}]}}"),
        "",
        ["oci://reg.test/charts/web:1.4.2 (later)"],
    ),
    (
        "sveltos: a trigger",
        kind("lib.projectsveltos.io/v1beta1", "EventTrigger", f"spec: {{helmCharts: [{TEMPLATED}]}}"),
        "",
        ["chart-unverifiable spec.helmCharts[0] deferred"],
    ),
    (
        "sveltos: a template",
        kind("config.projectsveltos.io/v1beta1", "Profile", f"spec: {{helmCharts: [{TEMPLATED}]}}"),
        "",
        ["chart-unverifiable spec.helmCharts[0]"],
    ),
    (
        "sveltos: dependencies",
        kind("config.projectsveltos.io/v1beta1", "Profile", f"spec: {{helmCharts: [{SVELTOS[:-1]}, options: {{dependencyUpdate: true}}}}, 1]}}"),
        "",
        ["chart-unverifiable spec.helmCharts[0].options.dependencyUpdate", "oci://reg.test/charts/web:1.4.2 (no pin)", "chart-unverifiable spec.helmCharts[1]"],
    ),
    ("sveltos: gone", kind("config.projectsveltos.io/v1beta1", "Profile", f"spec: {{helmCharts: [{SVELTOS[:-1]}, helmChartAction: Uninstall}}]}}"), "", []),
    (
        "sveltos: a flux source",
        kind("config.projectsveltos.io/v1beta1", "Profile", "spec: {helmCharts: [{repositoryURL: gitrepository://a/b/c, chartName: x, chartVersion: 1.0.0}]}"),
        "",
        ["chart-unverifiable spec.helmCharts[0]"],
    ),
    (
        "cluster api",
        kind("addons.cluster.x-k8s.io/v1alpha1", "HelmChartProxy", "spec: {repoURL: oci://reg.test/charts, chartName: web, version: 1.4.2}"),
        "",
        ["oci://reg.test/charts/web:1.4.2 (no pin)"],
    ),
    (
        "cluster api: the newest",
        kind(
            "addons.cluster.x-k8s.io/v1alpha1", "HelmReleaseProxy", "spec: {repoURL: oci://reg.test/charts, chartName: web, options: {dependencyUpdate: true}}"
        ),
        "",
        ["chart-unverifiable spec.options.dependencyUpdate", "chart-unverifiable spec"],
    ),
    (
        "fleet: a helm op",
        kind(FLEET, "HelmOp", "spec: {helm: {chart: web, repo: oci://reg.test/charts, version: 1.4.2}, targets: [{helm: {version: 2.0.0}}, {}]}"),
        "",
        ["oci://reg.test/charts/web:1.4.2 (no pin)", "oci://reg.test/charts/web:2.0.0 (no pin)"],
    ),
    (
        "fleet: a repository alone",
        kind(FLEET, "HelmApp", "spec: {helm: {repo: oci://reg.test/charts/web, version: 1.4.2}}"),
        "",
        ["oci://reg.test/charts/web:1.4.2 (no pin)"],
    ),
    ("fleet: a bundle of manifests", kind(FLEET, "Bundle", "spec: {resources: [{name: a.yaml, content: x}]}"), "", []),
    (
        "fleet: a bundle of a chart",
        kind(FLEET, "Bundle", "spec: {resources: [{name: .chart/ab/web/Chart.yaml, content: x}]}"),
        "",
        ["chart-unverifiable spec.resources[0]"],
    ),
    (
        "fleet: a bundle that fetches",
        kind(FLEET, "Bundle", "spec: {helmOpOptions: {insecureSkipTLSVerify: false}, helm: {chart: oci://reg.test/charts/web, version: 1.4.2}}"),
        "",
        ["oci://reg.test/charts/web:1.4.2 (no pin)"],
    ),
    ("fleet: content elsewhere", kind(FLEET, "Bundle", "spec: {contentsId: abc, helm: {chart: web}}"), "", ["chart-unverifiable spec.contentsId"]),
    (
        "fleet: a deployment",
        kind(FLEET, "BundleDeployment", "spec: {options: {helm: {chart: web}}, stagedOptions: {}}"),
        "",
        ["chart-unverifiable spec.options.helm"],
    ),
    (
        "fleet: a deployment that fetches",
        kind(FLEET, "BundleDeployment", "spec: {helmChartOptions: {x: 1}, stagedOptions: {helm: {chart: oci://reg.test/charts/web, version: 1.4.2}}}"),
        "",
        ["oci://reg.test/charts/web:1.4.2 (no pin)"],
    ),
    ("fleet: git", kind(FLEET, "GitRepo", "spec: {repo: https://git.test/x}"), "", ["chart-unverifiable spec.repo git"]),
    (
        "carvel",
        kind(
            "kappctrl.k14s.io/v1alpha1",
            "App",
            "spec: {fetch: [{helmChart: {name: web, version: 1.4.2, repository: {url: oci://reg.test/charts}}}], template: [{helmTemplate: {}}]}",
        ),
        "",
        ["oci://reg.test/charts/web:1.4.2 (no pin)"],
    ),
    (
        "carvel: another fetch",
        kind("kappctrl.k14s.io/v1alpha1", "App", "spec: {fetch: [{git: {url: x}}, 1], template: [{helmTemplate: {}}]}"),
        "",
        ["chart-unverifiable spec.fetch[0]", "chart-unverifiable spec.fetch[1]"],
    ),
    ("carvel: no chart", kind("kappctrl.k14s.io/v1alpha1", "App", "spec: {fetch: [{git: {url: x}}], template: [{ytt: {}}]}"), "", []),
    (
        "carvel: a package",
        kind(
            "data.packaging.carvel.dev/v1alpha1",
            "Package",
            "spec: {template: {spec: {fetch: [{helmChart: {name: web, version: 1.4.2, checksum: x, repository: {url: oci://reg.test/charts}}}]}}}",
        ),
        "",
        ["chart-unverifiable spec.template.spec.fetch[0].helmChart.checksum", "oci://reg.test/charts/web:1.4.2 (no pin)"],
    ),
    (
        "kubevela",
        kind(
            "core.oam.dev/v1beta1",
            "Application",
            "spec: {components: [{type: helmchart, properties: {chart: {source: web, repoURL: oci://reg.test/charts, version: 1.4.2}}}, {type: webservice}]}",
        ),
        "",
        ["oci://reg.test/charts/web:1.4.2 (no pin)"],
    ),
    (
        "kubevela: the older type",
        kind(
            "core.oam.dev/v1beta1",
            "Application",
            "spec: {components: [{type: helm, properties: {repoType: oci, url: oci://reg.test/charts, chart: web, version: 1.4.2}}, {type: helm, properties: {repoType: git, url: x}}]}",
        ),
        "",
        ["oci://reg.test/charts/web:1.4.2 (no pin)", "chart-unverifiable spec.components[1].properties"],
    ),
    (
        "kubevela: an override",
        kind("core.oam.dev/v1beta1", "Application", "spec: {policies: [{type: override, properties: {components: [{properties: {version: 2.0.0}}]}}]}"),
        "",
        ["chart-unverifiable spec.policies[0].properties.components[0]"],
    ),
    (
        "k0s",
        kind("helm.k0sproject.io/v1beta1", "Chart", "spec: {chartName: oci://reg.test/charts/web, version: 1.4.2}"),
        "",
        ["oci://reg.test/charts/web:1.4.2 (no pin)"],
    ),
    ("k0s: an alias", kind("helm.k0sproject.io/v1beta1", "Chart", "spec: {chartName: acme/web, version: 1.4.2}"), "", ["chart-unverifiable spec"]),
    (
        "ocm: a release",
        kind(
            f"{OCM}/v1",
            "HelmRelease",
            "repo: {chartName: web, version: 1.4.2, source: {type: helmrepo, helmRepo: {urls: [oci://reg.test/charts, https://h.test]}}, altSource: {type: git, git: {urls: [x]}}}\nspec: {repo: x}",
        ),
        "",
        ["oci://reg.test/charts/web:1.4.2 (no pin)", "https://h.test/web:1.4.2 (no pin)", "chart-unverifiable repo.altSource"],
    ),
    (
        "ocm: a subscription",
        kind(f"{OCM}/v1", "Subscription", "spec: {channel: apps/x, name: web, packageFilter: {version: 1.4.2}, packageOverrides: [1]}"),
        kind(f"{OCM}/v1", "Channel", "spec: {type: HelmRepo, pathname: oci://reg.test/charts}"),
        ["chart-unverifiable spec.packageOverrides", "oci://reg.test/charts/web:1.4.2 (no pin)"],
    ),
    ("ocm: a subscription to nothing", kind(f"{OCM}/v1", "Subscription", "spec: {channel: apps/y, name: web}"), "", ["origin-missing spec.channel"]),
    (
        "ocm: a subscription to git",
        kind(f"{OCM}/v1", "Subscription", "spec: {channel: apps/x}"),
        kind(f"{OCM}/v1", "Channel", "spec: {type: Git, pathname: x}"),
        ["chart-unverifiable spec git"],
    ),
    (
        "ocm: a channel of another kind",
        kind(f"{OCM}/v1", "Subscription", "spec: {channel: apps/x}"),
        kind(f"{OCM}/v1", "Channel", "spec: {type: New, pathname: x}"),
        ["chart-unverifiable spec"],
    ),
    (
        "ocm: a channel that changes",
        kind(f"{OCM}/v1", "Channel", "spec: {type: HelmRepo, pathname: oci://reg.test/charts}"),
        kind(f"{OCM}/v1", "Subscription", "spec: {channel: apps/x, name: web, packageFilter: {version: 1.4.2}}"),
        ["oci://reg.test/charts/web:1.4.2 (no pin)"],
    ),
    (
        "config sync",
        kind("configsync.gke.io/v1beta1", "RootSync", "spec: {sourceType: helm, helm: {repo: oci://reg.test/charts, chart: web, version: 1.4.2, auth: none}}"),
        "",
        ["oci://reg.test/charts/web:1.4.2 (no pin)"],
    ),
    (
        "config sync: the latest",
        kind("configsync.gke.io/v1beta1", "RepoSync", "spec: {sourceType: helm, helm: {repo: oci://reg.test/charts, chart: web, version: latest, x: y}}"),
        "",
        ["chart-unverifiable spec.helm.x", "chart-unverifiable spec.helm"],
    ),
    ("config sync: no chart", kind("configsync.gke.io/v1beta1", "RootSync", "spec: {sourceType: git, helm: {repo: x}}"), "", []),
    (
        "gardener: by tag",
        kind(GARDENER, "ControllerDeployment", "helm: {ociRepository: {repository: reg.test/charts/web, tag: 1.4.2}}"),
        "",
        ["oci://reg.test/charts/web:1.4.2 (helm.ociRepository.digest)"],
    ),
    (
        "gardener: by digest",
        kind(GARDENER, "ControllerDeployment", f"helm: {{ociRepository: {{repository: oci://reg.test/charts/web, tag: 9.9.9, digest: '{DIGEST}'}}}}"),
        "",
        [f"oci://reg.test/charts/web@{DIGEST} (helm.ociRepository.digest)"],
    ),
    (
        "gardener: by reference",
        kind(
            "operator.gardener.cloud/v1alpha1",
            "Extension",
            f"spec: {{deployment: {{extension: {{helm: {{ociRepository: {{ref: 'reg.test/charts/web:1.4.2@{DIGEST}'}}}}}}, admission: {{runtimeCluster: {{helm: {{ociRepository: {{ref: 'reg.test/charts/adm:1.0.0'}}}}}}}}}}}}",
        ),
        "",
        [f"oci://reg.test/charts/web:1.4.2@{DIGEST} (no pin)", "oci://reg.test/charts/adm:1.0.0 (no pin)"],
    ),
    ("gardener: inline", kind(GARDENER, "ControllerDeployment", f"helm: {{rawChart: {CHART}}}"), "", ["inline 10"]),
    (
        "gardener: the older form",
        kind("core.gardener.cloud/v1beta1", "ControllerDeployment", f"type: helm\nproviderConfig: {{chart: {CHART}}}"),
        "",
        ["inline 10"],
    ),
    ("gardener: neither", kind(GARDENER, "ControllerDeployment", "helm: {values: {}, url: x}"), "", ["chart-unverifiable helm.url", "chart-unverifiable helm"]),
]


@pytest.mark.parametrize(("text", "others", "wanted"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_an_object_names(text: str, others: str, wanted: list[str]) -> None:
    assert told(read(text, others)) == wanted


def test_every_kind_has_a_case_that_names_a_chart_and_one_that_is_refused() -> None:
    named: set[tuple[str, str]] = set()
    refused: set[tuple[str, str]] = set()
    for _, text, _, wanted in CASES:
        (item,) = objects(text)
        (named if any("oci://" in line or "inline" in line for line in wanted) else set()).add((item.group, item.kind))
        (refused if any("unverifiable" in line or "missing" in line or "no pin" in line or "later" in line for line in wanted) else set()).add(
            (item.group, item.kind)
        )
    kinds = {(reader.group, reader.kind) for reader in READERS}
    only_refused = {("fleet.cattle.io", "GitRepo")}
    twins = {(reader.group, reader.kind) for reader in READERS if any(other.uses is reader.uses and other is not reader for other in READERS)}
    assert kinds - named - only_refused - twins == set()
    assert kinds - refused - twins == set()


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: f"{reader.group}/{reader.kind}")
@pytest.mark.parametrize("value", ["1", "x", "[1]", "{}", "{a: [1]}", "null"])
def test_odd_shapes_never_end_in_a_traceback(reader: Any, value: str) -> None:
    fields = ("spec", "repo", "helm", "operation", "providerConfig")
    text = kind(f"{reader.group}/{reader.versions[0]}", reader.kind, "\n".join(f"{field}: {value}" for field in fields))
    told(read(text))
    inner = "{chart: %s, chartRef: %s, source: %s, sources: %s, forProvider: %s, helmCharts: %s, helm: %s, fetch: %s, components: %s, ref: %s}"
    told(read(kind(f"{reader.group}/{reader.versions[0]}", reader.kind, f"spec: {inner % ((value,) * 10)}\nhelm: {{ociRepository: {value}}}")))


def test_plurals_are_those_of_the_api() -> None:
    plurals = {reader.kind: reader.plural for reader in READERS}
    assert (plurals["OCIRepository"], plurals["HelmChartProxy"], plurals["HelmRelease"], plurals["ClusterSummary"]) == (
        "ocirepositories",
        "helmchartproxies",
        "helmreleases",
        "clustersummaries",
    )


def test_a_kind_that_names_no_chart() -> None:
    (item,) = objects("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n")
    assert (reader_of(item), uses_of(item, {})) == (None, ())
