"""Locks as Helm writes them: which dependencies they are of."""

from __future__ import annotations

import hashlib

import pytest

from tests.support.charts import archive
from verifier.charts.archive import read_archive

# Made by `helm dependency update` (3.21.4 and 4.2.4 agree), with everything in it that goes into the digest.
DECLARED = (
    'dependencies: [{name: dep, version: ">=0.3.0 <1.0.0", repository: "file://../dep", alias: d2, tags: [a, "b<c"], '
    "condition: d.enabled, import-values: [x, {child: a, parent: b}]}]\n"
)
LOCK = b"""dependencies:
- name: dep
  repository: file://../dep
  version: 0.3.1
digest: sha256:fd050b29d5b72ced23a74323babb493806d0dbdd6fbd463c2cc36bd35e522191
generated: "2026-11-25T09:20:15.961036902Z"
"""


def problem(extra: str = DECLARED, lock: bytes | None = LOCK, name: str = "Chart.lock") -> str | None:
    files = {name: lock} if lock is not None else {}
    return read_archive(archive(extra=extra, files=files), where="web.tgz").facts.lock_problem


def test_a_lock_of_helms_fits() -> None:
    assert problem() is None


def test_no_dependencies_need_no_lock() -> None:
    assert problem(extra="", lock=None) is None


REFUSED = {
    "no lock": ((DECLARED, None), "no Chart.lock"),
    "another range": ((DECLARED.replace("<1.0.0", "<2.0.0"), LOCK), "its digest does not match"),
    "another repository": ((DECLARED.replace("../dep", "../evil"), LOCK), "its digest does not match"),
    "another condition": ((DECLARED.replace("d.enabled", "e.enabled"), LOCK), "its digest does not match"),
    "another version resolved": ((DECLARED, LOCK.replace(b"0.3.1", b"0.3.2")), "its digest does not match"),
    "no digest": ((DECLARED, b"dependencies: []\n"), "its digest does not match"),
    "no YAML": ((DECLARED, b"a: [\n"), "cannot be read"),
    "a list": ((DECLARED, b"- a\n"), "cannot be read"),
    "keys in another case": ((DECLARED, LOCK.replace(b"digest", b"Digest")), "cannot be read"),
}


@pytest.mark.parametrize("case, text", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_lock_of_these(case: tuple[str, bytes | None], text: str) -> None:
    assert text in str(problem(*case))


def test_the_digest_alone_does_not_do() -> None:
    """A lock of Helm 2 is over what is declared; what it resolves must be the same all the same."""
    declared = 'dependencies: [{name: dep, version: "1.0.0", repository: "https://charts.example.test"}]\n'
    digest = "sha256:" + hashlib.sha256(b'{"dependencies":[{"name":"dep","version":"1.0.0","repository":"https://charts.example.test"}]}').hexdigest()

    def lock(name: str = "dep", version: str = "1.0.0") -> bytes:
        return f"dependencies:\n- name: {name}\n  repository: https://charts.example.test\n  version: {version}\ndigest: {digest}\n".encode()

    assert problem(declared, lock()) is None
    assert "other dependencies" in str(problem(declared, lock(name="evil")))
    assert "which is no version" in str(problem(declared, lock(version='">=1.0.0"')))
    assert "other dependencies" in str(problem(declared, f"digest: {digest}\n".encode()))
