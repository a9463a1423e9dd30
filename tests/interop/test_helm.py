"""Real Helm and we agree, both ways: packages, pushes, provenance."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.conftest import Gpg, Peer, serve
from tests.support.cli import run
from verifier.charts.archive import read_archive

HELMS = ("helm-3.17.3", "helm-3.21.4", "helm-4.1.4", "helm-4.2.4", "helm-4.3.1")
MakePeer = Callable[[str], Peer]


def manifest(host: str, repository: str, tag: str = "1.4.2") -> dict[str, object]:
    request = urllib.request.Request(f"http://{host}/v2/{repository}/manifests/{tag}", headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
    with urllib.request.urlopen(request) as response:
        value: dict[str, object] = json.loads(response.read())
        return value


def ours(chart: Path, directory: Path, maker: Gpg) -> Path:
    """Packaged and signed by us."""
    (directory / "key.asc").write_bytes(maker.run("--armor", "--export-secret-keys"))
    ran = run("package", str(chart), "-d", str(directory), "--openpgp-key", str(directory / "key.asc"))
    assert ran.status == 0, ran.err
    return directory / "web-1.4.2.tgz"


@pytest.mark.parametrize("helm_name", HELMS)
def test_helm_takes_what_we_package_sign_and_push(helm_name: str, peer: MakePeer, chart: Path, tmp_path: Path, gpg_home: Callable[[str], Gpg]) -> None:
    helm, maker = peer(helm_name), gpg_home("rsa2048")
    package = ours(chart, tmp_path, maker)
    helm("verify", package, "--keyring", maker.public)
    with serve("embedded", tmp_path) as host:
        assert run("push", str(package), f"oci://{host}/acme").status == 0
        reference = f"oci://{host}/acme/web"
        rendered = helm("template", "x", reference, "--version", "1.4.2", "--plain-http", "--verify", "--keyring", maker.public)
        assert b"kind: ConfigMap" in rendered.stdout
        (tmp_path / "pulled").mkdir()
        helm("pull", reference, "--version", "1.4.2", "--plain-http", "--verify", "--keyring", maker.public, "-d", tmp_path / "pulled")
        assert (tmp_path / "pulled" / package.name).read_bytes() == package.read_bytes()
        stranger = gpg_home("rsa2048")
        assert helm("pull", reference, "--version", "1.4.2", "--plain-http", "--verify", "--keyring", stranger.public, check=False).returncode != 0


@pytest.mark.parametrize("algorithm", ["rsa2048", "rsa4096", "ed25519", "nistp256"])
@pytest.mark.parametrize("helm_name", HELMS)
def test_we_verify_what_helm_packages_and_signs(
    helm_name: str, algorithm: str, peer: MakePeer, chart: Path, tmp_path: Path, gpg_home: Callable[[str], Gpg]
) -> None:
    if algorithm == "ed25519" and helm_name == "helm-3.17.3":
        pytest.skip("Helm before 3.21.4 cannot sign with Ed25519 (helm/helm#11634)")
    helm, maker = peer(helm_name), gpg_home(algorithm)
    helm("package", chart, "--sign", "--key", "maker", "--keyring", maker.secret, "-d", tmp_path)
    package = tmp_path / "web-1.4.2.tgz"
    ran = run("verify", str(package), "--openpgp-keyring", str(maker.public))
    assert ran.status == 0, ran.text
    stranger = gpg_home("ed25519")
    assert run("verify", str(package), "--openpgp-keyring", str(stranger.public)).status == 1
    package.write_bytes(package.read_bytes() + b"x")
    assert run("verify", str(package), "--openpgp-keyring", str(maker.public)).status == 1


@pytest.mark.parametrize("helm_name", ["helm-3.17.3", "helm-4.3.1", "helm-3.21.4", "helm-4.2.4"])
def test_we_push_byte_for_byte_what_helm_pushes(helm_name: str, peer: MakePeer, chart: Path, tmp_path: Path, gpg_home: Callable[[str], Gpg]) -> None:
    helm = peer(helm_name)
    package = ours(chart, tmp_path, gpg_home("rsa2048"))
    with serve("embedded", tmp_path) as host:
        helm("push", package, f"oci://{host}/theirs", "--plain-http")
        assert run("push", str(package), f"oci://{host}/ours").status == 0
        assert manifest(host, "ours/web") == manifest(host, "theirs/web")


def test_we_verify_what_helm_pushes(any_registry: str, peer: MakePeer, chart: Path, tmp_path: Path, gpg_home: Callable[[str], Gpg]) -> None:
    helm, maker = peer("helm-4.3.1"), gpg_home("rsa4096")
    helm("package", chart, "--sign", "--key", "maker", "--keyring", maker.secret, "-d", tmp_path)
    helm("push", tmp_path / "web-1.4.2.tgz", f"oci://{any_registry}/acme", "--plain-http")
    reference = f"oci://{any_registry}/acme/web:1.4.2"
    ran = run("verify", reference, "--openpgp-keyring", str(maker.public))
    assert ran.status == 0, ran.text
    assert "(prov-layer)" in ran.out
    assert run("pull", reference, "--openpgp-keyring", str(maker.public), "-d", str(tmp_path / "p")).status == 0
    assert (tmp_path / "p" / "web-1.4.2.tgz").read_bytes() == (tmp_path / "web-1.4.2.tgz").read_bytes()


@pytest.mark.parametrize("helm_name", HELMS)
def test_helm_takes_what_we_release(helm_name: str, any_registry: str, peer: MakePeer, chart: Path, tmp_path: Path, gpg_home: Callable[[str], Gpg]) -> None:
    helm, maker = peer(helm_name), gpg_home("rsa2048")
    (tmp_path / "key.asc").write_bytes(maker.run("--armor", "--export-secret-keys"))
    ran = run("release", str(chart), f"oci://{any_registry}/acme", "--openpgp-key", str(tmp_path / "key.asc"), "-o", "json")
    assert ran.status == 0, ran.text
    reference = f"oci://{any_registry}/acme/web"
    assert json.loads(ran.out)["items"][0]["reference"].startswith(f"{reference}:1.4.2@sha256:")
    done = helm("template", "x", reference, "--version", "1.4.2", "--plain-http", "--verify", "--keyring", maker.public)
    assert b"kind: ConfigMap" in done.stdout
    assert (
        json.loads(run("release", str(chart), f"oci://{any_registry}/acme", "--openpgp-key", str(tmp_path / "key.asc"), "-o", "json").out)["items"][0]["state"]
        == "unchanged"
    )


def test_a_prov_attached_later_counts_like_a_layer(any_registry: str, chart: Path, tmp_path: Path, gpg_home: Callable[[str], Gpg]) -> None:
    maker = gpg_home("rsa2048")
    assert run("package", str(chart), "-d", str(tmp_path)).status == 0
    pushed = run("push", str(tmp_path / "web-1.4.2.tgz"), f"oci://{any_registry}/acme")
    digest = pushed.out.split("digest  ")[1].strip()
    (tmp_path / "key.asc").write_bytes(maker.run("--armor", "--export-secret-keys"))
    signed = run("sign", f"oci://{any_registry}/acme/web@{digest}", "--openpgp-key", str(tmp_path / "key.asc"))
    assert signed.status == 0, signed.err
    assert run("verify", f"oci://{any_registry}/acme/web@{digest}", "--openpgp-keyring", str(maker.public)).status == 0


@pytest.mark.parametrize("helm_name", HELMS)
def test_helms_lock_is_one_to_us(helm_name: str, peer: MakePeer, chart: Path, tmp_path: Path) -> None:
    helm = peer(helm_name)
    (tmp_path / "dep").mkdir()
    (tmp_path / "dep" / "Chart.yaml").write_text("apiVersion: v2\nname: dep\nversion: 0.3.1\n")
    declared = '- {name: dep, version: ">=0.3.0 <1.0.0", repository: "file://../dep", alias: d2, tags: [a, "b<c"], condition: d.enabled, import-values: [x]}\n'
    with (chart / "Chart.yaml").open("a") as file:
        file.write(f"dependencies:\n{declared}")
    helm("dependency", "update", chart)

    def problem() -> str | None:
        assert run("package", str(chart), "-d", str(tmp_path)).status == 0
        return read_archive((tmp_path / "web-1.4.2.tgz").read_bytes(), where="web").facts.lock_problem

    assert problem() is None
    text = (chart / "Chart.yaml").read_text()
    (chart / "Chart.yaml").write_text(text.replace("<1.0.0", "<2.0.0"))
    assert "digest does not match" in str(problem())
