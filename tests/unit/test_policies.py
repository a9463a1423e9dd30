"""The example policies mean what their cases say, load as they stand, and follow the published schema."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.cli import run
from verifier.policy.schema import policy_schema

FOLDER = Path(__file__).parents[2] / "policies"
POLICIES = sorted(path for path in FOLDER.glob("*.yaml") if not path.name.endswith(".test.yaml"))


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_its_cases(path: Path) -> None:
    """A note would say that no case reaches a rule, or that none is denied by it."""
    ran = run("policy", "test", "-q", str(path))
    assert ran.status == 0, ran.out + ran.err
    assert re.fullmatch(r".*: [1-9][0-9]* cases, 0 not as expected\n", ran.out), ran.out


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_the_schema_for_editors_knows_it(path: Path) -> None:
    document = yaml.load(path.read_text(), Loader=yaml.BaseLoader)
    jsonschema.validate(_typed(document), policy_schema())


def _typed(value: Any) -> Any:
    """Truth values and numbers as an editor reads them; times stay text."""
    if isinstance(value, dict):
        return {key: _typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_typed(inner) for inner in value]
    return {"true": True, "false": False}.get(value, int(value) if value.isdigit() and len(value) < 5 else value)


def test_there_are_policies_to_start_from() -> None:
    assert len(POLICIES) >= 10


def test_every_policy_has_its_section() -> None:
    page = (FOLDER.parent / "docs" / "cookbook.md").read_text()
    assert set(re.findall(r"^## (.+)$", page, re.MULTILINE)) == {path.stem for path in POLICIES}


def test_every_policy_has_denials() -> None:
    for path in POLICIES:
        answers = [case["expect"] for case in yaml.safe_load(path.with_name(f"{path.stem}.test.yaml").read_text())["cases"]]
        assert answers.count("denied") >= answers.count("allowed"), path.name
