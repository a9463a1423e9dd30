"""The command line as a user meets it: package, sign, push, verify, pull, and everything that can go wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import jsonschema
import pytest

from tests.simulators.registry import Switches, simulated
from tests.support.charts import archive, chart_yaml
from tests.support.cli import CANARY, run
from tests.support.signers import pair, pgp
from verifier.cli.main import main
from verifier.model.digest import sha256
from verifier.report.schema import decision_schema
from verifier.schemes.openpgp import gpg
from verifier.signers.key import private_pem
from verifier.signers.public import public_pem


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERIFIER_PASSWORD", CANARY)
    chart = tmp_path / "web"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_bytes(chart_yaml())
    (chart / "values.yaml").write_text("replicas: 1\n")
    (chart / "README.md").write_text("# web\n\x1b[31mred\n")
    (chart / "templates" / "a.yaml").write_text("kind: ConfigMap\n")
    (tmp_path / "team.asc").write_bytes(pgp().public)
    (tmp_path / "team.key").write_bytes(pgp().secret)


def packaged() -> str:
    assert run("package", "web").status == 0
    return "web-1.4.2.tgz"


def pushed(registry: str, *, prov: bool = False) -> str:
    name = packaged()
    if prov:
        Path(f"{name}.prov").write_bytes(pgp().provenance(_chart_file(name)))
    ran = run("push", name, f"oci://{registry}/acme")
    assert ran.status == 0, ran.err
    return ran.out.split("digest  ")[1].strip()


def _chart_file(name: str):  # type: ignore[no-untyped-def]
    from tests.support.charts import chart_file

    return chart_file(Path(name).read_bytes(), name)


def keys(prefix: str = "ci") -> None:
    assert run("keys", "generate", "--output", prefix).status == 0


# The main job


def test_the_main_job(registry: str) -> None:
    digest = pushed(registry, prov=True)
    keys()
    reference = f"oci://{registry}/acme/web@{digest}"
    assert run("sign", reference, "--key", "ci.key").status == 0
    flags = ("--openpgp-keyring", "team.asc", "--key", "ci.pub")
    ran = run("verify", reference, *flags)
    assert ran.status == 0, ran.text
    assert "ALLOWED" in ran.out
    assert ran.out.count("verified  ") == 2
    inspected = run("inspect", reference, *flags)
    assert inspected.status == 0
    assert inspected.out.count("  verified  ") == 2
    bare = run("inspect", reference)
    assert "verified" not in bare.out
    assert bare.out.count("  present   ") == 2
    pulled = run("pull", reference, *flags, "-d", "out")
    assert pulled.status == 0
    assert (Path("out") / "web-1.4.2.tgz").read_bytes() == Path("web-1.4.2.tgz").read_bytes()
    shown = run("show", "all", reference, *flags)
    assert "name: web" in shown.out
    assert "\x1b" not in shown.out
    assert run("show", "values", reference, *flags).out == "replicas: 1\n"
    again = run("push", "web-1.4.2.tgz", f"oci://{registry}/acme")
    assert again.status == 0
    assert "there already" in again.out


def test_a_denial_says_what_was_found_and_what_to_do(registry: str) -> None:
    digest = pushed(registry)
    keys()
    ran = run("verify", f"oci://{registry}/acme/web:1.4.2", "--key", "ci.pub")
    assert ran.status == 1
    assert ran.out.startswith(f"DENIED  oci://{registry}/acme/web:1.4.2\n  why     expected a signature by key-1")
    assert "found   no signature: absent" in ran.out
    assert "next    unsigned:" in ran.out
    assert digest in ran.out
    quiet = run("verify", f"oci://{registry}/acme/web:1.4.2", "--key", "ci.pub", "-q")
    assert len(quiet.out.splitlines()) == 3
    assert run("pull", f"oci://{registry}/acme/web:1.4.2", "--key", "ci.pub", "-d", "out").status == 1
    assert not list(Path("out").iterdir())
    assert run("show", "chart", f"oci://{registry}/acme/web:1.4.2", "--key", "ci.pub").out == ""


def test_json_is_one_document_under_the_published_schema(registry: str) -> None:
    digest = pushed(registry)
    keys()
    run("sign", f"oci://{registry}/acme/web@{digest}", "--key", "ci.key")
    schema = decision_schema()
    allowed = run("verify", f"oci://{registry}/acme/web@{digest}", "--key", "ci.pub", "-o", "json")
    assert allowed.status == 0
    value = json.loads(allowed.out)
    jsonschema.validate(value, schema)
    assert (value["outcome"], value["allowed"], value["code"]) == ("allowed", True, None)
    many = run("verify", f"oci://{registry}/acme/web@{digest}", f"oci://{registry}/acme/none:1", "web-1.4.2.tgz", "--key", "ci.pub", "-o", "json")
    assert many.status == 1
    listed = json.loads(many.out)
    assert [item["outcome"] for item in listed["items"]] == ["allowed", "inconclusive", "denied"]
    for item in listed["items"]:
        jsonschema.validate(item, schema)


def test_the_worst_of_several_is_the_exit_code(registry: str) -> None:
    digest = pushed(registry)
    keys()
    run("sign", f"oci://{registry}/acme/web@{digest}", "--key", "ci.key")
    good, absent, unsigned, missing = f"oci://{registry}/acme/web@{digest}", f"oci://{registry}/acme/none:1", "web-1.4.2.tgz", "missing.tgz"
    assert run("verify", good, good, "--key", "ci.pub").status == 0
    assert run("verify", good, absent, "--key", "ci.pub").status == 3
    assert run("verify", absent, unsigned, good, "--key", "ci.pub").status == 1
    ran = run("verify", unsigned, missing, absent, "--key", "ci.pub")
    assert ran.status == 2
    assert "file-unreadable" in ran.err
    assert "DENIED" in ran.out


def test_output_for_machines(registry: str) -> None:
    pushed(registry)
    keys()
    sarif = run("verify", f"oci://{registry}/acme/web:1.4.2", "--key", "ci.pub", "-o", "sarif")
    assert json.loads(sarif.out)["runs"][0]["results"][0]["ruleId"] == "unsigned"
    github = run("verify", f"oci://{registry}/acme/web:1.4.2", "--key", "ci.pub", "-o", "github")
    assert github.out.startswith("::error title=verifier unsigned::oci://")


def test_local_files(registry: str) -> None:
    name = packaged()
    assert run("sign", name, "--openpgp-key", "team.key").status == 0
    keys()
    assert run("sign", name, "--key", "ci.key").status == 0
    assert run("verify", name, "--openpgp-keyring", "team.asc", "--key", "ci.pub").status == 0
    Path(f"{name}.prov").rename("elsewhere.prov")
    Path(f"{name}.sigstore.json").rename("elsewhere.json")
    assert run("verify", name, "--key", "ci.pub").status == 1
    assert run("verify", name, "--key", "ci.pub", "--bundle", "elsewhere.json").status == 0
    assert run("verify", name, "--openpgp-keyring", "team.asc", "--prov", "elsewhere.prov").status == 0
    standing = run("verify", name, "--key", "ci.pub", "--bundle", "elsewhere.json", "--as", f"oci://{registry}/acme/web:1.4.2")
    assert standing.status == 0
    assert "because the caller says so" in standing.out
    assert run("verify", name, "--key", "ci.pub", "--bundle", "elsewhere.json", "--as", f"oci://{registry}/acme/api:1.4.2").status == 1
    assert run("verify", name, "--key", "ci.pub", "--bundle", "nowhere.json").status == 2


def test_an_image_layout_is_a_source_and_a_target() -> None:
    name = packaged()
    ran = run("push", name, "oci-layout://layout")
    assert ran.status == 0
    digest = ran.out.split("digest  ")[1].strip()
    keys()
    assert run("sign", f"oci-layout://layout@{digest}", "--key", "ci.key").status == 0
    assert run("verify", "oci-layout://layout:1.4.2", "--key", "ci.pub").status == 0
    standing = run("verify", "oci-layout://layout:1.4.2", "--key", "ci.pub", "--as", "oci://reg.test/acme/web:1.4.2")
    assert standing.status == 0
    assert "read    from oci-layout://layout:1.4.2" in standing.out
    assert run("verify", "oci-layout://nothing:1.4.2", "--key", "ci.pub").status == 3


# Misuse

MISUSE = {
    "no target": (("verify",), "give a TARGET, or a FILE"),
    "an unknown command": (("verfy", "x"), "No such command"),
    "an unknown option": (("verify", "x.tgz", "--nonsense"), "No such option"),
    "not a reference": (("verify", "ftp://reg.test/web:1", "--key", "ci.pub"), "reference-invalid"),
    "nothing to trust": (("verify", "oci://reg.test/acme/web:1"), "no-policy"),
    "policy and flags": (("verify", "oci://reg.test/acme/web:1", "--policy", "p.yaml", "--key", "ci.pub"), "usage"),
    "a policy that is not there": (("verify", "oci://reg.test/acme/web:1", "--policy", "nothing.yaml"), "file-unreadable"),
    "no tag": (("verify", "oci://127.0.0.1:1/acme/web", "--key", "ci.pub"), "reference-invalid"),
    "fingerprint without keyring": (("verify", "x.tgz", "--openpgp-fingerprint", "A" * 40), "usage"),
    "any key without keyring": (("verify", "x.tgz", "--openpgp-any-key"), "usage"),
    "any key and a fingerprint": (("verify", "x.tgz", "--openpgp-keyring", "team.asc", "--openpgp-any-key", "--openpgp-fingerprint", "A" * 40), "usage"),
    "a fingerprint that the keyring lacks": (("verify", "x.tgz", "--openpgp-keyring", "team.asc", "--openpgp-fingerprint", "A" * 40), "trust-invalid"),
    "a keyring that is none": (("verify", "x.tgz", "--openpgp-keyring", "ci.pub"), "trust-invalid"),
    "a key that is none": (("verify", "x.tgz", "--key", "team.asc"), "trust-invalid"),
    "a private key for trust": (("verify", "x.tgz", "--key", "ci.key"), "trust-invalid"),
    "--as for a registry": (("verify", "oci://reg.test/a:1", "--key", "ci.pub", "--as", "oci://reg.test/b:1"), "usage"),
    "sign with no key": (("sign", "web-1.4.2.tgz"), "usage"),
    "sign with two keys": (("sign", "web-1.4.2.tgz", "--key", "ci.key", "--openpgp-key", "team.key"), "usage"),
    "sign a bare tag": (("sign", "oci://reg.test/acme/web:1.4.2", "--key", "ci.key"), "tag-needs-chart"),
    "sign with a public key": (("sign", "web-1.4.2.tgz", "--key", "ci.pub"), "key-invalid"),
    "sign with an unknown kind of key": (("sign", "web-1.4.2.tgz", "--key", "gitlab://acme/charts"), "key-invalid"),
    "sign a missing file": (("sign", "missing.tgz", "--key", "ci.key"), "file-unreadable"),
    "package nothing": (("package", "nothing"), "chart-invalid"),
    "push nothing": (("push", "nothing.tgz", "oci://reg.test/acme"), "file-unreadable"),
    "push to a web page": (("push", "web-1.4.2.tgz", "https://reg.test/acme"), "reference-invalid"),
    "push to a file": (("push", "web-1.4.2.tgz", "file:x"), "reference-invalid"),
    "lint nothing": (("policy", "lint", "nothing.yaml"), "file-unreadable"),
    "show keys of nothing": (("keys", "show", "nothing"), "file-unreadable"),
    "keys over keys": (("keys", "generate", "--output", "ci"), "write-failed"),
    "serve to everybody": (("registry", "serve", "--root", "r", "--listen", "0.0.0.0:5000"), "unsafe-listen"),
    "serve nowhere": (("registry", "serve", "--root", "r", "--listen", "5000"), "usage"),
    "decisions for everybody": (("serve", "--policy", "p.yaml", "--listen", "[::]:80"), "unsafe-listen"),
    "a CA that is not there": (("verify", "oci://reg.test/a:1", "--key", "ci.pub", "--ca-file", "nothing"), "config-invalid"),
}


@pytest.mark.parametrize("arguments, code", MISUSE.values(), ids=MISUSE.keys())
def test_misuse_is_exit_2_with_its_reason(arguments: tuple[str, ...], code: str) -> None:
    packaged()
    Path("ci.pub").write_bytes(public_pem(pair().public))
    Path("ci.key").write_bytes(private_pem(pair(), CANARY.encode()))
    ran = run(*arguments)
    assert ran.status == 2, ran.text
    assert code in ran.err
    assert "ALLOWED" not in ran.out


def test_wrong_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    name = packaged()
    keys()
    monkeypatch.setenv("VERIFIER_PASSWORD", "wrong")
    ran = run("sign", name, "--key", "ci.key")
    assert (ran.status, "passphrase-wrong" in ran.err) == (2, True)
    Path("pass").write_text(f"{CANARY}\n")
    assert run("sign", name, "--key", "ci.key", "--passphrase-file", "pass").status == 0
    monkeypatch.delenv("VERIFIER_PASSWORD")
    assert "passphrase-wrong" in run("sign", name, "--key", "ci.key").err
    assert "usage" in run("keys", "generate", "--output", "more").err


def test_signing_refuses_what_no_policy_would_accept(registry: str) -> None:
    digest = pushed(registry)
    keys()
    packaged_again = Path("web-1.4.2.tgz").read_bytes()
    Path("other-1.0.0.tgz").write_bytes(packaged_again)
    assert "chart-mismatch" in run("sign", "other-1.0.0.tgz", "--key", "ci.key").err
    assert not Path("other-1.0.0.tgz.sigstore.json").exists()
    Path("web-1.4.2.tgz").write_bytes(archive(files={"x": b"other"}))
    assert "chart-mismatch" in run("sign", f"oci://{registry}/acme/web:1.4.2", "--chart", "web-1.4.2.tgz", "--key", "ci.key").err
    Path("web-1.4.2.tgz").write_bytes(packaged_again)
    assert run("sign", f"oci://{registry}/acme/web:1.4.2", "--chart", "web-1.4.2.tgz", "--key", "ci.key").status == 0
    assert run("sign", f"oci://{registry}/acme/web@{digest}", "--openpgp-key", "team.key").status == 0
    assert run("verify", f"oci://{registry}/acme/web:1.4.2", "--openpgp-keyring", "team.asc", "--key", "ci.pub").status == 0
    bad = Path("bad-1.0.0.tgz")
    bad.write_bytes(b"hello")
    assert "chart-invalid" in run("sign", str(bad), "--key", "ci.key").err
    assert "chart-invalid" in run("push", str(bad), f"oci://{registry}/acme").err


def test_a_tag_is_never_moved(registry: str) -> None:
    pushed(registry)
    Path("web-1.4.2.tgz").write_bytes(archive(files={"x": b"other"}))
    ran = run("push", "web-1.4.2.tgz", f"oci://{registry}/acme")
    assert (ran.status, "tag-exists" in ran.err) == (2, True)


def test_a_prov_of_another_chart_is_not_pushed(registry: str) -> None:
    name = packaged()
    from tests.support.charts import chart_file

    Path(f"{name}.prov").write_bytes(pgp().provenance(chart_file(archive(version="9.9.9"))))
    ran = run("push", name, f"oci://{registry}/acme")
    assert (ran.status, "provenance-mismatch" in ran.err) == (2, True)


def test_nothing_partial_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    before = sorted(path.name for path in Path().iterdir())
    ran = run("package", "web")
    assert (ran.status, "write-failed" in ran.err) == (2, True)
    assert sorted(path.name for path in Path().iterdir()) == before
    monkeypatch.undo()


def test_package_signs_or_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpg, "available", lambda: False)
    monkeypatch.delenv("VERIFIER_PASSWORD")
    ran = run("package", "web", "-d", "out", "--openpgp-key", "nobody@example.test")
    assert (ran.status, "tool-missing" in ran.err) == (2, True)
    assert not Path("out").exists()
    assert run("package", "web", "-d", "out", "--openpgp-key", "team.key").status == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["web-1.4.2.tgz", "web-1.4.2.tgz.prov"]


def test_source_date_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    run("package", "web", "-d", "a")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    run("package", "web", "-d", "b")
    assert sha256(Path("a/web-1.4.2.tgz").read_bytes()) != sha256(Path("b/web-1.4.2.tgz").read_bytes())
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert "usage" in run("package", "web").err


# Policies and keys


POLICY = f"""\
apiVersion: verifier/v1
kind: ChartPolicy
metadata: {{name: test}}
trust:
  team: {{openpgp: {{keyring: team.asc, fingerprints: ["{pgp().fingerprint}"]}}}}
rules:
  - name: ours
    charts: ["oci://reg.test/acme/*"]
    when: {{environment: prod}}
    require: {{signed: {{by: team}}}}
  - name: files
    charts: ["file:*.tgz"]
    require: {{signed: {{by: team}}}}
"""


def test_policy_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("p.yaml").write_text(POLICY)
    lint = run("policy", "lint", "p.yaml")
    assert (lint.status, "valid: 2 rules, 1 trust names" in lint.out) == (0, True)
    assert "rollback" in lint.out
    Path("bad.yaml").write_text(POLICY.replace("require", "requires", 1))
    bad = run("policy", "lint", "p.yaml", "bad.yaml")
    assert (bad.status, "bad.yaml:10:5" in bad.err) == (2, True)
    shown = run("policy", "show", "oci://reg.test/acme/web:1", "--policy", "p.yaml", "--environment", "prod")
    assert (shown.status, "signed by team" in shown.out) == (0, True)
    assert "context-missing" in run("policy", "show", "oci://reg.test/acme/web:1", "--policy", "p.yaml").out
    assert "no-rule" in run("policy", "show", "oci://other.test/acme/web:1", "--policy", "p.yaml").out
    name = packaged()
    run("sign", name, "--openpgp-key", "team.key")
    assert run("verify", name, "--policy", "p.yaml").status == 0
    monkeypatch.setenv("VERIFIER_POLICY", "p.yaml")
    relative = run("verify", name)
    assert (relative.status, "[config-invalid]" in relative.err, "expected an absolute path" in relative.err) == (2, True, True)
    monkeypatch.setenv("VERIFIER_POLICY", str(Path("p.yaml").absolute()))
    assert run("verify", name).status == 0
    Path("team.asc").write_bytes(pgp("other").public)
    broken = run("verify", name)
    assert (broken.status, "trust.team" in broken.err) == (2, True)


def test_a_policy_in_the_working_directory_is_not_taken() -> None:
    Path("verifier.yaml").write_text("policy: p.yaml\n")
    Path("p.yaml").write_text(POLICY)
    assert "no-policy" in run("verify", packaged()).err


def test_keys_show() -> None:
    keys()
    assert "ecdsa-secp256r1" in run("keys", "show", "ci.pub").out
    assert "private key  encrypted" in run("keys", "show", "ci.key").out
    assert pgp().fingerprint in run("keys", "show", "team.asc").out
    assert (Path("ci.key").stat().st_mode & 0o777) == 0o600
    Path("plain.key").write_text("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n")
    assert "never put this" in run("keys", "show", "plain.key").out


def test_a_keyring_of_several_keys_needs_a_fingerprint() -> None:
    name = packaged()
    run("sign", name, "--openpgp-key", "team.key")
    Path("both.asc").write_bytes(pgp().public + pgp("other").public)
    assert "usage" in run("verify", name, "--openpgp-keyring", "both.asc").err
    assert run("verify", name, "--openpgp-keyring", "both.asc", "--openpgp-fingerprint", pgp().fingerprint).status == 0
    assert run("verify", name, "--openpgp-keyring", "both.asc", "--openpgp-fingerprint", pgp("other").fingerprint).status == 1
    assert run("verify", name, "--openpgp-keyring", "both.asc", "--openpgp-any-key").status == 0
    Path("a.pub").write_bytes(public_pem(pair().public))
    assert run("verify", name, "--openpgp-keyring", "team.asc", "--key", "a.pub").status == 1, "different kinds must all be satisfied"


def test_login_and_logout(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{CANARY}\n"))
    assert run("registry", "login", "reg.test", "-u", "me", "--password-stdin", "--no-check").status == 0
    path = Path(os.environ["HOME"]) / ".config/helm/registry/config.json"
    assert "reg.test" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert "forgotten" in run("registry", "logout", "reg.test").out
    assert "nothing to forget" in run("registry", "logout", "reg.test").out
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert run("registry", "login", "reg.test", "-u", "me", "--password-stdin").status == 2


def test_debug_shows_requests_and_no_secrets(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIFIER_REGISTRY_USERNAME", "me")
    monkeypatch.setenv("VERIFIER_REGISTRY_PASSWORD", CANARY)
    assert "config-invalid" in run("inspect", f"oci://{registry}/acme/web:1.4.2").err
    monkeypatch.setenv("VERIFIER_REGISTRY_HOST", registry)
    pushed(registry)
    keys()
    ran = run("verify", f"oci://{registry}/acme/web:1.4.2", "--key", "ci.pub", "--debug", "--insecure-skip-tls-verify", "--plain-http")
    assert "debug: GET http://" in ran.err
    assert "UNSAFE: --insecure-skip-tls-verify is on" in ran.err
    assert "UNSAFE  insecure-skip-tls-verify" in ran.out


def test_what_a_registry_warns_of_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    keys()
    with simulated(Switches(warning="this registry ends in May")) as there:
        pushed(there.host)
        there.requests.clear()
        ran = run("verify", f"oci://{there.host}/acme/web:1.4.2", "--key", "ci.pub")
    assert ran.err.count("verifier: 127.0.0.1 warns: this registry ends in May") == 1, ran.text
    assert len(there.requests) > 1


# As a process


def spawn(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    """As from a terminal: tests that run in the background of a shell inherit that an interrupt is ignored."""
    command = [sys.executable, "-m", "verifier", *arguments]
    own = {**os.environ, **environment}
    return subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_interruptible)


def _interruptible() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("targets", [1, 3])
def test_ctrl_c_is_prompt_no_traceback_and_no_allow(targets: int) -> None:
    from tests.simulators.registry import Switches, simulated

    Path("ci.pub").write_bytes(public_pem(pair().public))
    with simulated(Switches(body={"/manifests/": b"x" * 5000}, drip="/manifests/")) as slow:
        more = [f"oci://{slow.host}/acme/web:1.4.{number}" for number in range(targets)]
        process = spawn("verify", *more, "--key", "ci.pub")
        for _ in range(200):
            if slow.requests:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    assert b"interrupted" in err
    assert out == b""


def test_a_closed_pipe_is_no_traceback() -> None:
    process = spawn("verify", "--help")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    process.wait(30)
    assert b"Traceback" not in err


def test_help_of_every_command() -> None:
    for command in ("package", "push", "sign", "verify", "inspect", "pull", "show", "policy", "keys", "registry", "serve", "demo"):
        ran = run(command, "--help")
        assert ran.status == 0
        assert "Usage: verifier" in ran.out
    assert run("--version").out.startswith("verifier, version ")
    assert run("--help").status == 0


def test_every_command_has_debug() -> None:
    """But those whose words are Helm's, which has a flag of its own for it."""
    without = set()

    def walk(command: click.Command, path: str) -> None:
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                inner = command.get_command(click.Context(command), name)
                assert inner is not None
                walk(inner, f"{path} {name}".strip())
        elif not any("--debug" in parameter.opts for parameter in command.params):
            without.add(path)

    walk(main, "")
    assert without == {"helm plugin", "helm install", "helm upgrade", "helm template"}
