"""Key-signed bundles: what counts, what does not, each for its own reason (threats T-06, T-07, T-11)."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.charts import archive, chart_file
from tests.support.signers import key_anchor, pair, pgp, trust
from verifier.attest.bundle import MEDIA_TYPE
from verifier.attest.dsse import IN_TOTO, pae
from verifier.attest.statement import SIGN_PREDICATE
from verifier.model.claim import Attestation, Claim, Form, KeySigner, Rejection, Role, Signature
from verifier.model.evidence import Evidence, Kind, Location
from verifier.schemes.sigstore.sign import sign_digest
from verifier.schemes.sigstore.verify import SigstoreScheme
from verifier.trust.anchors import TrustMaterial

CHART = chart_file()
GOOD = sign_digest(CHART.digest, pair(), name="oci://reg.test/acme/web")


def verify(data: bytes, material: TrustMaterial | None = None) -> Claim | Rejection:
    evidence = Evidence(location=Location(kind=Kind.FILE, where="bundle"), media_type=MEDIA_TYPE, payload=data)
    (result,) = SigstoreScheme().verify(evidence, CHART, material or trust(key_anchor()))
    return result


def rejected(data: bytes, material: TrustMaterial | None = None) -> str:
    result = verify(data, material)
    assert isinstance(result, Rejection), result
    return result.code.name


def signed(payload: bytes, payload_type: str = IN_TOTO, key: str = "ci") -> bytes:
    """A well-formed bundle over any payload."""
    signature = pair(key).sign(pae(payload_type, payload))
    return bundle({"payload": base64.b64encode(payload).decode(), "payloadType": payload_type, "signatures": [{"sig": base64.b64encode(signature).decode()}]})


def bundle(envelope: Any = None, **changes: Any) -> bytes:
    value: dict[str, Any] = {"mediaType": MEDIA_TYPE, "verificationMaterial": {"publicKey": {"hint": ""}}, "dsseEnvelope": envelope}
    value.update(changes)
    return json.dumps({key: item for key, item in value.items() if item is not None}).encode()


def statement(**changes: Any) -> bytes:
    value = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": CHART.digest.hex}}],
        "predicateType": SIGN_PREDICATE,
        "predicate": {},
    }
    return json.dumps({**value, **changes}).encode()


def test_a_good_signature_is_a_claim() -> None:
    claim = verify(GOOD)
    assert isinstance(claim, Claim)
    assert isinstance(claim.signer, KeySigner)
    assert claim.signer.key_id == pair().public.key_id
    assert (claim.kind, claim.role, claim.repository) == (Signature(form=Form.STATEMENT), Role.ARCHIVE, "reg.test/acme/web")


@pytest.mark.parametrize(
    "data",
    {
        "no hint": signed(statement()),
        "our subject last of several": signed(statement(subject=[{"name": "x", "digest": {"sha256": "0" * 64}}, {"digest": {"sha256": CHART.digest.hex}}])),
        "statement v0.1": signed(statement(_type="https://in-toto.io/Statement/v0.1")),
        "further digests": signed(statement(subject=[{"digest": {"sha256": CHART.digest.hex, "sha512": "0" * 128}}])),
        "no predicate": signed(json.dumps({key: value for key, value in json.loads(statement()).items() if key != "predicate"}).encode()),
        "an old media type": GOOD.replace(MEDIA_TYPE.encode(), b"application/vnd.dev.sigstore.bundle+json;version=0.2"),
    }.values(),
)
def test_what_the_specification_allows(data: bytes) -> None:
    assert isinstance(verify(data), Claim)


def test_a_foreign_hint_does_not_matter() -> None:
    value = json.loads(GOOD)
    value["verificationMaterial"]["publicKey"]["hint"] = pair("other").public.hint
    assert isinstance(verify(json.dumps(value).encode(), trust(key_anchor("other"), key_anchor())), Claim)


ENVELOPE = json.loads(GOOD)["dsseEnvelope"]
OTHER = chart_file(archive(version="9.9.9"))

REJECTED = {
    "not JSON": (b"hello", "json-invalid"),
    "duplicate keys": (GOOD.replace(b'{"mediaType"', b'{"mediaType":"x","mediaType"', 1), "json-invalid"),
    "another media type": (GOOD.replace(MEDIA_TYPE.encode(), b"application/json"), "bundle-malformed"),
    "no material": (bundle(ENVELOPE, verificationMaterial=5), "bundle-malformed"),
    "no key material": (bundle(ENVELOPE, verificationMaterial={}), "bundle-malformed"),
    "a key and a certificate": (bundle(ENVELOPE, verificationMaterial={"publicKey": {"hint": ""}, "certificate": {"rawBytes": "AAAA"}}), "bundle-malformed"),
    "key material that is no object": (bundle(ENVELOPE, verificationMaterial={"publicKey": 1}), "bundle-malformed"),
    "a certificate": (bundle(ENVELOPE, verificationMaterial={"certificate": {"rawBytes": "AAAA"}}), "certificate-untrusted"),
    "a certificate chain": (bundle(ENVELOPE, verificationMaterial={"x509CertificateChain": {"certificates": [{"rawBytes": "AAAA"}]}}), "certificate-untrusted"),
    "an empty chain": (bundle(ENVELOPE, verificationMaterial={"x509CertificateChain": {"certificates": []}}), "bundle-malformed"),
    "no content": (bundle(None), "bundle-malformed"),
    "two contents": (bundle(ENVELOPE, messageSignature={}), "bundle-malformed"),
    "an envelope that is no object": (bundle("x"), "bundle-malformed"),
    "no signature": (bundle({**ENVELOPE, "signatures": []}), "bundle-malformed"),
    "two signatures": (bundle({**ENVELOPE, "signatures": ENVELOPE["signatures"] * 2}), "bundle-malformed"),
    "a signature that is no base64": (bundle({**ENVELOPE, "signatures": [{"sig": "***"}]}), "bundle-malformed"),
    "a payload that is missing": (bundle({"payloadType": IN_TOTO, "signatures": ENVELOPE["signatures"]}), "bundle-malformed"),
    "another payload type": (signed(statement(), "text/plain"), "bundle-malformed"),
    "a payload type that is no text": (bundle({**ENVELOPE, "payloadType": 5}), "bundle-malformed"),
    "a tampered payload": (bundle({**ENVELOPE, "payload": base64.b64encode(statement(predicate={"x": 1})).decode()}), "key-unknown"),
    "another key": (signed(statement(), key="stranger"), "key-unknown"),
    "another chart": (sign_digest(OTHER.digest, pair(), name="x"), "subject-mismatch"),
    "the right name, another digest": (signed(statement(subject=[{"name": "web-1.4.2.tgz", "digest": {"sha256": OTHER.digest.hex}}])), "subject-mismatch"),
    "only a sha512": (signed(statement(subject=[{"digest": {"sha512": CHART.digest.hex * 2}}])), "subject-mismatch"),
    "an upper-case digest": (signed(statement(subject=[{"digest": {"sha256": CHART.digest.hex.upper()}}])), "subject-mismatch"),
    "no subject": (signed(statement(subject=[])), "bundle-malformed"),
    "too many subjects": (signed(statement(subject=[{"digest": {"sha256": CHART.digest.hex}}] * 2000)), "bundle-malformed"),
    "a subject without a digest": (signed(statement(subject=[{"name": "x"}])), "bundle-malformed"),
    "a subject's name that is no text": (signed(statement(subject=[{"name": 5, "digest": {}}])), "bundle-malformed"),
    "another statement type": (signed(statement(_type="x")), "bundle-malformed"),
    "no predicate type": (signed(statement(predicateType="")), "bundle-malformed"),
    "a payload that is no JSON": (signed(b"hello"), "json-invalid"),
    "a payload with duplicate keys": (signed(statement()[:-1] + b',"predicateType":"x"}'), "json-invalid"),
    "a message signature without digest, which is allowed": (bundle(None, messageSignature={"signature": "AAAA"}), "key-unknown"),
    "a message signature that is empty": (bundle(None, messageSignature={}), "bundle-malformed"),
}


@pytest.mark.parametrize("data, code", REJECTED.values(), ids=REJECTED.keys())
def test_what_is_rejected(data: bytes, code: str) -> None:
    assert rejected(data) == code


def test_no_key_is_trusted() -> None:
    assert rejected(GOOD, trust(pgp().anchor())) == "key-unknown"


def test_another_predicate_is_an_attestation_not_a_signature() -> None:
    claim = verify(signed(statement(predicateType="https://spdx.dev/Document", predicate={"a": 1})))
    assert isinstance(claim, Claim)
    assert claim.kind == Attestation(predicate_type="https://spdx.dev/Document", predicate={"a": 1})


def message(data: bytes, algorithm: str = "SHA2_256") -> bytes:
    signature = base64.b64encode(pair().sign(data)).decode()
    digest = base64.b64encode(hashlib.new({"SHA2_384": "sha384"}.get(algorithm, "sha256"), data).digest()).decode()
    return bundle(None, messageSignature={"messageDigest": {"algorithm": algorithm, "digest": digest}, "signature": signature})


def test_a_message_signature_has_a_form_of_its_own() -> None:
    claim = verify(message(CHART.archive))
    assert isinstance(claim, Claim)
    assert claim.kind == Signature(form=Form.MESSAGE)
    assert isinstance(verify(message(CHART.archive, "SHA2_384")), Claim)
    assert rejected(message(b"other bytes")) == "subject-mismatch"
    assert rejected(message(CHART.archive, "MD5")) == "subject-mismatch"
    assert rejected(message(CHART.archive, "SHA2_512")) == "subject-mismatch"


def test_a_name_that_is_no_repository_binds_to_nothing() -> None:
    plain = verify(sign_digest(CHART.digest, pair(), name="web-1.4.2.tgz"))
    odd = verify(sign_digest(CHART.digest, pair(), name="oci://NOT A HOST"))
    assert isinstance(plain, Claim)
    assert isinstance(odd, Claim)
    assert (plain.repository, odd.repository) == (None, "NOT A HOST")


@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_rejected(data: bytes) -> None:
    assert isinstance(verify(data), Rejection)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_changed_bundle_is_a_rejection_or_says_the_same(position: int, byte: int) -> None:
    changed = bytearray(GOOD)
    changed[position] = byte
    result = verify(bytes(changed))
    assert isinstance(result, Rejection) or result.digest == CHART.digest
