"""Keys that somebody keeps, on the command line: sign, verify, show, rotate; a policy holds public halves only (ADR 9)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.simulators.keepers import Answer, Keeper, kept, set_all, vault
from tests.simulators.registry import simulated
from tests.support.charts import archive
from tests.support.cli import run
from tests.support.world import connect, publish

KEYREF = "hashivault://release"


@pytest.fixture(autouse=True)
def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeper]:
    monkeypatch.chdir(tmp_path)
    with kept(vault.answer) as found:
        set_all(monkeypatch, vault.environment(found.url))
        found.keys["release"] = [ec.generate_private_key(ec.SECP256R1())]
        yield found


@pytest.fixture
def target() -> Iterator[str]:
    with simulated() as registry:
        digest = publish(connect(), registry.host, archive())
        yield f"oci://{registry.host}/acme/web@{digest}"


def show(path: str) -> None:
    ran = run("keys", "show", "--pem", KEYREF)
    assert ran.status == 0, ran.err
    Path(path).write_text(ran.out)


def test_sign_and_verify_by_one_keyref(target: str, keeper: Keeper) -> None:
    assert run("verify", target, "--key", KEYREF).status == 1
    ran = run("sign", target, "--key", KEYREF)
    assert ran.status == 0, ran.err
    keeper.asked.clear()
    found = json.loads(run("verify", target, "--key", KEYREF, "-o", "json").out)
    assert found["outcome"] == "allowed"
    assert keeper.asked == ["GET /v1/transit/keys/release"]  # once, for the public half
    show("ci.pub")
    keeper.asked.clear()
    assert run("verify", target, "--key", "ci.pub").status == 0
    assert keeper.asked == []


def test_attest_and_summaries_take_any_keyref(target: str) -> None:
    Path("sbom.json").write_text('{"spdxVersion": "SPDX-2.3"}')
    assert run("attest", target, "--type", "spdx", "--predicate", "sbom.json", "--key", KEYREF).status == 0
    assert run("sign", target, "--key", KEYREF).status == 0
    show("ci.pub")
    ran = run("verify", target, "--key", "ci.pub", "--attest-decision", KEYREF, "--verifier-id", "https://verifier.acme.test/ci")
    assert (ran.status, "summary attached" in ran.err) == (0, True), ran.text


def test_show_says_what_a_keyref_names(keeper: Keeper) -> None:
    show("ci.pub")
    assert run("keys", "show", KEYREF).out == run("keys", "show", "ci.pub").out
    keeper.keys.clear()
    ran = run("keys", "show", KEYREF)
    assert (ran.status, "[key-unavailable]" in ran.err) == (3, True)


def test_pem_of_a_private_file_needs_its_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIFIER_PASSWORD", "secret")
    assert run("keys", "generate", "--output", "ci").status == 0
    assert run("keys", "show", "--pem", "ci.key").out == Path("ci.pub").read_text() == run("keys", "show", "--pem", "ci.pub").out
    Path("wrong").write_text("wrong\n")
    ran = run("keys", "show", "--pem", "ci.key", "--passphrase-file", "wrong")
    assert (ran.status, "[passphrase-wrong]" in ran.err) == (2, True)


@pytest.mark.parametrize("keyref", [KEYREF, "awskms:///alias/release", "pkcs11:object=release", "k8s://charts/release"])
def test_a_policy_holds_no_key_that_must_be_asked_for(target: str, keyref: str, keeper: Keeper) -> None:
    Path("policy.yaml").write_text(POLICY.replace("{trust}", f'ci: {{key: {{file: "{keyref}"}}}}').replace("{by}", "ci"))
    ran = run("verify", target, "--policy", "policy.yaml")
    assert (ran.status, "[policy-invalid]" in ran.err, "verifier keys show --pem" in ran.err) == (2, True, True), ran.err
    assert keeper.asked == []


POLICY = """apiVersion: verifier/v1
kind: ChartPolicy
metadata: {name: rotation}
trust:
  {trust}
rules:
  - name: ours
    charts: ["oci://127.0.0.1/acme/*"]
    require: {signed: {by: [{by}]}}
"""


def test_rotation_with_windows(target: str, keeper: Keeper) -> None:
    """Before, during and after the overlap: what either key signed counts while its own window is open."""
    show("old.pub")
    assert run("sign", target, "--key", KEYREF).status == 0
    keeper.keys["release"].append(ec.generate_private_key(ec.SECP256R1()))
    show("new.pub")
    assert Path("old.pub").read_text() != Path("new.pub").read_text()

    def outcome(old: str, new: str) -> tuple[int, str | None]:
        trust = f"old: {{key: {{file: old.pub{old}}}}}\n  new: {{key: {{file: new.pub{new}}}}}"
        text = POLICY.replace("{trust}", trust).replace("{by}", "old, new").replace("127.0.0.1", target.split("/")[2])
        Path("policy.yaml").write_text(text)
        ran = run("verify", target, "--policy", "policy.yaml", "-o", "json")
        return ran.status, json.loads(ran.out)["checks"][-1]["code"]

    past, future = "2020-01-01T00:00:00Z", "2090-01-01T00:00:00Z"
    assert outcome("", f", notBefore: {future}") == (0, None)  # announced
    assert outcome(f", notAfter: {future}", f", notBefore: {past}") == (0, None)  # both
    assert outcome(f", notAfter: {past}", f", notBefore: {past}") == (1, "key-outside-window")  # over, and only the old one signed
    assert run("sign", target, "--key", KEYREF).status == 0
    assert outcome(f", notAfter: {past}", f", notBefore: {past}") == (0, None)
    assert outcome(f", notAfter: {past}", f", notBefore: {future}") == (1, "key-outside-window")


def test_a_keeper_that_fails_leaves_nothing_behind(target: str, keeper: Keeper) -> None:
    keeper.forge = ec.generate_private_key(ec.SECP256R1())
    ran = run("sign", target, "--key", KEYREF)
    assert (ran.status, "[signing-failed]" in ran.err) == (2, True)
    keeper.forge, keeper.refusal = None, Answer(503, {"errors": ["Vault is sealed"]})
    ran = run("sign", target, "--key", KEYREF)
    assert (ran.status, "[key-unavailable]" in ran.err, "Vault is sealed" in ran.err) == (3, True, True)
    keeper.refusal = None
    assert run("verify", target, "--key", KEYREF).status == 1
    ran = run("inspect", target)
    assert "sigstore" not in ran.out


def test_an_unknown_kind_of_key_is_no_file() -> None:
    for arguments in (("sign", "web.tgz", "--key", "gitlab://acme/charts"), ("verify", "web.tgz", "--key", "https://acme.test/ci.pub")):
        ran = run(*arguments)
        assert (ran.status, "[key-invalid]" in ran.err, "awskms://" in ran.err) == (2, True, True), ran.err


def test_debug_tells_what_was_asked_of_the_keeper(keeper: Keeper, target: str) -> None:
    ran = run("keys", "show", KEYREF, "--debug")
    assert ran.status == 0, ran.err
    assert f"debug: GET {keeper.url}/v1/transit/keys/release -> 200" in ran.err
    ran = run("sign", target, "--key", KEYREF, "--debug")
    assert f"{keeper.url}/v1/transit/sign/release" in ran.err
