"""The chart that installs us: rendered by both Helms, taken by a real API server, signed and verified by ourselves, and no brick."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.interop import manifests
from tests.interop.conftest import Peer, program
from tests.simulators.registry import simulated
from tests.support.cli import run
from tests.support.cluster import Kubernetes, kubernetes
from tests.support.signers import pair
from verifier.operations.webhooks import registrations
from verifier.signers.key import private_pem
from verifier.signers.public import public_pem

CHART = Path(__file__).parents[2] / "verifier" / "deploy" / "helm-verifier"
VALUES = {
    "image": {"repository": "registry.test/helm-verifier", "digest": "sha256:" + "a" * 64},
    "policy": {"files": {"policy.yaml": "apiVersion: verifier/v1\n"}},
    "admission": {"mode": "enforce", "pinning": "pin", "cluster": "test", "unjudgedNamespaces": ["break-glass"]},
}
EVERYTHING = {
    **VALUES,
    "apiServer": {"clientCa": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----", "cidrs": ["10.0.0.0/8"]},
    "registries": {"allowHosts": ["registry.internal"], "configSecret": "pull", "egressCidrs": ["10.0.0.0/8"]},
    "namespaceSecrets": {"pullSecrets": ["regcred"], "keys": ["chart-keys"]},
    "callers": {"existingSecret": "callers"},
    "store": {"enabled": True},
    "tracing": {"endpoint": "http://collector.observability:4319"},
    "autoscaling": {"enabled": True},
    "nodeSelector": {"a": "b"},
    "tolerations": [{"operator": "Exists"}],
}


@pytest.fixture(params=["helm-3.21.4", "helm-4.3.1"])
def helm(request: pytest.FixtureRequest, tmp_path: Path) -> Peer:
    return Peer(program(request.param), tmp_path)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    programs = [program(name) for name in ("etcd-3.6.5", "kube-apiserver-1.36.3", "kubectl-1.37")]
    with kubernetes(tmp_path_factory.mktemp("cluster"), *programs) as found:
        yield found


def given(values: dict[str, Any], work: Path) -> Path:
    (work / "values.json").write_text(json.dumps(values))
    return work / "values.json"


def rendered(helm: Peer, values: dict[str, Any], *words: str) -> list[dict[str, Any]]:
    done = helm("template", "v", CHART, "-n", "verifier", "--kube-version", "1.36.0", "-f", given(values, helm.home), *words)
    return [value for value in yaml.safe_load_all(done.stdout) if value]


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [item for item in objects if item["kind"] == kind]
    return found


@pytest.mark.parametrize("values", [VALUES, EVERYTHING], ids=["least", "everything"])
def test_a_real_api_server_takes_it(helm: Peer, cluster: Kubernetes, values: dict[str, Any]) -> None:
    objects = rendered(helm, values)
    cluster.kubectl("create", "namespace", "verifier", check=False)
    stdin = json.dumps({"apiVersion": "v1", "kind": "List", "items": [{**item, "metadata": {"namespace": "verifier", **item["metadata"]}} for item in objects]})
    done = cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=stdin)
    assert done.stdout.count("server dry run") == len(objects), done.stdout + done.stderr


def test_what_runs_has_the_least_rights_and_only_options_that_exist(helm: Peer) -> None:
    options = run("serve", "--help").out
    for values, kind in ((VALUES, "Deployment"), (EVERYTHING, "StatefulSet")):
        objects = rendered(helm, values)
        pod = of_kind(objects, kind)["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["args"][0] == "serve"
        for word in container["args"][1:]:
            assert re.search(rf"{word.partition('=')[0]}\b", options), word
        assert ("--unsafe-no-auth" in container["args"]) is (values is VALUES)
        assert (pod["securityContext"]["runAsNonRoot"], container["securityContext"]["readOnlyRootFilesystem"]) == (True, True)
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["image"] == "registry.test/helm-verifier@sha256:" + "a" * 64
        rules = of_kind(objects, "ClusterRole")["rules"]
        writes = [(rule["resources"], rule["verbs"]) for rule in rules if set(rule["verbs"]) - {"get", "list"}]
        assert writes == [(["events"], ["create"])]
        secrets = [(rule["resourceNames"], rule["verbs"]) for rule in rules if "secrets" in rule["resources"]]
        assert secrets == ([] if values is VALUES else [(["regcred", "chart-keys"], ["get"])])
    every = of_kind(rendered(helm, {**VALUES, "namespaceSecrets": {"pullSecrets": ["*"]}}), "ClusterRole")["rules"]
    assert [rule for rule in every if "secrets" in rule["resources"]] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]


def test_a_shared_store_needs_no_volume(helm: Peer, cluster: Kubernetes) -> None:
    url = "postgresql://verifier@db.example:6432/verifier"
    objects = rendered(helm, {**VALUES, "store": {"enabled": True, "url": url, "passwordSecret": "db"}})
    pod = of_kind(objects, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert f"--store={url}" in container["args"]
    assert {"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}} in container["env"]
    assert "store" not in {volume["name"] for volume in pod["volumes"]}
    ports = [port["port"] for rule in of_kind(objects, "NetworkPolicy")["spec"]["egress"] for port in rule["ports"]]
    assert (6432 in ports, 4318 in ports) == (True, False)
    assert 4319 in [port["port"] for rule in of_kind(rendered(helm, EVERYTHING), "NetworkPolicy")["spec"]["egress"] for port in rule["ports"]]
    stdin = json.dumps({"apiVersion": "v1", "kind": "List", "items": [of_kind(objects, kind) for kind in ("Deployment", "NetworkPolicy")]})
    cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=stdin)


def test_its_registrations_are_those_of_the_table(helm: Peer) -> None:
    objects = rendered(helm, VALUES)
    for kind, key in (("ValidatingWebhookConfiguration", "validating"), ("MutatingWebhookConfiguration", "mutating")):
        made = of_kind(objects, kind)["webhooks"]
        wanted = registrations()[key]
        assert [{name: webhook[name] for name in original} for webhook, original in zip(made, wanted, strict=True)] == wanted
        assert [webhook["failurePolicy"] for webhook in made] == (["Fail", "Fail"] if key == "validating" else ["Ignore"])
    charts, records = of_kind(objects, "ValidatingWebhookConfiguration")["webhooks"]
    assert charts["namespaceSelector"]["matchExpressions"][0]["values"] == ["verifier", "break-glass"]
    assert records["namespaceSelector"]["matchExpressions"][0]["values"] == ["verifier", "break-glass", "kube-system"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"image": {}}, "image.repository"),
        ({"policy": {"files": {}}}, "policy.files"),
        ({"admission": {"mode": "on"}}, "mode"),
        ({"store": {"enabled": True, "url": "postgresql://me:secret@db/x"}}, "store"),
        ({"tls": {"mode": "secret"}}, "tls.secretName"),
        ({"tls": {"mode": "certManager"}}, "tls.issuerRef"),
        ({"unknown": 1}, "unknown"),
        ({"image": {"repository": "x", "digest": "latest"}}, "digest"),
    ],
)
def test_values_that_make_no_sense_are_refused(helm: Peer, changes: dict[str, Any], told: str) -> None:
    done = helm("template", "v", CHART, "--kube-version", "1.36.0", "-f", given({**VALUES, **changes}, helm.home), check=False)
    assert done.returncode != 0
    assert told.encode() in done.stderr, done.stderr.decode()


def test_a_certificate_by_cert_manager_or_of_one_s_own(helm: Peer) -> None:
    objects = rendered(helm, {**VALUES, "tls": {"mode": "certManager", "issuerRef": {"name": "ca", "kind": "ClusterIssuer"}}})
    assert of_kind(objects, "Certificate")["spec"]["dnsNames"] == ["v.verifier.svc"]
    assert of_kind(objects, "ValidatingWebhookConfiguration")["metadata"]["annotations"] == {"cert-manager.io/inject-ca-from": "verifier/v"}
    objects = rendered(helm, {**VALUES, "tls": {"mode": "secret", "secretName": "own", "caBundle": "CA"}})
    assert of_kind(objects, "ValidatingWebhookConfiguration")["webhooks"][0]["clientConfig"]["caBundle"] == "Q0E="
    assert [item["metadata"]["name"] for item in objects if item["kind"] == "Secret"] == ["v-callers"]


def test_installed_without_a_node_it_fails_closed_and_can_be_repaired(helm: Peer, cluster: Kubernetes) -> None:
    """No Pod runs, as in a cluster whose webhook is broken: charts do not get in, everything else does, and Helm can still mend it."""
    name = f"v{helm.path.name[5]}"
    words = ("--kubeconfig", cluster.kubeconfig, "-n", name)
    values = {**VALUES, "admission": {"mode": "enforce"}}
    helm("install", name, CHART, *words, "--create-namespace", "-f", given(values, helm.home))
    try:
        secret = cluster.get("secret", f"{name}-tls", "-n", name)["data"]
        plain = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"plain-{name}", "namespace": "default"}, "stringData": {"a": "b"}}
        for _ in range(50):
            blocked = helm("install", "x", CHART, "--kubeconfig", cluster.kubeconfig, "-n", "default", "-f", given(values, helm.home), check=False)
            if b"webhook" in blocked.stderr:
                break
            helm("uninstall", "x", "--kubeconfig", cluster.kubeconfig, "-n", "default", check=False)
        assert b"failed calling webhook" in blocked.stderr, blocked.stderr.decode()
        cluster.apply(plain)
        helm("upgrade", name, CHART, *words, "-f", given({**values, "replicas": 3}, helm.home))
        assert cluster.get("deployment", name, "-n", name)["spec"]["replicas"] == 3
        assert cluster.get("secret", f"{name}-tls", "-n", name)["data"] == secret, "the CA is kept over an upgrade"
        helm("upgrade", name, CHART, *words, "-f", given({**values, "tls": {"renew": True}}, helm.home))
        renewed = cluster.get("secret", f"{name}-tls", "-n", name)["data"]
        assert renewed["ca.crt"] != secret["ca.crt"]
        decoded = [base64.b64decode(held["ca.crt"]) for held in (renewed, secret)]
        assert believed(cluster, name) == b"".join(decoded), "until servers have read the new certificate the one before is believed, too"
        helm("upgrade", name, CHART, *words, "-f", given(values, helm.home))
        assert (believed(cluster, name), cluster.get("secret", f"{name}-tls", "-n", name)["data"]) == (decoded[0], renewed)
        cluster.kubectl("annotate", "--overwrite", "secret", f"{name}-tls", "-n", name, f"helm-verifier.internal/issued={int(time.time()) - 366 * 86_400}")
        words = (*words, *(("--force-conflicts",) if "helm-4" in helm.path.name else ()))  # kubectl owns the annotation now
        helm("upgrade", name, CHART, *words, "-f", given({**values, "tls": {"renewAfterDays": 0}}, helm.home))
        assert cluster.get("secret", f"{name}-tls", "-n", name)["data"] == renewed
        helm("upgrade", name, CHART, *words, "-f", given(values, helm.home))
        assert cluster.get("secret", f"{name}-tls", "-n", name)["data"] != renewed, "after a year it is made anew by itself"
        assert believed(cluster, name).endswith(decoded[0])
    finally:
        helm("uninstall", name, *words[:4], check=False)
    assert cluster.kubectl("get", "validatingwebhookconfiguration", name, check=False).returncode != 0


def test_the_plain_manifests_are_what_the_chart_makes(helm: Peer, cluster: Kubernetes) -> None:
    assert [value for value in yaml.safe_load_all(manifests.PLACE.read_text()) if value] == manifests.rendered(helm.path), "python -m tests.interop.manifests"
    cluster.kubectl("create", "namespace", manifests.NAME, check=False)
    done = cluster.kubectl("apply", "-k", manifests.PLACE.parent, "--dry-run=server", "--validate=strict")
    assert done.stdout.count("server dry run") == 9, done.stdout + done.stderr
    assert run("policy", "lint", str(manifests.PLACE.parent / "policy.yaml")).status == 0


def believed(cluster: Kubernetes, name: str) -> bytes:
    """The CAs under which the API server calls us."""
    bundles = {webhook["clientConfig"]["caBundle"] for webhook in cluster.get("validatingwebhookconfiguration", name)["webhooks"]}
    (bundle,) = bundles
    return base64.b64decode(bundle)


def test_we_sign_it_and_verify_it_ourselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERIFIER_PASSWORD", "")
    Path("ci.key").write_bytes(private_pem(pair(), b""))
    Path("ci.pub").write_bytes(public_pem(pair().public))
    with simulated() as registry:
        ran = run("release", str(CHART), f"oci://{registry.host}/acme", "--key", "ci.key")
        assert ran.status == 0, ran.text
        ran = run("verify", f"oci://{registry.host}/acme/helm-verifier:0.1.0", "--key", "ci.pub")
        assert (ran.status, "ALLOWED" in ran.out) == (0, True), ran.text
