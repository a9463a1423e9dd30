"""Bad input through the whole of `verify`: a decision with code and location, never a traceback, never "allowed"."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.registry import INDEX, MANIFEST, SimulatedRegistry, Switches, simulated
from tests.support.charts import archive, chart_yaml, evil_archive, member, raw_tar
from tests.support.signers import pair, pgp
from tests.support.world import ask, code_names, connect, key_policy, policy, publish, sign
from verifier.attest.bundle import MEDIA_TYPE as BUNDLE
from verifier.charts.archive import read_archive
from verifier.formats.json import dump_go_json
from verifier.model import limits
from verifier.model.artifact import Descriptor
from verifier.model.decision import Decision, Outcome
from verifier.model.digest import Digest, parse_digest, sha256
from verifier.model.evidence import Evidence
from verifier.oci.manifest import HELM_CHART, HELM_CONFIG, HELM_PROVENANCE, write_referrer
from verifier.operations.verification import Options
from verifier.schemes.sigstore.sign import sign_digest

CHART = archive()


def descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(sha256(data)), "size": len(data)}


def manifest(archive_data: bytes = CHART, *, config: bytes | None = None, layers: list[dict[str, object]] | None = None, **more: object) -> tuple[bytes, bytes]:
    config = config if config is not None else dump_go_json(dict(read_archive(archive_data, where="x").facts.metadata))
    value = {"schemaVersion": 2, "config": descriptor(HELM_CONFIG, config), "layers": layers or [descriptor(HELM_CHART, archive_data)], **more}
    return dump_go_json(value), config


def stored(registry: SimulatedRegistry, data: bytes, *blobs: bytes, tag: str = "1.4.2") -> Digest:
    for blob in blobs:
        registry.put_blob(blob)
    return parse_digest(registry.put("acme/web", data, tag))


def asked(registry: SimulatedRegistry, reference: str = ":1.4.2", seconds: float = 10.0) -> Decision:
    return ask(f"oci://{registry.host}/acme/web{reference}", key_policy(registry.host, pair()), connect(), Options(seconds=seconds))


def expect(decision: Decision, outcome: Outcome, code: str) -> None:
    assert decision.outcome is outcome, decision.check.reason
    assert decision.check.code is not None
    assert decision.check.code.name == code, decision.check.reason
    places = [item.location.where for item in decision.rejections] + [item.where for item in decision.gaps]
    assert any("127.0.0.1" in place for place in places), places


CONFIG = manifest()[1]
EVIL_CONFIG = CONFIG.replace(b"1.4.2", b"9.9.9")
PROV = descriptor(HELM_PROVENANCE, b"prov")

BAD_CHARTS = {
    "an index instead of a chart": (json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode(), "index-not-chart"),
    "an image instead of a chart": (manifest()[0].replace(HELM_CONFIG.encode(), b"application/vnd.oci.image.config.v1+json"), "not-a-chart"),
    "two chart layers": (manifest(layers=[descriptor(HELM_CHART, CHART), descriptor(HELM_CHART, CHART)])[0], "chart-layers"),
    "no chart layer": (manifest(layers=[PROV])[0], "chart-layers"),
    "two provenance layers": (manifest(layers=[descriptor(HELM_CHART, CHART), PROV, PROV])[0], "chart-layers"),
    "another type in the body than in the header": (manifest(mediaType="application/vnd.docker.distribution.manifest.v2+json")[0], "chart-manifest-invalid"),
    "no JSON": (b"hello", "json-invalid"),
    "duplicate keys": (manifest()[0].replace(b'{"schemaVersion"', b'{"layers":[],"schemaVersion"', 1), "json-invalid"),
    "manifests and layers": (manifest(manifests=[])[0], "chart-manifest-invalid"),
    "config and archive disagree": (manifest(config=EVIL_CONFIG)[0], "config-mismatch"),
    "a config that is no JSON": (manifest(config=b"hello")[0], "json-invalid"),
    "a config with an extra chart name": (manifest(config=CONFIG.replace(b"{", b'{"Name":"x",', 1))[0], "metadata-invalid"),
}


@pytest.mark.parametrize("data, code", BAD_CHARTS.values(), ids=BAD_CHARTS.keys())
def test_a_bad_manifest_is_denied(data: bytes, code: str) -> None:
    with simulated() as registry:
        stored(registry, data, CHART, CONFIG, EVIL_CONFIG, b"hello", b"prov", CONFIG.replace(b"{", b'{"Name":"x",', 1))
        expect(asked(registry), Outcome.DENIED, code)


BAD_ARCHIVES = {
    "a link": (evil_archive(("web/link", b""), kind=b"2", link="/etc/passwd"), "archive-entry"),
    "a path that leaves": (evil_archive(("web/../../x", b"")), "archive-traversal"),
    "a file twice": (evil_archive(("web/values.yaml", b"x: 1")), "archive-ambiguous"),
    "data after the end": (CHART + b"x", "archive-trailing"),
    "no archive": (b"hello", "archive-invalid"),
    "a broken Chart.yaml": (gzip.compress(raw_tar([(member("web/Chart.yaml"), b"name: &a web\n")])), "metadata-invalid"),
    "a version that is a number": (gzip.compress(raw_tar([(member("web/Chart.yaml"), chart_yaml(version="1.10"))])), "metadata-invalid"),
}


@pytest.mark.parametrize("data, code", BAD_ARCHIVES.values(), ids=BAD_ARCHIVES.keys())
def test_a_bad_archive_is_denied(data: bytes, code: str) -> None:
    with simulated() as registry:
        stored(registry, manifest(config=CONFIG, layers=[descriptor(HELM_CHART, data)])[0], data, CONFIG)
        expect(asked(registry), Outcome.DENIED, code)


@pytest.mark.parametrize(
    "status, code", [(401, "unauthorized"), (403, "forbidden"), (404, "not-found"), (429, "rate-limited"), (500, "registry-error"), (503, "registry-error")]
)
@pytest.mark.parametrize("what", ["/manifests/1.4.2", "/blobs/"])
def test_a_registry_that_refuses_is_inconclusive(status: int, code: str, what: str) -> None:
    with simulated(Switches(status={what: status})) as registry:
        stored(registry, manifest()[0], CHART, CONFIG)
        expect(asked(registry), Outcome.INCONCLUSIVE, code)


def test_other_troubles_with_a_registry() -> None:
    with simulated(Switches(html=True)) as registry:
        expect(asked(registry), Outcome.INCONCLUSIVE, "registry-nonsense")
    with simulated(Switches(truncate="/blobs/")) as registry:
        stored(registry, manifest()[0], CHART, CONFIG)
        expect(asked(registry), Outcome.INCONCLUSIVE, "unreachable")
    with simulated(Switches(drip="/blobs/")) as registry:
        stored(registry, manifest()[0], CHART, CONFIG)
        expect(asked(registry, seconds=1.0), Outcome.INCONCLUSIVE, "timeout")
    expect(asked(SimulatedRegistry(host="127.0.0.1:1")), Outcome.INCONCLUSIVE, "unreachable")


def test_a_blob_of_other_bytes_is_denied() -> None:
    with simulated() as registry:
        stored(registry, manifest()[0], CHART, CONFIG)
        registry.blobs[str(sha256(CHART))] = archive(version="1.4.3")
        decision = asked(registry)
        assert decision.outcome is not Outcome.ALLOWED
        assert code_names(decision) & {"digest-mismatch", "response-limit"}


def test_an_archive_over_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated() as registry:
        stored(registry, manifest()[0], CHART, CONFIG)
        monkeypatch.setattr(limits, "ARCHIVE_BYTES", 10)
        expect(asked(registry), Outcome.INCONCLUSIVE, "response-limit")


def test_tag_and_digest_must_agree() -> None:
    with simulated() as registry:
        old = stored(registry, manifest()[0], CHART, CONFIG)
        good = asked(registry, f":1.4.2@{old}")
        assert good.check.code is not None
        assert good.check.code.name == "unsigned"
        other = archive(files={"x": b"y"})
        stored(registry, manifest(other)[0], other, CONFIG)
        expect(asked(registry, f":1.4.2@{old}"), Outcome.DENIED, "tag-moved")
        assert registry.switches.status.setdefault("/manifests/1.4.2", 500) == 500
        expect(asked(registry, f":1.4.2@{old}"), Outcome.INCONCLUSIVE, "registry-error")


def test_a_config_that_helm_would_write_needs_no_request_and_any_other_is_compared() -> None:
    with simulated() as registry:
        stored(registry, manifest()[0], CHART)
        assert code_names(asked(registry)) == {"unsigned"}
        assert not [path for path in registry.paths() if str(sha256(CONFIG)) in path]
        spaced = CONFIG.replace(b'{"', b'{ "', 1)
        stored(registry, manifest(config=spaced)[0], CHART, spaced)
        assert code_names(asked(registry)) == {"unsigned"}
        assert [path for path in registry.paths() if str(sha256(spaced)) in path]


# Evidence around a sound chart


def attached(registry: SimulatedRegistry, digest: Digest, payload: bytes, media_type: str = BUNDLE, **changes: object) -> str:
    registry.put_blob(payload)
    subject = Descriptor(media_type=MANIFEST, digest=digest, size=len(registry.manifests["acme/web", str(digest)][0]))
    value = json.loads(write_referrer(subject, Descriptor(media_type=media_type, digest=sha256(payload), size=len(payload)), {}))
    return registry.put("acme/web", json.dumps({**value, **changes}).encode())


@pytest.fixture
def good() -> bytes:
    return sign_digest(sha256(manifest()[0]), pair(), name="")


def test_good_evidence_is_found_among_much_else(good: bytes) -> None:
    for switches in (Switches(), Switches(referrers=False)):
        with simulated(switches) as registry:
            digest = stored(registry, manifest()[0], CHART, CONFIG)
            entries = [attached(registry, digest, b"sbom", "application/spdx+json"), attached(registry, digest, b"broken"), attached(registry, digest, good)]
            if not switches.referrers:
                # A fallback index as cosign before 3.1 writes it: the wrong type for every entry.
                listed = [{"mediaType": MANIFEST, "digest": entry, "size": 1, "artifactType": "application/vnd.oci.empty.v1+json"} for entry in entries]
                registry.put("acme/web", json.dumps({"manifests": listed}).encode(), str(digest).replace(":", "-"), INDEX)
            decision = asked(registry)
            assert decision.allowed, decision.check.reason
            assert {item.code.name for item in decision.rejections} == {"evidence-foreign", "json-invalid"}


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"subject": None}, "subject-mismatch"),
        ({"layers": []}, "bundle-malformed"),
        ({"artifactType": "application/x", "layers": []}, "evidence-foreign"),
        ({"config": "x"}, "chart-manifest-invalid"),
    ],
)
def test_a_referrer_that_is_none(good: bytes, changes: dict[str, Any], code: str) -> None:
    with simulated(Switches(referrers=False)) as registry:
        digest = stored(registry, manifest()[0], CHART, CONFIG)
        entry = attached(registry, digest, good, **changes)
        registry.put(
            "acme/web", json.dumps({"manifests": [{"mediaType": MANIFEST, "digest": entry, "size": 1}]}).encode(), str(digest).replace(":", "-"), INDEX
        )
        decision = asked(registry)
        assert decision.outcome is Outcome.DENIED
        assert code in code_names(decision)


def test_an_index_among_the_referrers_is_foreign() -> None:
    with simulated(Switches(referrers=False)) as registry:
        digest = stored(registry, manifest()[0], CHART, CONFIG)
        entry = registry.put("acme/web", b'{"manifests": []}', None, INDEX)
        registry.put("acme/web", json.dumps({"manifests": [{"mediaType": INDEX, "digest": entry, "size": 1}]}).encode(), str(digest).replace(":", "-"), INDEX)
        assert "evidence-foreign" in code_names(asked(registry))


def test_evidence_that_cannot_be_read_is_inconclusive_unless_the_rest_suffices(good: bytes) -> None:
    with simulated() as registry:
        digest = stored(registry, manifest()[0], CHART, CONFIG)
        lost = attached(registry, digest, b"lost evidence")
        registry.switches.status = {lost: 500}
        expect(asked(registry), Outcome.INCONCLUSIVE, "registry-error")
        attached(registry, digest, good)
        assert asked(registry).allowed


def test_too_much_evidence_is_inconclusive_unless_the_rest_suffices(monkeypatch: pytest.MonkeyPatch, good: bytes) -> None:
    monkeypatch.setattr(limits, "REFERRERS", 3)
    with simulated() as registry:
        digest = stored(registry, manifest()[0], CHART, CONFIG)
        for number in range(5):
            attached(registry, digest, b"sbom %d" % number, "application/spdx+json")
        expect(asked(registry), Outcome.INCONCLUSIVE, "evidence-limit")
        attached(registry, digest, good)
        assert asked(registry).allowed, "signatures are read first"
    monkeypatch.setattr(limits, "EVIDENCE_TOTAL_BYTES", 5)
    with simulated() as registry:
        digest = stored(registry, manifest()[0], CHART, CONFIG)
        attached(registry, digest, good)
        expect(asked(registry), Outcome.INCONCLUSIVE, "evidence-limit")


def test_a_referrers_look_up_that_fails_is_not_unsigned() -> None:
    with simulated(Switches(referrers_status=503)) as registry:
        stored(registry, manifest()[0], CHART, CONFIG)
        expect(asked(registry), Outcome.INCONCLUSIVE, "registry-error")


OPENPGP_POLICY = """\
apiVersion: verifier/v1
kind: ChartPolicy
metadata: {name: test}
trust: {team: {openpgp: {keyring: team.asc, anyKey: true}}}
rules:
  - name: ours
    charts: ["oci://HOST/acme/*"]
    require: {signed: {by: team}}
"""


def test_a_provenance_layer_that_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "team.asc").write_bytes(pgp().public)
    with simulated() as registry:
        stored(registry, manifest(layers=[descriptor(HELM_CHART, CHART), PROV])[0], CHART, CONFIG)
        loaded = policy(OPENPGP_POLICY.replace("HOST", registry.host), tmp_path)
        expect(ask(f"oci://{registry.host}/acme/web:1.4.2", loaded, connect()), Outcome.INCONCLUSIVE, "not-found")


def test_evidence_that_no_anchor_could_prove_is_listed_and_not_read(tmp_path: Path, good: bytes) -> None:
    (tmp_path / "team.asc").write_bytes(pgp().public)
    with simulated() as registry:
        digest = stored(registry, manifest(layers=[descriptor(HELM_CHART, CHART), PROV])[0], CHART, CONFIG, b"prov")
        decision = asked(registry)
        assert (decision.outcome, code_names(decision)) == (Outcome.DENIED, {"signer-not-allowed", "evidence-unused"})
        assert not [path for path in registry.paths() if str(sha256(b"prov")) in path]
        attached(registry, digest, good)
        loaded = policy(OPENPGP_POLICY.replace("HOST", registry.host), tmp_path)
        decision = ask(f"oci://{registry.host}/acme/web:1.4.2", loaded, connect())
        assert (decision.outcome, code_names(decision)) == (Outcome.DENIED, {"signer-not-allowed", "evidence-unused", "provenance-malformed"})


def test_a_fault_of_a_scheme_hides_nothing_and_allows_nothing(good: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    from verifier.schemes.sigstore.verify import SigstoreScheme

    real = SigstoreScheme.verify

    def faulty(self: SigstoreScheme, evidence: Evidence, *rest: Any) -> Any:
        if evidence.payload == b"trigger":
            raise RuntimeError("a fault")
        return real(self, evidence, *rest)

    monkeypatch.setattr(SigstoreScheme, "verify", faulty)
    with simulated() as registry:
        digest = stored(registry, manifest()[0], CHART, CONFIG)
        attached(registry, digest, b"trigger")
        decision = asked(registry)
        assert not decision.allowed
        assert "internal" in code_names(decision)
        attached(registry, digest, good)
        assert asked(registry).allowed


def test_the_same_through_a_real_registry(registry: str, tmp_path: Path) -> None:
    connections, loaded = connect(), key_policy(registry, pair())
    digest = publish(connections, registry, CHART)
    expect_unsigned = ask(f"oci://{registry}/acme/web:1.4.2", loaded, connections)
    assert code_names(expect_unsigned) == {"unsigned"}
    sign(connections, registry, digest, pair("stranger"))
    assert "key-unknown" in code_names(ask(f"oci://{registry}/acme/web:1.4.2", loaded, connections))
    sign(connections, registry, digest, pair(), said=f"oci://{registry}/acme/other")
    assert "origin-mismatch" in code_names(ask(f"oci://{registry}/acme/web:1.4.2", loaded, connections))
    sign(connections, registry, digest, pair())
    assert ask(f"oci://{registry}/acme/web:1.4.2", loaded, connections).allowed
    assert ask(f"oci://{registry}/acme/web@{digest}", loaded, connections).allowed
    blob = next((tmp_path / "registry").glob(f"**/{sha256(CHART).hex}"))
    blob.write_bytes(CHART[:-1] + b"x")
    assert "digest-mismatch" in code_names(ask(f"oci://{registry}/acme/web@{digest}", loaded, connections))
