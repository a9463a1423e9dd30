"""The other installers' objects, under their own definitions, at a real API server: what it hands to us is what we read.

Their controllers do not run here. The definitions come from their own modules (tests/peers); of Cluster API, Carvel, KubeVela, k0s, Config Sync and Gardener
none could be had.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.interop.conftest import program
from tests.interop.gate import Gate, a_gate, refused
from tests.peers import PEERS, SHARE, Crds

DEFINITIONS = [name for name, peer in PEERS.items() if isinstance(peer, Crds)]


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    for name in DEFINITIONS:
        program(name)
    with a_gate(tmp_path_factory.mktemp("cluster")) as found:
        for name in DEFINITIONS:
            for file in sorted((SHARE / name).glob("*.yaml")):
                found.kubernetes.kubectl("apply", "--server-side", "-f", file)
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
