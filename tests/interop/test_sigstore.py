"""Keyless with real Fulcio, Rekor v2 and timestamp authority: we sign and others verify, they sign and we verify."""

from __future__ import annotations

import base64
import fcntl
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import Peer
from tests.interop.sigstore_stack import Stack, sigstore_stack
from tests.interop.test_sigstore_js import JS, ask
from tests.peers import BIN
from tests.support.cli import run

MakePeer = Callable[[str], Peer]
COSIGN = "cosign-3.1.2"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One instance at a time on this machine: the timestamp authority's metrics have a port of their own that no flag moves."""
    work = tmp_path_factory.mktemp("sigstore")
    BIN.parent.mkdir(parents=True, exist_ok=True)
    with (BIN.parent / "sigstore.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with sigstore_stack(work) as found:
            (work / "trust.json").write_text(json.dumps(found.trust_config()))
            (work / "root.json").write_text(json.dumps(found.trusted_root()))
            (work / "signing.json").write_text(json.dumps(found.trust_config()["signingConfig"]))
            yield found


def who(stack: Stack) -> tuple[str, ...]:
    return ("--certificate-identity", "alice@acme.test", "--certificate-oidc-issuer", stack.issuer, "--trusted-root", str(stack.work / "root.json"))


def sign(stack: Stack, pushed: str, token: str | None = None) -> None:
    (stack.work / "token").write_text(token or stack.token())
    ran = run("sign", f"oci://{pushed}", "--keyless", "--trust-config", str(stack.work / "trust.json"), "--identity-token-file", str(stack.work / "token"))
    assert ran.status == 0, ran.text


def cosign_sign(peer: MakePeer, stack: Stack, pushed: str) -> None:
    signing = ("--signing-config", stack.work / "signing.json", "--trusted-root", stack.work / "root.json")
    peer(COSIGN)("sign", *signing, "--identity-token", stack.token(), "-y", "--allow-http-registry", pushed)


def cosign_verify(peer: MakePeer, stack: Stack, pushed: str, identity: str = "alice@acme.test", issuer: str | None = None) -> int:
    named = ("--certificate-identity", identity, "--certificate-oidc-issuer", issuer or stack.issuer)
    return peer(COSIGN)("verify", "--trusted-root", stack.work / "root.json", *named, "--allow-http-registry", pushed, check=False).returncode


def test_cosign_verifies_what_we_sign(peer: MakePeer, stack: Stack, pushed: str) -> None:
    assert cosign_verify(peer, stack, pushed) != 0
    sign(stack, pushed)
    assert cosign_verify(peer, stack, pushed) == 0
    assert cosign_verify(peer, stack, pushed, "bob@acme.test") != 0
    assert run("verify", f"oci://{pushed}", *who(stack)).status == 0


def test_we_verify_what_cosign_signs(peer: MakePeer, stack: Stack, pushed: str) -> None:
    assert run("verify", f"oci://{pushed}", *who(stack)).status == 1
    cosign_sign(peer, stack, pushed)
    ran = run("verify", f"oci://{pushed}", *who(stack))
    assert ran.status == 0, ran.text
    other = run("verify", f"oci://{pushed}", "--certificate-identity", "bob@acme.test", *who(stack)[2:])
    assert (other.status, "identity-mismatch" in other.out) == (1, True)


@pytest.mark.parametrize("any_registry", ["embedded"], indirect=True)
def test_sigstore_python_both_ways(stack: Stack, pushed: str, tmp_path: Path) -> None:
    from sigstore.dsse import Statement
    from sigstore.models import Bundle, ClientTrustConfig
    from sigstore.oidc import IdentityToken
    from sigstore.sign import SigningContext
    from sigstore.verify import Verifier
    from sigstore.verify.policy import Identity

    config = ClientTrustConfig.from_json((stack.work / "trust.json").read_text())
    archive = tmp_path / "web-1.4.2.tgz"
    (stack.work / "token").write_text(stack.token())
    signing = ("--keyless", "--trust-config", str(stack.work / "trust.json"), "--identity-token-file", str(stack.work / "token"))
    assert run("sign", str(archive), *signing).status == 0
    policy = Identity(identity="alice@acme.test", issuer=stack.issuer)
    ours = Bundle.from_json(archive.with_name(f"{archive.name}.sigstore.json").read_bytes())
    kind, payload = Verifier(trusted_root=config.trusted_root).verify_dsse(ours, policy)
    assert (kind, Statement(payload)) is not None
    with SigningContext.from_trust_config(config).signer(IdentityToken(stack.token())) as signer:
        (tmp_path / "theirs.json").write_text(signer.sign_artifact(archive.read_bytes()).to_json())
    ran = run("verify-blob", str(archive), "--bundle", str(tmp_path / "theirs.json"), *who(stack))
    assert ran.status == 0, ran.text
    (tmp_path / "other").write_bytes(b"other")
    assert run("verify-blob", str(tmp_path / "other"), "--bundle", str(tmp_path / "theirs.json"), *who(stack)).status == 1


def test_the_libraries_for_node_both_ways(peer: MakePeer, stack: Stack, chart: Path, tmp_path: Path) -> None:
    """Messages: an envelope in a v2 log is one thing to the specification since 2026, and another to this release of theirs."""
    assert run("package", str(chart), "-d", str(tmp_path)).status == 0
    archive, bundle = tmp_path / "web-1.4.2.tgz", tmp_path / "bundle.json"
    js, root = peer(JS), json.loads((stack.work / "root.json").read_text())
    config = stack.trust_config()["signingConfig"]
    data = base64.b64encode(archive.read_bytes()).decode()
    made = ask(js, {"sign": {"signingConfig": config, "token": stack.token(), "data": data}})
    bundle.write_text(json.dumps(made))
    ran = run("verify-blob", str(archive), "--bundle", str(bundle), *who(stack))
    assert ran.status == 0, ran.text
    asked = {"bundle": made, "root": root, "artifact": data, "thresholds": {"ctlogThreshold": 1, "tlogThreshold": 1, "timestampThreshold": 1}}
    ours = {**asked, "bundle": message_bundle(stack, archive.read_bytes())}
    changed = {**asked, "artifact": base64.b64encode(b"other").decode()}
    assert [reason is None for reason in ask(js, {"verify": [asked, ours, changed]})] == [True, True, False]


def message_bundle(stack: Stack, data: bytes) -> Any:
    """What sigstore-python makes of a file: the library that signs for us."""
    from sigstore.models import ClientTrustConfig
    from sigstore.oidc import IdentityToken
    from sigstore.sign import SigningContext

    config = ClientTrustConfig.from_json((stack.work / "trust.json").read_text())
    with SigningContext.from_trust_config(config).signer(IdentityToken(stack.token())) as signer:
        return json.loads(signer.sign_artifact(data).to_json())


@pytest.mark.parametrize("any_registry", ["embedded"], indirect=True)
def test_certificates_as_github_and_gitlab_get_them(peer: MakePeer, stack: Stack, pushed: str) -> None:
    for kind, token, identity, repository in (
        ("github", stack.github_token(), "https://github.com/acme/charts/.github/workflows/release.yml@refs/tags/v1.4.2", "https://github.com/acme/charts"),
        ("gitlab", stack.gitlab_token(), "https://gitlab.com/acme/charts//.gitlab-ci.yml@refs/tags/v1.4.2", "https://gitlab.com/acme/charts"),
    ):
        sign(stack, pushed, token)
        issuer = f"{stack.issuer}/{kind}"
        root = ("--trusted-root", str(stack.work / "root.json"))
        named = ("--certificate-identity", identity, "--certificate-oidc-issuer", issuer, *root)
        ran = run("verify", f"oci://{pushed}", *named, "--certificate-source-repository", repository, "-o", "json")
        assert ran.status == 0, ran.text
        signers = [claim["signer"] for claim in json.loads(ran.out)["claims"]]
        claims = next(signer["claims"] for signer in signers if signer["issuer"] == issuer)
        assert claims["sourceRepositoryURI"] == repository
        assert claims["sourceRepositoryRef"] == "refs/tags/v1.4.2"
        assert claims["buildTrigger"] == "push"
        other = run("verify", f"oci://{pushed}", *named, "--certificate-source-repository", "https://github.com/evil/charts")
        assert (other.status, "identity-mismatch" in other.out) == (1, True)
        assert cosign_verify(peer, stack, pushed, identity, issuer) == 0


def attested(stack: Stack, pushed: str, kind: str, directory: Path) -> int:
    """The exit code of a policy that demands an attestation of this type by alice."""
    entry = f"{{keyless: {{issuer: {stack.issuer}, identity: alice@acme.test, root: acme}}}}"
    policy = directory / "attested.yaml"
    policy.write_text(
        f"apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {{name: t}}\ntrust: {{alice: {entry}}}\nroots: {{acme: {{trustedRoot: {stack.work / 'root.json'}}}}}\n"
        f'rules: [{{name: all, charts: ["oci://{pushed.partition("/")[0]}/acme/*"], require: {{attested: {{type: {kind}, by: alice}}}}}}]\n'
    )
    return run("verify", f"oci://{pushed}", "--policy", str(policy)).status


PREDICATES = {
    "slsaprovenance1": {
        "buildDefinition": {"buildType": "https://acme.test/build/v1", "externalParameters": {"x": "y"}, "resolvedDependencies": []},
        "runDetails": {"builder": {"id": "https://acme.test/builder"}},
    },
    "spdxjson": {"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "web", "packages": []},
}


@pytest.mark.parametrize("kind", PREDICATES)
def test_attestations_both_ways(peer: MakePeer, stack: Stack, pushed: str, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "predicate.json"
    file.write_text(json.dumps(PREDICATES[kind]))
    named = ("--certificate-identity", "alice@acme.test", "--certificate-oidc-issuer", stack.issuer, "--trusted-root", stack.work / "root.json")
    verify = ("verify-attestation", "--type", kind, *named, "--allow-http-registry", pushed)
    assert attested(stack, pushed, kind, tmp_path) == 1
    assert peer(COSIGN)(*verify, check=False).returncode != 0
    (stack.work / "token").write_text(stack.token())
    keyless = ("--keyless", "--trust-config", str(stack.work / "trust.json"), "--identity-token-file", str(stack.work / "token"))
    ran = run("attest", f"oci://{pushed}", "--type", kind, "--predicate", str(file), *keyless)
    assert ran.status == 0, ran.text
    peer(COSIGN)(*verify)
    assert attested(stack, pushed, kind, tmp_path) == 0
    assert attested(stack, pushed, "cyclonedx", tmp_path) == 1


def test_we_read_cosigns_attestations(peer: MakePeer, stack: Stack, pushed: str, tmp_path: Path) -> None:
    file = tmp_path / "predicate.json"
    file.write_text(json.dumps(PREDICATES["slsaprovenance1"]))
    signing = ("--signing-config", stack.work / "signing.json", "--trusted-root", stack.work / "root.json")
    peer(COSIGN)("attest", "--type", "slsaprovenance1", "--predicate", file, *signing, "--identity-token", stack.token(), "-y", "--allow-http-registry", pushed)
    assert attested(stack, pushed, "slsaprovenance1", tmp_path) == 0
    assert run("verify", f"oci://{pushed}", *who(stack)).status == 1


@pytest.mark.parametrize("any_registry", ["embedded"], indirect=True)
def test_cosign_verifies_our_keys_log_entry(peer: MakePeer, stack: Stack, pushed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cosign = peer(COSIGN)
    cosign("generate-key-pair", COSIGN_PASSWORD="")
    monkeypatch.setenv("VERIFIER_PASSWORD", "")
    key = cosign.home / "cosign.key"
    verify = ("verify", "--key", "cosign.pub", "--trusted-root", stack.work / "root.json", "--allow-http-registry", pushed)
    ran = run("sign", f"oci://{pushed}", "--key", str(key), "--tlog-upload", "--trust-config", str(stack.work / "trust.json"))
    assert ran.status == 0, ran.text
    cosign(*verify)
    logged = ("--require-tlog", "--trusted-root", str(stack.work / "root.json"))
    assert run("verify", f"oci://{pushed}", "--key", str(cosign.home / "cosign.pub"), *logged).status == 0


@pytest.mark.parametrize("any_registry", ["embedded"], indirect=True)
def test_we_verify_cosigns_keys_log_entry(peer: MakePeer, stack: Stack, pushed: str) -> None:
    cosign = peer(COSIGN)
    cosign("generate-key-pair", COSIGN_PASSWORD="")
    signing = ("--signing-config", stack.work / "signing.json", "--trusted-root", stack.work / "root.json")
    cosign("sign", *signing, "--key", "cosign.key", "-y", "--allow-http-registry", pushed, COSIGN_PASSWORD="")
    logged = ("--require-tlog", "--trusted-root", str(stack.work / "root.json"))
    ran = run("verify", f"oci://{pushed}", "--key", str(cosign.home / "cosign.pub"), *logged)
    assert ran.status == 0, ran.text
