"""The `.sig` tag of cosign 1 and 2, with keys and keyless, both ways, on each registry; cosign itself writes and reads it.

The old form needs a log of version 1, which can't be had as one program: that log is the tests' own. Cosign believes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.conftest import Peer
from tests.simulators import sigstore_http
from tests.support.cli import run

MakePeer = Callable[[str], Peer]
COSIGN = "cosign-3.1.2"
OLD = "--new-bundle-format=false"


@dataclass(frozen=True)
class Instance:
    services: sigstore_http.Services
    directory: Path

    @property
    def root(self) -> Path:
        return self.directory / "root.json"

    def named(self, identity: str = "alice@acme.test") -> tuple[str, ...]:
        return ("--certificate-identity", identity, "--certificate-oidc-issuer", "https://issuer.acme.test", "--trusted-root", str(self.root))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    with sigstore_http.running() as services:
        found = Instance(services, tmp_path)
        config = services.trust_config(timestamps=False)
        found.root.write_text(json.dumps(config["trustedRoot"]))
        (tmp_path / "trust.json").write_text(json.dumps(config))
        (tmp_path / "token").write_text(services.token())
        yield found


def test_cosigns_old_form_with_a_key(peer: MakePeer, pushed: str) -> None:
    cosign = peer(COSIGN)
    cosign("generate-key-pair", COSIGN_PASSWORD="")
    legacy = ("--new-bundle-format=false", "--use-signing-config=false", "--tlog-upload=false", "--allow-http-registry", "-y")
    cosign("sign", *legacy, "--key", "cosign.key", pushed, COSIGN_PASSWORD="")
    ran = run("verify", f"oci://{pushed}", "--key", str(cosign.home / "cosign.pub"), "-o", "json")
    assert ran.status == 0, ran.text
    assert json.loads(ran.out)["claims"][0]["evidence"]["kind"] == "cosign-tag"


def test_cosigns_old_path_verifies_our_old_form(peer: MakePeer, pushed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cosign = peer(COSIGN)
    cosign("generate-key-pair", COSIGN_PASSWORD="")
    monkeypatch.setenv("VERIFIER_PASSWORD", "")
    ran = run("sign", f"oci://{pushed}", "--key", str(cosign.home / "cosign.key"), "--legacy-signature")
    assert ran.status == 0, ran.text
    verify = ("verify", "--new-bundle-format=false", "--insecure-ignore-tlog", "--allow-http-registry", "--key")
    cosign(*verify, "cosign.pub", pushed)
    cosign("generate-key-pair", "--output-key-prefix", "other", COSIGN_PASSWORD="")
    assert cosign(*verify, "other.pub", pushed, check=False).returncode != 0


def test_cosigns_old_form_keyless(peer: MakePeer, pushed: str, instance: Instance) -> None:
    services = ("--fulcio-url", instance.services.url, "--rekor-url", instance.services.url, "--identity-token", instance.directory / "token")
    how = (OLD, "--use-signing-config=false", "--trusted-root", instance.root, "--allow-http-registry", "-y")
    assert run("verify", f"oci://{pushed}", *instance.named()).status == 1
    peer(COSIGN)("sign", *how, *services, pushed)
    ran = run("verify", f"oci://{pushed}", *instance.named(), "-o", "json")
    assert ran.status == 0, ran.text
    claim = json.loads(ran.out)["claims"][0]
    assert (claim["evidence"]["kind"], claim["clock"]) == ("cosign-tag", "log")
    ran = run("verify", f"oci://{pushed}", *instance.named("bob@acme.test"))
    assert (ran.status, "identity-mismatch" in ran.out) == (1, True)


def test_cosigns_old_path_verifies_our_keyless_old_form(peer: MakePeer, pushed: str, instance: Instance) -> None:
    cosign, verify = peer(COSIGN), ("verify", OLD, "--allow-http-registry")
    signing = ("--keyless", "--trust-config", str(instance.directory / "trust.json"), "--identity-token-file", str(instance.directory / "token"))
    assert cosign(*verify, *instance.named(), pushed, check=False).returncode != 0
    ran = run("sign", f"oci://{pushed}", *signing, "--legacy-signature")
    assert ran.status == 0, ran.err
    cosign(*verify, *instance.named(), pushed)
    assert cosign(*verify, *instance.named("bob@acme.test"), pushed, check=False).returncode != 0
