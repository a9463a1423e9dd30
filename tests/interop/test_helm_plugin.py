"""Real Helms, 3.17 to 4.3, with our getter and plugin: what is allowed arrives byte for byte, what is denied does not arrive."""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.conftest import Gpg, Peer, serve
from tests.simulators.chart_repository import chart_repository, entry, index_of
from tests.simulators.kubernetes import cluster, write_kubeconfig
from tests.support.charts import archive
from tests.support.cli import run
from tests.support.servers import serving
from tests.support.signers import pair
from tests.support.world import connect, publish, sign
from tests.unit.test_docs import script
from verifier.charts.archive import read_archive
from verifier.charts.provenance import write_provenance
from verifier.model.digest import Digest, sha256
from verifier.schemes.sigstore.sign import sign_digest
from verifier.signers.public import public_pem

HELM3 = ("helm-3.17.3", "helm-3.18.0", "helm-3.21.4")
HELM4 = ("helm-4.1.4", "helm-4.2.4", "helm-4.3.1")
HELMS = (*HELM3, *HELM4)
REGISTRIES = ("embedded", "registry-3.1.1")
MakePeer = Callable[[str], Peer]
Helm = Callable[..., subprocess.CompletedProcess[bytes]]
CONFIG_MAP = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}'}\ndata: {from: '%s'}\n"


def chart(name: str = "web", version: str = "1.4.2", said: str = "verified", extra: str = "") -> bytes:
    return archive(name, version, {"templates/a.yaml": CONFIG_MAP % said.encode()}, extra)


@dataclass(frozen=True)
class World:
    """A registry with a signed and an unsigned version, and Helm with the plugin and a policy of the user's."""

    host: str
    helm: Helm
    home: Path
    digest: Digest

    @property
    def oci(self) -> str:
        return f"oci://{self.host}/acme"

    @property
    def verified(self) -> str:
        return f"verified+{self.oci}"


def signed(host: str, data: bytes, name: str, tag: str, prov: bytes | None = None) -> Digest:
    digest = publish(connect(), host, data, name=f"acme/{name}", tag=tag, prov=prov)
    sign(connect(), host, digest, pair(), name=f"acme/{name}")
    return digest


@pytest.fixture
def world(tmp_path: Path, peer: MakePeer) -> Callable[..., contextlib.AbstractContextManager[World]]:
    @contextlib.contextmanager
    def made(helm_name: str, registry: str = "embedded", prov: bytes | None = None) -> Iterator[World]:
        program = peer(helm_name)
        with serve(registry, tmp_path) as host, cluster() as kubernetes:
            digest = signed(host, chart(), "web", "1.4.2", prov)
            publish(connect(), host, chart(version="1.5.0", said="unsigned"), tag="1.5.0")
            environment = configured(host, program.home, kubernetes)
            install(program, environment)
            yield World(host=host, helm=calling(program, environment), home=program.home, digest=digest)

    return made


def configured(host: str, home: Path, kubernetes: str) -> dict[str, str]:
    (home / "ci.pub").write_bytes(public_pem(pair().public))
    (home / "policy.yaml").write_text(
        "apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {name: mine}\ntrust:\n  ci: {key: {file: ci.pub}}\n"
        f'rules:\n  - name: ours\n    charts: ["oci://{host}/acme/*"]\n    require: {{signed: {{by: ci}}}}\n'
    )
    (home / "empty.yaml").write_text("[]\n")
    return {
        "VERIFIER_POLICY": str(home / "policy.yaml"),
        "HELM_DATA_HOME": str(home / "da ta"),  # a blank in the path of a plugin is usual on macOS and Windows
        "KUBECONFIG": str(write_kubeconfig(home / "kubeconfig", kubernetes)),
        "HELM_DRIVER": "memory",
        "HELM_MEMORY_DRIVER_DATA": str(home / "empty.yaml"),
    }


def calling(program: Peer, environment: dict[str, str]) -> Helm:
    """The program in an environment of its own."""

    def call(*arguments: object, check: bool = True, **more: str) -> subprocess.CompletedProcess[bytes]:
        return program(*arguments, check=check, **(environment | more))

    return call


def install(program: Peer, environment: dict[str, str], *options: str) -> str:
    """As a user does, by the command; Helm's variables are the process's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(program.home))
        for name, value in environment.items():
            patch.setenv(name, value)
        ran = run("helm", "install-plugin", "--helm", str(program.path), *options)
    assert ran.status == 0, ran.err
    return ran.out


def refused(done: subprocess.CompletedProcess[bytes], code: str) -> None:
    assert done.returncode != 0
    assert f"[{code}]".encode() in done.stderr, done.stderr.decode()
    assert b"kind: ConfigMap" not in done.stdout


COMMANDS = {
    "install": ("install", "shop", "-o", "json"),
    "upgrade": ("upgrade", "--install", "shop", "-o", "json"),
    "template": ("template", "shop"),
    "show": ("show", "all"),
}


@pytest.mark.parametrize("registry", REGISTRIES)
@pytest.mark.parametrize("helm_name", HELMS)
def test_helms_commands_take_verified_charts_only(helm_name: str, registry: str, world: Callable[..., contextlib.AbstractContextManager[World]]) -> None:
    with world(helm_name, registry) as here:
        for command in COMMANDS.values():
            done = here.helm(*command, f"{here.verified}/web:1.4.2")
            assert b"1.4.2" in done.stdout if command[0] == "show" else b"verified" in done.stdout, done.stdout.decode()
            refused(here.helm(*command, f"{here.verified}/web:1.5.0", check=False), "unsigned")
        (here.home / "out").mkdir()
        here.helm("pull", f"{here.verified}/web-1.4.2.tgz", "-d", here.home / "out")
        assert (here.home / "out" / "web-1.4.2.tgz").read_bytes() == chart()
        refused(here.helm("pull", f"{here.verified}/web-1.5.0.tgz", "-d", here.home / "out", check=False), "unsigned")
        assert os.listdir(here.home / "out") == ["web-1.4.2.tgz"]


@pytest.mark.parametrize("helm_name", HELMS)
def test_forms_of_a_reference_and_what_is_refused(helm_name: str, world: Callable[..., contextlib.AbstractContextManager[World]]) -> None:
    with world(helm_name) as here:
        for form in (f"web@{here.digest}", f"web:1.4.2@{here.digest}", "web-1.4.2.tgz", f"web@{here.digest}/web-1.4.2.tgz"):
            assert b"verified" in here.helm("template", "x", f"{here.verified}/{form}").stdout
        refused(here.helm("template", "x", f"{here.verified}/web:1.5.0@{here.digest}", check=False), "tag-moved")
        refused(here.helm("template", "x", f"{here.verified}/web", "--version", "1.4.2", check=False), "reference-invalid")
        refused(here.helm("template", "x", "verified+oci://other.example.test/acme/web:1.4.2", check=False), "no-rule")
        refused(here.helm("template", "x", f"{here.verified}/web:1.4.2", check=False, VERIFIER_POLICY=""), "no-policy")
        refused(here.helm("template", "x", f"{here.verified}/web:1.4.2", check=False, VERIFIER_POLICY="policy.yaml"), "config-invalid")


@pytest.mark.parametrize("registry", REGISTRIES)
@pytest.mark.parametrize("helm_name", HELMS)
def test_helms_own_verify_goes_together_with_a_digest(
    helm_name: str, registry: str, world: Callable[..., contextlib.AbstractContextManager[World]], gpg_home: Callable[[str], Gpg]
) -> None:
    """Helm alone offers one or the other: with a digest its --verify always fails (helm/helm#32546)."""
    maker, stranger = gpg_home("rsa2048"), gpg_home("rsa2048")
    data = chart()
    text = write_provenance(read_archive(data, where="web").facts, read_archive(data, where="web").digest)
    with world(helm_name, registry, prov=clearsigned(maker, text)) as here:
        for form in ("web-1.4.2.tgz", f"web@{here.digest}/web-1.4.2.tgz", "web:1.4.2/web-1.4.2.tgz"):
            url = f"{here.verified}/{form}"
            assert b"verified" in here.helm("template", "x", url, "--verify", "--keyring", maker.public).stdout
            assert here.helm("template", "x", url, "--verify", "--keyring", stranger.public, check=False).returncode != 0
        wrapped = here.helm("verifier", "template", "x", f"{here.oci}/web@{here.digest}", "--verify", "--keyring", maker.public)
        assert b"verified" in wrapped.stdout


def clearsigned(maker: Gpg, text: str) -> bytes:
    source = maker.home / "text"
    source.write_text(text)
    return maker.run("--digest-algo", "SHA512", "--clearsign", "--output", "-", str(source))


@pytest.mark.parametrize("registry", REGISTRIES)
@pytest.mark.parametrize("helm_name", HELMS)
def test_dependencies_come_through_the_getter(helm_name: str, registry: str, world: Callable[..., contextlib.AbstractContextManager[World]]) -> None:
    with world(helm_name, registry) as here:
        for repository in (here.verified, f"{here.verified}/web"):
            here.helm("repo", "add", "--force-update", "acme", repository)  # Helm wants it for `build`, of any repository but oci://
            parent = here.home / "parent"
            shutil.rmtree(parent, ignore_errors=True)
            parent.mkdir()
            declared = f"dependencies: [{{name: web, version: 1.4.2, repository: '{repository}'}}]\n"
            (parent / "Chart.yaml").write_text(f"apiVersion: v2\nname: parent\nversion: 0.1.0\n{declared}")
            here.helm("dependency", "update", parent)
            assert (parent / "charts" / "web-1.4.2.tgz").read_bytes() == chart()
            shutil.rmtree(parent / "charts")
            here.helm("dependency", "build", parent)
            assert (parent / "charts" / "web-1.4.2.tgz").read_bytes() == chart()
            (parent / "Chart.yaml").write_text((parent / "Chart.yaml").read_text().replace("1.4.2", "1.5.0"))
            shutil.rmtree(parent / "charts")
            refused(here.helm("dependency", "update", parent, check=False), "unsigned")
            assert not list(parent.glob("charts/*.tgz"))


@pytest.mark.parametrize("registry", REGISTRIES)
@pytest.mark.parametrize("helm_name", HELMS)
def test_as_a_repository(helm_name: str, registry: str, world: Callable[..., contextlib.AbstractContextManager[World]]) -> None:
    with world(helm_name, registry) as here:
        here.helm("repo", "add", "acme", here.verified)
        here.helm("repo", "update")
        assert b"verified" in here.helm("template", "x", "acme/web", "--version", "1.4.2").stdout
        assert b"verified" in here.helm("template", "x", "acme/web", "--version", "~1.4").stdout
        refused(here.helm("template", "x", "acme/web", check=False), "unsigned")


@pytest.mark.parametrize("helm_name", HELM4)
def test_helm_4s_content_cache_slips_nothing_in(helm_name: str, world: Callable[..., contextlib.AbstractContextManager[World]]) -> None:
    """It takes what lies there under a digest that it was told, and does not hash it again."""
    evil = chart(said="EVIL")
    with world(helm_name) as here:
        here.helm("repo", "add", "acme", here.verified)
        asked = (f"{here.verified}/web:1.4.2", f"{here.verified}/web@{here.digest}", f"{here.verified}/web-1.4.2.tgz", "acme/web")
        for reference in asked:
            here.helm("template", "x", reference, *(("--version", "1.4.2") if reference == "acme/web" else ()))
        cached = [path for path in (here.home / "c").rglob("*.chart") if path.is_file()]
        for digest in (here.digest.hex, read_archive(chart(), where="web").digest.hex):
            cached.append(here.home / "c" / "content" / digest[:2] / f"{digest}.chart")
        for path in cached:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(evil)
        for reference in asked:
            done = here.helm("template", "x", reference, *(("--version", "1.4.2") if reference == "acme/web" else ()))
            assert (b"EVIL" in done.stdout, b"verified" in done.stdout) == (False, True), reference


@pytest.mark.parametrize("registry", REGISTRIES)
@pytest.mark.parametrize("helm_name", HELMS)
def test_helm_verifier_is_verifier_and_wraps_helm(helm_name: str, registry: str, world: Callable[..., contextlib.AbstractContextManager[World]]) -> None:
    with world(helm_name, registry) as here:
        web = f"{here.oci}/web"
        assert b"ALLOWED" in here.helm("verifier", "verify", f"{web}:1.4.2").stdout
        assert here.helm("verifier", "verify", f"{web}:1.5.0", check=False).returncode == 1
        assert b"present" in here.helm("verifier", "inspect", f"{web}:1.4.2", VERIFIER_POLICY="").stdout
        here.helm("verifier", "pull", f"{web}:1.4.2", "-d", here.home / "pulled")
        assert (here.home / "pulled" / "web-1.4.2.tgz").read_bytes() == chart()
        assert b"ours" in here.helm("verifier", "policy", "show", f"{web}:1.4.2", "--policy", here.home / "policy.yaml").stdout
        for command in ("install", "upgrade", "template"):
            words = COMMANDS[command][1:]
            done = here.helm("verifier", command, *words, f"{web}:1.4.2", "--set", "a=b,c=d", "--namespace", "shop")
            assert b"verified" in done.stdout, done.stdout.decode()
            refused(here.helm("verifier", command, *words, web, "--version", "1.5.0", check=False), "unsigned")
            refused(here.helm("verifier", command, *words, f"{web}:1.4.2", "--dependency-update", check=False), "usage")


@pytest.mark.parametrize("helm_name", HELMS)
def test_a_chart_of_a_chart_repository_is_handed_over(helm_name: str, world: Callable[..., contextlib.AbstractContextManager[World]]) -> None:
    """By Helm's own words for it; Helm itself fetches nothing from there."""
    with world(helm_name) as here, chart_repository() as (repository, host):
        url = f"http://{host}/stable"
        unsigned = chart(version="1.5.0", said="unsigned")
        repository.add(chart(), below="/stable", bundle=sign_digest(sha256(chart()), pair(), name="web-1.4.2.tgz"))
        repository.add(unsigned, below="/stable")
        repository.files["/stable/index.yaml"] = index_of([entry(chart(), "web-1.4.2.tgz"), entry(unsigned, "web-1.5.0.tgz")])
        policy = here.home / "policy.yaml"
        policy.write_text(policy.read_text().replace("rules:\n", f'rules:\n  - {{name: there, charts: ["{url}/*"], require: {{signed: {{by: ci}}}}}}\n'))
        for words in (("web", "--repo", url, "--version", "1.4.2"), (f"{url}/web:1.4.2",), (f"{url}/web", "--version=1.4.2")):
            repository.asked.clear()
            assert b"from: 'verified'" in here.helm("verifier", "template", "x", *words).stdout
            assert sorted(path.rpartition("/")[2] for _, path in repository.asked) == [
                "index.yaml",
                "web-1.4.2.tgz",
                "web-1.4.2.tgz.prov",
                "web-1.4.2.tgz.sigstore.json",
            ]
            refused(here.helm("verifier", "template", "x", *(word.replace("1.4.2", "1.5.0") for word in words), check=False), "unsigned")
        refused(here.helm("verifier", "template", "x", "./web-1.4.2.tgz", "--repo", url, check=False), "reference-invalid")
        refused(here.helm("verifier", "template", "x", f"{here.oci}/web:1.4.2", "--repo", url, check=False), "reference-invalid")


@pytest.mark.parametrize("helm_name", HELMS)
def test_a_wrapped_command_cannot_be_talked_into_another_chart(helm_name: str, world: Callable[..., contextlib.AbstractContextManager[World]]) -> None:
    """Words that look like flags, values that look like charts: Helm gets the verified file for its chart, or refuses."""
    with world(helm_name) as here:
        evil = here.home / "evil-1.0.0.tgz"
        evil.write_bytes(chart("evil", "1.0.0", said="EVIL"))
        good = f"{here.oci}/web:1.4.2"
        taken: tuple[tuple[str, ...], ...] = (
            ("x", good, "--set", str(evil)),
            ("x", good, "--description", f"-- {evil}"),
            ("x", good, "--wait", "--set", "a=b"),
            ("--", "x", good),
            ("--generate-name=false", "x", good),
            ("-g", good),
        )
        for words in taken:
            done = here.helm("verifier", "template", *words, check=False)
            assert b"EVIL" not in done.stdout
        for words in (("x", good, str(evil)), ("x", str(evil)), (str(evil),), ("x", "--", good, str(evil))):
            done = here.helm("verifier", "template", *words, check=False)
            assert (done.returncode != 0, done.stdout) == (True, b"")


def test_a_registry_that_goes_away(world: Callable[..., contextlib.AbstractContextManager[World]]) -> None:
    for name in ("helm-3.21.4", "helm-4.3.1"):
        with world(name) as here:
            kept = here
        done = kept.helm("template", "x", f"{kept.verified}/web:1.4.2", check=False)
        assert (done.returncode != 0, done.stdout, b"[unreachable]" in done.stderr) == (True, b"", True), done.stderr.decode()


def test_several_at_once(world: Callable[..., contextlib.AbstractContextManager[World]]) -> None:
    with world("helm-4.3.1") as here:
        signed(here.host, chart("db", "1.0.0", said="database"), "db", "1.0.0")
        asked = [("web:1.4.2", b"verified"), ("db:1.0.0", b"database")] * 3
        with ThreadPoolExecutor(6) as pool:
            done = list(pool.map(lambda item: here.helm("template", "x", f"{here.verified}/{item[0]}"), asked))
        assert all(item[1] in one.stdout for item, one in zip(asked, done, strict=True))


def test_two_helms_that_share_a_directory(tmp_path: Path, peer: MakePeer) -> None:
    old, new = peer("helm-3.17.3"), peer("helm-4.3.1")
    with serve("embedded", tmp_path) as host, cluster() as kubernetes:
        signed(host, chart(), "web", "1.4.2")
        environment = configured(host, new.home, kubernetes)
        assert "(form helm4)" in install(new, environment)
        assert b"unknown field" in calling(old, environment)("plugin", "list", check=False).stderr, "Helm 3 stumbles over Helm 4's form"
        assert "(form both)" in install(old, environment)
        for helm in (calling(old, environment), calling(new, environment)):
            assert b"verified" in helm("template", "x", f"verified+oci://{host}/acme/web:1.4.2").stdout
            assert b"ALLOWED" in helm("verifier", "verify", f"oci://{host}/acme/web:1.4.2").stdout


@pytest.mark.parametrize("helm_name", ["helm-3.21.4", "helm-4.3.1"])
def test_the_page_runs(helm_name: str, tmp_path: Path, peer: MakePeer) -> None:
    program = peer(helm_name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "helm").symlink_to(program.path)
    path = f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOME": str(program.home)}
    page = script(Path(__file__).parents[2] / "docs" / "helm-plugin.md")
    done = subprocess.run(["bash", "-c", page], cwd=program.home, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout.count("kind: ConfigMap"), "ALLOWED" in done.stdout, "[unsigned]" in done.stderr) == (2, True, True), done.stdout


# Archives of a release


@pytest.fixture
def released(tmp_path: Path, gpg_home: Callable[[str], Gpg]) -> tuple[Path, Gpg]:
    """The plugin's archives, signed by a maker's key."""
    maker = gpg_home("rsa2048")
    (maker.home / "key.asc").write_bytes(maker.run("--armor", "--export-secret-keys"))
    ran = run("helm", "package-plugin", "-d", str(tmp_path / "release"), "--openpgp-key", str(maker.home / "key.asc"))
    assert ran.status == 0, ran.err
    return tmp_path / "release", maker


@pytest.mark.parametrize("helm_name", HELM4)
def test_helm_4_verifies_and_installs_our_archives(helm_name: str, peer: MakePeer, released: tuple[Path, Gpg], gpg_home: Callable[[str], Gpg]) -> None:
    program, (release, maker), stranger = peer(helm_name), released, gpg_home("rsa2048")
    helm = calling(program, {"HELM_DATA_HOME": str(program.home / "data"), "VERIFIER_PYTHON": sys.executable})
    for name in ("verifier", "verifier-getter"):
        package = release / f"{name}-0.1.0.tgz"
        assert b"Plugin Hash Verified" in helm("plugin", "verify", package, "--keyring", maker.public).stdout
        assert helm("plugin", "install", package, "--keyring", stranger.public, check=False).returncode != 0
        helm("plugin", "install", package, "--keyring", maker.public)
    listed = helm("plugin", "list").stdout.decode()
    assert all(kind in listed for kind in ("cli/v1", "getter/v1")), listed
    assert listed.count("v1 ") >= 2
    assert b"verifier, version" in helm("verifier", "--version").stdout
    refused(helm("template", "x", "verified+oci://reg.test/acme/web:1", check=False), "no-policy")
    package.write_bytes(package.read_bytes() + b"x")
    assert helm("plugin", "verify", package, "--keyring", maker.public, check=False).returncode != 0


@pytest.mark.parametrize("helm_name", HELM3)
def test_helm_3_installs_our_archive(helm_name: str, peer: MakePeer, released: tuple[Path, Gpg]) -> None:
    program, (release, _) = peer(helm_name), released
    helm = calling(program, {"HELM_DATA_HOME": str(program.home / "data"), "VERIFIER_PYTHON": sys.executable})
    handler = functools.partial(_Quiet, directory=str(release))
    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as port:
        helm("plugin", "install", f"http://127.0.0.1:{port}/verifier-helm3-0.1.0.tgz")
    assert b"verifier, version" in helm("verifier", "--version").stdout
    refused(helm("template", "x", "verified+oci://reg.test/acme/web:1", check=False), "no-policy")
    without = helm("verifier", "--version", check=False, VERIFIER_PYTHON="")
    assert (without.returncode != 0, b"does not know which Python" in without.stderr) == (True, True)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def guess_type(self, path: object) -> str:
        return "application/gzip"  # Helm 3 takes it for a git repository otherwise

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("helm_name", HELM4)
def test_what_we_sign_of_a_plugin_is_what_helm_would_sign(helm_name: str, peer: MakePeer, released: tuple[Path, Gpg]) -> None:
    """Helm packs the same files and says the same of them, but for the order and the empty fields of Go's structures."""
    helm, (release, maker) = peer(helm_name), released
    source = helm.home / "source"
    with tarfile.open(fileobj=io.BytesIO((release / "verifier-0.1.0.tgz").read_bytes())) as tar:
        tar.extractall(source, filter="data")
    helm("plugin", "package", source / "verifier", "--sign", "--key", "maker", "--keyring", maker.secret, "-d", helm.home)
    theirs, ours = (stated(directory / "verifier-0.1.0.tgz.prov") for directory in (helm.home, release))
    assert all(theirs.get(key) == value for key, value in ours.items() if key in ("APIVersion", "Name", "Type", "Version", "Runtime")), theirs


def stated(path: Path) -> dict[str, str]:
    lines = path.read_text().split("\n\n", 1)[1].splitlines()
    return dict(line.split(": ", 1) for line in lines if ": " in line and not line.startswith(" "))


# What Helm itself does with digests


@pytest.mark.parametrize("helm_name", HELMS)
def test_which_helms_take_a_digest_themselves(helm_name: str, world: Callable[..., contextlib.AbstractContextManager[World]]) -> None:
    """The table in docs/helm-plugin.md."""
    with world(helm_name) as here:
        for form in (f"web@{here.digest}", f"web:1.4.2@{here.digest}"):
            assert b"verified" in here.helm("template", "x", f"{here.oci}/{form}", "--plain-http").stdout
        moved = here.helm("template", "x", f"{here.oci}/web:1.5.0@{here.digest}", "--plain-http", check=False)
        assert (moved.returncode == 0) is (helm_name == "helm-3.17.3"), "a tag that names another digest is taken by the oldest only"
        refused(here.helm("template", "x", f"{here.verified}/web:1.5.0@{here.digest}", check=False), "tag-moved")
        signed = here.helm("template", "x", f"{here.oci}/web@{here.digest}", "--plain-http", "--verify", "--keyring", here.home / "none", check=False)
        assert signed.returncode != 0
        assert json.loads(here.helm("install", "shop", "-o", "json", f"{here.verified}/web@{here.digest}").stdout)["name"] == "shop"
