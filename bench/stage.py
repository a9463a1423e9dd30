"""What is measured on: a real registry on loopback, a hundred charts signed with OpenPGP and a key pair, and the peers.

Measured is what a user installs: the built wheel in an environment of its own, not this checkout with its test tools.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.peers import BIN
from tests.support.charts import archive
from tests.support.servers import free_port, start, stop
from tests.support.signers import pair, pgp
from tests.support.world import connect, publish, sign
from verifier.charts.archive import read_archive
from verifier.model.artifact import ChartFile
from verifier.model.digest import sha256
from verifier.schemes.openpgp.generate import generate_key
from verifier.schemes.openpgp.sign import SecretKey, sign_text
from verifier.signers.key import private_pem
from verifier.signers.public import public_pem

CHARTS = 100
ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).parent / "uv"


@dataclass
class Stage:
    """`digests[i]` is chart `web` version `1.0.i`."""

    work: Path
    host: str = ""
    digests: list[str] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def peer(self, name: str) -> Path | None:
        """A peer's path, if it is there."""
        return BIN / name if (BIN / name).is_file() else None

    @property
    def verifier(self) -> Path:
        """The installed command."""
        return self.work / "env" / "bin" / "verifier"

    def run(self, *command: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
        """Run a program in a home of the bench's own; raises when it fails."""
        clean = {"PATH": os.environ["PATH"], "HOME": str(self.work / "home"), "COSIGN_PASSWORD": "", **environment}
        done = subprocess.run([str(item) for item in command], check=False, capture_output=True, env=clean, cwd=self.work)
        if done.returncode != 0:
            raise RuntimeError(f"{command}: {done.stderr.decode()[-1000:]}")
        return done

    def start(self, *command: object, url: str) -> subprocess.Popen[bytes]:
        """Start a server, and wait until `url` answers in any way."""
        process = start(command, url, self.work, home=self.work / "home")
        self.processes.append(process)
        return process


@contextlib.contextmanager
def staged(work: Path) -> Iterator[Stage]:
    """Registry, charts, signatures, trust files; everything is stopped at the end."""
    stage = Stage(work)
    (work / "home").mkdir()
    try:
        _install(work)
        _registry(stage)
        _charts(stage)
        yield stage
    finally:
        if (work / "g").is_dir():
            stage.run("gpgconf", "--homedir", "g", "--kill", "all")
        for process in stage.processes:
            stop(process)


def _install(work: Path) -> None:
    def uv(*arguments: object) -> None:
        subprocess.run([str(UV), *(str(item) for item in arguments)], check=True, capture_output=True, cwd=ROOT)

    uv("build", "--wheel", "--out-dir", work / "dist")
    uv("venv", "--python", sys.executable, work / "env")
    uv("export", "--frozen", "--no-dev", "--no-emit-project", "--output-file", work / "requirements.txt")
    (wheel,) = (work / "dist").glob("*.whl")
    python = work / "env" / "bin" / "python"
    uv("pip", "install", "--compile-bytecode", "--python", python, "--requirement", work / "requirements.txt")
    uv("pip", "install", "--compile-bytecode", "--no-deps", "--python", python, wheel)


def _registry(stage: Stage) -> None:
    registry = stage.peer("registry-3.1.1")
    if registry is None:
        raise SystemExit("make bench needs the peers: python -m tests.peers --bench says what is missing")
    stage.host = f"127.0.0.1:{free_port()}"
    config = stage.work / "registry.yaml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {stage.work / 'data'}}}}}\nhttp: {{addr: '{stage.host}'}}\n"
    )
    stage.start(registry, "serve", config, url=f"http://{stage.host}/v2/")


def _charts(stage: Stage) -> None:
    work, connections = stage.work, connect()
    maker = generate_key("bench <bench@example.test>")
    (work / "team.asc").write_bytes(maker.public)
    (work / "team.key").write_bytes(maker.secret)
    (work / "ci.key").write_bytes(private_pem(pair(), b""))
    (work / "ci.pub").write_bytes(public_pem(pair().public))
    key = SecretKey(maker.secret, "bench")
    from verifier.charts.provenance import write_provenance

    for index in range(CHARTS):
        data = archive(version=f"1.0.{index}", files={f"templates/t{n}.yaml": b"kind: ConfigMap\n" * 40 for n in range(20)})
        facts = read_archive(data, where="x").facts
        prov = sign_text(write_provenance(facts, sha256(data)), key, passphrase=None)
        if index == 0:
            (work / "web-1.0.0.tgz").write_bytes(data)
            (work / "web-1.0.0.tgz.prov").write_bytes(prov)
        digest = publish(connections, stage.host, data, tag=f"1.0.{index}", prov=prov)
        sign(connections, stage.host, digest, pair())
        stage.digests.append(str(digest))
    (work / "policy.yaml").write_text(
        "apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {name: bench}\ntrust: {ci: {key: {file: ci.pub}}}\nrules:\n"
        f'  - {{name: all, charts: ["oci://{stage.host}/acme/*"], require: {{signed: {{by: ci}}}}}}\n'
    )
    if shutil.which("gpg"):
        (work / "g").mkdir(mode=0o700)
        stage.run("gpg", "--homedir", "g", "--batch", "--import", "team.asc")
        (work / "team.gpg").write_bytes(stage.run("gpg", "--homedir", "g", "--batch", "--export").stdout)
        stage.run("gpg", "--homedir", "g", "--batch", "--import", "team.key")
        (work / "secret.gpg").write_bytes(stage.run("gpg", "--homedir", "g", "--batch", "--export-secret-keys").stdout)
    connections.close()


def chart_file() -> ChartFile:
    """A chart in memory."""
    data = archive()
    return ChartFile(path="web-1.4.2.tgz", digest=sha256(data), facts=read_archive(data, where="x").facts, archive=data)


__all__ = ["CHARTS", "Stage", "chart_file", "free_port", "pair", "pgp", "staged"]
