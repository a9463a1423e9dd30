"""`attested`: exact types, trusted signers, and what build provenance must say (semantics 8, 19)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.policy.test_engine import NOW, chart, facts
from tests.unit.policy.test_keyless import REPOSITORY, claim, code, judged, policy
from verifier.attest.predicates import SLSA_02, SLSA_1, TYPES, predicate_uri, read_provenance, split_source
from verifier.model import codes
from verifier.model.claim import Attestation, Claim, Form, Signature
from verifier.model.decision import Outcome
from verifier.model.evidence import Gap
from verifier.policy.engine import decide
from verifier.policy.words import describe

BUILDER = f"{REPOSITORY}/.github/workflows/release.yml@refs/tags/v1.4.2"
WORKFLOW_TYPE = "https://actions.github.io/buildtypes/workflow/v1"
PROVENANCE: dict[str, Any] = {
    "buildDefinition": {
        "buildType": WORKFLOW_TYPE,
        "externalParameters": {
            "workflow": {"ref": "refs/tags/v1.4.2", "repository": REPOSITORY, "path": ".github/workflows/release.yml"},
            "inputs": {"debug": False},
        },
        "resolvedDependencies": [{"uri": f"git+{REPOSITORY}@refs/tags/v1.4.2", "digest": {"gitCommit": "a" * 40}}],
    },
    "runDetails": {"builder": {"id": BUILDER}},
}
OLD: dict[str, Any] = {
    "builder": {"id": BUILDER},
    "buildType": WORKFLOW_TYPE,
    "invocation": {"configSource": {"uri": f"git+{REPOSITORY}.git@refs/tags/v1.4.2"}, "parameters": {"debug": "no"}},
}


def attestation(predicate: Any = None, predicate_type: str = SLSA_1, **changes: object) -> Claim:
    return replace(claim(**changes), kind=Attestation(predicate_type=predicate_type, predicate=PROVENANCE if predicate is None else predicate))


def rule(conditions: str = "", kind: str = "slsaprovenance1") -> str:
    return f"{{attested: {{type: {kind}, by: release{conditions}}}}}"


def asked(conditions: str, *claims: Claim, kind: str = "slsaprovenance1") -> Any:
    return judged(policy(require=rule(conditions, kind)), *claims)


def test_an_attestation_of_the_type_by_the_signer() -> None:
    assert asked("", attestation()).outcome is Outcome.ALLOWED
    assert asked("", attestation({}, TYPES["spdx"]), kind="spdx").outcome is Outcome.ALLOWED
    assert asked("", attestation({}, "https://acme.test/audit/v1"), kind='"https://acme.test/audit/v1"').outcome is Outcome.ALLOWED


OTHERS = {
    "nothing": ((), "attestation-missing"),
    "a signature": ((claim(),), "attestation-missing"),
    "another type": ((attestation({}, TYPES["spdx"]),), "attestation-missing"),
    "a type that begins alike": ((attestation(PROVENANCE, SLSA_1 + "1"),), "attestation-missing"),
    "another signer": ((attestation(identity="https://github.com/evil/x.yml@refs/heads/main"),), "identity-mismatch"),
    "a source that the certificate does not name": (
        (attestation({**PROVENANCE, "buildDefinition": {**PROVENANCE["buildDefinition"], "externalParameters": {"workflow": {"repository": "https://github.com/evil/x"}}}}),),
        "attestation-forged",
    ),
    "a ref that the certificate does not name": (
        (attestation(extensions={"sourceRepositoryURI": REPOSITORY, "sourceRepositoryRef": "refs/heads/main"}),),
        "attestation-forged",
    ),
}  # fmt: skip


@pytest.mark.parametrize("claims, expected", OTHERS.values(), ids=OTHERS.keys())
def test_what_does_not_attest(claims: tuple[Claim, ...], expected: str) -> None:
    assert code(asked("", *claims)) == expected


def test_an_attestation_never_signs() -> None:
    assert code(judged(policy(), attestation())) == "signer-not-allowed"
    message = replace(claim(), kind=Signature(form=Form.MESSAGE))
    assert code(asked("", message)) == "attestation-missing"


CONDITIONS = {
    "builder": (f', builder: "{BUILDER}"', ', builder: "https://other"', "its builder is"),
    "builder as a pattern": (f', builder: "{REPOSITORY}/.github/workflows/*@refs/tags/*"', f', builder: "{REPOSITORY}/*"', "its builder is"),
    "build type": (f', buildType: "{WORKFLOW_TYPE}"', ', buildType: "https://other"', "its build type is"),
    "source": (f", sourceRepository: {REPOSITORY}", ", sourceRepository: https://github.com/acme/other", "its source repository is"),
    "ref": (", ref: refs/tags/*", ", ref: refs/heads/main", "its ref is"),
    "parameters": (
        ', parameters: {inputs.debug: "false", workflow.path: ".github/**", workflow.ref: "refs/tags/*", workflow.repository: "https://**"}',
        ', parameters: {inputs.debug: "true"}, otherParameters: allow',
        "its parameter inputs.debug is 'false'",
    ),
    "parameters that the rule does not name": (
        ', parameters: {inputs.debug: "false"}, otherParameters: allow',
        ', parameters: {inputs.debug: "false"}',
        "which the rule does not name",
    ),
    "a parameter that is missing": (", ref: refs/tags/*", ', parameters: {inputs.x: "y"}, otherParameters: allow', "inputs.x is ''"),
}  # fmt: skip


@pytest.mark.parametrize("good, bad, reason", CONDITIONS.values(), ids=CONDITIONS.keys())
def test_conditions_on_provenance(good: str, bad: str, reason: str) -> None:
    assert asked(good, attestation()).outcome is Outcome.ALLOWED
    decision = asked(bad, attestation())
    assert code(decision) == "attestation-condition"
    assert reason in decision.check.reason


def test_the_older_provenance() -> None:
    conditions = f', builder: "{BUILDER}", sourceRepository: {REPOSITORY}, ref: refs/tags/v1.4.2, parameters: {{debug: "no"}}'
    assert asked(conditions, attestation(OLD, SLSA_02), kind="slsaprovenance").outcome is Outcome.ALLOWED
    assert code(asked(', builder: "x"', attestation(OLD, SLSA_02), kind="slsaprovenance02")) == "attestation-condition"


@pytest.mark.parametrize("predicate", [None, [], "x", {"runDetails": 5}, {"buildDefinition": {"externalParameters": {str(n): n for n in range(2000)}}}])
def test_malformed_provenance_meets_no_condition(predicate: Any) -> None:
    wrong = replace(claim(), kind=Attestation(predicate_type=SLSA_1, predicate=predicate))
    assert code(asked(f', builder: "{BUILDER}"', wrong)) == "attestation-condition"


def test_what_could_not_be_read_leaves_it_open() -> None:
    gap = Gap(kind="evidence", where="reg", code=codes.REGISTRY_ERROR, reason="answered 500")
    decision = decide(policy(require=rule()), facts(chart(), gaps=(gap,)), NOW)
    assert decision.outcome is Outcome.INCONCLUSIVE


def test_a_good_one_among_bad_ones_counts() -> None:
    bad = attestation({}, SLSA_1)
    decision = asked(f', builder: "{BUILDER}"', bad, attestation())
    assert decision.outcome is Outcome.ALLOWED
    assert [child.code.name for child in decision.check.children[-1].children if child.code] == ["attestation-condition"]


def test_words() -> None:
    loaded = policy(require="{all: [{signed: {by: release}}, " + rule()[0:] + "]}")
    assert any(f"attested {SLSA_1} by release" in line for line in describe(loaded, loaded.rules[0]))
    assert predicate_uri("sbom") is None
    assert predicate_uri("https://x/y") == "https://x/y"


SOURCES = [
    ("git+https://github.com/a/b.git@refs/heads/main", ("https://github.com/a/b", "refs/heads/main")),
    ("https://github.com/a/b", ("https://github.com/a/b", "")),
    ("git+https://user@github.com/a/b", ("https://user", "github.com/a/b")),  # matches nothing that a policy names
    ("", ("", "")),
]


@pytest.mark.parametrize("uri, expected", SOURCES)
def test_sources(uri: str, expected: tuple[str, str]) -> None:
    assert split_source(uri) == expected


def test_sources_of_other_builders() -> None:
    external = {"source": {"uri": f"git+{REPOSITORY}@refs/heads/main"}}
    found = read_provenance(SLSA_1, {"buildDefinition": {"externalParameters": external}, "runDetails": {}})
    assert found is not None
    assert (found.source_repository, found.ref) == (REPOSITORY, "refs/heads/main")
    found = read_provenance(SLSA_1, {"buildDefinition": {"resolvedDependencies": [{"uri": "pkg:x"}, {"uri": f"git+{REPOSITORY}"}]}})
    assert found is not None
    assert found.source_repository == REPOSITORY
