"""Trust material is read and checked when the policy is loaded: a broken key is an error then, not a denial later."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.signers import pair, pgp
from verifier.model.errors import MisuseError
from verifier.operations.policies import LoadedPolicy, load
from verifier.schemes.openpgp import gpg
from verifier.signers.public import public_pem

needs_gpg = pytest.mark.skipif(shutil.which("gpg") is None, reason="the gpg program is not installed")


def loaded(directory: Path, trust: str) -> LoadedPolicy:
    path = directory / "p.yaml"
    path.write_text(
        f"apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {{name: p}}\ntrust:\n  t: {trust}\nrules:\n"
        '  - {name: r, charts: ["oci://h.test/*"], require: {signed: {by: t}}}\n'
    )
    return load(path)


def refused(directory: Path, trust: str) -> str:
    with pytest.raises(MisuseError) as caught:
        loaded(directory, trust)
    assert "trust.t" in caught.value.where
    return caught.value.code.name


def test_every_place_that_trust_may_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "t.asc").write_bytes(pgp().public)
    (tmp_path / "keys" / "t.pub").write_bytes(public_pem(pair().public))
    monkeypatch.setenv("CI_PUB", public_pem(pair().public).decode())
    armor = pgp().public.decode().replace("\n", "\n        ")
    pem = public_pem(pair().public).decode().replace("\n", "\n        ")
    digests = {
        loaded(tmp_path, f'{{openpgp: {{keyring: keys/t.asc, fingerprints: ["{pgp().fingerprint}"]}}}}').trust_digest,
        loaded(tmp_path, "{openpgp: {keyring: keys/t.asc, anyKey: true}}").trust_digest,
        loaded(tmp_path, f'\n    openpgp:\n      fingerprints: ["{pgp().fingerprint}"]\n      inline: |\n        {armor}').trust_digest,
        loaded(tmp_path, "{key: {file: keys/t.pub}}").trust_digest,
        loaded(tmp_path, "{key: {file: keys/t.pub, notAfter: 2030-01-01T00:00:00Z}}").trust_digest,
    }
    assert len(digests) >= 4, "whatever limits an anchor is in its digest"
    assert loaded(tmp_path, "{key: {file: 'env://CI_PUB'}}").trust.anchors[0].data == public_pem(pair().public)
    assert loaded(tmp_path, f"\n    key:\n      pem: |\n        {pem}").trust.anchors


@pytest.mark.parametrize(
    "trust, code",
    [
        ("{key: {file: missing.pub}}", "file-unreadable"),
        ("{key: {file: t.asc}}", "trust-invalid"),
        ("{key: {pem: hello}}", "trust-invalid"),
        ("{key: {file: 'env://NOT_SET'}}", "key-invalid"),
        ("{openpgp: {keyring: missing.asc, anyKey: true}}", "file-unreadable"),
        ("{openpgp: {keyring: t.pub, anyKey: true}}", "trust-invalid"),
        (f'{{openpgp: {{keyring: t.asc, fingerprints: ["{"C" * 40}"]}}}}', "trust-invalid"),
    ],
)
def test_trust_that_is_none(tmp_path: Path, trust: str, code: str) -> None:
    (tmp_path / "t.asc").write_bytes(pgp().public)
    (tmp_path / "t.pub").write_bytes(public_pem(pair().public))
    assert refused(tmp_path, trust) == code


@needs_gpg
def test_keys_of_a_gnupg_home_and_a_keybox(tmp_path: Path) -> None:
    with gpg.temporary_home() as home:
        subprocess.run(["gpg", "--homedir", str(home), "--batch", "--import"], input=pgp().public, capture_output=True, check=True)
        named = f'{{openpgp: {{gnupgHome: {home}, fingerprints: ["{pgp().fingerprint}"]}}}}'
        assert loaded(tmp_path, named).trust.anchors
        assert refused(tmp_path, f'{{openpgp: {{gnupgHome: {home}, fingerprints: ["{"C" * 40}"]}}}}') == "trust-invalid"
        box = f'{{openpgp: {{keyring: {home / "pubring.kbx"}, fingerprints: ["{pgp().fingerprint}"]}}}}'
        assert loaded(tmp_path, box).trust.anchors
