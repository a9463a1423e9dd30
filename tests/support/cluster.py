"""A real Kubernetes API on loopback, without nodes: etcd and kube-apiserver, and what the tests put into it.

Nothing runs Pods there; admission does not mind. Tokens stand in a file: `tok` is an administrator.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.servers import free_port, start, stop

TOKENS = "tok,admin,admin,system:masters\nalice,alice,alice,editors\n"
FLAGS = (
    "--service-account-issuer=https://localhost",
    "--service-cluster-ip-range=10.0.0.0/24",
    "--authorization-mode=RBAC",
    "--disable-admission-plugins=ServiceAccount",
    "--bind-address=127.0.0.1",
)


@dataclass
class Kubernetes:
    """A cluster that runs; `kubectl` takes a user's token."""

    work: Path
    port: int
    program: Path

    @property
    def kubeconfig(self) -> Path:
        return self.work / "kubeconfig"

    def kubectl(self, *words: object, token: str = "tok", check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [self.program, "--kubeconfig", self.kubeconfig, "--token", token, *words]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.work)}
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, input=stdin, env=environment, timeout=90)
        if check and done.returncode != 0:
            raise AssertionError(f"{words}\n{done.stdout}\n{done.stderr}")
        return done

    def apply(self, *objects: dict[str, Any], check: bool = True, token: str = "tok", words: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        return self.kubectl("apply", "-f", "-", *words, stdin=listed, check=check, token=token)

    def get(self, *words: str) -> Any:
        return json.loads(self.kubectl("get", *words, "-o", "json").stdout)


@contextlib.contextmanager
def kubernetes(work: Path, etcd: Path, apiserver: Path, kubectl: Path) -> Iterator[Kubernetes]:
    """A cluster until the block ends."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    (work / "sa.key").write_bytes(pem)
    (work / "tokens.csv").write_text(TOKENS)
    client, peer, port = free_port(), free_port(), free_port()
    store = f"http://127.0.0.1:{client}"
    etcd_flags = ("--data-dir", work / "etcd", "--listen-client-urls", store, "--advertise-client-urls", store, "--unsafe-no-fsync")
    with contextlib.ExitStack() as stack:
        stack.callback(stop, start([etcd, *etcd_flags, "--listen-peer-urls", f"http://127.0.0.1:{peer}"], f"{store}/health", work))
        authority, certificate = _certificate(work)
        keys = (f"--service-account-key-file={work}/sa.key", f"--service-account-signing-key-file={work}/sa.key", f"--token-auth-file={work}/tokens.csv")
        own = (f"--etcd-servers={store}", f"--secure-port={port}", f"--tls-cert-file={certificate}", f"--tls-private-key-file={work}/api.key")
        webhooks = (f"--admission-control-config-file={_admission_config(work)}",)
        stack.callback(stop, start([apiserver, *FLAGS, *keys, *own, *webhooks, f"--cert-dir={work}"], f"https://127.0.0.1:{port}/readyz", work, ca=authority))
        found = Kubernetes(work=work, port=port, program=kubectl)
        cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(authority)}
        context = {"cluster": "it", "user": "admin"}
        value = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "clusters": [{"name": "it", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": "tok"}}],
            "contexts": [{"name": "it", "context": context}],
        }
        found.kubeconfig.write_text(json.dumps(value))
        _await_ready(found)
        yield found


def _certificate(work: Path) -> tuple[Path, Path]:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(str(work / "api-ca.pem"))
    issued.private_key_pem.write_to_path(str(work / "api.key"))
    (work / "api.pem").write_bytes(b"".join(item.bytes() for item in issued.cert_chain_pems))
    return work / "api-ca.pem", work / "api.pem"


def _admission_config(work: Path) -> Path:
    """With which certificate the API server calls webhooks: one for every webhook on loopback."""
    authority = trustme.CA()
    issued = authority.issue_cert("kube-apiserver")
    authority.cert_pem.write_to_path(str(work / "client-ca.pem"))
    issued.private_key_pem.write_to_path(str(work / "client.key"))
    (work / "client.pem").write_bytes(b"".join(item.bytes() for item in issued.cert_chain_pems))
    user = {"name": "127.0.0.1", "user": {"client-certificate": str(work / "client.pem"), "client-key": str(work / "client.key")}}
    anyone = {**user, "name": "*"}
    (work / "webhooks.kubeconfig").write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "users": [anyone]}))
    configuration = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "WebhookAdmissionConfiguration",
        "kubeConfigFile": str(work / "webhooks.kubeconfig"),
    }
    plugins = [{"name": name, "configuration": configuration} for name in ("ValidatingAdmissionWebhook", "MutatingAdmissionWebhook")]
    (work / "admission.json").write_text(json.dumps({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins}))
    return work / "admission.json"


def _await_ready(found: Kubernetes) -> None:
    for _ in range(100):
        if found.kubectl("get", "--raw", "/readyz", check=False).stdout.strip() == "ok" and found.kubectl("get", "ns", "default", check=False).returncode == 0:
            return
    raise AssertionError("the API server does not become ready")
