"""Findings: each where it should be, with its place, and none about a policy that is as it should be."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.signers import pair, pgp
from verifier.operations.linting import Located, lint_policy
from verifier.operations.policies import load
from verifier.policy.lint import FINDINGS
from verifier.signers.public import public_pem
from verifier.trust.built_in import public_good_root

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
POLICY = """\
apiVersion: verifier/v1
kind: ChartPolicy
metadata: {name: p}
trust:
  ci:
    key: {file: ci.pub}
  github:
    keyless:
      issuer: https://token.actions.githubusercontent.com
      identity: "https://github.com/acme/charts/.github/workflows/release.yml@refs/tags/*"
      sourceRepository: acme/charts
rules:
  - name: ours
    charts: ["oci://ghcr.io/acme/*"]
    require: {signed: {by: [ci, github]}}
    chart: {version: ">=1.0.0"}
"""
MORE = """  - name: more
    charts: ["oci://ghcr.io/acme/more/*"]
    require: {signed: {by: ci}}
    chart: {version: ">=1.0.0"}
"""
IDENTITY = '      identity: "https://github.com/acme/charts/.github/workflows/release.yml@refs/tags/*"\n'
SIGNED = "{signed: {by: [ci, github]}}"
REVIEW = "{digest: 'sha256:" + "1" * 64 + "', owner: a, reason: b, expires: 2026-11-01T00:00:00Z}"
EXCEPTION = (
    "{repository: 'oci://ghcr.io/acme/x', digest: 'sha256:" + "1" * 64 + "', rule: ours, codes: [unsigned], owner: a, reason: b, ticket: %s, expires: %s}"
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("ci.pub").write_bytes(public_pem(pair().public))
    Path("team.asc").write_bytes(pgp().public)
    Path("short.asc").write_bytes(pgp("short", 86_400).public)
    return tmp_path


def linted(text: str, now: datetime = NOW) -> list[Located]:
    Path("p.yaml").write_text(text)
    return lint_policy(load(Path("p.yaml")), Path("p.yaml"), now)


def changed(old: str, new: str) -> str:
    assert old in POLICY
    return POLICY.replace(old, new)


def identity(text: str) -> str:
    return changed(IDENTITY, f"      {text}\n")


# name, level, text, line and column, a part of the line that says why
CASES = [
    ("unused-trust", "warning", changed("[ci, github]", "ci"), (7, 3), "no rule uses it"),
    ("any-key", "warning", changed("    key: {file: ci.pub}", "    openpgp: {keyring: team.asc, anyKey: true}"), (6, 34), "adds a signer"),
    ("wide-identity", "error", identity('identity: "https://github.com/acme/charts/**"'), (10, 7), "any workflow and any ref"),
    ("wide-identity", "error", identity("identityType: uri\n      identityRegexp: 'https://github\\.com/acme/charts/.*'"), (11, 7), "any workflow and any ref"),
    ("any-ref", "error", identity('identity: "https://github.com/acme/charts/.github/workflows/release.yml@**"'), (10, 7), "pull requests"),
    ("any-ref", "error", identity('identity: "https://github.com/acme/charts/.github/workflows/release.yml@refs/pull/*/merge"'), (10, 7), "pull requests"),
    (
        "unescaped-dot",
        "error",
        identity("identityType: uri\n      identityRegexp: 'https://github.com/acme/charts/x@refs/tags/v1'"),
        (11, 7),
        "'.com' stands for any character",
    ),
    ("expired", "error", changed("{file: ci.pub}", "{file: ci.pub, notAfter: 2026-11-01T00:00:00Z}"), (6, 25), "its window ended at 2026-11-01"),
    ("expires-soon", "warning", changed("{file: ci.pub}", "{file: ci.pub, notAfter: 2026-12-01T00:00:00Z}"), (6, 25), "ends at 2026-12-01"),
    ("no-evidence", "error", changed(SIGNED, "{chart: {type: application}}"), (15, 5), "without a signature"),
    ("no-evidence", "error", changed(SIGNED, f"{{any: [{SIGNED}, {{chart: {{pinned: true}}}}]}}"), (15, 5), "without a signature"),
    ("warns-only", "error", changed(SIGNED, f"{SIGNED[:-1]}, action: warn}}"), (15, 5), "not production"),
    ("warns-only", "note", changed(SIGNED, f"{SIGNED[:-1]}, action: warn}}\n    when: {{environment: dev}}"), (15, 5), "only warns"),
    ("warns-only", "error", changed(SIGNED, f"{{all: [{SIGNED[:-1]}, action: warn}}, {{chart: {{pinned: true}}, action: warn}}]}}"), (15, 5), "only warns"),
    ("dead-branch", "warning", changed(SIGNED, f"{{any: [{SIGNED}, {{signed: {{by: ci}}, until: 2026-01-01T00:00:00Z}}]}}"), (15, 5), "never count again"),
    ("reviews-ended", "warning", changed(SIGNED, f"{{any: [{SIGNED}, {{digest: {{in: [{REVIEW}]}}}}]}}"), (15, 5), "has ended"),
    ("wide-scope", "warning", changed("oci://ghcr.io/acme/*", "oci://ghcr.io/**"), (14, 5), "strangers"),
    ("rollback", "note", changed('    chart: {version: ">=1.0.0"}\n', ""), (13, 5), "rollback"),
    ("message-form", "note", changed("[ci, github]}}", "[ci, github], forms: [message]}}"), (15, 5), "names no purpose"),
    (
        "slow-expression",
        "warning",
        changed(SIGNED, f"{{all: [{SIGNED}, {{expr: 'chart.keywords.all(a, chart.keywords.all(b, chart.keywords.exists(c, a == b || b == c)))'}}]}}"),
        (15, 5),
        "3 loops",
    ),
    ("exception-ends", "warning", POLICY + "exceptions: {granted: [" + EXCEPTION % ("T-1", "2026-01-01T00:00:00Z") + "]}\n", (17, 1), "T-1 ended"),
    ("exception-ends", "note", POLICY + "exceptions: {granted: [" + EXCEPTION % ("T-1", "2026-12-01T00:00:00Z") + "]}\n", (17, 1), "T-1 ends"),
    (
        "exceptions-overlap",
        "warning",
        POLICY + f"exceptions: {{granted: [{EXCEPTION % ('T-1', '2028-01-01T00:00:00Z')}, {EXCEPTION % ('T-2', '2029-01-01T00:00:00Z')}]}}\n",
        (17, 1),
        "T-1 and T-2",
    ),
    (
        "never-matches",
        "error",
        POLICY
        + MORE.replace("acme/more/*", "acme/**/*")
        + MORE.replace("more\n", "other\n").replace("acme/more/*", "acme/*/*")
        + MORE.replace("more\n", "third\n").replace("acme/more/*", "acme/**"),
        (0, 0),
        "is more specific",
    ),
]


@pytest.mark.parametrize("name, level, text, place, why", CASES)
def test_a_finding(here: Path, name: str, level: str, text: str, place: tuple[int, int], why: str) -> None:
    found = [item for item in linted(text) if item.finding.name == name]
    assert found, [str(item) for item in linted(text)]
    item = found[0]
    assert str(item.finding.level) == level
    assert why in item.finding.why
    assert place == (0, 0) or (item.line, item.column) == place
    assert item.finding.fix


def test_nothing_about_a_policy_that_is_as_it_should_be(here: Path) -> None:
    assert linted(POLICY + MORE) == []


def test_every_finding_has_a_case_and_its_place_in_the_docs() -> None:
    page = (Path(__file__).parents[3] / "docs" / "policy.md").read_text()
    assert {case[0] for case in CASES} == set(FINDINGS)
    assert all(f"`{name}`" in page for name in FINDINGS)


def test_certificates_that_end(here: Path) -> None:
    text = changed("    key: {file: ci.pub}", "    openpgp: {keyring: short.asc, anyKey: true}")
    assert "expires-soon" in {item.finding.name for item in linted(text, datetime.now(UTC))}
    late = [item for item in linted(text, datetime.now(UTC) + timedelta(days=2)) if item.finding.name == "expired"]
    assert "the last of its OpenPGP certificates" in late[0].finding.why


def test_a_root_whose_age_ran_out(here: Path) -> None:
    Path("mine.json").write_bytes(public_good_root())
    text = changed("      sourceRepository", "      root: mine\n      sourceRepository").replace(
        "rules:", "roots:\n  mine: {trustedRoot: mine.json, maxAge: 30d}\nrules:"
    )
    as_of = load(_written(text)).policy.roots[0].as_of
    assert as_of is not None
    late = [item for item in linted(text, as_of + timedelta(days=31)) if item.finding.name == "expired"]
    assert [(item.finding.path, item.line) for item in late] == [(("roots", "mine", "maxAge"), 14)]
    assert "expires-soon" in {item.finding.name for item in linted(text, as_of + timedelta(days=20))}


def _written(text: str) -> Path:
    Path("p.yaml").write_text(text)
    return Path("p.yaml")


def test_a_rule_that_context_takes_away(here: Path) -> None:
    """A more specific rule that demands context answers context-missing to all who carry none; it is told of the other one."""
    narrow = MORE.replace("acme/more/*", "acme/more/a").replace("more\n", "narrow\n") + "    when: {environment: prod}\n"
    found = {(item.finding.name, item.finding.path) for item in linted(POLICY + MORE.replace("acme/more/*", "acme/more/a") + narrow)}
    assert ("never-matches", ("rules", "more", "charts")) in found


# On the command line


def test_an_error_ends_with_1_and_a_note_does_not(here: Path) -> None:
    linted(changed('    chart: {version: ">=1.0.0"}\n', ""))
    ran = run("policy", "lint", "p.yaml")
    assert ran.status == 0
    assert ran.out.splitlines()[0].startswith("p.yaml:13:5: note: rules.ours: an old signed version can be served again (rollback) [rollback]; ")
    linted(identity('identity: "https://github.com/acme/charts/**"'))
    assert run("policy", "lint", "p.yaml").status == 1


def test_sarif(here: Path) -> None:
    linted(identity('identity: "https://github.com/acme/charts/**"'))
    Path("broken.yaml").write_text(changed("kind: ChartPolicy", "kind: Policy"))
    ran = run("policy", "lint", "-o", "sarif", "p.yaml", "broken.yaml", "nowhere.yaml")
    assert ran.status == 2
    (one,) = json.loads(ran.out)["runs"]
    places = [(item["ruleId"], item["level"], item["locations"][0]["physicalLocation"]) for item in one["results"]]
    assert places == [
        ("wide-identity", "error", {"artifactLocation": {"uri": "p.yaml"}, "region": {"startLine": 10, "startColumn": 7}}),
        ("policy-invalid", "error", {"artifactLocation": {"uri": "broken.yaml"}, "region": {"startLine": 2, "startColumn": 7}}),
        ("file-unreadable", "error", {"artifactLocation": {"uri": "nowhere.yaml"}, "region": {"startLine": 1, "startColumn": 1}}),
    ]


def test_a_directory_names_the_file(here: Path) -> None:
    Path("d").mkdir()
    Path("d/a.yaml").write_text(POLICY.replace("ci.pub", "../ci.pub"))
    head = "apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {name: p}\nrules:\n"
    Path("d/b.yaml").write_text(head + MORE.replace('    chart: {version: ">=1.0.0"}\n', ""))
    assert run("policy", "lint", "d").out.splitlines()[0].startswith("d/b.yaml:5:5: note: rules.more: ")
