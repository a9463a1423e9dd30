"""Decisions for machines that read lines: SARIF 2.1.0, and GitHub's workflow commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from verifier import __version__
from verifier.model.codes import ALL
from verifier.model.decision import Decision, Outcome
from verifier.report.text import safe

_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(decisions: Sequence[Decision]) -> dict[str, Any]:
    """One run with a result for each decision that is not an allow."""
    results = [_result(decision) for decision in decisions if not decision.allowed]
    used = sorted({result["ruleId"] for result in results})
    rules = [{"id": name, "shortDescription": {"text": ALL[name].advice}} for name in used]
    driver = {"name": "verifier", "version": __version__, "rules": rules}
    return {"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def github_annotation(decision: Decision) -> str:
    """A workflow command: error, warning or notice. What comes from outside is escaped as the runner demands."""
    command = {Outcome.ALLOWED: "notice", Outcome.DENIED: "error", Outcome.INCONCLUSIVE: "warning"}[decision.outcome]
    code = decision.check.code.name if decision.check.code else decision.outcome.value
    message = f"{decision.request.reference}: {decision.outcome.value}: {decision.check.reason}"
    return f"::{command} title=verifier {code}::{_escaped(safe(message))}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _result(decision: Decision) -> dict[str, Any]:
    code = decision.check.code.name if decision.check.code else "requirements-failed"
    return {
        "ruleId": code,
        "level": "error" if decision.outcome is Outcome.DENIED else "warning",
        "message": {"text": f"{decision.request.reference}: {decision.check.reason}"},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": str(decision.request.reference)}}}],
    }
