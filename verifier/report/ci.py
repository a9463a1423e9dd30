"""Decisions for machines that read lines: SARIF 2.1.0, and GitHub's workflow commands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from verifier import __version__
from verifier.model.codes import ALL
from verifier.model.decision import Decision, Outcome
from verifier.model.errors import MisuseError, VerifierError
from verifier.report.text import safe

_PLACE = re.compile(r"(.*):(\d+):(\d+)")
_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(decisions: Sequence[Decision], failed: Sequence[VerifierError] = ()) -> dict[str, Any]:
    """One run with a result for each decision that is not an allow, and for each chart that could not be asked about."""
    results = [_result(decision) for decision in decisions if not decision.allowed] + [_unasked(error) for error in failed]
    used = sorted({result["ruleId"] for result in results})
    rules = [{"id": name, "shortDescription": {"text": ALL[name].advice}} for name in used]
    driver = {"name": "verifier", "version": __version__, "rules": rules}
    return {"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


class LintResult(Struct, frozen=True, kw_only=True):
    """A finding about a policy, for SARIF; `level` is one of SARIF's words."""

    name: str
    level: str
    message: str
    file: str
    line: int = 1
    column: int = 1


def lint_sarif(found: Sequence[LintResult], refused: Sequence[MisuseError]) -> dict[str, Any]:
    """One run with a result for each finding, and for each policy that does not load."""
    results = [_lint_result(item) for item in (*found, *(_refused(error) for error in refused))]
    rules = [{"id": name} for name in sorted({result["ruleId"] for result in results})]
    driver = {"name": "verifier policy lint", "version": __version__, "rules": rules}
    return {"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _refused(error: MisuseError) -> LintResult:
    """The error's place is `FILE:LINE:COLUMN` where it is in a document."""
    match = _PLACE.fullmatch(error.where)
    file, line, column = (match[1], int(match[2]), int(match[3])) if match else (error.where or "policy", 1, 1)
    return LintResult(name=error.code.name, level="error", message=error.reason, file=file, line=line, column=column)


def _lint_result(item: LintResult) -> dict[str, Any]:
    region = {"startLine": item.line, "startColumn": item.column}
    location = {"physicalLocation": {"artifactLocation": {"uri": item.file}, "region": region}}
    return {"ruleId": item.name, "level": item.level, "message": {"text": item.message}, "locations": [location]}


def github_annotation(decision: Decision) -> str:
    """A workflow command: error, warning or notice. What comes from outside is escaped as the runner demands."""
    command = {Outcome.ALLOWED: "notice", Outcome.DENIED: "error", Outcome.INCONCLUSIVE: "warning"}[decision.outcome]
    code = decision.check.code.name if decision.check.code else decision.outcome.value
    message = f"{decision.request.reference}: {decision.outcome.value}: {decision.check.reason}"
    return f"::{command} title=verifier {code}::{_escaped(safe(message))}"


def github_error(error: VerifierError) -> str:
    """A workflow command for what could not be done."""
    return f"::error title=verifier {error.code.name}::{_escaped(safe(str(error)))}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _unasked(error: VerifierError) -> dict[str, Any]:
    """The place is `FILE: PATH`."""
    location = {"physicalLocation": {"artifactLocation": {"uri": error.where.partition(":")[0]}}}
    return {"ruleId": error.code.name, "level": "error", "message": {"text": f"{error.where}: {error.reason}"}, "locations": [location]}


def _result(decision: Decision) -> dict[str, Any]:
    code = decision.check.code.name if decision.check.code else "requirements-failed"
    return {
        "ruleId": code,
        "level": "error" if decision.outcome is Outcome.DENIED else "warning",
        "message": {"text": f"{decision.request.reference}: {decision.check.reason}"},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": str(decision.request.reference)}}}],
    }
