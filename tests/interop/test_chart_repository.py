"""Chart repositories as real Helms make and read them: `helm repo index` and `helm package --sign`, and what we write, `helm pull --repo --verify`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.conftest import Gpg, Peer
from tests.interop.test_helm import HELMS, ours
from tests.simulators.chart_repository import SimulatedChartRepository, chart_repository
from tests.support.cli import CANARY, run
from tests.unit.test_docs import script

MakePeer = Callable[[str], Peer]
MakeGpg = Callable[[str], Gpg]


@pytest.fixture(autouse=True)
def _no_repositories_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HELM_REPOSITORY_CONFIG", str(tmp_path / "home-none" / "repositories.yaml"))


def put(repository: SimulatedChartRepository, folder: Path, below: str = "/stable") -> None:
    """Serve what lies in a folder."""
    repository.files = {f"{below}/{path.name}": path.read_bytes() for path in folder.iterdir() if path.is_file()}


def indexed(helm: Peer, maker: Gpg, chart: Path, folder: Path) -> Path:
    """What Helm signs and indexes."""
    folder.mkdir()
    helm("package", chart, "--sign", "--key", "maker", "--keyring", maker.secret, "-d", folder)
    helm("repo", "index", folder)
    return folder


@pytest.mark.parametrize("form", ["yaml", "json", "absolute"])
@pytest.mark.parametrize("helm_name", HELMS)
def test_we_verify_what_helm_signs_and_indexes(helm_name: str, form: str, peer: MakePeer, chart: Path, tmp_path: Path, gpg_home: MakeGpg) -> None:
    helm, maker, stranger = peer(helm_name), gpg_home("rsa2048"), gpg_home("rsa2048")
    folder = tmp_path / "stable"
    folder.mkdir()
    for version in ("1.4.1", "1.4.2"):
        helm("package", chart, "--version", version, "--sign", "--key", "maker", "--keyring", maker.secret, "-d", folder)
    with chart_repository() as (repository, host):
        url = f"http://{host}/stable"
        helm("repo", "index", folder, *{"yaml": (), "json": ("--json",), "absolute": ("--url", url)}[form])
        assert (folder / "index.yaml").read_bytes()[:1] == (b"{" if form == "json" else b"a")
        put(repository, folder)
        for version in ("1.4.1", "1.4.2"):
            ran = run("verify", f"{url}/web:{version}", "--openpgp-keyring", str(maker.public))
            assert (ran.status, f"{url}/web-{version}.tgz" in ran.out, "index-digest" in ran.out) == (0, True, False), ran.text
        assert run("verify", f"{url}/web:1.4.2", "--openpgp-keyring", str(stranger.public)).status == 1
        assert run("pull", f"{url}/web:1.4.2", "--openpgp-keyring", str(maker.public), "-d", str(tmp_path / "out")).status == 0
        assert (tmp_path / "out" / "web-1.4.2.tgz").read_bytes() == (folder / "web-1.4.2.tgz").read_bytes()
        repository.files["/stable/web-1.4.2.tgz"] = repository.files["/stable/web-1.4.1.tgz"]
        ran = run("verify", f"{url}/web:1.4.2", "--openpgp-keyring", str(maker.public))
        assert (ran.status, "version-mismatch" in ran.out, "index-digest" in ran.out) == (1, True, True)


@pytest.mark.parametrize("helm_name", HELMS)
def test_helm_verifies_what_we_package_and_sign(
    helm_name: str, peer: MakePeer, chart: Path, tmp_path: Path, gpg_home: MakeGpg, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where a bundle lies beside the archive, Helm is not disturbed by it."""
    helm, maker = peer(helm_name), gpg_home("rsa2048")
    folder = tmp_path / "stable"
    folder.mkdir()
    package = ours(chart, folder, maker)
    (folder / "key.asc").unlink()
    keys = tmp_path / "ci"
    monkeypatch.setenv("VERIFIER_PASSWORD", CANARY)
    assert run("keys", "generate", "--output", str(keys)).status == 0
    assert run("sign", str(package), "--key", f"{keys}.key").status == 0
    helm("repo", "index", folder)
    with chart_repository() as (repository, host):
        url = f"http://{host}/stable"
        put(repository, folder)
        out = tmp_path / "out"
        out.mkdir()
        helm("pull", "web", "--repo", url, "--version", "1.4.2", "--verify", "--keyring", maker.public, "-d", out)
        assert (out / package.name).read_bytes() == package.read_bytes()
        assert run("verify", f"{url}/web:1.4.2", "--openpgp-keyring", str(maker.public), "--key", f"{keys}.pub").status == 0


@pytest.mark.parametrize("helm_name", ["helm-3.17.3", "helm-4.3.1"])
def test_what_helm_keeps_of_a_login_opens_it_for_us(
    helm_name: str, peer: MakePeer, chart: Path, tmp_path: Path, gpg_home: MakeGpg, monkeypatch: pytest.MonkeyPatch
) -> None:
    helm, maker = peer(helm_name), gpg_home("rsa2048")
    folder = indexed(helm, maker, chart, tmp_path / "stable")
    with chart_repository() as (repository, host):
        url = f"http://{host}/stable"
        put(repository, folder)
        repository.login = f"user:{CANARY}"
        asking = ("verify", f"{url}/web:1.4.2", "--openpgp-keyring", str(maker.public))
        ran = run(*asking)
        assert (ran.status, "unauthorized" in ran.out) == (3, True)
        helm("repo", "add", "acme", url, "--username", "user", "--password", CANARY)
        (written,) = helm.home.rglob("repositories.yaml")
        monkeypatch.setenv("HELM_REPOSITORY_CONFIG", str(written))
        ran = run(*asking)
        assert ran.status == 0, ran.text


@pytest.mark.parametrize("helm_name", ["helm-3.17.3", "helm-4.3.1"])
def test_dependencies_as_helm_fetches_them(helm_name: str, peer: MakePeer, chart: Path, tmp_path: Path, gpg_home: MakeGpg) -> None:
    helm, maker = peer(helm_name), gpg_home("rsa2048")
    folder = indexed(helm, maker, chart, tmp_path / "stable")
    parent = tmp_path / "parent"
    parent.mkdir()
    with chart_repository() as (repository, host):
        url = f"http://{host}/stable"
        put(repository, folder)
        (parent / "Chart.yaml").write_text(f"apiVersion: v2\nname: parent\nversion: 1.0.0\ndependencies: [{{name: web, version: ^1.4, repository: '{url}'}}]\n")
        helm("dependency", "update", parent)
        asking = ("dependencies", "verify", str(parent), "--openpgp-keyring", str(maker.public))
        ran = run(*asking)
        assert (ran.status, "charts/ holds the same archive" in ran.out) == (0, True), ran.text
        repository.files["/stable/web-1.4.2.tgz"] += b"x"
        ran = run(*asking)
        assert (ran.status, "archive-trailing" in ran.out) == (1, True), ran.text


@pytest.mark.parametrize("helm_name", HELMS)
def test_helm_reads_what_the_page_writes(helm_name: str, peer: MakePeer, tmp_path: Path) -> None:
    """An index by hand, too, must be one that Helm takes: it wants name and apiVersion in each entry, and leaves out what has none."""
    helm = peer(helm_name)
    text = script(Path(__file__).parents[2] / "docs" / "chart-repositories.md").partition("# on this machine")[0]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", f"{text}\ntrap - EXIT"], cwd=tmp_path, env=environment, capture_output=True, check=True, timeout=60)
    with chart_repository() as (repository, host):
        put(repository, tmp_path / "site", below="")
        helm("pull", "web", "--repo", f"http://{host}", "--version", "1.4.2", "-d", tmp_path)
        assert (tmp_path / "web-1.4.2.tgz").read_bytes() == (tmp_path / "site" / "web-1.4.2.tgz").read_bytes()
