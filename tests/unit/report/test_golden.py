"""Golden decisions: the report as people read it and the JSON as programs do. `VERIFIER_GOLDEN=write` writes them anew."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
from msgspec.structs import replace

from tests.unit.policy.test_engine import FPR_A, HERE, NOW, by_alice, by_ci, chart, facts, policy
from verifier.model import codes
from verifier.model.claim import Rejection
from verifier.model.context import Context, Facts
from verifier.model.decision import Decision
from verifier.model.evidence import Gap
from verifier.policy.document import Policy
from verifier.policy.engine import decide
from verifier.report.ci import github_annotation, sarif
from verifier.report.codec import encode
from verifier.report.schema import decision_schema
from verifier.report.text import explain, safe

WRITE = os.environ.get("VERIFIER_GOLDEN") == "write"
FOLDER = Path(__file__).parents[2] / "assets" / "golden"
STRANGER = Rejection(scheme="sigstore", code=codes.KEY_UNKNOWN, reason="no trusted key verifies it", location=HERE, signer="key sha256:22")
GAP = Gap(kind="referrers", where="reg.example.test/acme/web", code=codes.RATE_LIMITED, reason="referrers: too many requests", retry_after=30.0)
BOTH = "    require: {all: [{signed: {by: alice}}, {any: [{signed: {by: ci}, until: 2027-01-01T00:00:00Z}, {signed: {by: bob}}]}]}"

CASES: dict[str, tuple[Policy, Facts]] = {
    "allowed": (policy(BOTH), facts(chart(pinned=True), by_alice(key_expires=NOW + timedelta(days=30)), by_ci(), context=Context(environment="prod"))),
    "denied": (policy(BOTH, extra="    chart: {version: '>=2.0.0'}"), facts(chart(), by_alice(), rejections=(STRANGER,))),
    "deny-listed": (policy(top=f"deny:\n  - fingerprint: {FPR_A}\n    reason: stolen laptop"), facts(chart(), by_alice())),
    "inconclusive": (policy(BOTH), facts(chart(), by_alice(), gaps=(GAP,))),
    "not-found": (policy(), facts(None, gaps=(Gap(kind="chart", where="reg.example.test", code=codes.NOT_FOUND, reason="manifest 1.4.2: not found"),))),
}


def decided(name: str) -> Decision:
    loaded, found = CASES[name]
    decision = decide(loaded, found, NOW, trust_digest="sha256:trust", unsafe=("insecure-skip-tls-verify",) if name == "denied" else ())
    return replace(decision, id="00000000-0000-0000-0000-000000000000", time=datetime(2026, 11, 24, 12, tzinfo=UTC))


def compare(path: Path, text: str) -> None:
    if WRITE:
        path.write_text(text)
    assert path.read_text() == text, f"{path.name} differs; if that is meant: VERIFIER_GOLDEN=write"


def stable(text: str, decision: Decision) -> str:
    """Without what another zlib or another release may change."""
    if decision.artifact is not None:
        text = text.replace(decision.artifact.archive_digest.hex, "ARCHIVE")
    return re.sub(r'"verifier": "[^"]+"', '"verifier": "VERSION"', text)


@pytest.mark.parametrize("name", CASES)
def test_a_golden_decision(name: str) -> None:
    decision = decided(name)
    value = encode(decision)
    jsonschema.validate(value, decision_schema())
    compare(FOLDER / f"{name}.json", stable(json.dumps(value, indent=2) + "\n", decision))
    compare(FOLDER / f"{name}.txt", stable(explain(decision) + "\n", decision))


def test_nothing_says_signed_or_verified_without_a_claim() -> None:
    """Semantics 37."""
    for name in ("inconclusive", "not-found", "deny-listed"):
        decision = replace(decided(name), claims=())
        found = [line for line in explain(decision).splitlines() if line.startswith("    verified")]
        assert not found


def test_nothing_from_outside_reaches_a_terminal_raw() -> None:
    evil = Rejection(scheme=None, code=codes.EVIDENCE_FOREIGN, reason="\x1b[2J\u202egnp.exe\n::error::x", location=HERE)
    loaded, found = CASES["denied"]
    decision = decide(loaded, replace(found, rejections=(evil,)), NOW)
    for text in (
        explain(decision),
        explain(decision, colour=True).split("\n", 1)[1],
        github_annotation(replace(decision, check=replace(decision.check, reason=evil.reason))),
    ):
        assert "\x1b[2J" not in text
        assert "\u202e" not in text
        assert "\n::error::x" not in text
    assert safe("a\tb") == "a\\tb"


def test_colour_and_quiet() -> None:
    decision = decided("denied")
    assert explain(decision, colour=True).startswith("\x1b[1;31mDENIED\x1b[0m")
    assert len(explain(decision, quiet=True).splitlines()) < 6


def test_sarif_names_only_what_is_no_allow() -> None:
    log = sarif([decided("allowed"), decided("denied"), decided("inconclusive")])
    results = log["runs"][0]["results"]
    assert [(item["ruleId"], item["level"]) for item in results] == [("version-refused", "error"), ("rate-limited", "warning")]
    assert github_annotation(decided("allowed")).startswith("::notice ")
    assert github_annotation(decided("inconclusive")).startswith("::warning ")
