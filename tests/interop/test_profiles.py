"""The simulated registries are no misunderstanding of our own: real helm, cosign and oras push to them, sign in them and read what we attached."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import Peer
from tests.simulators.registry.profiles import PROFILES, Stage, standing
from tests.support.charts import archive
from tests.support.cli import run
from tests.support.clouds import no_identity
from tests.support.signers import pair, private_pem
from verifier.signers.public import public_pem

MakePeer = Callable[[str], Peer]
ATTACHING = sorted(name for name, profile in PROFILES.items() if profile.can_attach)


@pytest.fixture(params=ATTACHING)
def stage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    no_identity(monkeypatch)
    with standing(PROFILES[request.param], tmp_path) as stage:
        for name, text in stage.net.environment.items():
            monkeypatch.setenv(name, text)
        (tmp_path / "web-1.4.2.tgz").write_bytes(archive())
        (tmp_path / "ci.key").write_bytes(private_pem(pair("ci")))
        (tmp_path / "ci.pub").write_bytes(public_pem(pair("ci").public))
        yield stage


def test_helm_pushes_we_sign_cosign_and_oras_read(stage: Stage, peer: MakePeer, tmp_path: Path) -> None:
    helm, cosign, oras = peer("helm-3.21.4"), peer("cosign-3.1.2"), peer("oras-1.3.3")
    around = stage.environment
    helm("push", tmp_path / "web-1.4.2.tgz", stage.base, "--ca-file", stage.net.ca_file, check=True, **around)
    digest = stage.registry.tags[f"{stage.profile.path}/web", "1.4.2"]
    name = f"{stage.base.removeprefix('oci://')}/web"
    signed = run("sign", f"oci://{name}@{digest}", "--key", str(tmp_path / "ci.key"), *stage.options)
    assert signed.status == 0, signed.text
    cosign("verify", "--insecure-ignore-tlog", "--key", tmp_path / "ci.pub", f"{name}@{digest}", check=True, **around)
    found = json.loads(oras("discover", "--format", "json", f"{name}@{digest}", check=True, **around).stdout)
    assert len(found["referrers"]) == 1
    (tmp_path / "pulled").mkdir()
    helm("pull", f"{stage.base}/web", "--version", "1.4.2", "--ca-file", stage.net.ca_file, "-d", tmp_path / "pulled", check=True, **around)
    assert (tmp_path / "pulled" / "web-1.4.2.tgz").read_bytes() == (tmp_path / "web-1.4.2.tgz").read_bytes()


def test_cosign_signs_and_we_read(stage: Stage, peer: MakePeer, cosign: Peer, tmp_path: Path) -> None:
    assert run("push", str(tmp_path / "web-1.4.2.tgz"), stage.base, *stage.options).status == 0
    digest = stage.registry.tags[f"{stage.profile.path}/web", "1.4.2"]
    name = f"{stage.base.removeprefix('oci://')}/web"
    signing = ("--signing-config", cosign.home / "nolog.json", "--key", cosign.home / "cosign.key", "-y")
    aliased = stage.registry.switches.alias_tags
    done = cosign("sign", *signing, f"{name}@{digest}", COSIGN_PASSWORD="secret", check=not aliased, **stage.environment)
    if aliased:  # there the tag of the list is taken for the chart itself, which cosign 3.1.2 does not see through
        assert b"fallback tag manifest is not an OCI image index" in done.stderr
        return
    if stage.registry.switches.referrers_html:  # a web page is taken for the API by cosign, which then lists its signature nowhere, and does not find it
        found = cosign("verify", "--insecure-ignore-tlog", "--key", cosign.home / "cosign.pub", f"{name}@{digest}", check=False, **stage.environment)
        assert found.returncode != 0
        return
    verified = run("verify", f"oci://{name}:1.4.2", "--key", str(cosign.home / "cosign.pub"), *stage.options)
    assert verified.status == 0, verified.text
