"""The getter beside Helm's own ways to a chart, and a release beside the three programs that do the same in turn."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from bench.stage import Stage

ROUNDS = 9
Times = Callable[..., list[list[float]]]


def getter(stage: Stage, times_ms: Times, row: Callable[..., None]) -> None:
    for name in ("helm-3.21.4", "helm-4.3.1"):
        helm = stage.peer(name)
        if helm is None:
            row(f"{name}: the getter", "the peer is missing")
            continue
        data = {"HELM_DATA_HOME": str(stage.work / name), "VERIFIER_POLICY": str(stage.work / "policy.yaml")}
        warm = {**data, "XDG_RUNTIME_DIR": str(stage.work)}
        stage.run(stage.verifier, "helm", "install-plugin", "--helm", helm, **data)
        plain = f"oci://{stage.host}/acme/web"
        with resident(stage):
            ours, resided, theirs, verified = _medians(stage, times_ms, helm, plain, (data, warm))
        row(f"{name}: `template verified+oci://`", f"{ours:.0f} ms", f"{theirs:.0f} ms `template oci://`", ours / theirs, "2, at most 3")
        row(f"{name}: with `helm resident`", f"{resided:.0f} ms", f"{theirs:.0f} ms `template oci://`", resided / theirs, "2, at most 3")
        row(f"{name}: with `helm resident`", f"{resided:.0f} ms", f"{verified:.0f} ms `template --verify`", resided / verified, "2, at most 3")


def _medians(stage: Stage, times_ms: Times, helm: Path, plain: str, data: tuple[dict[str, str], dict[str, str]]) -> list[float]:
    own, warm = data
    verified = ("--version", "1.0.0", "--plain-http", "--verify", "--keyring", "team.gpg")
    took = times_ms(
        lambda: stage.run(helm, "template", "x", f"verified+{plain}:1.0.0", **own),
        lambda: stage.run(helm, "template", "x", f"verified+{plain}:1.0.0", **warm),
        lambda: stage.run(helm, "template", "x", plain, "--version", "1.0.0", "--plain-http"),
        lambda: stage.run(helm, "template", "x", plain, *verified),
        rounds=ROUNDS,
    )
    return [statistics.median(item) for item in took]


@contextlib.contextmanager
def resident(stage: Stage) -> Iterator[None]:
    """A resident for the calls with this runtime directory, until the block ends."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(stage.work / "home"), "XDG_RUNTIME_DIR": str(stage.work)}
    process = subprocess.Popen([str(stage.verifier), "helm", "resident"], env=environment, stderr=subprocess.DEVNULL)
    try:
        while not (stage.work / "verifier" / "getter.sock").exists():
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def release(stage: Stage, times_ms: Times, row: Callable[..., None]) -> None:
    """Each round releases a new version, so that nothing is there already."""
    helm, cosign = stage.peer("helm-4.3.1"), stage.peer("cosign-3.1.2")
    if helm is None or cosign is None or not (stage.work / "g").is_dir():
        row("a release", "the peers are missing")
        return
    (stage.work / "sbom.json").write_text('{"spdxVersion":"SPDX-2.3","name":"app"}')
    (stage.work / "nolog.json").write_text('{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}')
    versions = (f"9.0.{number}" for number in count())

    def ours(*sbom: str) -> None:
        _chart(stage.work / "app", versions)
        stage.run(stage.verifier, "release", "app", f"oci://{stage.host}/bench", "--key", "ci.key", "--openpgp-key", "team.key", *sbom, VERIFIER_PASSWORD="")

    def theirs(*, attest: bool = False) -> None:
        version = _chart(stage.work / "app", versions)
        stage.run(helm, "package", "app", "--sign", "--key", "bench", "--keyring", "secret.gpg")
        pushed = stage.run(helm, "push", f"app-{version}.tgz", f"oci://{stage.host}/bench", "--plain-http")
        digest = (pushed.stdout + pushed.stderr).decode().partition("Digest: ")[2].split()[0]
        flags = ("--signing-config", "nolog.json", "--key", "ci.key", "-y", "--allow-http-registry")
        stage.run(cosign, "sign", *flags, f"{stage.host}/bench/app@{digest}")
        if attest:
            stage.run(cosign, "attest", *flags, "--type", "spdxjson", "--predicate", "sbom.json", f"{stage.host}/bench/app@{digest}")

    took = times_ms(ours, theirs, lambda: ours("--sbom", "sbom.json"), lambda: theirs(attest=True), rounds=ROUNDS)
    mine, others, attested, attesting = (statistics.median(item) for item in took)
    row("`verifier release`, GPG and key, verified", f"{mine:.0f} ms", f"{others:.0f} ms `helm package --sign`, `helm push`, `cosign sign`", mine / others, "1")
    row("`verifier release --sbom`", f"{attested:.0f} ms", f"{attesting:.0f} ms the same and `cosign attest`", attested / attesting, "1")


def _chart(directory: Path, versions: Iterator[str]) -> str:
    version = next(versions)
    (directory / "templates").mkdir(parents=True, exist_ok=True)
    (directory / "Chart.yaml").write_text(f"apiVersion: v2\nname: app\nversion: {version}\n")
    for number in range(20):
        (directory / "templates" / f"t{number}.yaml").write_text("kind: ConfigMap\n" * 40)
    return version
