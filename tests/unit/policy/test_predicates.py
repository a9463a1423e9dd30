"""Conditions on scans, bills of materials, VEX and any field; whatever is of no known shape meets none."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.unit.policy.test_engine import NOW, by_ci, chart, denied, judged, policy
from verifier.attest.findings import COSIGN_VULN, CYCLONEDX, IN_TOTO_VULNS, OPENVEX, SPDX, leaf, read_packages, read_scan
from verifier.model.claim import Attestation, Claim
from verifier.model.decision import Decision
from verifier.model.errors import MisuseError

FINISHED = "2026-11-20T12:00:00Z"


def trivy(*found: tuple[str, str], **changes: Any) -> dict[str, Any]:
    vulnerabilities = [{"VulnerabilityID": name, "Severity": severity.upper(), "PkgName": "x"} for name, severity in found]
    result = {"SchemaVersion": 2, "Results": [{"Target": "chart"}, {"Target": "image", "Vulnerabilities": vulnerabilities}]}
    return {
        "scanner": {"uri": "pkg:github/aquasecurity/trivy@0.50.0", "result": result},
        "metadata": {"scanFinishedOn": FINISHED},
        **changes,
    }


def grype(*found: tuple[str, str]) -> dict[str, Any]:
    matches = [{"vulnerability": {"id": name, "severity": severity.title()}, "artifact": {}} for name, severity in found]
    return {"scanner": {"uri": "grype", "result": {"matches": matches}}, "metadata": {"scanFinishedOn": FINISHED}}


def in_toto(*found: tuple[str, Any]) -> dict[str, Any]:
    listed = [{"id": name, "severity": [{"method": "nvd", "score": score}]} for name, score in found]
    return {"scanner": {"uri": "x", "result": listed}, "metadata": {"scanFinishedOn": FINISHED}}


def spdx(*packages: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "SPDXID": "SPDXRef-DOCUMENT",
        "packages": [
            {
                "name": name,
                "versionInfo": version,
                "licenseConcluded": license_,
                "licenseDeclared": "NOASSERTION",
                "externalRefs": [{"referenceType": "purl", "referenceLocator": f"pkg:npm/{name}@{version}"}],
            }
            for name, version, license_ in packages
        ],
    }


def cyclonedx(*packages: tuple[str, str, str]) -> dict[str, Any]:
    inner = [
        {"name": name, "version": version, "purl": f"pkg:npm/{name}@{version}", "licenses": [{"license": {"id": license_}}]}
        for name, version, license_ in packages
    ]
    return {"bomFormat": "CycloneDX", "components": [{"name": "outer", "components": inner}]}


def vex(*statements: tuple[str, str]) -> dict[str, Any]:
    return {"@context": "https://openvex.dev/ns/v0.2.0", "statements": [{"vulnerability": {"name": name}, "status": status} for name, status in statements]}


def says(uri: str, predicate: Any) -> Claim:
    return by_ci(kind=Attestation(predicate_type=uri, predicate=predicate))


def asked(uri: str, predicate: Any, condition: str, **more: Any) -> Decision:
    return judged(policy(f"    require: {{attested: {{type: '{uri}', by: ci, {condition}}}}}"), chart(), says(uri, predicate), **more)


HIGH = "vulnerabilities: {none: [critical, high]}"
HOLDS = [
    (COSIGN_VULN, trivy(("CVE-1", "low")), HIGH),
    (COSIGN_VULN, trivy(), HIGH),
    (COSIGN_VULN, trivy(("CVE-1", "high")), "vulnerabilities: {none: [critical]}"),
    (COSIGN_VULN, trivy(("CVE-1", "high")), "vulnerabilities: {none: [high], accepted: [CVE-1]}"),
    (COSIGN_VULN, trivy(("CVE-1", "unknown")), "vulnerabilities: {scanner: 'pkg:github/aquasecurity/trivy@*'}"),
    (COSIGN_VULN, trivy(), "vulnerabilities: {maxAge: 7d}"),
    (COSIGN_VULN, {**trivy(), "scanner": {"uri": "t", "result": {"SchemaVersion": 2}}}, HIGH),
    (COSIGN_VULN, grype(("CVE-1", "medium")), HIGH),
    (COSIGN_VULN, grype(("CVE-1", "negligible")), HIGH),
    (IN_TOTO_VULNS[0], in_toto(("CVE-1", "medium")), HIGH),
    (IN_TOTO_VULNS[1], in_toto(("CVE-1", "6.9")), HIGH),
    (IN_TOTO_VULNS[1], in_toto(), HIGH),
    (SPDX, spdx(("lodash", "4.17.21", "MIT")), "packages: {none: ['log4j-core@2.1*'], licenses: {none: ['AGPL-*']}}"),
    (CYCLONEDX, cyclonedx(("lodash", "4.17.21", "MIT")), "packages: {none: ['pkg:maven/**'], licenses: {none: [GPL-3.0-only]}}"),
    (OPENVEX, vex(("CVE-1", "not_affected"), ("CVE-2", "fixed")), "statuses: {none: [affected, under_investigation]}"),
    (
        "https://in-toto.io/attestation/test-result/v0.1",
        {"result": "PASSED", "configuration": [{"name": "a"}]},
        "fields: {result: PASSED, configuration.0.name: a}",
    ),
    ("https://x.example/t", {"a.b": {"c": 7}, "d": True}, "fields: {a.b.c: '7', d: 'true'}"),
]
FAILS = [
    (COSIGN_VULN, trivy(("CVE-1", "low"), ("CVE-2", "critical")), HIGH, "it found CVE-2 (critical)"),
    (COSIGN_VULN, trivy(("CVE-1", "unknown")), HIGH, "it found CVE-1 (unknown)"),
    (COSIGN_VULN, trivy(("CVE-1", "severe")), HIGH, "it found CVE-1 (unknown)"),
    (COSIGN_VULN, trivy(("CVE-1", "high"), ("CVE-2", "high")), "vulnerabilities: {none: [high], accepted: [CVE-1]}", "it found CVE-2 (high)"),
    (COSIGN_VULN, grype(("CVE-1", "high")), HIGH, "it found CVE-1 (high)"),
    (COSIGN_VULN, trivy(), "vulnerabilities: {scanner: grype}", "its scanner is 'pkg:github/aquasecurity/trivy@0.50.0', expected 'grype'"),
    (COSIGN_VULN, trivy(), "vulnerabilities: {maxAge: 3d}", "outside the age"),
    (COSIGN_VULN, trivy(metadata={"scanFinishedOn": "2026-12-20T12:00:00Z"}), "vulnerabilities: {maxAge: 30d}", "outside the age"),
    (COSIGN_VULN, trivy(metadata={}), "vulnerabilities: {maxAge: 4d}", "does not say when"),
    (COSIGN_VULN, trivy(metadata={"scanFinishedOn": "2026-11-20T12:00:00"}), "vulnerabilities: {maxAge: 9d}", "does not say when"),
    (IN_TOTO_VULNS[0], in_toto(("CVE-1", "9.8")), HIGH, "it found CVE-1 (critical)"),
    (IN_TOTO_VULNS[0], in_toto(("CVE-1", 7.0)), HIGH, "it found CVE-1 (high)"),
    (IN_TOTO_VULNS[0], in_toto(("CVE-1", "CVSS:3.1/AV:N")), HIGH, "it found CVE-1 (unknown)"),
    (IN_TOTO_VULNS[0], {"scanner": {"result": [{}]}}, HIGH, "something without a name (unknown)"),
    (
        SPDX,
        spdx(("log4j-core", "2.14.1", "Apache-2.0")),
        "packages: {none: ['log4j-core@2.1*']}",
        "it holds pkg:npm/log4j-core@2.14.1, which 'log4j-core@2.1*' refuses",
    ),
    (SPDX, spdx(("x", "1", "AGPL-3.0-only")), "packages: {licenses: {none: ['AGPL-*']}}", "has the license AGPL-3.0-only"),
    (CYCLONEDX, cyclonedx(("event-stream", "3.3.6", "MIT")), "packages: {none: ['pkg:npm/event-stream@3.3.6']}", "it holds pkg:npm/event-stream@3.3.6"),
    (CYCLONEDX, {"components": [{"name": "x", "licenses": [{"expression": "GPL-3.0-only"}]}]}, "packages: {licenses: {none: [GPL-3.0-only]}}", "GPL-3.0-only"),
    (OPENVEX, vex(("CVE-1", "fixed"), ("CVE-2", "affected")), "statuses: {none: [affected]}", "it says that CVE-2 is affected"),
    (OPENVEX, vex(("CVE-2", "under_investigation")), "statuses: {none: [affected, under_investigation]}", "CVE-2 is under_investigation"),
    ("https://x.example/t", {"result": "FAILED"}, "fields: {result: PASSED}", "its result is 'FAILED', expected 'PASSED'"),
    ("https://x.example/t", {"result": {"deep": "PASSED"}}, "fields: {result: PASSED}", "its result is None"),
    ("https://x.example/t", {}, "fields: {a.b: x}", "its a.b is None"),
]


@pytest.mark.parametrize("uri, predicate, condition", HOLDS)
def test_a_condition_that_holds(uri: str, predicate: Any, condition: str) -> None:
    decision = asked(uri, predicate, condition)
    assert decision.allowed, decision.check.reason


@pytest.mark.parametrize("uri, predicate, condition, reason", FAILS)
def test_a_condition_that_fails(uri: str, predicate: Any, condition: str, reason: str) -> None:
    decision = asked(uri, predicate, condition)
    denied(decision, "attestation-condition")
    assert reason in decision.check.reason


SHAPES: list[Any] = [
    None,
    [],
    "text",
    7,
    {},
    {"scanner": 7},
    {"scanner": {"result": None}},
    {"scanner": {"result": {"Results": 7, "SchemaVersion": 2}}},
    {"packages": []},
]
SHAPES += [
    {"components": {}},
    {"components": []},
    {"statements": []},
    {"statements": [7]},
    {"statements": [{"status": "perhaps"}]},
    {"Data": "SPDXVersion: SPDX-2.3"},
]


@pytest.mark.parametrize("predicate", SHAPES)
def test_a_shape_that_is_not_known_meets_nothing(predicate: Any) -> None:
    for uri, condition in (
        (COSIGN_VULN, HIGH),
        (IN_TOTO_VULNS[1], HIGH),
        (SPDX, "packages: {none: [x]}"),
        (CYCLONEDX, "packages: {none: [x]}"),
        (OPENVEX, "statuses: {none: [affected]}"),
        ("https://x.example/t", "fields: {a: x}"),
    ):
        denied(asked(uri, predicate, condition), "attestation-condition")


def test_another_attestation_may_meet_it() -> None:
    loaded = policy(f"    require: {{attested: {{type: vuln, by: ci, {HIGH}}}}}")
    bad, good = says(COSIGN_VULN, trivy(("CVE-1", "high"))), says(COSIGN_VULN, trivy())
    assert judged(loaded, chart(), bad, good).allowed
    denied(judged(loaded, chart(), bad), "attestation-condition")


def test_an_allow_ends_when_the_scan_is_too_old() -> None:
    decision = asked(COSIGN_VULN, trivy(), "vulnerabilities: {maxAge: 10d}")
    assert decision.valid_until is not None
    assert decision.valid_until - NOW == timedelta(days=6)
    assert any("then denied: the scan was finished" in warning for warning in decision.warnings)


@pytest.mark.parametrize(
    "condition, reason",
    [
        ("type: spdx, vulnerabilities: {none: [high]}", "vulnerabilities speaks of"),
        ("type: vuln, packages: {none: [x]}", "packages speaks of"),
        ("type: vuln, statuses: {none: [affected]}", "statuses speaks of"),
        ("type: vuln, vulnerabilities: {none: [severe]}", "must be one of: critical"),
        ("type: vuln, vulnerabilities: {}", "demands nothing"),
        ("type: vuln, vulnerabilities: {accepted: [CVE-1], scanner: x}", "accepted goes with none"),
        ("type: vuln, vulnerabilities: {none: []}", "not empty"),
        ("type: spdx, packages: {}", "demands nothing"),
        ("type: spdx, packages: {licenses: {}}", "needs the field 'none'"),
        ("type: spdx, packages: {none: ['**']}", "wildcards alone"),
        ("type: openvex, statuses: {none: [bad]}", "must be one of: affected"),
        ("type: openvex, statuses: {}", "needs the field 'none'"),
        ("type: custom, fields: {a: 7}", "must be a text"),
    ],
)
def test_conditions_that_make_no_sense(condition: str, reason: str) -> None:
    with pytest.raises(MisuseError) as caught:
        policy(f"    require: {{attested: {{by: ci, {condition}}}}}")
    assert reason in caught.value.reason


def test_paths() -> None:
    said = {"a": [{"b": "x"}], "a.0": {"b": "y"}, "n": None, "t": True, "f": 1.5}
    assert [leaf(said, path) for path in ("a.0.b", "a.1.b", "a.x", "n", "t", "f", "", "a")] == ["y", None, None, None, "true", "1.5", None, None]


def test_nothing_hides_in_the_depth() -> None:
    nested: dict[str, Any] = {"name": "hidden", "version": "1"}
    for _ in range(45):
        nested = {"name": "x", "components": [nested]}
    denied(asked(CYCLONEDX, {"components": [nested]}, "packages: {none: [hidden@1]}"), "attestation-condition")


def test_too_many_findings_are_no_scan() -> None:
    assert read_scan(IN_TOTO_VULNS[0], {"scanner": {"result": [{}] * 200_001}}) is None
    assert read_packages(SPDX, {"packages": [{"name": "x"}] * 200_001}) is None
