"""The example policies mean what their cases say, load as they stand, and follow the published schema."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.charts import archive, chart_file
from verifier.model.artifact import Artifact, Descriptor, OciChart
from verifier.model.claim import Claim, Form, KeySigner, OpenPGPSigner, Role, Signature
from verifier.model.context import Context, Facts, Request
from verifier.model.digest import sha256
from verifier.model.evidence import Kind, Location
from verifier.model.reference import FileReference, PinnedReference, Reference, parse
from verifier.operations.policies import LoadedPolicy, load
from verifier.policy.document import TrustKind
from verifier.policy.engine import decide
from verifier.policy.schema import policy_schema

FOLDER = Path(__file__).parents[2] / "policies"
POLICIES = sorted(path for path in FOLDER.glob("*.yaml") if not path.name.endswith(".test.yaml"))
NOW = "2026-11-24T12:00:00Z"


def cases() -> list[Any]:
    found = []
    for path in POLICIES:
        document = yaml.safe_load(path.with_name(f"{path.stem}.test.yaml").read_text())
        for case in document["cases"]:
            found.append(pytest.param(path, {"context": document.get("context", {}), **case}, id=f"{path.stem}: {case['name']}"))
    return found


def artifact(case: dict[str, Any], reference: object) -> Artifact:
    if isinstance(reference, FileReference):
        return chart_file(archive(), reference.path)
    assert isinstance(reference, Reference)
    version = (reference.tag or "1.0.0").replace("_", "+")
    local = chart_file(archive(reference.repository.rpartition("/")[2], version))
    digest = reference.digest or sha256(b"a manifest")
    pinned = PinnedReference(
        registry=reference.registry,
        repository=reference.repository,
        digest=digest,
        tag=reference.tag,
        was_pinned=case.get("pinned", reference.digest is not None),
    )
    layer = Descriptor(media_type="chart", digest=local.digest, size=len(local.archive))
    return OciChart(reference=pinned, manifest=b"", config=b"", chart=layer, provenance=None, facts=local.facts, archive=local.archive)


def claim(name: str, loaded: LoadedPolicy) -> Claim:
    entry = next(entry for entry in loaded.policy.trust if entry.name == name)
    signer = (
        OpenPGPSigner(fingerprint=entry.fingerprints[0], signing_key=entry.fingerprints[0])
        if entry.kind is TrustKind.OPENPGP
        else KeySigner(key_id=f"sha256:{name}", algorithm="ecdsa")
    )
    form = Form.PROVENANCE if entry.kind is TrustKind.OPENPGP else Form.STATEMENT
    location = Location(kind=Kind.REFERRER, where="case")
    return Claim(scheme="case", kind=Signature(form=form), signer=signer, anchors=frozenset((name,)), role=Role.MANIFEST, digest=sha256(b""), location=location)


@pytest.mark.parametrize("path, case", cases())
def test_a_case(path: Path, case: dict[str, Any]) -> None:
    loaded = load(path)
    reference = parse(case["reference"])
    request = Request(reference=reference, context=Context(**case["context"], asserted_by="case"))
    facts = Facts(request=request, artifact=artifact(case, reference), claims=tuple(claim(name, loaded) for name in case.get("signedBy", [])))
    decision = decide(loaded.policy, facts, datetime.fromisoformat(case.get("at", NOW)))
    assert decision.outcome.value == case["expect"], decision.check.reason
    assert (decision.check.code.name if decision.check.code else None) == case.get("code")


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


def test_every_policy_has_denials() -> None:
    for path in POLICIES:
        answers = [case["expect"] for case in yaml.safe_load(path.with_name(f"{path.stem}.test.yaml").read_text())["cases"]]
        assert answers.count("denied") >= answers.count("allowed"), path.name
