"""The pages about keys and sigstore: their commands run, against stand-ins where a cloud is meant; their policies load."""

from __future__ import annotations

import base64
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.simulators.keepers import aws, azure, certified, gcp, kept, kubernetes, set_all, vault
from tests.simulators.registry import simulated
from tests.support.charts import archive
from tests.support.cli import run
from tests.support.signers import pair
from tests.support.world import connect, publish
from verifier.policy.loader import load_policy
from verifier.signers.key import private_pem
from verifier.signers.public import public_pem

DOCS = Path(__file__).parents[2] / "docs"
POLICIES = ("keyless.md", "private-sigstore.md", "github-attestations.md", "air-gapped.md", "key-rotation.md")


def commands(page: str) -> Iterator[list[str]]:
    for block in re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text(), re.DOTALL):
        yield from (shlex.split(line) for line in block.splitlines() if line.strip())


def follow(page: str, **names: str) -> int:
    """Run each command of the page; returns how many. `names` replace what stands for something else."""
    done = 0
    for words in commands(page):
        for written, meant in names.items():
            words = [word.replace(written, meant) for word in words]
        into = Path(words[words.index(">") + 1]) if ">" in words else None
        assert words[0] == "verifier"
        ran = run(*(words[1 : words.index(">")] if into else words[1:]))
        assert ran.status == 0, f"{page}: {words}: {ran.text}"
        if into:
            into.write_text(ran.out)
        done += 1
    return done


@pytest.fixture
def chart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.chdir(tmp_path)
    with simulated() as registry:
        yield f"oci://{registry.host}/acme/web@{publish(connect(), registry.host, archive())}"


def test_vault(chart: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with kept(vault.answer) as keeper:
        keeper.keys["release"] = [ec.generate_private_key(ec.SECP256R1())]
        set_all(monkeypatch, vault.environment(keeper.url))
        assert follow("keys/vault.md", **{"$CHART": chart}) == 3


def test_aws(chart: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with kept(aws.answer) as keeper:
        keeper.keys[aws.ALIASES["alias/release"]] = [ec.generate_private_key(ec.SECP256R1())]
        set_all(monkeypatch, aws.environment(keeper.url))
        assert follow("keys/aws.md", **{"$CHART": chart}) == 3


def test_gcp(chart: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with kept(gcp.answer) as keeper:
        keeper.keys[gcp.KEY] = [ec.generate_private_key(ec.SECP256R1())]
        set_all(monkeypatch, gcp.environment(keeper.url, tmp_path))
        assert follow("keys/gcp.md", **{"$CHART": chart}) == 3


def test_azure(chart: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    azure.find_vault_here(monkeypatch)
    context, authority = certified(tmp_path, "team.vault.test")
    with kept(azure.identity) as identity, kept(azure.answer, tls=context, host="team.vault.test") as keeper:
        keeper.keys["release"] = [ec.generate_private_key(ec.SECP256R1())]
        set_all(monkeypatch, azure.environment(identity.url, str(authority)))
        assert follow("keys/azure.md", **{"$CHART": chart, "team.vault.azure.net": keeper.url.removeprefix("https://")}) == 3


def test_kubernetes(chart: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, held = pair("cluster"), kubernetes.Secrets()
    data = {"cosign.key": private_pem(key, b"x"), "cosign.password": b"x", "cosign.pub": public_pem(key.public)}
    held.held["charts", "release"] = kubernetes.secret("charts", "release", {name: base64.b64encode(value).decode() for name, value in data.items()})
    context, authority = certified(tmp_path, "127.0.0.1")
    with kept(held.answer, tls=context) as keeper:
        set_all(monkeypatch, kubernetes.kubeconfig(keeper.url, tmp_path / "kubeconfig", ca=authority))
        assert follow("keys/kubernetes.md", **{"$CHART": chart}) == 3


def test_air_gapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERIFIER_PASSWORD", "")
    Path("web-1.4.2.tgz").write_bytes(archive())
    assert run("keys", "generate", "--output", "ci").status == 0
    assert follow("air-gapped.md") == 3


@pytest.mark.parametrize("page", POLICIES)
def test_the_policies_load(page: str) -> None:
    blocks = [textwrap.dedent(block) for block in re.findall(r"```yaml\n(.*?)^ *```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)]
    assert blocks, page
    for block in blocks:
        trust = "trust: {t: {key: {file: t.pub}}}\n" if "trust:" not in block else ""
        names = re.findall(r"^  ([\w-]+):", block.partition("roots:")[0].partition("rules:")[0], re.MULTILINE) or ["t"]
        rule = f'rules: [{{name: r, charts: ["oci://x/a/*"], require: {{signed: {{by: [{", ".join(names)}]}}}}}}]\n' if "rules:" not in block else ""
        load_policy(f"apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {{name: t}}\n{trust}{block}{rule}".encode(), where=page)


def test_every_extra_has_its_page_and_every_page_its_extra() -> None:
    import tomllib

    extras = set(tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    assert "helm-verifier[cel]" in (DOCS / "policy.md").read_text()
    assert "helm-verifier[postgres]" in (DOCS / "server.md").read_text()
    assert "helm-verifier[otel]" in (DOCS / "server.md").read_text()
    extras -= {"cel", "otel", "postgres"}  # which are no keepers of keys
    assert extras == {path.stem for path in (DOCS / "keys").glob("*.md") if path.stem != "README"}
    for extra in extras:
        assert f"helm-verifier[{extra}]" in (DOCS / "keys" / f"{extra}.md").read_text()
        assert f"helm-verifier[{extra}]" in (DOCS / "keys" / "README.md").read_text()
