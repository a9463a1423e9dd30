"""`verifier policy test`: a case that is wrong is told with its place, and a case that is not met fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.cli import Ran, run
from tests.support.signers import pair, pgp
from verifier.model.errors import MisuseError
from verifier.policy.cases import read_cases
from verifier.signers.public import public_pem

POLICY = """apiVersion: verifier/v1
kind: ChartPolicy
metadata: {name: p}
trust:
  ci: {key: {file: ci.pub, tlog: required}}
  team: {openpgp: {keyring: team.asc, anyKey: true}}
  github: {keyless: {issuer: "https://token.actions.githubusercontent.com", identity: "https://github.com/acme/charts/.github/workflows/r.yml@refs/tags/*", sourceRepository: acme/charts}}
rules:
  - name: ours
    charts: ["oci://ghcr.io/acme/*"]
    require: {any: [{signed: {by: [ci, team, github]}}, {attested: {type: spdx, by: ci}}, {attested: {type: vuln, by: github}}]}
    images: {from: values, pinned: true}
  - name: files
    charts: ["file:*.tgz"]
    require: {signed: {by: team}}
"""
HEAD = "at: 2026-11-24T12:00:00Z\ncases:\n"
REF = "reference: 'oci://ghcr.io/acme/web:1.4.2'"
NO_IMAGES = f"{REF}, images: ['a/b@sha256:{'a' * 64}']"
GITHUB = "{identity: 'https://github.com/acme/charts/.github/workflows/r.yml@refs/tags/v1', issuer: 'https://token.actions.githubusercontent.com', claims: {sourceRepositoryURI: 'https://github.com/acme/charts'}}"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("ci.pub").write_bytes(public_pem(pair().public))
    Path("team.asc").write_bytes(pgp().public)
    Path("p.yaml").write_text(POLICY)
    return tmp_path


def ran_cases(*cases: str, head: str = HEAD, quiet: bool = True) -> Ran:
    Path("p.test.yaml").write_text(head + "\n".join(f"  - {{name: case {index}, {case}}}" for index, case in enumerate(cases)) + "\n")
    return run("policy", "test", *(["-q"] if quiet else []), "p.yaml")


AS_EXPECTED = [
    f"{NO_IMAGES}, signedBy: ci, signedAt: '2026-11-01T00:00:00Z', expect: allowed",
    f"{NO_IMAGES}, signedBy: team, expect: allowed",
    f"{NO_IMAGES}, certified: {GITHUB}, expect: allowed",
    f"{NO_IMAGES}, attested: {{by: ci, type: spdx}}, signedAt: '2026-11-01T00:00:00Z', expect: allowed",
    f"{NO_IMAGES}, attested: [{{certified: {GITHUB}, type: vuln}}], expect: allowed",
    f"{NO_IMAGES}, signedBy: ci, expect: denied, code: requirements-failed",
    f"{NO_IMAGES}, expect: denied, code: requirements-failed",
    f"{NO_IMAGES}, unread: registry-error, expect: inconclusive, code: registry-error",
    f"{NO_IMAGES}, signedBy: team, chart: {{version: 1.0.0}}, expect: denied, code: version-mismatch",
    f"{REF}, signedBy: team, expect: inconclusive, code: images-unknown",
    f"{REF}, signedBy: team, images: [nginx], expect: denied, code: image-refused",
    f"{REF}, signedBy: team, images: ['No Image'], expect: denied, code: image-refused",
    "reference: 'web-1.4.2.tgz', signedBy: team, expect: allowed",
    "reference: 'oci://elsewhere.example/web:1.0.0', expect: denied, code: no-rule",
]


@pytest.mark.parametrize("case", AS_EXPECTED)
def test_a_case_that_is_met_and_its_opposite(here: Path, case: str) -> None:
    assert ran_cases(case).status == 0, ran_cases(case).out
    what, _, expected = case.partition(", expect:")
    opposite = " denied, code: threshold" if "allowed" in expected else " allowed"
    ran = ran_cases(f"{what}, expect:{opposite}")
    assert ran.status == 1
    assert "FAIL  case 0 (line 3): expected" in ran.out


def test_what_is_printed(here: Path) -> None:
    ran = ran_cases(AS_EXPECTED[1], f"{NO_IMAGES}, expect: denied, code: threshold", quiet=False)
    lines = ran.out.splitlines()
    assert lines[0] == "p.yaml: ok    case 0"
    assert lines[1].startswith("p.yaml: FAIL  case 1 (line 4): expected denied [threshold], found denied [requirements-failed]: no branch")
    assert lines[2:] == [
        "p.yaml: note: rule 'files': no case is allowed by it",
        "p.yaml: note: rule 'files': no case is denied by it",
        "p.yaml: 2 cases, 1 not as expected",
    ]


def test_a_warning_is_expected_by_a_part_of_it(here: Path) -> None:
    soon = POLICY.replace("{signed: {by: [ci, team, github]}}", "{signed: {by: team}, until: 2026-12-01T00:00:00Z}")
    Path("p.yaml").write_text(soon)
    assert ran_cases(f"{NO_IMAGES}, signedBy: team, warns: until 2026-12-01, expect: allowed").status == 0
    assert "expected a warning with 'nothing'" in ran_cases(f"{NO_IMAGES}, signedBy: team, warns: nothing, expect: allowed").out


BAD = [
    ("cases: []", "must be a list that is not empty"),
    ("nothing: 1", "unknown field 'nothing'"),
    (HEAD + "  - {name: a, expect: allowed}", "either a reference"),
    (HEAD + f"  - {{name: a, {REF}}}", "needs the field 'expect'"),
    (HEAD + f"  - {{name: a, {REF}, expect: denied}}", "a denial is expected with its code"),
    (HEAD + f"  - {{name: a, {REF}, expect: allowed, code: unsigned}}", "an allow has none"),
    (HEAD + f"  - {{name: a, {REF}, expect: denied, code: unsgned}}", "did you mean 'unsigned'"),
    (HEAD + f"  - {{name: a, {REF}, expect: perhaps}}", "must be one of: allowed, denied, inconclusive"),
    (HEAD + f"  - {{name: a, {REF}, signedby: ci, expect: allowed}}", "did you mean 'signedBy'"),
    (HEAD + f"  - {{name: a, {REF}, certified: nobody, expect: allowed}}", "not a name under identities"),
    (HEAD + f"  - {{name: a, {REF}, certified: {{identity: a}}, expect: allowed}}", "needs the field 'issuer'"),
    (HEAD + f"  - {{name: a, {REF}, certified: {{identity: a, issuer: b, claims: {{x: y}}}}, expect: allowed}}", "unknown field 'x'"),
    (HEAD + f"  - {{name: a, {REF}, attested: {{by: ci, certified: {GITHUB}, type: spdx}}, expect: allowed}}", "either `by` a trust name"),
    (HEAD + f"  - {{name: a, {REF}, attested: {{by: ci, type: nonsense}}, expect: allowed}}", "is not a predicate type"),
    (HEAD + f"  - {{name: a, {REF}, unread: nonsense, expect: allowed}}", "is no code"),
    (HEAD + f"  - {{name: a, {REF}, chart: [], expect: allowed}}", "must be a mapping"),
    (HEAD + f"  - {{name: a, {REF}, context: {{moon: full}}, expect: allowed}}", "unknown field 'moon'"),
    (HEAD + f"  - {{name: a, {REF}, at: noon, expect: allowed}}", "is not a time"),
    (HEAD + "  - {name: a, recording: r, pinned: true, expect: allowed}", "nothing is stated beside it"),
    (HEAD + f"  - {{name: a, {REF}, recording: r, expect: allowed}}", "either a reference"),
    (HEAD + f"  - {{name: a, {REF}, expect: allowed}}\n  - {{name: a, {REF}, expect: allowed}}", "is there twice"),
    ("cases: *x", "aliases are not allowed"),
]


@pytest.mark.parametrize("text, reason", BAD)
def test_cases_that_make_no_sense(text: str, reason: str) -> None:
    with pytest.raises(MisuseError) as caught:
        read_cases(text.encode(), where="p.test.yaml")
    assert reason in caught.value.reason, caught.value.reason
    assert caught.value.where.startswith("p.test.yaml")
    assert caught.value.code.name == "policy-invalid"


@pytest.mark.parametrize(
    "case, reason",
    [
        (f"{REF}, signedBy: tem, expect: allowed", "did you mean 'team'"),
        (f"{REF}, signedBy: github, expect: allowed", "say whom a CA certified"),
        ("reference: 'nonsense', expect: allowed", "begins with oci://"),
        (f"{REF}, chart: {{dependencies: 5}}, expect: allowed", "dependencies"),
        ("recording: nowhere, expect: allowed", "not an OCI image layout"),
    ],
)
def test_a_case_that_does_not_fit_its_policy(here: Path, case: str, reason: str) -> None:
    ran = ran_cases(case)
    assert ran.status == 2, ran.text
    assert reason in ran.err
    assert "case 'case 0'" in ran.err


def test_a_policy_without_cases(here: Path) -> None:
    ran = run("policy", "test", "p.yaml")
    assert (ran.status, "there are no cases" in ran.err) == (2, True)
    os.mkdir("d")
    Path("d/p.yaml").write_text(POLICY.replace("ci.pub", "../ci.pub").replace("team.asc", "../team.asc"))
    assert "d/*.test.yaml" in run("policy", "test", "d").err


def test_cases_of_a_directory(here: Path) -> None:
    os.mkdir("d")
    Path("d/p.yaml").write_text(POLICY.replace("ci.pub", "../ci.pub").replace("team.asc", "../team.asc"))
    Path("d/a.test.yaml").write_text(HEAD + f"  - {{name: a, {AS_EXPECTED[6]}}}\n")
    Path("d/b.test.yaml").write_text(HEAD + f"  - {{name: b, {AS_EXPECTED[1]}}}\n")
    ran = run("policy", "test", "d")
    assert (ran.status, ran.out.splitlines()[-1]) == (0, "d: 2 cases, 0 not as expected")
    assert run("policy", "test", "d", "--cases", "d/b.test.yaml").out.splitlines()[-1] == "d: 1 cases, 0 not as expected"
