"""The gate in a real cluster: kube-apiserver with etcd, Flux' own CRDs, real Helm; each allowed and denied."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import Peer, program
from tests.interop.gate import POLICY, TEMPLATE, VALUES, Gate, a_gate, oci_repository, refused, served
from tests.simulators.registry import Switches, simulated
from tests.support.charts import archive
from tests.support.cli import run
from tests.support.servers import free_port, start, stop
from tests.support.signers import pair
from tests.support.world import connect, publish, sign
from verifier.operations.webhooks import mutating
from verifier.signers.public import public_pem


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with a_gate(tmp_path_factory.mktemp("cluster")) as found:
        yield found


def test_flux_oci_repository(gate: Gate) -> None:
    good, bad = gate.chart("web"), gate.chart("evil", signed=False)
    gate.kubernetes.apply(oci_repository(gate, "web", "web", digest=str(good)))
    refused(gate.kubernetes.apply(oci_repository(gate, "evil", "evil", digest=str(bad)), check=False), "unsigned")
    refused(gate.kubernetes.apply(oci_repository(gate, "tagged", "web", tag="1.0.0"), check=False), "unpinned")


def release(gate: Gate, helm: Peer, *words: object, check: bool = True, driver: str = "secret") -> subprocess.CompletedProcess[bytes]:
    return helm(*words, "--kubeconfig", gate.kubernetes.kubeconfig, "-n", "default", check=check, HELM_DRIVER=driver)


@pytest.fixture(params=["helm-3.17.3", "helm-3.21.4", "helm-4.1.4", "helm-4.3.1"])
def helm(request: pytest.FixtureRequest, tmp_path: Path) -> Peer:
    return Peer(program(request.param), tmp_path)


def helm_refused(done: subprocess.CompletedProcess[bytes], code: str) -> None:
    assert done.returncode != 0, done.stdout
    assert f"[{code}]".encode() in done.stderr, done.stderr.decode()


@pytest.mark.parametrize("driver", ["secret", "configmap"])
def test_helm_s_own_releases(gate: Gate, helm: Peer, driver: str) -> None:
    """Install, upgrade with values, roll back and uninstall what is signed; nothing of what is not signed gets in."""
    gate.chart("shop", files={"templates/c.yaml": TEMPLATE, "values.yaml": VALUES, "README.md": b"x", "crds/README": b"", "values.schema.json": b"{}"})
    gate.chart("shop", files={"templates/c.yaml": TEMPLATE + b"# 2\n", "values.yaml": VALUES}, version="1.1.0")
    gate.chart("unsigned", signed=False, files={"templates/c.yaml": TEMPLATE})
    old, new = gate.work / "shop-1.0.0.tgz", gate.work / "shop-1.1.0.tgz"
    name = f"shop-{driver}"
    release(gate, helm, "install", name, old, driver=driver)
    assert gate.kubernetes.kubectl("get", "configmap", name, check=False).returncode == 0
    release(gate, helm, "upgrade", name, new, "--set", "a=2,b.c=x", driver=driver)
    release(gate, helm, "upgrade", name, new, "--reset-then-reuse-values", "--set", "n=1e3", driver=driver)
    reused = release(gate, helm, "upgrade", name, new, "--reuse-values", check=False, driver=driver)
    helm_refused(reused, "record-values")  # it puts the old values where the chart's own were
    release(gate, helm, "rollback", name, "1", driver=driver)
    helm_refused(release(gate, helm, "install", "bad", gate.work / "unsigned-1.0.0.tgz", check=False, driver=driver), "unsigned")
    assert gate.kubernetes.kubectl("get", "configmap", "bad", check=False).returncode != 0, "nothing of it was installed"
    release(gate, helm, "uninstall", name, driver=driver)


def test_a_chart_that_was_changed_after_it_was_signed(gate: Gate, helm: Peer) -> None:
    gate.chart("till", files={"templates/c.yaml": TEMPLATE, "values.yaml": VALUES})
    cases = {
        "record-mismatch": {"templates/c.yaml": TEMPLATE + b"# changed\n", "values.yaml": VALUES},
        "record-values": {"templates/c.yaml": TEMPLATE, "values.yaml": b"a: 3\n"},
    }
    for code, files in cases.items():
        changed = gate.work / f"changed-{code}.tgz"
        changed.write_bytes(archive("till", "1.0.0", files))
        helm_refused(release(gate, helm, "install", "till", changed, check=False), code)
    added = gate.work / "added.tgz"
    added.write_bytes(archive("till", "1.0.0", {"templates/c.yaml": TEMPLATE, "values.yaml": VALUES, "templates/d.yaml": TEMPLATE}))
    helm_refused(release(gate, helm, "install", "till", added, check=False), "record-mismatch")
    other = gate.work / "other.tgz"
    other.write_bytes(archive("nowhere", "1.0.0", {"templates/c.yaml": TEMPLATE}))
    helm_refused(release(gate, helm, "install", "nowhere", other, check=False), "no-source")
    parent = archive(
        "till", "1.0.0", {"templates/c.yaml": TEMPLATE, "values.yaml": VALUES, "charts/inner/Chart.yaml": b"apiVersion: v2\nname: inner\nversion: 1.0.0\n"}
    )
    (gate.work / "parent.tgz").write_bytes(parent)
    done = release(gate, helm, "install", "till", gate.work / "parent.tgz", check=False)
    # A record says nothing of charts inside: this one looks like the verified chart, and its values betray it, or nothing does.
    assert done.returncode == 0 or b"record-values" in done.stderr, done.stderr.decode()
    release(gate, helm, "uninstall", "till", check=False)


def test_whatever_pretends_to_be_a_record(gate: Gate) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"}, "stringData": {"release": "x"}}
    gate.kubernetes.apply({**secret, "metadata": {"name": "plain", "namespace": "default"}})
    for metadata, kind in (({"name": "sh.helm.release.v1.x.v1"}, ""), ({"name": "y", "labels": {"owner": "helm"}}, ""), ({"name": "z"}, "helm.sh/release.v1")):
        value = {**secret, "metadata": {"namespace": "default", **metadata}, **({"type": kind} if kind else {})}
        refused(gate.kubernetes.apply(value, check=False), "record-invalid")
    labelled = gate.kubernetes.kubectl("label", "secret", "plain", "owner=helm", check=False)
    refused(labelled, "record-invalid")


def test_a_record_never_changes(gate: Gate, tmp_path: Path) -> None:
    helm = Peer(program("helm-4.3.1"), tmp_path)
    gate.chart("fixed", files={"templates/c.yaml": TEMPLATE, "values.yaml": VALUES})
    release(gate, helm, "install", "fixed", gate.work / "fixed-1.0.0.tgz")
    name = "sh.helm.release.v1.fixed.v1"
    secret = gate.kubernetes.get("secret", name)
    gate.kubernetes.kubectl("label", "secret", name, "team=x")
    value = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
    for part in ("manifest", "chart", "config", "version"):
        changed = {
            **value,
            part: {"metadata": {"name": "a", "version": "1"}} if part == "chart" else {"x": 1} if part == "config" else 9 if part == "version" else "x",
        }
        packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(changed).encode()))).decode()
        refused(gate.kubernetes.kubectl("patch", "secret", name, "-p", json.dumps({"data": {"release": packed}}), check=False), "record-frozen")
    gone = gate.kubernetes.kubectl("label", "secret", name, "owner-", check=False)
    assert gone.returncode == 0, "the label alone makes no record, nor unmakes it"
    release(gate, helm, "uninstall", "fixed", check=False)


def flux_release(name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "metadata": metadata, "spec": {"interval": "1h", **spec}}


def helm_repository(gate: Gate, name: str, path: str = "acme") -> dict[str, Any]:
    spec = {"type": "oci", "url": f"oci://{gate.host}/{path}", "interval": "1h", "insecure": True}
    return {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmRepository", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def test_flux_releases_are_joined_with_their_sources(gate: Gate) -> None:
    good = gate.chart("joined")
    gate.kubernetes.apply(oci_repository(gate, "joined", "joined", digest=str(good)))
    gate.kubernetes.apply(flux_release("joined", chartRef={"kind": "OCIRepository", "name": "joined"}))
    refused(gate.kubernetes.apply(flux_release("lost", chartRef={"kind": "OCIRepository", "name": "not-there"}), check=False), "origin-missing")
    gate.kubernetes.apply(helm_repository(gate, "ours"))
    chart = {"spec": {"chart": "joined", "version": "1.0.0", "sourceRef": {"kind": "HelmRepository", "name": "ours"}}}
    refused(gate.kubernetes.apply(flux_release("classic", chart=chart), check=False), "unpinned")
    git = {"spec": {"chart": "./x", "sourceRef": {"kind": "GitRepository", "name": "g"}}}
    refused(gate.kubernetes.apply(flux_release("git", chart=git), check=False), "chart-unverifiable")


def test_a_source_that_changes_later_is_judged_with_what_takes_from_it(gate: Gate) -> None:
    good = gate.chart("moving")
    bad = gate.chart("moved", signed=False)
    manifests = oci_repository(gate, "shared", "moving", digest=str(good))
    del manifests["spec"]["layerSelector"]
    gate.kubernetes.apply(manifests)
    gate.kubernetes.apply(flux_release("takes", chartRef={"kind": "OCIRepository", "name": "shared"}))
    changed = {**manifests, "spec": {**manifests["spec"], "url": f"oci://{gate.host}/acme/moved", "ref": {"digest": str(bad)}}}
    refused(gate.kubernetes.apply(changed, check=False), "unsigned")
    gate.kubernetes.kubectl("delete", "helmrelease", "takes")
    gate.kubernetes.apply(changed)


@pytest.mark.parametrize(
    "words",
    [
        ("apply", "--server-side", "--force-conflicts"),
        ("replace",),
        ("apply", "--dry-run=server"),
    ],
    ids=" ".join,
)
def test_no_verb_gets_round_it(gate: Gate, words: tuple[str, ...]) -> None:
    good, bad = gate.chart("verbs"), gate.chart("bad-verbs", signed=False)
    gate.kubernetes.apply(oci_repository(gate, "verbs", "verbs", digest=str(good)))
    value = json.dumps(oci_repository(gate, "verbs", "bad-verbs", digest=str(bad)))
    refused(gate.kubernetes.kubectl(*words, "-f", "-", stdin=value, check=False), "unsigned")
    refused(
        gate.kubernetes.kubectl("patch", "ocirepository", "verbs", "--type=merge", "-p", json.dumps({"spec": json.loads(value)["spec"]}), check=False),
        "unsigned",
    )


def test_a_tag_that_moved_is_seen_by_an_update_of_metadata(gate: Gate) -> None:
    good = gate.chart("later")
    gate.kubernetes.apply(oci_repository(gate, "later", "later", digest=str(good)))
    (gate.work / "policy.yaml").write_text(POLICY.format(host=gate.host) + f"deny: [{{digest: '{good}'}}]\n")
    try:
        for number in range(60):
            done = gate.kubernetes.kubectl("label", "ocirepository", "later", f"a=b{number}", "--overwrite", check=False)
            if done.returncode:
                break
            time.sleep(0.1)
        refused(done, "deny-listed")
    finally:
        (gate.work / "policy.yaml").write_text(POLICY.format(host=gate.host))


def test_what_is_being_deleted_loses_its_finalizers_and_nothing_else(gate: Gate) -> None:
    good, bad = gate.chart("ending"), gate.chart("bad-ending", signed=False)
    value = oci_repository(gate, "ending", "ending", digest=str(good))
    value["metadata"]["finalizers"] = ["test.example/hold"]
    gate.kubernetes.apply(value)
    gate.kubernetes.kubectl("delete", "ocirepository", "ending", "--wait=false")
    patch = {"spec": oci_repository(gate, "ending", "bad-ending", digest=str(bad))["spec"]}
    refused(gate.kubernetes.kubectl("patch", "ocirepository", "ending", "--type=merge", "-p", json.dumps(patch), check=False), "unsigned")
    gate.kubernetes.kubectl("patch", "ocirepository", "ending", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    assert gate.kubernetes.kubectl("get", "ocirepository", "ending", check=False).returncode != 0


def test_the_webhook_s_address_answers_the_api_server_only(gate: Gate) -> None:
    url = gate.kubernetes.get("validatingwebhookconfiguration", "helm-verifier")["webhooks"][0]["clientConfig"]["url"]
    context = ssl.create_default_context(cafile=gate.work / "hook-ca.pem")
    with pytest.raises((ssl.SSLError, OSError)):
        urllib.request.urlopen(urllib.request.Request(url, data=b"{}"), timeout=5, context=context)


@pytest.fixture(scope="module")
def flux(gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Flux' own controllers, which install what was let in."""
    source, helm = program("source-controller-1.9.0"), program("helm-controller-1.4.0")
    work = tmp_path_factory.mktemp("flux")
    environment = ("env", "RUNTIME_NAMESPACE=default", f"KUBECONFIG={gate.kubernetes.kubeconfig}")
    shared = ("--events-addr=", "--watch-all-namespaces=true")
    storage, metrics, health, metrics2, health2 = (free_port() for _ in range(5))
    at = f"127.0.0.1:{storage}"
    with contextlib.ExitStack() as stack:
        flags = (
            f"--storage-path={work}",
            f"--storage-addr={at}",
            f"--storage-adv-addr={at}",
            f"--metrics-addr=127.0.0.1:{metrics}",
            f"--health-addr=127.0.0.1:{health}",
        )
        stack.callback(stop, start([*environment, source, *flags, *shared], f"http://127.0.0.1:{health}/healthz", work))
        own = (f"--metrics-addr=127.0.0.1:{metrics2}", f"--health-addr=127.0.0.1:{health2}")
        stack.callback(stop, start([*environment, helm, *own, *shared], f"http://127.0.0.1:{health2}/healthz", work))
        yield


def test_flux_installs_what_was_let_in_and_its_record_is_judged_again(gate: Gate, flux: None) -> None:
    digest = gate.chart("fluxed", files={"templates/c.yaml": TEMPLATE, "values.yaml": VALUES})
    gate.kubernetes.apply(oci_repository(gate, "fluxed", "fluxed", digest=str(digest)))
    gate.kubernetes.apply(flux_release("fluxed", chartRef={"kind": "OCIRepository", "name": "fluxed"}, install={"disableWait": True}))
    for _ in range(120):
        status = gate.kubernetes.get("helmrelease", "fluxed").get("status", {})
        if status.get("history", [{}])[0].get("status") == "deployed":
            break
        time.sleep(0.5)
    assert gate.kubernetes.kubectl("get", "secret", "sh.helm.release.v1.fluxed.v1", check=False).returncode == 0, status
    assert gate.kubernetes.kubectl("get", "configmap", "fluxed", check=False).returncode == 0, status
    assert status["history"][0]["ociDigest"] == str(digest)


def test_flux_is_stopped_where_the_policy_says_no_at_its_record(gate: Gate, flux: None) -> None:
    """The source was let in; before the release is installed the policy changes."""
    digest = gate.chart("stopped", files={"templates/c.yaml": TEMPLATE, "values.yaml": VALUES})
    gate.kubernetes.apply(oci_repository(gate, "stopped", "stopped", digest=str(digest)))
    gate.kubernetes.apply(flux_release("stopped", chartRef={"kind": "OCIRepository", "name": "stopped"}, suspend=True))
    (gate.work / "policy.yaml").write_text(POLICY.format(host=gate.host) + f"deny: [{{digest: '{digest}'}}]\n")
    try:
        time.sleep(2.5)
        refused(gate.kubernetes.kubectl("label", "helmrelease", "stopped", "a=b", check=False), "deny-listed")
    finally:
        (gate.work / "policy.yaml").write_text(POLICY.format(host=gate.host))
    assert gate.kubernetes.kubectl("get", "secret", "sh.helm.release.v1.stopped.v1", check=False).returncode != 0


def test_digests_are_written_where_that_is_wanted(gate: Gate) -> None:
    """Twice by `kubectl apply`, once by server-side apply: the author's tag decides, our digest follows, and nothing goes round in circles."""
    old, new = gate.chart("pinned"), gate.chart("pinned", version="1.1.0", files={"templates/d.yaml": TEMPLATE})
    cluster = gate.kubernetes
    cluster.kubectl("create", "namespace", "pinned")
    selector = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "pinned"}}}
    with served(cluster, gate.host, gate.work, "--pinning", "pin") as endpoint:
        registration = mutating(endpoint, "helm-verifier-pins")
        registration["webhooks"][0].update(selector)
        cluster.apply(registration)
        try:
            value = oci_repository(gate, "p", "pinned", tag="1.0.0")
            value["metadata"]["namespace"] = "pinned"
            for _ in range(50):
                if cluster.apply(value, check=False).returncode == 0:
                    break
                time.sleep(0.1)  # until the API server knows the webhook
            assert cluster.get("ocirepository", "p", "-n", "pinned")["spec"]["ref"] == {"tag": "1.0.0", "digest": str(old)}
            before = cluster.get("ocirepository", "p", "-n", "pinned")["metadata"]["generation"]
            cluster.apply(value)
            assert cluster.get("ocirepository", "p", "-n", "pinned")["metadata"]["generation"] == before, "the same again changes nothing"
            value["spec"]["ref"] = {"tag": "1.1.0"}
            cluster.apply(value)
            assert cluster.get("ocirepository", "p", "-n", "pinned")["spec"]["ref"] == {"tag": "1.1.0", "digest": str(new)}
            for number in range(3):
                value["spec"]["ref"] = {"tag": "1.0.0" if number else "1.1.0"}
                cluster.apply(value, words=("--server-side", "--force-conflicts"))
            assert cluster.get("ocirepository", "p", "-n", "pinned")["spec"]["ref"] == {"tag": "1.0.0", "digest": str(old)}
            bad = gate.chart("pinned-bad", signed=False)
            refused(cluster.apply({**value, "spec": {**value["spec"], "url": f"oci://{gate.host}/acme/pinned-bad"}}, check=False), "unsigned")
            assert bad
        finally:
            cluster.kubectl("delete", "mutatingwebhookconfiguration", "helm-verifier-pins")


def test_what_is_denied_is_an_event(gate: Gate) -> None:
    bad = gate.chart("evented", signed=False)
    refused(gate.kubernetes.apply(oci_repository(gate, "evented", "evented", digest=str(bad)), check=False), "unsigned")
    for _ in range(50):
        found = [item for item in gate.kubernetes.get("events", "-n", "default")["items"] if item["involvedObject"].get("name") == "evented"]
        if found:
            break
        time.sleep(0.1)
    assert (found[0]["type"], found[0]["reason"], "[unsigned]" in found[0]["message"]) == ("Warning", "ChartDenied", True)


def test_what_is_installed_is_scanned(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was let in under the policy of then, under another one."""
    helm = Peer(program("helm-4.3.1"), tmp_path)
    digest = gate.chart("seen", files={"templates/c.yaml": TEMPLATE, "values.yaml": VALUES})
    release(gate, helm, "install", "seen", gate.work / "seen-1.0.0.tgz")
    gate.kubernetes.apply(oci_repository(gate, "seen", "seen", digest=str(digest)))
    monkeypatch.setenv("KUBECONFIG", str(gate.kubernetes.kubeconfig))
    ran = run("scan", "--policy", str(gate.work / "policy.yaml"), "-o", "json", "-n", "default")
    assert ran.out, ran.text
    found = {item["object"]: item for item in json.loads(ran.out)["items"]}
    assert found["OCIRepository default/seen"]["outcome"] == "allowed"
    assert found["release default/seen (revision 1, seen 1.0.0)"]["findings"][0]["digest"] == str(digest)
    stricter = gate.work / "stricter.yaml"
    stricter.write_text(POLICY.format(host=gate.host) + f"deny: [{{digest: '{digest}'}}]\n")
    ran = run("scan", "--policy", str(stricter), "-n", "default")
    assert ran.status == 1
    for line in ("DENIED       OCIRepository default/seen", "DENIED       release default/seen (revision 1, seen 1.0.0)"):
        assert line in ran.out, ran.out
    assert "[deny-listed]" in ran.out
    release(gate, helm, "uninstall", "seen")


def test_a_private_chart_is_read_with_its_namespaces_pull_secret(gate: Gate) -> None:
    """A real Secret, made by kubectl; the chart is there for one tenant and for no other (semantics 33)."""
    with simulated(Switches()) as private:
        connections = connect()
        digest = publish(connections, private.host, archive("web", "1.0.0"), name="acme/web", tag="1.0.0")
        sign(connections, private.host, digest, pair(), name="acme/web")
        private.switches.basic = ("tenant", "right")
        policy = gate.work / "policy.yaml"
        before = policy.read_text()
        rule = f"rules:\n  - {{name: private, charts: ['oci://{private.host}/acme/*'], require: {{signed: {{by: tenants}}}}}}"
        policy.write_text(before.replace("trust:", "trust:\n  tenants: {key: {secret: chart-keys}}").replace("rules:", rule))
        time.sleep(2.5)
        try:
            for tenant in ("one", "two"):
                gate.kubernetes.kubectl("create", "namespace", tenant)
            kubectl_secret(gate, private.host, "one", "right")
            kubectl_secret(gate, private.host, "two", "wrong")
            gate.kubernetes.kubectl("create", "secret", "generic", "chart-keys", "-n", "one", f"--from-literal=cosign.pub={public_pem(pair().public).decode()}")
            value = oci_repository(gate, "web", "web", digest=str(digest))
            value["spec"]["url"] = f"oci://{private.host}/acme/web"
            mine, theirs = ({**value, "metadata": {"name": "web", "namespace": tenant}} for tenant in ("one", "two"))
            gate.kubernetes.apply(mine)
            refused(gate.kubernetes.apply(theirs, check=False), "unauthorized")
            kubectl_secret(gate, private.host, "two", "right")
            time.sleep(5.5)  # as long as Secrets are kept
            refused(gate.kubernetes.apply(theirs, check=False), "namespace-key")
        finally:
            policy.write_text(before)
            time.sleep(2.5)


def kubectl_secret(gate: Gate, host: str, namespace: str, password: str) -> None:
    gate.kubernetes.kubectl("delete", "secret", "regcred", "-n", namespace, "--ignore-not-found")
    words = ("--docker-server", host, "--docker-username", "tenant", "--docker-password", password)
    gate.kubernetes.kubectl("create", "secret", "docker-registry", "regcred", "-n", namespace, *words)
