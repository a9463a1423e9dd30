"""What a lost key has signed: every tag is looked at, and what could not be read is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.charts import archive
from tests.support.cli import Ran, run
from tests.support.signers import pair, pgp
from tests.support.world import connect, publish, sign
from verifier.attest.bundle import MEDIA_TYPE as BUNDLE
from verifier.attest.statement import write_statement
from verifier.charts.archive import read_archive
from verifier.charts.provenance import write_provenance
from verifier.model.digest import sha256
from verifier.model.reference import parse_oci
from verifier.net.deadline import Deadline
from verifier.operations.signing import Attachment, attach
from verifier.policy.loader import load_policy
from verifier.schemes.sigstore.sign import sign_statement
from verifier.signers.public import public_pem


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: str) -> str:
    monkeypatch.chdir(tmp_path)
    Path("lost.pub").write_bytes(public_pem(pair("lost").public))
    return registry


def asked(host: str, *more: str, name: str = "web") -> Ran:
    return run("keys", "uses", f"oci://{host}/acme/{name}", "--key", "lost.pub", *more)


def test_what_it_has_signed_and_what_not(here: str) -> None:
    connections = connect()
    digests = {version: publish(connections, here, archive("web", version), tag=version) for version in ("1.0.0", "1.1.0", "1.2.0")}
    publish(connections, here, archive("web", "1.0.0"), tag="stable")
    sign(connections, here, digests["1.0.0"], pair("lost"))
    sign(connections, here, digests["1.1.0"], pair("other"))
    ran = asked(here)
    assert ran.status == 0, ran.text
    (line,) = ran.out.splitlines()
    assert line.startswith(
        f"{here}/acme/web@{digests['1.0.0']}  web-1.0.0  tags 1.0.0, stable  statement signature  no proven time  key {pair('lost').public.key_id}"
    )
    assert ran.err == "3 charts looked at, 1 signed, 0 unknown\n"


def test_attestations_count(here: str) -> None:
    connections = connect()
    digest = publish(connections, here, archive())
    target = connections.target(parse_oci(f"oci://{here}/acme/web"), Deadline.after(20))
    bundle = sign_statement(write_statement(digest, "https://spdx.dev/Document", {}, name="x"), pair("lost"))
    attach(target, target.manifest(digest).descriptor, Attachment(payload=bundle, media_type=BUNDLE))
    assert "attestation https://spdx.dev/Document" in asked(here).out


def test_openpgp(here: str) -> None:
    Path("team.asc").write_bytes(pgp().public)
    data = archive()
    facts = read_archive(data, where="x").facts
    import pysequoia

    prov = pysequoia.sign(pysequoia.Tsk.from_bytes(pgp().secret).signer(), write_provenance(facts, sha256(data)).encode(), mode=pysequoia.SignatureMode.CLEAR)
    publish(connect(), here, data, prov=bytes(prov))
    ran = run("keys", "uses", f"oci://{here}/acme/web", "--openpgp-keyring", "team.asc")
    assert f"provenance signature  no proven time  OpenPGP {pgp().fingerprint}" in ran.out, ran.text


def test_entries_for_the_deny_list(here: str) -> None:
    connections = connect()
    digest = publish(connections, here, archive())
    sign(connections, here, digest, pair("lost"))
    ran = asked(here, "--deny")
    head = "apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {name: p}\ntrust: {t: {key: {file: x}}}\n"
    rules = "rules: [{name: r, charts: ['oci://x/y'], require: {signed: {by: t}}}]\n"
    assert [entry.digest for entry in load_policy((head + ran.out + rules).encode(), where="x").deny] == [str(digest)]


def test_several_repositories_and_one_that_is_not_there(here: str) -> None:
    connections = connect()
    sign(connections, here, publish(connections, here, archive()), pair("lost"))
    ran = run("keys", "uses", f"oci://{here}/acme/web", f"oci://{here}/acme/none", "--key", "lost.pub")
    assert ran.status == 3
    assert f"{here}/acme/web@" in ran.out
    assert "unknown  oci://" in ran.out
    assert "[not-found]" in ran.out


def test_a_chart_that_cannot_be_read_is_unknown(here: str, tmp_path: Path) -> None:
    digest = publish(connect(), here, archive())
    for path in (tmp_path / "registry").rglob(sha256(archive()).hex):
        path.write_bytes(b"other")
    ran = asked(here)
    assert ran.status == 3, ran.text
    assert f"unknown  oci://{here}/acme/web@{digest.short}" in ran.out


def test_nobody_is_meant(here: str) -> None:
    ran = run("keys", "uses", f"oci://{here}/acme/web")
    assert (ran.status, "[no-policy]" in ran.err) == (2, True)
