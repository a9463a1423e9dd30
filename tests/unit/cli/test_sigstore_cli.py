"""Keyless on the command line: trust flags, verify-blob, and the trusted roots (semantics 34, 36)."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.simulators import sigstore as sim
from tests.simulators import tuf
from tests.simulators.registry import simulated
from tests.support.cli import run
from tests.support.servers import serving
from tests.support.signers import pair
from tests.support.world import connect, publish
from tests.unit.operations.test_sigstore_forms import CHART, INSTANCE, SIGN, refer, statement
from verifier.model.digest import sha256
from verifier.signers.public import public_pem
from verifier.trust.built_in import public_good_root

IDENTITY = ("--certificate-identity", sim.WORKFLOW, "--certificate-oidc-issuer", sim.ISSUER)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERIFIER_ROOTS", str(tmp_path / "roots"))
    Path("root.json").write_text(json.dumps(INSTANCE.trusted_root()))
    Path("ci.pub").write_bytes(public_pem(pair().public))


# verify


def test_flags_name_a_keyless_signer() -> None:
    with simulated() as registry:
        digest = publish(connect(), registry.host, CHART)
        refer(registry, digest, sim.envelope(INSTANCE, statement(str(digest))).with_entry().dump())
        target = f"oci://{registry.host}/acme/web:1.4.2"
        ran = run("verify", target, *IDENTITY, "--trusted-root", "root.json")
        assert ran.status == 0, ran.text
        assert "root    trusted-root" in ran.out
        for flags, code in (
            ((*IDENTITY,), "time-unproven"),
            (("--certificate-identity", sim.WORKFLOW + "x", *IDENTITY[2:], "--trusted-root", "root.json"), "identity-mismatch"),
            ((*IDENTITY, "--certificate-source-repository", "https://github.com/evil/x", "--trusted-root", "root.json"), "identity-mismatch"),
            ((*IDENTITY, "--trusted-root", "root.json", "--insecure-ignore-tlog"), "timestamp-missing"),
        ):
            ran = run("verify", target, *flags)
            assert (ran.status, code in ran.out) == (1, True), ran.text
        assert "UNSAFE  insecure-ignore-tlog" in ran.out
        found = json.loads(run("verify", target, *IDENTITY, "--trusted-root", "root.json", "-o", "json").out)
        assert found["claims"][0]["signer"]["claims"]["sourceRepositoryURI"] == sim.REPOSITORY
        assert found["trust"]["roots"][0]["digest"] == str(sha256(Path("root.json").read_bytes()))
        regexp = ("--certificate-identity-regexp", "https://github.com/acme/charts/.*", "--certificate-source-repository", sim.REPOSITORY, *IDENTITY[2:])
        assert run("verify", target, *regexp, "--trusted-root", "root.json").status == 0


MISUSE = {
    "identity without issuer": IDENTITY[:2],
    "issuer alone": IDENTITY[2:],
    "a root alone": ("--trusted-root", "root.json"),
    "two identities": (*IDENTITY, "--certificate-identity-regexp", "https://x/.*"),
    "a regexp that is none": ("--certificate-identity-regexp", "(", *IDENTITY[2:]),
    "an identity of no type": ("--certificate-identity", "alice", *IDENTITY[2:]),
    "wildcards alone": ("--certificate-identity", "https://**", *IDENTITY[2:]),
    "GitHub without a repository that can be told": ("--certificate-identity", "https://github.com/*/x.yml@refs/tags/*", *IDENTITY[2:]),
    "no log for keyless alone": ("--insecure-ignore-tlog",),
    "a log without a key": ("--require-tlog",),
    "a root that is not there": (*IDENTITY, "--trusted-root", "missing.json"),
    "a root that is none": (*IDENTITY, "--trusted-root", "ci.pub"),
}


@pytest.mark.parametrize("flags", MISUSE.values(), ids=MISUSE.keys())
def test_flags_that_name_nobody_are_misuse(flags: tuple[str, ...]) -> None:
    ran = run("verify", "oci://127.0.0.1:1/acme/web:1.4.2", *flags)
    assert ran.status == 2, ran.text
    assert "next" in ran.err


# verify-blob


def blob(made: sim.Made) -> None:
    Path("blob.txt").write_bytes(b"the blob")
    Path("blob.sigstore.json").write_bytes(made.dump())


def verify_blob(*flags: str, target: str = "blob.txt") -> tuple[int, str]:
    ran = run("verify-blob", target, "--bundle", "blob.sigstore.json", *flags)
    return ran.status, ran.text


KEYLESS = (*IDENTITY, "--trusted-root", "root.json")


def test_a_file_and_a_digest() -> None:
    blob(sim.message(INSTANCE, b"the blob").with_entry("hashedrekord"))
    status, text = verify_blob(*KEYLESS)
    assert (status, "signer     " + sim.WORKFLOW in text, "a plain signature" in text) == (0, True, True), text
    assert verify_blob(*KEYLESS, target=str(sha256(b"the blob")))[0] == 0
    for target in ("ci.pub", str(sha256(b"other"))):
        status, text = verify_blob(*KEYLESS, target=target)
        assert (status, "subject-mismatch" in text) == (1, True), text
    assert verify_blob(*KEYLESS, target="sha256:short")[0] == 2
    assert verify_blob(*KEYLESS, target="missing.txt")[0] == 2


def test_a_statement() -> None:
    blob(sim.envelope(INSTANCE, statement(str(sha256(b"the blob")))).with_entry2().with_timestamp())
    status, text = verify_blob(*KEYLESS)
    assert (status, f"statement  {SIGN}" in text, "timestamp's clock" in text) == (0, True, True), text
    blob(sim.envelope(INSTANCE, statement(str(sha256(b"other")))).with_entry())
    status, text = verify_blob(*KEYLESS)
    assert (status, "subject-mismatch" in text) == (1, True)
    status, text = verify_blob("--certificate-identity", "alice@acme.test", *KEYLESS[2:])
    assert status == 2  # GitHub's issuer and an e-mail address: no repository can be told


def test_a_key() -> None:
    made = sim.message(INSTANCE, b"the blob", key=pair().private)
    del made.material["certificate"]
    made.material["publicKey"] = {"hint": ""}
    blob(made)
    assert verify_blob("--key", "ci.pub")[0] == 0
    status, text = verify_blob("--key", "ci.pub", "--require-tlog", "--trusted-root", "root.json")
    assert (status, "tlog-required" in text) == (1, True)
    blob(made.with_entry("hashedrekord", verifier=sim.pem_key(pair().private)))
    assert verify_blob("--key", "ci.pub", "--require-tlog", "--trusted-root", "root.json")[0] == 0
    Path("other.pub").write_bytes(public_pem(pair("other").public))
    status, text = verify_blob("--key", "other.pub")
    assert (status, "key-unknown" in text) == (1, True)


def test_another_identity_is_named() -> None:
    blob(sim.message(INSTANCE, b"the blob").with_entry("hashedrekord"))
    status, text = verify_blob("--certificate-identity", sim.WORKFLOW.replace("v1.4.2", "v1"), *KEYLESS[2:])
    assert (status, "identity-mismatch" in text, sim.WORKFLOW in text) == (1, True, True)


def test_blob_misuse() -> None:
    blob(sim.message(INSTANCE, b"the blob").with_entry("hashedrekord"))
    assert verify_blob()[0] == 2
    assert verify_blob("--policy", "x.yaml")[0] == 2
    assert verify_blob("--key", "ci.pub", *KEYLESS)[0] == 2
    Path("blob.sigstore.json").unlink()
    assert verify_blob(*KEYLESS)[0] == 2


# Trusted roots


@contextlib.contextmanager
def served(directory: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(directory))
    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as port:
        yield f"http://127.0.0.1:{port}"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return


def test_the_built_in_root_is_shown_with_its_age() -> None:
    ran = run("trust", "show")
    assert ran.status == 0
    assert str(sha256(public_good_root())) in ran.out
    assert "days old" in ran.out
    assert "https://rekor.sigstore.dev" in ran.out
    assert "acme.test" in run("trust", "show", "root.json").out
    assert run("trust", "show", "ci.pub").status == 2


def update(url: str, *more: str) -> tuple[int, str]:
    ran = run("trust", "update", "--tuf-url", url, "--tuf-root", "first.json", *more)
    return ran.status, ran.text


def test_an_update_is_stored_and_used(tmp_path: Path) -> None:
    Path("first.json").write_bytes(tuf.repository(tmp_path / "repository", {"trusted_root.json": Path("root.json").read_bytes()}))
    with served(tmp_path / "repository") as url:
        status, text = update(url, "--name", "acme")
        assert (status, "acme" in text) == (0, True), text
    assert "rekor.acme.test" in run("trust", "show").out
    with simulated() as registry:
        digest = publish(connect(), registry.host, CHART)
        refer(registry, digest, sim.envelope(INSTANCE, statement(str(digest))).with_entry().dump())
        identity = f"issuer: {sim.ISSUER}, identity: {sim.WORKFLOW}, sourceRepository: acme/charts, root: acme"
        Path("policy.yaml").write_text(
            f"apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {{name: t}}\ntrust: {{release: {{keyless: {{{identity}}}}}}}\nroots: {{acme: {{maxAge: 30d}}}}\n"
            f'rules: [{{name: all, charts: ["oci://{registry.host}/acme/*"], require: {{signed: {{by: release}}}}}}]\n'
        )
        ran = run("verify", f"oci://{registry.host}/acme/web:1.4.2", "--policy", "policy.yaml")
        assert ran.status == 0, ran.text


def test_a_newer_root_replaces_the_built_in_one(tmp_path: Path) -> None:
    Path("first.json").write_bytes(tuf.repository(tmp_path / "repository", {"trusted_root.json": Path("root.json").read_bytes()}))
    with served(tmp_path / "repository") as url:
        assert update(url)[0] == 0
    assert "rekor.acme.test" in run("trust", "show").out
    stored = tmp_path / "roots" / "public-good.json"
    old = json.loads(stored.read_text())
    stored.write_text(json.dumps({**old, "fetched": "2020-01-01T00:00:00Z"}))
    assert "https://rekor.sigstore.dev" in run("trust", "show").out
    stored.write_text("{}")
    assert run("trust", "show").status == 2


REFUSED = {
    "metadata by another key": {"signer": tuf.CryptoSigner.generate_ecdsa()},
    "metadata that has expired": {"expires": tuf.long_ago()},
}


@pytest.mark.parametrize("wrong", REFUSED.values(), ids=REFUSED.keys())
def test_a_repository_that_does_not_verify_changes_nothing(tmp_path: Path, wrong: dict[str, tuf.CryptoSigner | datetime]) -> None:
    Path("first.json").write_bytes(tuf.repository(tmp_path / "repository", {"trusted_root.json": Path("root.json").read_bytes()}, **wrong))  # type: ignore[arg-type]
    with served(tmp_path / "repository") as url:
        status, text = update(url)
    assert (status, "trust-update-refused" in text, (tmp_path / "roots").exists()) == (1, True, False), text


def test_a_repository_with_other_bytes_or_another_first_root(tmp_path: Path) -> None:
    first = tuf.repository(tmp_path / "repository", {"trusted_root.json": Path("root.json").read_bytes()})
    Path("first.json").write_bytes(tuf.repository(tmp_path / "other", {"trusted_root.json": b"{}"}))
    with served(tmp_path / "repository") as url:
        status, text = update(url)
        assert (status, "trust-update-refused" in text) == (1, True), text
        Path("first.json").write_bytes(first)
        target = next((tmp_path / "repository" / "targets").iterdir())
        target.write_bytes(target.read_bytes().replace(b"rekor.acme.test", b"rekor.evil.test"))
        status, text = update(url)
        assert (status, "trust-update-refused" in text) == (1, True), text
        target.unlink()
        assert update(url)[0] != 0
    assert not (tmp_path / "roots").exists()


def test_a_repository_without_a_root_and_one_that_holds_none(tmp_path: Path) -> None:
    for number, targets in enumerate(({"other.json": b"{}"}, {"trusted_root.json": b"{}"})):
        Path("first.json").write_bytes(tuf.repository(tmp_path / str(number), targets))
        with served(tmp_path / str(number)) as url:
            assert update(url)[0] == (1, 2)[number]
    assert not (tmp_path / "roots").exists()


def test_update_misuse(tmp_path: Path) -> None:
    Path("first.json").write_bytes(b"{}")
    assert run("trust", "update", "--tuf-url", "http://tuf.example", "--tuf-root", "first.json").status == 2
    assert run("trust", "update", "--tuf-url", "https://tuf.example").status == 2
    assert run("trust", "update", "--name", "x", "--tuf-url", "https://tuf.example").status == 2
    assert run("trust", "update", "--tuf-url", "http://127.0.0.1:1", "--tuf-root", "missing.json").status == 2
    ran = run("trust", "update", "--tuf-url", "http://127.0.0.1:1", "--tuf-root", "first.json")
    assert ran.status in (1, 3), ran.text
    Path("first.json").write_bytes(tuf.repository(tmp_path / "r", {"trusted_root.json": b"{}"}))
    ran = run("trust", "update", "--tuf-url", "http://127.0.0.1:1", "--tuf-root", "first.json")
    assert (ran.status, "unreachable" in ran.text) == (3, True), ran.text


def test_a_root_that_was_never_stored() -> None:
    identity = f"issuer: {sim.ISSUER}, identity: {sim.WORKFLOW}, sourceRepository: acme/charts, root: acme"
    Path("policy.yaml").write_text(
        f"apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {{name: t}}\ntrust: {{release: {{keyless: {{{identity}}}}}}}\nroots: {{acme: {{}}}}\n"
        'rules: [{name: all, charts: ["oci://reg.example/acme/*"], require: {signed: {by: release}}}]\n'
    )
    ran = run("policy", "lint", "policy.yaml")
    assert (ran.status, "trust-invalid" in ran.err, "trust update --name acme" in ran.err) == (2, True, True), ran.text
