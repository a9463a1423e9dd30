"""`verify -f`: every chart that files name, one report; what cannot be verified fails, and is never left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.charts import archive
from tests.support.cli import Ran, run
from tests.support.signers import pair
from tests.support.world import connect, publish, sign
from verifier.signers.public import public_pem


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ci.pub").write_bytes(public_pem(pair().public))


def signed(host: str, name: str, version: str, *, by: bool = True) -> str:
    digest = publish(connect(), host, archive(name, version), name=f"acme/{name}", tag=version)
    if by:
        sign(connect(), host, digest, pair(), name=f"acme/{name}")
    return f"oci://{host}/acme/{name}:{version}"


def verify(*words: str) -> Ran:
    return run("verify", *words, "--key", "ci.pub")


def test_every_chart_of_several_files_is_verified_once(registry: str) -> None:
    web, db = signed(registry, "web", "1.4.2"), signed(registry, "db", "1.0.0")
    Path("charts.txt").write_text(f"{web}\n{db}\n")
    Path("helmfile.yaml").write_text(f"releases: [{{name: a, chart: oci://{registry}/acme/web, version: 1.4.2}}]\n")
    ran = verify("-f", "charts.txt", "-f", "helmfile.yaml")
    assert ran.status == 0, ran.text
    assert ran.out.count("ALLOWED") == 2
    assert f"named   {web} in helmfile.yaml: releases[0]" in ran.out
    assert len(json.loads(verify("-f", "charts.txt", "-f", "helmfile.yaml", "-o", "json").out)["items"]) == 2


def test_one_that_is_denied_decides(registry: str) -> None:
    Path("charts.txt").write_text(f"{signed(registry, 'web', '1.4.2')}\n{signed(registry, 'db', '1.0.0', by=False)}\n")
    ran = verify("-f", "charts.txt")
    assert (ran.status, "[unsigned]" in ran.out, ran.out.count("ALLOWED")) == (1, True, 1)


def test_what_cannot_be_verified_fails_with_its_place(registry: str) -> None:
    signed(registry, "web", "1.4.2")
    dependencies = f"[{{name: web, version: 1.4.2, repository: 'oci://{registry}/acme'}}, {{name: x, version: 1.0.0, repository: 's3://charts'}}]"
    Path("Chart.yaml").write_text(f"apiVersion: v2\nname: parent\nversion: 0.1.0\ndependencies: {dependencies}\n")
    ran = verify("-f", "Chart.yaml")
    assert (ran.status, "Chart.yaml: dependencies[1]" in ran.err, "[chart-unverifiable]" in ran.err) == (1, True, True)
    assert json.loads(verify("-f", "Chart.yaml", "-o", "json").out)["problems"][0]["code"] == "chart-unverifiable"
    results = json.loads(verify("-f", "Chart.yaml", "-o", "sarif").out)["runs"][0]["results"]
    assert [result["ruleId"] for result in results] == ["chart-unverifiable"]
    assert "::error title=verifier chart-unverifiable::Chart.yaml" in verify("-f", "Chart.yaml", "-o", "github").out


def test_a_range_is_what_the_lock_says(registry: str) -> None:
    signed(registry, "web", "1.4.2")
    dependencies = f"[{{name: web, version: ~1.4, repository: 'oci://{registry}/acme'}}]"
    Path("Chart.yaml").write_text(f"apiVersion: v2\nname: parent\nversion: 0.1.0\ndependencies: {dependencies}\n")
    assert verify("-f", "Chart.yaml").status == 1
    Path("Chart.lock").write_text(f"dependencies: [{{name: web, version: 1.4.2, repository: 'oci://{registry}/acme'}}]\n")
    assert verify("-f", "Chart.yaml").status == 0
    Path("Chart.lock").write_text("a: [\n")
    assert "[file-unreadable]" in verify("-f", "Chart.yaml").err


def test_misuse() -> None:
    Path("empty.yaml").write_text("a: 1\n")
    for words, code in ((("-f", "empty.yaml"), "no-chart"), (("-f", "missing.yaml"), "file-unreadable"), ((), "usage")):
        ran = verify(*words)
        assert (ran.status, f"[{code}]" in ran.err) == (2, True), ran.text
