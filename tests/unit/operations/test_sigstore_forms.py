"""Every place and form in which sigstore's signatures lie, through the whole of `verify` (semantics 5, 6, 8, 18 to 21)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.simulators import sigstore as sim
from tests.simulators.registry import MANIFEST, SimulatedRegistry, Switches, simulated
from tests.support.charts import archive
from tests.support.signers import pair
from tests.support.world import ask, code_names, connect, policy, publish
from verifier.attest.cosign import ARTIFACT, DSSE, SIMPLE_SIGNING
from verifier.model.claim import Form, Signature
from verifier.model.decision import Decision, Outcome
from verifier.model.digest import Digest, sha256
from verifier.operations.policies import LoadedPolicy
from verifier.signers.public import public_pem

INSTANCE = sim.instance()
CHART = archive()
EMPTY = b"{}"
SIGN = "https://sigstore.dev/cosign/sign/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"


def statement(digest: str, *, name: str | None = None, predicate_type: str = SIGN, kind: str = "https://in-toto.io/Statement/v1") -> bytes:
    subject: dict[str, Any] = {"digest": {"sha256": digest.removeprefix("sha256:")}}
    if name is not None:
        subject["name"] = name
    return json.dumps({"_type": kind, "subject": [{"digest": {"sha256": "0" * 64}}, subject], "predicateType": predicate_type, "predicate": {}}).encode()


def simple(digest: str, reference: str = "", kind: str = "cosign container image signature") -> bytes:
    critical = {"identity": {"docker-reference": reference}, "image": {"docker-manifest-digest": digest}, "type": kind}
    return json.dumps({"critical": critical, "optional": None}).encode()


def keyless_policy(host: str, tmp_path: Path, *, thresholds: str = "", rule: str = "") -> LoadedPolicy:
    (tmp_path / "root.json").write_text(json.dumps(INSTANCE.trusted_root()))
    (tmp_path / "ci.pub").write_bytes(public_pem(pair().public))
    text = f"""\
apiVersion: verifier/v1
kind: ChartPolicy
metadata: {{name: test}}
trust:
  release:
    keyless:
      issuer: {sim.ISSUER}
      identity: "{sim.REPOSITORY}/.github/workflows/release.yml@refs/tags/*"
      sourceRepository: acme/charts
      root: acme
  ci: {{key: {{file: ci.pub}}}}
  logged: {{key: {{file: ci.pub, root: acme, tlog: required}}}}
roots:
  acme: {{trustedRoot: root.json{thresholds}}}
rules:
  - name: ours
    charts: ["oci://{host}/acme/*"]
    require: {rule or "{signed: {by: release}}"}
"""
    return policy(text, tmp_path)


def push(
    registry: SimulatedRegistry, layers: list[tuple[str, bytes, dict[str, str]]], *, tag: str | None = None, subject: Digest | None = None, **more: Any
) -> str:
    """An image of these layers, as cosign writes one."""
    described = []
    for media_type, blob, notes in layers:
        registry.put_blob(blob)
        described.append({"mediaType": media_type, "digest": str(sha256(blob)), "size": len(blob), "annotations": notes})
    registry.put_blob(EMPTY)
    value: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": more.pop("config", "application/vnd.oci.image.config.v1+json"), "digest": str(sha256(EMPTY)), "size": 2},
        "layers": described,
        **more,
    }
    if subject is not None:
        found = registry.manifests["acme/web", str(subject)]
        value["subject"] = {"mediaType": MANIFEST, "digest": str(subject), "size": len(found[0])}
    data = json.dumps(value).encode()
    return registry.put("acme/web", data, tag)


def refer(registry: SimulatedRegistry, subject: Digest, bundle: bytes) -> None:
    media_type = "application/vnd.dev.sigstore.bundle.v0.3+json"
    push(registry, [(media_type, bundle, {})], subject=subject, config="application/vnd.oci.empty.v1+json", artifactType=media_type)


def sig_layer(
    payload: bytes, *, key: Any = None, certificate: bytes | None = None, annotations: dict[str, str] | None = None
) -> tuple[str, bytes, dict[str, str]]:
    key = key or sim.p256()
    signature = sim.sign(key, payload)
    found = {"dev.cosignproject.cosign/signature": sim.b64(signature)}
    if certificate is not None:
        body = sim.hashedrekord(signature, hashlib.sha256(payload).digest(), sim.pem_cert(certificate))
        found |= {"dev.sigstore.cosign/certificate": sim.pem_cert(certificate).decode(), **log_annotation(body)}
    return SIMPLE_SIGNING, payload, {**found, **(annotations or {})}


def log_annotation(body: dict[str, Any]) -> dict[str, str]:
    entry = INSTANCE.entry(body)
    payload = {
        "body": entry["canonicalizedBody"],
        "integratedTime": int(entry["integratedTime"]),
        "logIndex": int(entry["logIndex"]),
        "logID": INSTANCE.log_id.hex(),
    }
    return {"dev.sigstore.cosign/bundle": json.dumps({"SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"], "Payload": payload})}


def keyless_sig(digest: Digest, reference: str = "", **changes: Any) -> tuple[str, bytes, dict[str, str]]:
    key = sim.p256()
    return sig_layer(simple(str(digest), reference, **changes), key=key, certificate=INSTANCE.certificate(key))


def keyless_att(digest: Digest, predicate_type: str = SIGN) -> tuple[str, bytes, dict[str, str]]:
    made = sim.envelope(INSTANCE, statement(str(digest), predicate_type=predicate_type, kind="https://in-toto.io/Statement/v0.1"))
    body = sim.intoto_entry(made.signature, made.payload, sim.pem_cert(made.certificate))
    annotations = {"dev.sigstore.cosign/certificate": sim.pem_cert(made.certificate).decode(), "predicateType": predicate_type, **log_annotation(body)}
    return DSSE, json.dumps(made.value["dsseEnvelope"]).encode(), annotations


def tag_of(digest: Digest, suffix: str = "sig") -> str:
    return f"sha256-{digest.hex}.{suffix}"


class World:
    """A registry with one chart, and a policy that trusts the instance's release workflow."""

    def __init__(self, registry: SimulatedRegistry, tmp_path: Path) -> None:
        self.registry, self.tmp_path = registry, tmp_path
        self.connections = connect()
        self.digest = publish(self.connections, registry.host, CHART)

    def ask(self, rule: str = "", thresholds: str = "") -> Decision:
        loaded = keyless_policy(self.registry.host, self.tmp_path, rule=rule, thresholds=thresholds)
        return ask(f"oci://{self.registry.host}/acme/web:1.4.2", loaded, self.connections)


def allowed(decision: Decision) -> Decision:
    assert decision.outcome is Outcome.ALLOWED, (decision.check.reason, [(item.code.name, item.reason) for item in decision.rejections])
    return decision


def denied(decision: Decision, code: str) -> Decision:
    assert decision.outcome is Outcome.DENIED, decision.check.reason
    assert code in code_names(decision) | {child.code.name for child in decision.check.children if child.code}, code_names(decision)
    return decision


@pytest.fixture(params=[True, False], ids=["referrers", "fallback"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with simulated(Switches(referrers=request.param)) as registry:
        yield World(registry, tmp_path)


def test_a_keyless_bundle(world: World) -> None:
    made = sim.envelope(INSTANCE, statement(str(world.digest))).with_entry()
    if world.registry.switches.referrers:
        refer(world.registry, world.digest, made.dump())
        claim = allowed(world.ask()).claims[0]
        assert (claim.logs, claim.kind) == (1, Signature(form=Form.STATEMENT))
        asked = [path for path in world.registry.paths() if path.endswith((".sig", ".att"))]
        assert not asked, "old tags are asked for only when the rest does not suffice"
    else:
        denied(world.ask(), "unsigned")


def test_the_sig_tag(world: World) -> None:
    push(world.registry, [keyless_sig(world.digest)], tag=tag_of(world.digest))
    claim = allowed(world.ask()).claims[0]
    assert (claim.kind, claim.location.kind.value) == (Signature(form=Form.SIMPLE_SIGNING), "cosign-tag")


def test_the_att_tag_holds_attestations_that_sign_only_as_what_they_say(world: World) -> None:
    push(world.registry, [keyless_att(world.digest)], tag=tag_of(world.digest, "att"))
    allowed(world.ask())
    push(world.registry, [keyless_att(world.digest, PROVENANCE)], tag=tag_of(world.digest, "att"))
    decision = denied(world.ask(), "signer-not-allowed")
    assert "attestation" in str(decision.claims[0].kind).lower()


def test_several_signers_in_one_manifest(world: World) -> None:
    stranger = sim.p256()
    layers = [
        sig_layer(simple(str(world.digest)), key=stranger),
        ("application/x-other", b"?", {}),
        sig_layer(b"not json", key=stranger),
        keyless_sig(world.digest),
    ]
    push(world.registry, layers, tag=tag_of(world.digest))
    decision = allowed(world.ask())
    assert {item.code.name for item in decision.rejections} == {"key-unknown", "evidence-foreign"}


def test_the_old_referrer(world: World) -> None:
    """`--registry-referrers-mode=oci-1-1` of cosign 2: known by its artifact type, or by its config's where that was missing."""
    if not world.registry.switches.referrers:
        return
    push(world.registry, [keyless_sig(world.digest)], subject=world.digest, config=ARTIFACT)
    allowed(world.ask())


def test_a_key_in_the_old_form(world: World) -> None:
    key = pair().private
    push(world.registry, [sig_layer(simple(str(world.digest)), key=key)], tag=tag_of(world.digest))
    allowed(world.ask("{signed: {by: ci}}"))
    denied(world.ask("{signed: {by: logged}}"), "tlog-required")


def test_a_key_that_must_be_logged(world: World) -> None:
    key = pair().private
    payload = simple(str(world.digest))
    signature = sim.sign(key, payload)
    body = sim.hashedrekord(signature, hashlib.sha256(payload).digest(), sim.pem_key(key))
    push(
        world.registry,
        [(SIMPLE_SIGNING, payload, {"dev.cosignproject.cosign/signature": sim.b64(signature), **log_annotation(body)})],
        tag=tag_of(world.digest),
    )
    assert allowed(world.ask("{signed: {by: logged}}")).claims[0].logs == 1
    other = sim.hashedrekord(signature, hashlib.sha256(b"other").digest(), sim.pem_key(key))
    push(
        world.registry,
        [(SIMPLE_SIGNING, payload, {"dev.cosignproject.cosign/signature": sim.b64(signature), **log_annotation(other)})],
        tag=tag_of(world.digest),
    )
    denied(world.ask("{signed: {by: logged}}"), "log-entry-mismatch")


OLD_FORMS = {
    "of another chart": (lambda digest: keyless_sig(sha256(b"other")), "subject-mismatch"),
    "of another repository": (lambda digest: keyless_sig(digest, "ghcr.io/acme/web"), "origin-mismatch"),
    "of another type": (lambda digest: keyless_sig(digest, kind="atomic container signature"), "bundle-malformed"),
    "a changed payload": (lambda digest: (*keyless_sig(digest)[:1], simple(str(digest), "x"), keyless_sig(digest)[2]), "signature-invalid"),
    "no signature": (lambda digest: (SIMPLE_SIGNING, simple(str(digest)), {}), "bundle-malformed"),
    "a signature that is no base64": (lambda digest: (SIMPLE_SIGNING, simple(str(digest)), {"dev.cosignproject.cosign/signature": "***"}), "bundle-malformed"),
    "a certificate that is none": (lambda digest: sig_layer(simple(str(digest)), annotations={"dev.sigstore.cosign/certificate": "x"}), "bundle-malformed"),
    "a certificate that is no base64": (
        lambda digest: sig_layer(simple(str(digest)), annotations={"dev.sigstore.cosign/certificate": "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----"}),
        "bundle-malformed",
    ),
    "a log bundle that is no JSON": (lambda digest: sig_layer(simple(str(digest)), annotations={"dev.sigstore.cosign/bundle": "x"}), "json-invalid"),
    "a log bundle without payload": (lambda digest: sig_layer(simple(str(digest)), annotations={"dev.sigstore.cosign/bundle": "{}"}), "bundle-malformed"),
    "a log id that is no hex": (
        lambda digest: sig_layer(simple(str(digest)), annotations={"dev.sigstore.cosign/bundle": json.dumps({"Payload": {"body": sim.b64(b"{}"), "logID": "x"}})}),
        "bundle-malformed",
    ),
    "a timestamp that is none": (lambda digest: sig_layer(simple(str(digest)), annotations={"dev.sigstore.cosign/rfc3161timestamp": "{}"}), "bundle-malformed"),
    "a digest that is none": (lambda digest: keyless_sig(digest)[:1] + sig_of(simple("sha256:short")), "bundle-malformed"),
}  # fmt: skip


def sig_of(payload: bytes) -> tuple[bytes, dict[str, str]]:
    key = sim.p256()
    layer = sig_layer(payload, key=key, certificate=INSTANCE.certificate(key))
    return layer[1], layer[2]


@pytest.mark.parametrize("make, code", OLD_FORMS.values(), ids=OLD_FORMS.keys())
def test_old_forms_that_prove_nothing(make: Any, code: str, tmp_path: Path) -> None:
    with simulated() as registry:
        world = World(registry, tmp_path)
        push(registry, [make(world.digest)], tag=tag_of(world.digest))
        denied(world.ask(), code)


def test_a_timestamp_in_the_old_form(tmp_path: Path) -> None:
    with simulated() as registry:
        world = World(registry, tmp_path)
        key, payload = sim.p256(), simple(str(world.digest))
        layer = sig_layer(payload, key=key)
        signature = sim.sign(key, payload)
        stamp = json.dumps({"SignedRFC3161Timestamp": sim.b64(INSTANCE.timestamp(signature))})
        certificate = sim.pem_cert(INSTANCE.certificate(key)).decode()
        annotations = {
            "dev.cosignproject.cosign/signature": sim.b64(signature),
            "dev.sigstore.cosign/certificate": certificate,
            "dev.sigstore.cosign/rfc3161timestamp": stamp,
        }
        push(registry, [(layer[0], payload, annotations)], tag=tag_of(world.digest))
        allowed(world.ask(thresholds=", thresholds: {tlog: 0, timestamp: 1}"))
        denied(world.ask(), "log-missing")


def test_too_many_layers_are_a_gap(tmp_path: Path) -> None:
    with simulated() as registry:
        world = World(registry, tmp_path)
        push(registry, [sig_layer(simple(str(world.digest)))] * 70, tag=tag_of(world.digest))
        decision = world.ask()
        assert decision.outcome is Outcome.INCONCLUSIVE
        assert "evidence-limit" in code_names(decision)


@pytest.mark.parametrize("status, code", [(403, "forbidden"), (500, "registry-error"), (429, "rate-limited")])
def test_a_tag_that_cannot_be_looked_up_is_unknown_and_not_absent(tmp_path: Path, status: int, code: str) -> None:
    with simulated() as registry:
        world = World(registry, tmp_path)
        registry.switches.status[".sig"] = status
        decision = world.ask()
        assert (decision.outcome, code in code_names(decision)) == (Outcome.INCONCLUSIVE, True)
        refer(registry, world.digest, sim.envelope(INSTANCE, statement(str(world.digest))).with_entry().dump())
        allowed(world.ask())


def test_an_index_under_the_tag_is_foreign(tmp_path: Path) -> None:
    with simulated() as registry:
        world = World(registry, tmp_path)
        registry.put("acme/web", json.dumps({"schemaVersion": 2, "manifests": []}).encode(), tag_of(world.digest), "application/vnd.oci.image.index.v1+json")
        denied(world.ask(), "evidence-foreign")


def test_a_bundle_signed_for_the_archive_and_one_that_names_another_repository(tmp_path: Path) -> None:
    with simulated() as registry:
        world = World(registry, tmp_path)
        refer(registry, world.digest, sim.envelope(INSTANCE, statement(str(world.digest), name="oci://ghcr.io/other/web")).with_entry().dump())
        denied(world.ask(), "origin-mismatch")
        refer(registry, world.digest, sim.envelope(INSTANCE, statement(str(sha256(CHART)))).with_entry().dump())
        assert allowed(world.ask()).claims[-1].role.value == "archive"


def test_verification_talks_to_the_registry_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither Fulcio, Rekor, a timestamp authority nor a TUF repository is ever asked: every connection goes to the registry."""
    import socket

    with simulated() as registry:
        world = World(registry, tmp_path)
        refer(registry, world.digest, sim.envelope(INSTANCE, statement(str(world.digest))).with_entry().with_entry2().with_timestamp().dump())
        real, spoken = socket.create_connection, set()
        looked_up = socket.getaddrinfo

        def note(host: Any, *rest: Any, **named: Any) -> Any:
            spoken.add(host)
            return looked_up(host, *rest, **named)

        monkeypatch.setattr(socket, "getaddrinfo", note)
        assert real is socket.create_connection
        allowed(world.ask())
        assert spoken <= {"127.0.0.1", registry.host.partition(":")[0]}
