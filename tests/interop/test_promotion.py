"""Copies and bundles beside the real programs: cosign verifies what was promoted, oras reads a bundle, Helm installs from both."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.conftest import Peer, serve
from tests.interop.test_cosign_oras import ORAS, VERIFY, cosign_sign
from tests.support.cli import run

MakePeer = Callable[[str], Peer]


def policy(home: Path, *repositories: str) -> str:
    rules = "".join(
        f'  - name: r{number}\n    charts: ["oci://{name}"]\n    origins: [{", ".join(repr(f"oci://{other}") for other in repositories if other != name)}]\n    require: {{signed: {{by: ci}}}}\n'
        for number, name in enumerate(repositories)
    )
    path = home / "policy.yaml"
    path.write_text(f"apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {{name: both}}\ntrust: {{ci: {{key: {{file: cosign.pub}}}}}}\nrules:\n{rules}")
    return str(path)


def test_cosign_verifies_and_helm_installs_what_was_promoted(any_registry: str, cosign: Peer, pushed: str, tmp_path: Path, peer: MakePeer) -> None:
    cosign_sign(cosign, pushed)
    digest = pushed.partition("@")[2]
    (tmp_path / "other").mkdir()
    with serve("registry-3.1.1", tmp_path / "other") as other:
        rules = policy(cosign.home, f"{any_registry}/acme/web", f"{other}/promoted/web")
        assert cosign(*VERIFY, "cosign.pub", f"{other}/promoted/web@{digest}", check=False).returncode != 0
        ran = run("copy", f"oci://{any_registry}/acme/web:1.4.2", f"oci://{other}/promoted/web", "--policy", rules)
        assert (ran.status, "under the policy both" in ran.out) == (0, True), ran.text
        cosign(*VERIFY, "cosign.pub", f"{other}/promoted/web@{digest}")
        rendered = peer("helm-4.3.1")("template", "x", f"oci://{other}/promoted/web", "--version", "1.4.2", "--plain-http")
        assert b"kind: ConfigMap" in rendered.stdout


@pytest.mark.parametrize("any_registry", ["embedded"], indirect=True)
def test_oras_reads_a_bundle_and_a_bundle_is_loaded_into_a_registry(any_registry: str, cosign: Peer, pushed: str, tmp_path: Path, peer: MakePeer) -> None:
    cosign_sign(cosign, pushed)
    oras, digest, bundle = peer(ORAS), pushed.partition("@")[2], tmp_path / "web.tar"
    (tmp_path / "other").mkdir()
    with serve("registry-2.8.2", tmp_path / "other") as other:
        rules = policy(cosign.home, f"{any_registry}/acme/web", f"{other}/loaded/web", f"{other}/by-oras/web")
        ran = run("bundle", "create", f"oci://{any_registry}/acme/web:1.4.2", "-o", str(bundle), "--policy", rules)
        assert ran.status == 0, ran.text
        descriptor = json.loads(oras("manifest", "fetch", "--descriptor", "--oci-layout", f"{bundle}:1.4.2").stdout)
        assert descriptor["digest"] == digest
        found = json.loads(oras("discover", "--oci-layout", f"{bundle}:1.4.2", "--format", "json").stdout)
        assert len(found["referrers"]) == 1
        oras("copy", "-r", "--from-oci-layout", f"{bundle}:1.4.2", "--to-plain-http", f"{other}/by-oras/web:1.4.2")
        assert run("verify", f"oci://{other}/by-oras/web:1.4.2", "--policy", rules).status == 0
        assert run("bundle", "load", str(bundle), f"oci://{other}/loaded/web", "--policy", rules).status == 0
        cosign(*VERIFY, "cosign.pub", f"{other}/loaded/web@{digest}")
