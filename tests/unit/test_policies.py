"""The example policies mean what their cases say, load as they stand, and follow the published schema."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from msgspec.structs import replace

from tests.support.charts import archive, chart_file, chart_yaml
from verifier.model.artifact import Artifact, Descriptor, OciChart
from verifier.model.claim import Attestation, CertificateSigner, Claim, Clock, Form, KeySigner, OpenPGPSigner, Role, SanType, Signature, SigningTime
from verifier.model.context import Context, Facts, Request
from verifier.model.digest import sha256
from verifier.model.evidence import Kind, Location
from verifier.model.reference import FileReference, PinnedReference, Reference, parse
from verifier.operations.policies import LoadedPolicy, load
from verifier.policy.document import TrustKind
from verifier.policy.engine import decide
from verifier.policy.schema import policy_schema
from verifier.signers.public import load_public_key
from verifier.trust.anchors import PUBLIC_GOOD

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
    # YAML is a superset of JSON: what a case says of the chart is written into its Chart.yaml as it stands.
    extra = "".join(f"{key}: {json.dumps(value)}\n" for key, value in case.get("chart", {}).items())
    inside = {f"charts/{item['name']}/Chart.yaml": chart_yaml(item["name"], item["version"]) for item in case.get("chart", {}).get("dependencies", [])}
    local = chart_file(archive(reference.repository.rpartition("/")[2], version, inside, extra))
    facts = replace(local.facts, lock_problem=None) if case.get("locked") else local.facts
    digest = reference.digest or sha256(b"a manifest")
    pinned = PinnedReference(
        registry=reference.registry,
        repository=reference.repository,
        digest=digest,
        tag=reference.tag,
        was_pinned=case.get("pinned", reference.digest is not None),
    )
    layer = Descriptor(media_type="chart", digest=local.digest, size=len(local.archive))
    return OciChart(reference=pinned, manifest=b"", config=b"", chart=layer, provenance=None, facts=facts, archive=local.archive)


def _key_id(name: str, loaded: LoadedPolicy) -> str:
    return load_public_key(next(anchor.data for anchor in loaded.trust.anchors if anchor.name == name)).key_id


def claim(name: str, loaded: LoadedPolicy, case: dict[str, Any]) -> Claim:
    entry = next(entry for entry in loaded.policy.trust if entry.name == name)
    signer = (
        OpenPGPSigner(fingerprint=entry.fingerprints[0], signing_key=entry.fingerprints[0])
        if entry.kind is TrustKind.OPENPGP
        else KeySigner(key_id=_key_id(name, loaded), algorithm="ecdsa")
    )
    form = Form.PROVENANCE if entry.kind is TrustKind.OPENPGP else Form.STATEMENT
    location = Location(kind=Kind.REFERRER, where="case")
    times = (SigningTime(at=datetime.fromisoformat(case["signedAt"]), clock=Clock.LOG),) if "signedAt" in case else ()
    made = Signature(form=form)
    return Claim(scheme="case", kind=made, signer=signer, anchors=frozenset((name,)), role=Role.MANIFEST, digest=sha256(b""), location=location, times=times)


REPOSITORY = "https://github.com/acme/charts"
WORKFLOW = f"{REPOSITORY}/.github/workflows/release.yml@refs/tags/v1.4.2"
GITHUB = "https://token.actions.githubusercontent.com"


def certified(identity: str, issuer: str, extensions: dict[str, str] | None = None) -> Claim:
    """A signature by whom the public instance certified, with a time that its log proves."""
    kind = SanType.URI if "://" in identity else SanType.EMAIL
    signer = CertificateSigner(identity=identity, san_type=kind, issuer=issuer, root=PUBLIC_GOOD, extensions=extensions or {})
    return by_certificate(signer, Signature(form=Form.STATEMENT))


def by_certificate(signer: CertificateSigner, kind: Signature | Attestation) -> Claim:
    time = SigningTime(at=datetime.fromisoformat(NOW), clock=Clock.LOG)
    location = Location(kind=Kind.REFERRER, where="case")
    anchors = frozenset((PUBLIC_GOOD,))
    return Claim(scheme="case", kind=kind, signer=signer, anchors=anchors, role=Role.MANIFEST, digest=sha256(b""), location=location, times=(time,), logs=1)


def provenance(said: dict[str, Any]) -> Claim:
    """Build provenance by the release workflow; `said` is what it tells differently."""
    workflow = {"ref": said.get("ref", "refs/tags/v1.4.2"), "repository": said.get("repository", REPOSITORY), "path": ".github/workflows/release.yml"}
    parameters = {"workflow": workflow, **({"inputs": said["inputs"]} if "inputs" in said else {})}
    predicate = {
        "buildDefinition": {"buildType": "https://actions.github.io/buildtypes/workflow/v1", "externalParameters": parameters},
        "runDetails": {"builder": {"id": said.get("builder", WORKFLOW)}},
    }
    extensions = {"sourceRepositoryURI": REPOSITORY, "sourceRepositoryRef": "refs/tags/v1.4.2"}
    signer = CertificateSigner(identity=WORKFLOW, san_type=SanType.URI, issuer=GITHUB, root=PUBLIC_GOOD, extensions=extensions)
    return by_certificate(signer, Attestation(predicate_type="https://slsa.dev/provenance/v1", predicate=predicate))


def claims(case: dict[str, Any], loaded: LoadedPolicy) -> tuple[Claim, ...]:
    found = [claim(name, loaded, case) for name in case.get("signedBy", [])]
    found += [certified(**case["certified"])] if "certified" in case else []
    found += [provenance(case["provenance"])] if "provenance" in case else []
    return tuple(found)


@pytest.mark.parametrize("path, case", cases())
def test_a_case(path: Path, case: dict[str, Any]) -> None:
    loaded = load(path)
    reference = parse(case["reference"])
    request = Request(reference=reference, context=Context(**case["context"], asserted_by="case"))
    facts = Facts(request=request, artifact=artifact(case, reference), claims=claims(case, loaded))
    decision = decide(loaded.policy, facts, datetime.fromisoformat(case.get("at", NOW)))
    assert decision.outcome.value == case["expect"], decision.check.reason
    assert (decision.check.code.name if decision.check.code else None) == case.get("code")
    assert any(case.get("warns", "") in warning for warning in (*decision.warnings, ""))


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
