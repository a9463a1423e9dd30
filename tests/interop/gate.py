"""A cluster with the webhook in force and a registry: what the tests of admission stand on."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

from tests.interop.conftest import program
from tests.peers import SHARE
from tests.support.charts import archive
from tests.support.cluster import Kubernetes, kubernetes
from tests.support.servers import free_port, start, stop
from tests.support.signers import pair
from tests.support.world import connect, publish, sign
from verifier.model.digest import Digest
from verifier.operations.webhooks import Endpoint, validating
from verifier.registry.app import RegistryApp
from verifier.registry.running import running
from verifier.registry.store import RegistryStore
from verifier.signers.public import public_pem

POLICY = """\
apiVersion: verifier/v1
kind: ChartPolicy
metadata: {{name: cluster}}
trust:
  ci: {{key: {{file: ci.pub}}}}
sources:
  - repositories: ["oci://{host}/acme"]
rules:
  - name: ours
    charts: ["oci://{host}/acme/*"]
    require: {{signed: {{by: ci}}}}
"""


TEMPLATE = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {a: {{ .Values.a | quote }}}\n"
VALUES = b"""\
a: 1
b: {c: yes, d: 0777, e: 1.0, f: 2001-01-01, g: null, h: [1, x, null], i: 12345678901234567, j: 0o17, k: 1:30, l: on, o: .5, p: 1_000, q: ~}
c: {r: 0x1F, t: 1e3, u: +1, v: 0b11, w: 1., x: !!binary aGk=, y: 12345678901234567890, z: -0, aa: &x {q: 1}, bb: {<<: *x, r: 2}}
n: 1e3
1: 3
1.5: 4
no: 5
"""


@dataclass
class Gate:
    """A cluster with the webhook in force, and a registry."""

    kubernetes: Kubernetes
    host: str
    work: Path

    def chart(self, name: str, *, signed: bool = True, version: str = "1.0.0", files: dict[str, bytes] | None = None) -> Digest:
        connections = connect()
        data = archive(name, version, files or {"templates/c.yaml": b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n"})
        (self.work / f"{name}-{version}.tgz").write_bytes(data)
        digest = publish(connections, self.host, data, name=f"acme/{name}", tag=version)
        if signed:
            sign(connections, self.host, digest, pair(), name=f"acme/{name}")
        return digest


@contextlib.contextmanager
def a_gate(work: Path) -> Iterator[Gate]:
    """A cluster, a registry, Flux' definitions, and the webhook in force, until the block ends."""
    programs = [program(name) for name in ("etcd-3.6.5", "kube-apiserver-1.36.3", "kubectl-1.37")]
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(kubernetes(work, *programs))
        host = stack.enter_context(_registry(work))
        for folder in ("source-controller", "helm-controller"):
            for file in sorted((SHARE / folder).glob("*.yaml")):
                cluster.kubectl("apply", "--server-side", "-f", file)
        # The pull secrets of tenants, and any registry on loopback: one of the tests has its own.
        hook = stack.enter_context(served(cluster, host, work, "--pull-secret", "regcred", "--allow-host", "127.0.0.1"))
        cluster.apply(validating(hook, "helm-verifier"))
        yield Gate(cluster, host, work)


@contextlib.contextmanager
def _registry(work: Path) -> Iterator[str]:
    store = RegistryStore(work / "registry")
    store.prepare()
    with running(RegistryApp(store)) as host:
        yield host


@contextlib.contextmanager
def served(cluster: Kubernetes, host: str, work: Path, *words: object) -> Iterator[Endpoint]:
    """`verifier serve` as a webhook that only the API server may call; its registration is applied, and the endpoint given."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    own = work / f"server{len(words)}"
    own.mkdir()
    issued.private_key_pem.write_to_path(str(own / "hook.key"))
    authority.cert_pem.write_to_path(str(work / "hook-ca.pem"))
    (own / "hook.pem").write_bytes(b"".join(item.bytes() for item in issued.cert_chain_pems))
    (work / "ci.pub").write_bytes(public_pem(pair().public))
    (work / "policy.yaml").write_text(POLICY.format(host=host))
    port, api = free_port(), free_port()
    listen = ("--listen", f"127.0.0.1:{api}", "--webhook-listen", f"127.0.0.1:{port}", "--client-ca", work / "client-ca.pem")
    given = ("--policy", work / "policy.yaml", "--admission", "enforce", "--allow-host", host, "--kubernetes", "--events", "--cluster", "test", *words)
    command = ["env", f"KUBECONFIG={cluster.kubeconfig}", sys.executable, "-m", "verifier", "serve", *listen, *given]
    files = ("--tls-cert", own / "hook.pem", "--tls-key", own / "hook.key")
    process = start([*command, *files], f"https://127.0.0.1:{api}/healthz", own, ca=work / "hook-ca.pem")
    try:
        yield Endpoint(authority=authority.cert_pem.bytes(), url=f"https://127.0.0.1:{port}")
    finally:
        stop(process)


def oci_repository(gate: Gate, name: str, chart: str, **ref: str) -> dict[str, Any]:
    selector = {"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "operation": "copy"}
    spec = {"url": f"oci://{gate.host}/acme/{chart}", "interval": "1h", "insecure": True, "layerSelector": selector, "ref": ref}
    return {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def refused(done: subprocess.CompletedProcess[str], code: str) -> None:
    assert done.returncode != 0, done.stdout
    assert f"[{code}]" in done.stderr, done.stderr
