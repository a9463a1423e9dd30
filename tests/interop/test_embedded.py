"""The embedded registry as a program of its own, with TLS, passwords and rights: real helm, cosign, oras, crane and skopeo push to it and read from it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest
import trustme

from tests.interop.conftest import Peer
from tests.peers import LIBRARIES
from tests.simulators.registry.login import basic
from tests.support.charts import archive
from tests.support.cli import run
from tests.support.servers import free_port, start, stop

MakePeer = Callable[[str], Peer]
HELMS = ("helm-3.21.4", "helm-4.2.4")
ANN, TOKEN = "anns-password", "a-token-of-the-robot"
ACCESS = f"""\
apiVersion: verifier/v1
kind: RegistryAccess
htpasswd: htpasswd
tokens: [{{name: robot, sha256: {hashlib.sha256(TOKEN.encode()).hexdigest()}}}]
rules:
  - {{who: [ann], repositories: ["**"], rights: [pull, push, delete]}}
  - {{who: [robot], repositories: ["acme/**"], rights: [pull]}}
"""


@dataclass
class Stage:
    host: str
    work: Path
    authority: trustme.CA

    @property
    def ca(self) -> Path:
        return self.work / "ca.pem"

    def logged_in(self, user: str, password: str) -> dict[str, str]:
        """Where each program looks for credentials and the CA."""
        folder = self.work / user
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"auths": {self.host: {"auth": basic(user, password).removeprefix("Basic ")}}}))
        config = str(folder / "config.json")
        return {"DOCKER_CONFIG": str(folder), "HELM_REGISTRY_CONFIG": config, "REGISTRY_AUTH_FILE": config, "SSL_CERT_FILE": str(self.ca)}

    def renew(self) -> None:
        issued = self.authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(str(self.work / "tls.key"))
        (self.work / "tls.crt").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))

    @property
    def serial(self) -> int:
        host, _, port = self.host.partition(":")
        context = ssl.create_default_context(cafile=self.ca)
        with socket.create_connection((host, int(port)), 5) as raw, context.wrap_socket(raw, server_hostname=host) as wrapped:
            return int(dict(wrapped.getpeercert() or {})["serialNumber"], 16)  # type: ignore[arg-type]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(f"127.0.0.1:{free_port()}", tmp_path, trustme.CA())
    stage.authority.cert_pem.write_to_path(str(stage.ca))
    stage.renew()
    (tmp_path / "htpasswd").write_text(f"ann:{bcrypt.hashpw(ANN.encode(), bcrypt.gensalt(5)).decode()}\n")
    (tmp_path / "access.yaml").write_text(ACCESS)
    (tmp_path / "web-1.4.2.tgz").write_bytes(archive())
    words = ("--root", tmp_path / "data", "--listen", stage.host, "--access", tmp_path / "access.yaml", "--immutable-tags", "acme/**")
    command = [sys.executable, "-m", "verifier", "registry", "serve", *words, "--tls-cert", tmp_path / "tls.crt", "--tls-key", tmp_path / "tls.key"]
    process = start(command, f"https://{stage.host}/v2/", tmp_path, ca=stage.ca)
    try:
        yield stage
    finally:
        stop(process)


@pytest.mark.parametrize("name", HELMS)
def test_helm(name: str, stage: Stage, peer: MakePeer) -> None:
    helm, ann, robot = peer(name), stage.logged_in("ann", ANN), stage.logged_in("robot", TOKEN)
    tls = ("--ca-file", stage.ca)
    helm("push", stage.work / "web-1.4.2.tgz", f"oci://{stage.host}/acme", *tls, check=True, **ann)
    refused = helm("push", stage.work / "web-1.4.2.tgz", f"oci://{stage.host}/acme/other", *tls, check=False, **robot)
    assert refused.returncode != 0
    assert b"robot may not push here" in refused.stderr
    helm("pull", f"oci://{stage.host}/acme/web", "--version", "1.4.2", *tls, check=True, **robot)
    assert (helm.home / "web-1.4.2.tgz").read_bytes() == archive()
    (stage.work / "web-1.4.2.tgz").write_bytes(archive(extra="description: another\n"))
    moved = helm("push", stage.work / "web-1.4.2.tgz", f"oci://{stage.host}/acme", *tls, check=False, **ann)
    assert moved.returncode != 0
    assert b"immutable" in moved.stderr
    done = helm("registry", "login", stage.host, "-u", "ann", "-p", ANN, *tls, check=True, SSL_CERT_FILE=str(stage.ca))
    assert b"Login Succeeded" in done.stderr + done.stdout
    wrong = helm("registry", "login", stage.host, "-u", "ann", "-p", "wrong", *tls, check=False, SSL_CERT_FILE=str(stage.ca))
    assert wrong.returncode != 0


def test_cosign_oras_crane_and_skopeo(stage: Stage, peer: MakePeer, cosign: Peer) -> None:
    oras, crane, skopeo = peer("oras-1.3.3"), peer("crane-0.21.9"), peer("skopeo-1.9.3")
    ann = stage.logged_in("ann", ANN)
    options = ("--registry-config", f"{stage.work}/ann/config.json", "--ca-file", str(stage.ca))
    pushed = run("push", str(stage.work / "web-1.4.2.tgz"), f"oci://{stage.host}/acme", *options)
    assert pushed.status == 0, pushed.text
    digest = pushed.out.split("digest  ")[1].strip()
    name = f"{stage.host}/acme/web@{digest}"
    signing = ("--signing-config", cosign.home / "nolog.json", "--key", cosign.home / "cosign.key", "-y")
    cosign("sign", *signing, name, COSIGN_PASSWORD="secret", check=True, **ann)
    assert run("verify", f"oci://{name}", "--key", str(cosign.home / "cosign.pub"), *options).status == 0
    cosign("verify", "--insecure-ignore-tlog", "--key", cosign.home / "cosign.pub", name, check=True, **ann)
    found = json.loads(oras("discover", "--format", "json", name, check=True, **ann).stdout)
    assert len(found["referrers"]) == 1
    oras("cp", "-r", name, f"{stage.host}/copied/web:1.4.2", check=True, **ann)
    assert len(json.loads(oras("discover", "--format", "json", f"{stage.host}/copied/web@{digest}", check=True, **ann).stdout)["referrers"]) == 1
    assert crane("digest", f"{stage.host}/acme/web:1.4.2", check=True, **ann).stdout.strip() == digest.encode()
    crane("copy", f"{stage.host}/acme/web:1.4.2", f"{stage.host}/by-crane/web:1.4.2", check=True, **ann)
    assert crane("ls", f"{stage.host}/by-crane/web", check=True, **ann).stdout.split() == [b"1.4.2"]
    assert set(crane("catalog", stage.host, check=True, **ann).stdout.split()) == {b"acme/web", b"by-crane/web", b"copied/web"}
    crane("delete", f"{stage.host}/by-crane/web@{digest}", check=True, **ann)
    assert crane("digest", f"{stage.host}/by-crane/web:1.4.2", check=False, **ann).returncode != 0
    source = f"docker://{stage.host}/acme/web:1.4.2"
    skopeo(
        "--insecure-policy",
        "copy",
        "--preserve-digests",
        source,
        f"docker://{stage.host}/by-skopeo/web:1.4.2",
        check=True,
        LD_LIBRARY_PATH=str(LIBRARIES),
        **ann,
    )
    assert crane("digest", f"{stage.host}/by-skopeo/web:1.4.2", check=True, **ann).stdout.strip() == digest.encode()


def test_oras_resumes_nothing_and_pushes_much_in_chunks(stage: Stage, peer: MakePeer) -> None:
    """A layer of forty megabytes, by oras whole and by us in chunks; both read back the same."""
    oras, ann = peer("oras-1.3.3"), stage.logged_in("ann", ANN)
    large = oras.home / "large.bin"
    large.write_bytes(bytes(range(256)) * 160_000)
    oras("push", f"{stage.host}/large/x:1", "large.bin", check=True, **ann)
    oras("pull", f"{stage.host}/large/x:1", "-o", "back", check=True, **ann)
    assert (oras.home / "back" / "large.bin").read_bytes() == large.read_bytes()


def test_a_renewed_certificate_and_a_changed_file_are_followed(stage: Stage) -> None:
    first = stage.serial
    stage.renew()
    options = ("--registry-config", f"{stage.work}/ann/config.json", "--ca-file", str(stage.ca))
    stage.logged_in("ann", ANN)
    assert run("push", str(stage.work / "web-1.4.2.tgz"), f"oci://{stage.host}/acme", *options).status == 0
    (stage.work / "access.yaml").write_text(ACCESS.replace("{who: [ann]", "{who: [robot]"))
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and (stage.serial == first or run("registry", "list", f"{stage.host}/acme/web", *options).status == 0):
        time.sleep(0.2)
    assert stage.serial != first
    refused = run("registry", "list", f"{stage.host}/acme/web", *options)
    assert (refused.status, "ann may not pull here" in refused.err) == (3, True)
    with contextlib.suppress(OSError):
        (stage.work / "access.yaml").unlink()
