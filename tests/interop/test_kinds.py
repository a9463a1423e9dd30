"""The other installers' objects, under their own definitions, at a real API server: what it hands to us is what we read.

Their controllers do not run here. The definitions come from their own modules (tests/peers); of Cluster API, Carvel, KubeVela, k0s, Config Sync and Gardener
none could be had, so that theirs are written after their published fields (tests/support/definitions.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.interop.conftest import program
from tests.interop.gate import Gate, a_gate, refused
from tests.peers import PEERS, SHARE, Crds
from tests.support.definitions import DEFINITIONS as DEFINED
from verifier.workloads.kinds import READERS

DEFINITIONS = [name for name, peer in PEERS.items() if isinstance(peer, Crds)]


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    for name in DEFINITIONS:
        program(name)
    with a_gate(tmp_path_factory.mktemp("cluster")) as found:
        for name in DEFINITIONS:
            for file in sorted((SHARE / name).glob("*.yaml")):
                found.kubernetes.kubectl("apply", "--server-side", "-f", file)
        found.kubernetes.apply(*DEFINED)
        found.kubernetes.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        time.sleep(1)
        yield found


def value(api: str, kind: str, name: str, spec: Any, *, namespace: str | None = "default", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **({"spec": spec} if spec is not None else {}), **more}


def argo(name: str, **source: str) -> dict[str, Any]:
    spec = {"project": "default", "destination": {"server": "https://x"}, "source": {"path": ".", **source}}
    return value("argoproj.io/v1alpha1", "Application", name, spec)


def test_argo_cd(gate: Gate) -> None:
    good, bad = gate.chart("argo"), gate.chart("argo-bad", signed=False)
    url = f"oci://{gate.host}/acme/argo"
    gate.kubernetes.apply(argo("good", repoURL=url, targetRevision=str(good)))
    refused(gate.kubernetes.apply(argo("tagged", repoURL=url, targetRevision="1.0.0"), check=False), "unpinned")
    refused(gate.kubernetes.apply(argo("bad", repoURL=f"{url}-bad", targetRevision=str(bad)), check=False), "unsigned")
    refused(gate.kubernetes.apply(argo("git", repoURL="https://git.test/x"), check=False), "chart-unverifiable")
    operation = {"operation": {"sync": {"revision": "1.0.0"}}}
    refused(gate.kubernetes.kubectl("patch", "applications.argoproj.io", "good", "--type=merge", "-p", json.dumps(operation), check=False), "unpinned")
    template = {"metadata": {"name": "{{name}}"}, "spec": argo("x", repoURL=f"{url}-bad", targetRevision=str(bad))["spec"]}
    generators = [{"list": {"elements": [{"name": "a"}]}}]
    refused(
        gate.kubernetes.apply(value("argoproj.io/v1alpha1", "ApplicationSet", "bad", {"generators": generators, "template": template}), check=False), "unsigned"
    )
    template["spec"]["source"]["targetRevision"] = "{{name}}"
    gate.kubernetes.apply(value("argoproj.io/v1alpha1", "ApplicationSet", "later", {"generators": generators, "template": template}))


def test_k3s(gate: Gate) -> None:
    import base64

    good, bad = gate.chart("rancher"), gate.chart("rancher-bad", signed=False)

    def chart(name: str, **spec: str) -> dict[str, Any]:
        return value("helm.cattle.io/v1", "HelmChart", name, spec)

    url = f"oci://{gate.host}/acme/rancher"
    gate.kubernetes.apply(chart("good", chart=f"{url}@{good}"))
    refused(gate.kubernetes.apply(chart("tagged", chart=url, version="1.0.0"), check=False), "unpinned")
    refused(gate.kubernetes.apply(chart("bad", chart=f"{url}-bad@{bad}"), check=False), "unsigned")
    refused(gate.kubernetes.apply(chart("job", chart=f"{url}@{good}", jobImage="evil.test/x"), check=False), "chart-unverifiable")
    inline = {name: base64.b64encode((gate.work / f"{name}-1.0.0.tgz").read_bytes()).decode() for name in ("rancher", "rancher-bad")}
    gate.kubernetes.apply(chart("inline", chartContent=inline["rancher"]))
    refused(gate.kubernetes.apply(chart("inline-bad", chartContent=inline["rancher-bad"]), check=False), "unsigned")


@pytest.mark.parametrize(("api", "namespace"), [("helm.crossplane.io/v1beta1", None), ("helm.m.crossplane.io/v1beta1", "default")])
def test_crossplane(gate: Gate, api: str, namespace: str | None) -> None:
    good, bad = gate.chart("cross"), gate.chart("cross-bad", signed=False)

    def release(called: str, **chart: str) -> dict[str, Any]:
        provider = {"providerConfigRef": {"name": "x", **({"kind": "ProviderConfig"} if namespace else {})}}
        return value(api, "Release", called, {"forProvider": {"chart": chart, "namespace": "default"}, **provider}, namespace=namespace)

    url = f"oci://{gate.host}/acme/cross"
    gate.kubernetes.apply(release("good", url=f"{url}@{good}"))
    refused(gate.kubernetes.apply(release("tagged", repository=f"oci://{gate.host}/acme", name="cross", version="1.0.0"), check=False), "unpinned")
    refused(gate.kubernetes.apply(release("bad", url=f"{url}-bad@{bad}"), check=False), "unsigned")


def test_sveltos(gate: Gate) -> None:
    gate.chart("sveltos")
    chart = {
        "repositoryURL": f"oci://{gate.host}/acme",
        "repositoryName": "a",
        "chartName": "a/sveltos",
        "chartVersion": "1.0.0",
        "releaseName": "x",
        "releaseNamespace": "x",
    }
    profile = value("config.projectsveltos.io/v1beta1", "ClusterProfile", "x", {"helmCharts": [chart]}, namespace=None)
    refused(gate.kubernetes.apply(profile, check=False), "unpinned")
    trigger = value("lib.projectsveltos.io/v1beta1", "EventTrigger", "x", {"eventSourceName": "e", "helmCharts": [chart]}, namespace=None)
    gate.kubernetes.apply(trigger)  # the profile that it makes is where a digest is asked for
    gate.chart("sveltos-bad", signed=False)
    trigger["spec"]["helmCharts"] = [{**chart, "chartName": "a/sveltos-bad"}]
    refused(gate.kubernetes.apply(trigger, check=False), "unsigned")
    (gate.work / "policy.yaml").write_text((gate.work / "policy.yaml").read_text() + "    unsafe_allow_unpinned: true\n")
    try:
        for _ in range(40):
            done = gate.kubernetes.apply(profile, check=False)
            if done.returncode == 0:
                break
            time.sleep(0.1)
        assert done.returncode == 0, done.stderr
        assert "unsafe_allow_unpinned" in done.stderr, "kubectl shows the warning"
    finally:
        text = (gate.work / "policy.yaml").read_text()
        (gate.work / "policy.yaml").write_text(text.replace("    unsafe_allow_unpinned: true\n", ""))
        time.sleep(1.5)


def test_fleet(gate: Gate) -> None:
    resources = [{"name": "a.yaml", "content": "kind: ConfigMap"}]
    gate.kubernetes.apply(value("fleet.cattle.io/v1alpha1", "Bundle", "manifests", {"resources": resources}))
    chart = [{"name": "web/Chart.yaml", "content": "name: web"}]
    refused(gate.kubernetes.apply(value("fleet.cattle.io/v1alpha1", "Bundle", "chart", {"resources": chart}), check=False), "chart-unverifiable")
    refused(gate.kubernetes.apply(value("fleet.cattle.io/v1alpha1", "GitRepo", "git", {"repo": "https://git.test/x"}), check=False), "chart-unverifiable")


def test_open_cluster_management(gate: Gate) -> None:
    gate.chart("ocm")
    group = "apps.open-cluster-management.io/v1"
    source = {"type": "helmrepo", "helmRepo": {"urls": [f"oci://{gate.host}/acme"]}}
    release = value(group, "HelmRelease", "x", None, repo={"chartName": "ocm", "version": "1.0.0", "source": source})
    refused(gate.kubernetes.apply(release, check=False), "unpinned")
    subscription = value(group, "Subscription", "x", {"channel": "default/none", "name": "ocm", "packageFilter": {"version": "1.0.0"}})
    refused(gate.kubernetes.apply(subscription, check=False), "origin-missing")
    gate.kubernetes.apply(value(group, "Channel", "none", {"type": "HelmRepo", "pathname": f"oci://{gate.host}/acme"}))
    refused(gate.kubernetes.apply(subscription, check=False), "unpinned")


# Kinds whose definitions were written after their documentation. Each row: its API and kind, and what makes an object of a chart's reference,
# which is HOST/REPOSITORY, a tag and a digest, of which the kind takes what it can.
Fields = Callable[[str, str, str], dict[str, Any]]


def _split(repository: str) -> tuple[str, str]:
    above, _, name = repository.rpartition("/")
    return f"oci://{above}", name


def _proxy(repository: str, tag: str, digest: str) -> dict[str, Any]:
    url, name = _split(repository)
    return {"spec": {"repoURL": url, "chartName": f"{name}@{digest}" if digest else name, "version": tag}}


def _app(repository: str, tag: str, digest: str) -> dict[str, Any]:
    url, name = _split(repository)
    return {"spec": {"fetch": [{"helmChart": {"name": f"{name}@{digest}" if digest else name, "version": tag, "repository": {"url": url}}}]}}


def _component(repository: str, tag: str, digest: str) -> dict[str, Any]:
    chart = {"source": f"oci://{repository}{'@' + digest if digest else ''}", **({"version": tag} if tag else {})}
    return {"spec": {"components": [{"name": "x", "type": "helmchart", "properties": {"chart": chart}}]}}


def _sync(repository: str, tag: str, digest: str) -> dict[str, Any]:
    url, name = _split(repository)
    return {"spec": {"sourceType": "helm", "helm": {"repo": url, "chart": f"{name}@{digest}" if digest else name, "version": tag, "auth": "none"}}}


def _oci(repository: str, tag: str, digest: str) -> dict[str, Any]:
    return {"ociRepository": {"repository": f"oci://{repository}", **({"tag": tag} if tag else {"digest": digest})}}


WRITTEN: list[tuple[str, str, Fields]] = [
    ("addons.cluster.x-k8s.io/v1alpha1", "HelmChartProxy", _proxy),
    ("addons.cluster.x-k8s.io/v1alpha1", "HelmReleaseProxy", _proxy),
    ("kappctrl.k14s.io/v1alpha1", "App", _app),
    ("data.packaging.carvel.dev/v1alpha1", "Package", lambda *chart: {"spec": {"refName": "x", "version": "1.0.0", "template": _app(*chart)}}),
    ("core.oam.dev/v1beta1", "Application", _component),
    (
        "helm.k0sproject.io/v1beta1",
        "Chart",
        lambda repository, tag, digest: {"spec": {"chartName": f"oci://{repository}{'@' + digest if digest else ''}", "version": tag}},
    ),
    ("configsync.gke.io/v1beta1", "RootSync", _sync),
    ("configsync.gke.io/v1alpha1", "RepoSync", _sync),
    (
        "fleet.cattle.io/v1alpha1",
        "HelmOp",
        lambda repository, tag, digest: {"spec": {"helm": {"chart": f"oci://{repository}{'@' + digest if digest else ''}", "version": tag}}},
    ),
    ("core.gardener.cloud/v1", "ControllerDeployment", lambda *chart: {"helm": _oci(*chart)}),
    ("operator.gardener.cloud/v1alpha1", "Extension", lambda *chart: {"spec": {"deployment": {"extension": {"helm": _oci(*chart)}}}}),
]


@pytest.mark.parametrize(("api", "kind", "fields"), WRITTEN, ids=[kind for _, kind, _ in WRITTEN])
def test_kinds_after_their_documentation(gate: Gate, api: str, kind: str, fields: Fields) -> None:
    good, bad = gate.chart("written"), gate.chart("written-bad", signed=False)
    space = None if "gardener" in api else "default"

    def made(name: str, *chart: str) -> dict[str, Any]:
        return {"apiVersion": api, "kind": kind, "metadata": {"name": name, **({"namespace": space} if space else {})}, **fields(*chart)}

    there = f"{gate.host}/acme/written"
    gate.kubernetes.apply(made("good", there, "", str(good)))
    refused(gate.kubernetes.apply(made("tagged", there, "1.0.0", ""), check=False), "unpinned")
    refused(gate.kubernetes.apply(made("bad", f"{there}-bad", "1.0.0", ""), check=False), "unsigned")
    refused(gate.kubernetes.apply(made("bad-digest", f"{there}-bad", "", str(bad)), check=False), "unsigned")
    refused(gate.kubernetes.apply(made("good", f"{there}-bad", "", str(bad)), check=False), "unsigned")
    refused(gate.kubernetes.apply(made("elsewhere", "evil.test/acme/x", "1.0.0", ""), check=False), "no-rule")


def test_every_kind_is_met_at_a_real_api_server(gate: Gate) -> None:
    """Its definition is there, so that nothing of the table stands unproven; what is registered is what is served."""
    served = {
        (item["spec"]["group"], item["spec"]["names"]["kind"], item["spec"]["names"]["plural"])
        for item in gate.kubernetes.get("customresourcedefinitions")["items"]
    }
    missing = {(reader.group, reader.kind) for reader in READERS if (reader.group, reader.kind, reader.plural) not in served}
    assert missing == set()
