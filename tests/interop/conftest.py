"""Fixtures around the real programs. Without one its tests are skipped; with VERIFIER_REQUIRE_PEERS they fail."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.peers import find, obtainable
from tests.support.charts import chart_yaml
from tests.support.cli import run
from tests.support.servers import free_port, start, stop
from verifier.registry.app import RegistryApp
from verifier.registry.running import running
from verifier.registry.store import RegistryStore

Run = Callable[..., subprocess.CompletedProcess[bytes]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/interop" in str(item.path):
            item.add_marker(pytest.mark.interop)


def program(name: str) -> Path:
    """The peer's path. Missing: a failure where it could be had and must be, else a skip with the reason."""
    path = find(name)
    if path is None:
        if os.environ.get("VERIFIER_REQUIRE_PEERS") and obtainable(name):
            pytest.fail(f"the peer {name} is missing; python -m tests.peers says why")
        pytest.skip(f"the peer {name} is not here (make peers)")
    return path


@dataclass
class Peer:
    """A real program, with a home of the test's own."""

    path: Path
    home: Path

    def __call__(self, *arguments: object, check: bool = True, **environment: str) -> subprocess.CompletedProcess[bytes]:
        clean = {"PATH": os.environ["PATH"], "HOME": str(self.home), "HELM_CACHE_HOME": str(self.home / "c"), "HELM_CONFIG_HOME": str(self.home / "h")}
        command = [str(self.path), *(str(item) for item in arguments)]
        done = subprocess.run(command, capture_output=True, env={**clean, **environment}, cwd=self.home, stdin=subprocess.DEVNULL, timeout=120)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}\n{done.stdout.decode()}\n{done.stderr.decode()}")
        return done


@pytest.fixture
def peer(tmp_path: Path) -> Callable[[str], Peer]:
    """A peer by name."""

    def make(name: str) -> Peer:
        home = tmp_path / f"home-{name}"
        home.mkdir(exist_ok=True)
        return Peer(program(name), home)

    return make


@pytest.fixture
def cosign(peer: Callable[[str], Peer]) -> Peer:
    """Cosign with a key pair and no services."""
    found = peer("cosign-3.1.2")
    found("generate-key-pair", COSIGN_PASSWORD="secret")
    (found.home / "nolog.json").write_text('{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}')
    return found


REGISTRIES = ("embedded", "registry-2.8.2", "registry-3.1.1")


@pytest.fixture(params=REGISTRIES)
def any_registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Each registry in turn, as host:port."""
    with serve(request.param, tmp_path) as host:
        yield host


@contextlib.contextmanager
def serve(name: str, directory: Path) -> Iterator[str]:
    """A registry on a free loopback port, until the block ends."""
    if name == "embedded":
        store = RegistryStore(directory / "embedded")
        store.prepare()
        with running(RegistryApp(store)) as host:
            yield host
        return
    host = f"127.0.0.1:{free_port()}"
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory / name)}, "delete": {"enabled": True}},
        "http": {"addr": host},
    }
    path = directory / f"{name}.json"
    path.write_text(json.dumps(config))
    process = start([program(name), "serve", path], f"http://{host}/v2/", directory)
    try:
        yield host
    finally:
        stop(process)


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A chart directory with everything that Helm's metadata can hold."""
    directory = tmp_path / "web"
    (directory / "templates").mkdir(parents=True)
    extra = (
        "description: 'A <web> & \"server\"'\nappVersion: '1.27'\nhome: https://example.test\nsources: [https://example.test/src]\n"
        "keywords: [web, http]\nmaintainers: [{name: Ann, email: ann@example.test}, {name: Bob}]\nicon: https://example.test/i.png\n"
        "annotations: {category: web, org.opencontainers.image.title: not-ours}\nkubeVersion: '>=1.20.0-0'\ntype: application\n"
    )
    (directory / "Chart.yaml").write_bytes(chart_yaml(extra=extra))
    (directory / "values.yaml").write_text("replicas: 1\n")
    (directory / "templates" / "a.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}'}\ndata: {r: '{{ .Values.replicas }}'}\n"
    )
    return directory


@pytest.fixture
def pushed(any_registry: str, chart: Path, tmp_path: Path) -> str:
    """A chart in a registry, as HOST/acme/web@DIGEST."""
    assert run("package", str(chart), "-d", str(tmp_path)).status == 0
    ran = run("push", str(tmp_path / "web-1.4.2.tgz"), f"oci://{any_registry}/acme")
    assert ran.status == 0, ran.err
    return f"{any_registry}/acme/web@{ran.out.split('digest  ')[1].strip()}"


class Gpg:
    """A GnuPG home of the test's own, with one key whose primary signs, as Helm wants it."""

    def __init__(self, home: Path, algorithm: str) -> None:
        self.home = home
        self.run("--quick-gen-key", "maker <maker@example.test>", algorithm, "sign", "never")
        listing = self.run("--with-colons", "--list-keys").decode()
        self.fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
        self.secret, self.public = home / "secret.gpg", home / "public.gpg"
        self.secret.write_bytes(self.run("--export-secret-keys"))
        self.public.write_bytes(self.run("--export"))

    def run(self, *arguments: str) -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", "", *arguments]
        return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.fixture
def gpg_home() -> Iterator[Callable[[str], Gpg]]:
    """Makes GnuPG homes, and removes them with their agents."""
    from verifier.schemes.openpgp.gpg import temporary_home

    if shutil.which("gpg") is None:
        pytest.skip("the gpg program is not installed")
    with contextlib.ExitStack() as stack:
        yield lambda algorithm: Gpg(stack.enter_context(temporary_home()), algorithm)
