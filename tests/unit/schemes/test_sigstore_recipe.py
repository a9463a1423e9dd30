"""The recipe, rule by rule: what the specifications allow is accepted, what they forbid is refused for its own reason."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.simulators import sigstore as sim
from tests.simulators.sigstore import NOW, Made, changed, envelope, message, pem_cert, sign
from verifier.attest.bundle import MessageSignature, read_bundle
from verifier.model.claim import Clock, SanType
from verifier.model.errors import FailedError
from verifier.schemes.sigstore.certified import Certified, verify_certified, vouch_for_key
from verifier.schemes.sigstore.recipe import Signed, signature_holds
from verifier.signers.public import load_public_key
from verifier.trust.anchors import ROOT, Anchor, Thresholds
from verifier.trust.built_in import public_good_root

INSTANCE = sim.instance()
OTHER = sim.Instance()
STATEMENT = json.dumps(
    {"_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"sha256": "ab" * 32}}], "predicateType": "https://sigstore.dev/cosign/sign/v1"}
).encode()
ARTIFACT = b"the artifact"
SECOND = timedelta(seconds=1)

Change = Callable[[dict[str, Any]], object]


def anchor(change: Change | None = None, **thresholds: int) -> Anchor:
    root = copy.deepcopy(INSTANCE.trusted_root())
    if change is not None:
        change(root)
    return Anchor(name="acme", kind=ROOT, data=json.dumps(root).encode(), thresholds=Thresholds(**thresholds))


def verify(made: Made | bytes, root: Anchor | None = None) -> Certified:
    data = made if isinstance(made, bytes) else made.dump()
    return verify_certified(read_bundle(data, where="x"), Signed.of(ARTIFACT), root or anchor())


def refused(made: Made | bytes, root: Anchor | None = None) -> FailedError:
    with pytest.raises(FailedError) as caught:
        verify(made, root)
    return caught.value


def dsse(order: sim.Order | None = None, **given: Any) -> Made:
    return envelope(INSTANCE, STATEMENT, order, **given)


def of_version(made: Made, version: str) -> Made:
    """The same as an old bundle, which carries a chain."""
    made.value["mediaType"] = f"application/vnd.dev.sigstore.bundle+json;version={version}"
    certificate = made.material.pop("certificate")
    made.material["x509CertificateChain"] = {"certificates": [certificate]}
    return made


def snake(value: Any) -> Any:
    """The same message with the field names of the .proto file."""
    import re

    if isinstance(value, dict):
        return {re.sub("[A-Z]", lambda match: "_" + match[0].lower(), key): snake(item) for key, item in value.items()}
    return [snake(item) for item in value] if isinstance(value, list) else value


def with_chain(*chain: bytes) -> Made:
    made = dsse().with_entry()
    made.value["verificationMaterial"]["x509CertificateChain"] = {
        "certificates": [{"rawBytes": sim.b64(item)} for item in (made.certificate, *chain)],
    }
    del made.value["verificationMaterial"]["certificate"]
    return made


def without(made: Made, *path: str) -> Made:
    place: Any = made.value
    for key in path[:-1]:
        place = place[int(key)] if isinstance(place, list) else place[key]
    del place[path[-1]]
    return made


def put(made: Made, value: Any, *path: str) -> Made:
    place: Any = made.value
    for key in path[:-1]:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[path[-1]] = value
    return made


ENTRY = ("verificationMaterial", "tlogEntries", "0")

ACCEPTED: dict[str, Callable[[], Made | bytes]] = {
    "v0.3, dsse 0.0.1": lambda: dsse().with_entry(),
    "v0.3, intoto 0.0.2": lambda: dsse().with_entry("intoto"),
    "v0.3, hashedrekord 0.0.1": lambda: message(INSTANCE, ARTIFACT).with_entry("hashedrekord"),
    "v0.3, hashedrekord 0.0.2 of an envelope": lambda: dsse().with_entry2().with_timestamp(),
    "v0.3, hashedrekord 0.0.2 of a message": lambda: message(INSTANCE, ARTIFACT).with_entry2().with_timestamp(),
    "v0.3 under its older name": lambda: put(dsse().with_entry(), "application/vnd.dev.sigstore.bundle+json;version=0.3", "mediaType"),
    "v0.2 with a chain": lambda: of_version(dsse().with_entry(), "0.2"),
    "v0.1 with a promise alone": lambda: of_version(dsse().with_entry(proof=False), "0.1"),
    "v0.1 with a proof as well": lambda: of_version(dsse().with_entry(), "0.1"),
    "a v1 entry without promise, and a timestamp": lambda: dsse().with_entry(promise=False).with_timestamp(),
    "a promise and a timestamp": lambda: dsse().with_entry().with_timestamp(),
    "superfluous certificates above the leaf": lambda: with_chain(sim.der_cert(INSTANCE.ca.intermediate), sim.der_cert(INSTANCE.ca.root)),
    "a foreign certificate above the leaf": lambda: with_chain(sim.der_cert(OTHER.ca.root)),
    "a chain member that cannot be read": lambda: with_chain(b"garbage"),
    "an entry of another log beside": lambda: _foreign_entry(dsse().with_entry()),
    "a timestamp of another authority beside": lambda: dsse().with_entry().with_timestamp(leaf=OTHER.tsa_leaf, key=OTHER.tsa_key),
    "field names of the .proto file": lambda: json.dumps(snake(dsse().with_entry().value)).encode(),
    "numbers instead of texts": lambda: put(dsse().with_entry(), 5, *ENTRY, "logIndex"),
    "URL-safe base64 without padding": lambda: put(
        dsse().with_entry(), sim.b64(STATEMENT).replace("+", "-").replace("/", "_").rstrip("="), "dsseEnvelope", "payload"
    ),
    "fields that nobody knows": lambda: put(dsse().with_entry(), 1, "verificationMaterial", "future"),
    "null for what is not set": lambda: put(dsse().with_entry(), None, "verificationMaterial", "timestampVerificationData"),
    "a message signature without digest": lambda: without(message(INSTANCE, ARTIFACT).with_entry("hashedrekord"), "messageSignature", "messageDigest"),
    "an e-mail identity": lambda: dsse(changed(identity="alice@acme.test", extensions={})).with_entry(),
    "the old issuer extension": lambda: dsse(changed(issuer=None, old_issuer=sim.ISSUER)).with_entry(),
    "both issuer extensions": lambda: dsse(changed(old_issuer=sim.ISSUER)).with_entry(),
    "a P-384 certificate": lambda: dsse(key=ec.generate_private_key(ec.SECP384R1()), algorithm=hashes.SHA384()).with_entry(),
    "a P-384 certificate that signed with SHA-256": lambda: dsse(key=ec.generate_private_key(ec.SECP384R1()), algorithm=hashes.SHA256()).with_entry(),
    "an RSA certificate": lambda: dsse(key=rsa.generate_private_key(65537, 2048)).with_entry(),
    "an Ed25519 certificate": lambda: dsse(key=ed25519.Ed25519PrivateKey.generate()).with_entry(),
    "signed in the certificate's first second": lambda: dsse().with_entry(at=NOW),
    "signed in the certificate's last second": lambda: dsse().with_entry(at=NOW + timedelta(minutes=10)),
    "several timestamps of one authority": lambda: dsse().with_entry().with_timestamp().with_timestamp(NOW + 3 * SECOND),
    "a timestamp granted with modifications": lambda: dsse().with_entry2().with_timestamp(status="granted_with_mods"),
    "a timestamp without certificates in it": lambda: dsse().with_entry2().with_timestamp(embed=False),
    "a timestamp with a SHA-512 imprint": lambda: dsse().with_entry2().with_timestamp(algorithm="sha512"),
    "a checkpoint with more lines": lambda: _more_checkpoint(dsse().with_entry()),
    "a v1 log that calls itself by its pod's name": lambda: dsse().with_entry(origin="rekor-0 - 5", signer="rekor-0"),
    "the only entry of its log": lambda: dsse().with_entry(leaf=0, size=1),
    "the last entry of its log": lambda: dsse().with_entry(leaf=10, size=11),
    "the first of many": lambda: dsse().with_entry(leaf=0, size=64),
    "two certificate transparency stamps": lambda: dsse(changed(scts=2)).with_entry(),
    "a v2 entry that names the log by its checkpoint id": lambda: dsse().with_entry2(log_id=INSTANCE.log2_id[:4]).with_timestamp(),
}


def _foreign_entry(made: Made) -> Made:
    other = Made(OTHER, made.key, made.certificate, made.payload, made.signature, made.value)
    return Made(INSTANCE, made.key, made.certificate, made.payload, made.signature, other.with_entry().value)


def _more_checkpoint(made: Made) -> Made:
    """A note may carry more lines below the root hash, and signatures of witnesses."""
    proof = made.material["tlogEntries"][0]["inclusionProof"]
    text = f"{INSTANCE.log_host} - 1234\n{proof['treeSize']}\n{proof['rootHash']}\nTimestamp: 1\n"
    own = sim.b64(INSTANCE.log_id[:4] + sign(INSTANCE.log, text.encode()))
    witness = sim.b64(b"1234" + sign(OTHER.log, text.encode()))
    proof["checkpoint"]["envelope"] = f"{text}\n\u2014 witness.example {witness}\n\u2014 {INSTANCE.log_host} {own}\n"
    return made


@pytest.mark.parametrize("make", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_is_allowed_is_accepted(make: Callable[[], Made | bytes]) -> None:
    certified = verify(make())
    assert certified.signer.root == "acme"
    assert certified.vouched.times
    assert all(time.proven for time in certified.vouched.times)


def test_what_a_certified_claim_says() -> None:
    certified = verify(dsse().with_entry(at=NOW + SECOND).with_timestamp(NOW + 2 * SECOND))
    signer = certified.signer
    assert (signer.identity, signer.san_type, signer.issuer) == (sim.WORKFLOW, SanType.URI, sim.ISSUER)
    assert signer.source_repository == sim.REPOSITORY
    assert signer.extensions["buildTrigger"] == "push"
    assert signer.extensions["sourceRepositoryRef"] == "refs/tags/v1.4.2"
    assert signer.principal == f"keyless:acme:{sim.ISSUER} {sim.REPOSITORY} {sim.REPOSITORY}/.github/workflows/release.yml"
    assert [(time.at, time.clock) for time in certified.vouched.times] == [(NOW + 2 * SECOND, Clock.TIMESTAMP), (NOW + SECOND, Clock.LOG)]
    assert certified.vouched.logs == 1


def test_fulcios_other_name() -> None:
    other = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7"), sim.utf8("alice!acme.test"))
    certified = verify(dsse(changed(san=other, extensions={})).with_entry())
    assert (certified.signer.identity, certified.signer.san_type) == ("alice!acme.test", SanType.OTHER)


def _bad_envelope(made: Made) -> Made:
    return put(made, sim.b64(STATEMENT + b" "), "dsseEnvelope", "payload")


WRONG_KEY = sim.p256()
REFUSED: dict[str, tuple[Callable[[], Made | bytes], str, str]] = {
    # The bundle
    "not JSON": (lambda: b"garbage", "json-invalid", "not strict JSON"),
    "cut off": (lambda: dsse().with_entry().dump()[:-20], "json-invalid", ""),
    "an unknown version": (lambda: put(dsse().with_entry(), "application/vnd.dev.sigstore.bundle.v0.4+json", "mediaType"), "bundle-malformed", "mediaType"),
    "a certificate in a 0.1 bundle": (
        lambda: put(dsse().with_entry(), "application/vnd.dev.sigstore.bundle+json;version=0.1", "mediaType"),
        "bundle-malformed",
        "carries a chain",
    ),
    "a 0.1 bundle without promise": (lambda: of_version(dsse().with_entry(promise=False), "0.1"), "bundle-malformed", "without inclusion promise"),
    "a 0.2 bundle without proof": (lambda: of_version(dsse().with_entry(proof=False), "0.2"), "bundle-malformed", "without inclusion proof"),
    "a 0.3 bundle without proof": (lambda: dsse().with_entry(proof=False), "bundle-malformed", "without inclusion proof"),
    "a proof without checkpoint": (lambda: without(dsse().with_entry(), *ENTRY, "inclusionProof", "checkpoint"), "bundle-malformed", "no checkpoint"),
    "certificate and key together": (lambda: put(dsse().with_entry(), {"hint": ""}, "verificationMaterial", "publicKey"), "bundle-malformed", "exactly one kind"),
    "an empty chain": (lambda: put(of_version(dsse().with_entry(), "0.2"), [], "verificationMaterial", "x509CertificateChain", "certificates"), "bundle-malformed", "is empty"),
    "two signatures": (lambda: _two_signatures(dsse().with_entry()), "bundle-malformed", "2 signatures"),
    "10,000 entries": (lambda: put(dsse().with_entry(), dsse().with_entry().material["tlogEntries"] * 10_000, "verificationMaterial", "tlogEntries"), "bundle-malformed", "at most 32"),
    "the same entry twice": (lambda: _twice(dsse().with_entry(), "tlogEntries"), "bundle-malformed", "twice"),
    "the same timestamp twice": (lambda: _same_stamp(dsse().with_entry().with_timestamp()), "bundle-malformed", "twice"),
    "a name and its twin": (lambda: put(dsse().with_entry(), 1, *ENTRY, "log_index"), "bundle-malformed", "both logIndex and log_index"),
    "a negative index": (lambda: put(dsse().with_entry(), "-1", *ENTRY, "logIndex"), "bundle-malformed", "not an integer"),
    "an index that is no number": (lambda: put(dsse().with_entry(), True, *ENTRY, "logIndex"), "bundle-malformed", "not an integer"),
    "bytes that are no base64": (lambda: put(dsse().with_entry(), "***", *ENTRY, "canonicalizedBody"), "bundle-malformed", "not base64"),
    # The certificate
    "a certificate that is none": (lambda: put(dsse().with_entry(), "AAAA", "verificationMaterial", "certificate", "rawBytes"), "certificate-invalid", "cannot be read"),
    "a CA's certificate": (lambda: dsse(changed(ca=True)).with_entry(), "certificate-invalid", "is a CA"),
    "no key usage": (lambda: dsse(changed(usage=False)).with_entry(), "certificate-invalid", "digitalSignature"),
    "no extended key usage": (lambda: dsse(changed(purposes=())).with_entry(), "certificate-invalid", "codeSigning"),
    "a certificate for servers": (lambda: dsse(changed(purposes=(ExtendedKeyUsageOID.SERVER_AUTH,))).with_entry(), "certificate-invalid", "codeSigning"),
    "an unknown critical extension": (lambda: dsse(changed(critical_unknown=True)).with_entry(), "certificate-invalid", "critical extension 1.2.3.4"),
    "no identity": (lambda: dsse(changed(sans=0)).with_entry(), "certificate-invalid", "0 identities"),
    "two identities": (lambda: dsse(changed(sans=2)).with_entry(), "certificate-invalid", "2 identities"),
    "a DNS name": (lambda: dsse(changed(san=x509.DNSName("acme.test"))).with_entry(), "certificate-invalid", "DNSName"),
    "no issuer": (lambda: dsse(changed(issuer=None)).with_entry(), "certificate-invalid", "no issuer"),
    "two issuers": (lambda: dsse(changed(old_issuer="https://other.example")).with_entry(), "certificate-invalid", "two different issuers"),
    "an extension that is no text": (lambda: dsse(changed(raw={12: b"\x04\x01x"})).with_entry(), "certificate-invalid", "UTF8String"),
    "an extension with something behind it": (lambda: dsse(changed(raw={12: sim.utf8("x") + b"y"})).with_entry(), "certificate-invalid", "cannot be read"),
    "another CA": (lambda: dsse(changed(issued_by=OTHER.ca)).with_entry(), "certificate-untrusted", "no CA of the root"),
    "a CA's name with another key": (lambda: dsse(changed(signed_by=WRONG_KEY)).with_entry(), "certificate-untrusted", "no CA of the root"),
    "a weak key": (lambda: dsse(key=rsa.generate_private_key(65537, 1024)).with_entry(), "certificate-invalid", "not supported"),
    # The signature
    "a changed payload": (lambda: _bad_envelope(dsse().with_entry()), "signature-invalid", "does not verify the signature"),
    "a changed payload type": (lambda: put(dsse().with_entry(), "text/plain", "dsseEnvelope", "payloadType"), "signature-invalid", ""),
    "another's certificate": (lambda: put(dsse().with_entry(), sim.b64(dsse().certificate), "verificationMaterial", "certificate", "rawBytes"), "signature-invalid", ""),
    "another artifact": (lambda: message(INSTANCE, b"other").with_entry("hashedrekord"), "signature-invalid", ""),
    # Time
    "no time at all": (lambda: dsse(), "time-unproven", "neither a log nor a timestamp"),
    "a time that the log did not sign": (lambda: dsse().with_entry(promise=False), "time-unproven", ""),
    "a v2 entry without timestamp": (lambda: dsse().with_entry2(), "time-unproven", ""),
    "signed before the certificate": (lambda: dsse().with_entry(at=NOW - SECOND), "certificate-time", "signed at 2026-11-24 11:59:59Z"),
    "signed after the certificate": (lambda: dsse().with_entry(at=NOW + timedelta(minutes=10, seconds=1)), "certificate-time", "12:10:01Z"),
    "stamped after the certificate": (lambda: dsse().with_entry().with_timestamp(NOW + timedelta(hours=1)), "certificate-time", "13:00:00Z"),
    "stamped before the certificate": (lambda: dsse().with_entry2().with_timestamp(NOW - SECOND), "certificate-time", "11:59:59Z"),
    # Timestamps, where no other time is proven
    "a timestamp over other bytes": (lambda: dsse().with_entry2().with_timestamp(message=b"other"), "timestamp-invalid", "over other bytes"),
    "a timestamp of another authority": (lambda: dsse().with_entry2().with_timestamp(leaf=OTHER.tsa_leaf, key=OTHER.tsa_key), "timestamp-invalid", "no timestamp authority"),
    "a timestamp by another key": (lambda: dsse().with_entry2().with_timestamp(key=WRONG_KEY), "timestamp-invalid", "signature does not verify"),
    "a timestamp that was not granted": (lambda: dsse().with_entry2().with_timestamp(status="rejection"), "timestamp-invalid", "not granted"),
    "a timestamp with data behind it": (lambda: dsse().with_entry2().with_timestamp(garbage=b"x"), "timestamp-invalid", "cannot be read"),
    "a timestamp with two signers": (lambda: dsse().with_entry2().with_timestamp(signers=2), "timestamp-invalid", "2 signers"),
    "a timestamp without signers": (lambda: dsse().with_entry2().with_timestamp(signers=0), "timestamp-invalid", "0 signers"),
    "a timestamp around something else": (lambda: dsse().with_entry2().with_timestamp(content_type="data"), "timestamp-invalid", "not a TSTInfo"),
    "a signed content type that differs": (lambda: dsse().with_entry2().with_timestamp(attribute_type="data"), "timestamp-invalid", "content type"),
    "a signed digest that differs": (lambda: dsse().with_entry2().with_timestamp(digest=b"x" * 32), "timestamp-invalid", "content was changed"),
    "an attribute twice": (lambda: dsse().with_entry2().with_timestamp(twice=True), "timestamp-invalid", "twice"),
    "no certificate hash": (lambda: dsse().with_entry2().with_timestamp(ess=b""), "timestamp-invalid", "ESS"),
    "another certificate's hash": (lambda: dsse().with_entry2().with_timestamp(ess=b"x" * 32), "timestamp-invalid", "named by no certificate"),
    "another certificate's number": (lambda: dsse().with_entry2().with_timestamp(serial=5), "timestamp-invalid", "named by no certificate"),
    "a weak imprint": (lambda: dsse().with_entry2().with_timestamp(algorithm="sha1"), "timestamp-invalid", "too weak"),
    "a weak digest": (lambda: dsse().with_entry2().with_timestamp(digest_algorithm="sha1"), "timestamp-invalid", "too weak"),
    "a timestamp that is garbage": (lambda: _garbage_stamp(dsse().with_entry2()), "timestamp-invalid", "cannot be read"),
    # SCTs
    "no certificate transparency": (lambda: dsse(changed(scts=0)).with_entry(), "sct-missing", "0 certificate transparency logs"),
    "an SCT by another key": (lambda: dsse(changed(sct_key=WRONG_KEY)).with_entry(), "sct-missing", ""),
    "an SCT of another log": (lambda: dsse(changed(sct_log=b"x" * 32)).with_entry(), "sct-missing", ""),
    "an SCT for another issuer": (lambda: dsse(changed(sct_issuer=b"x" * 32)).with_entry(), "sct-missing", ""),
    "an SCT before the log's window": (lambda: dsse(changed(sct_at=sim.START - SECOND)).with_entry(), "sct-missing", ""),
    # Log entries
    "no log entry": (lambda: dsse().with_timestamp(), "log-missing", "0 logs"),
    "an entry of another log alone": (lambda: _foreign_entry(dsse().with_timestamp()), "log-missing", ""),
    "a promise by another key": (lambda: dsse().with_entry(promise_key=WRONG_KEY), "log-entry-invalid", "promise"),
    "a time that was changed": (lambda: dsse().with_entry(seconds=int(NOW.timestamp()) + 60), "log-entry-invalid", "promise"),
    "a body that was changed": (lambda: _other_body(dsse().with_entry()), "log-entry-invalid", ""),
    "a root hash that was changed": (lambda: dsse().with_entry(root=b"x" * 32), "log-entry-invalid", "root hash"),
    "a path that was changed": (lambda: dsse().with_entry(hashes=[b"x" * 32] * 4), "log-entry-invalid", "does not lead"),
    "a path that is too short": (lambda: dsse().with_entry(hashes=[b"x" * 32]), "log-entry-invalid", "1 hashes, expected 4"),
    "an index outside the tree": (lambda: dsse().with_entry(proof_index=11), "log-entry-invalid", "outside its tree"),
    "another index": (lambda: dsse().with_entry(proof_index=4), "log-entry-invalid", "does not lead"),
    "a checkpoint of another size": (lambda: dsse().with_entry(stated_size=12), "log-entry-invalid", "tree of '12' entries"),
    "a checkpoint with another root": (lambda: dsse().with_entry(stated_root=b"x" * 32), "log-entry-invalid", "another root hash"),
    "a checkpoint of another origin": (lambda: dsse().with_entry(origin="evil.example - 1"), "log-entry-invalid", "no signature of the log"),
    "a v2 checkpoint of another origin": (lambda: dsse().with_entry2(origin="evil.example", signer="evil.example").with_timestamp(), "log-entry-invalid", "origin"),
    "a checkpoint by another key": (lambda: dsse().with_entry(note_key=WRONG_KEY), "log-entry-invalid", "no signature of the log"),
    "a checkpoint with another key id": (lambda: dsse().with_entry(note_id=b"1234"), "log-entry-invalid", "no signature of the log"),
    "a checkpoint signed under another name": (lambda: dsse().with_entry(signer="evil.example"), "log-entry-invalid", "no signature of the log"),
    "a checkpoint that is no note": (lambda: dsse().with_entry(checkpoint="hello"), "log-entry-invalid", "not a signed note"),
    "a checkpoint without signature": (lambda: dsse().with_entry(checkpoint=f"{INSTANCE.log_host}\n11\nAAAA\n"), "log-entry-invalid", ""),
    "an entry of another signature": (lambda: dsse().with_entry(signature=b"other"), "log-entry-mismatch", "another signature"),
    "an entry of another payload": (lambda: dsse().with_entry(payload=b"other"), "log-entry-mismatch", "another artifact"),
    "an entry of another certificate": (lambda: dsse().with_entry(verifier=pem_cert(dsse().certificate)), "log-entry-mismatch", "another key or certificate"),
    "an entry of a bare key": (lambda: _key_entry(dsse()), "log-entry-mismatch", "another key or certificate"),
    "an entry of no key": (lambda: dsse().with_entry(verifier=b"-----BEGIN CERTIFICATE-----\nx"), "log-entry-mismatch", "another key or certificate"),
    "a v2 entry of another signature": (lambda: dsse().with_entry2(signature=b"other").with_timestamp(), "log-entry-mismatch", "another signature"),
    "a v2 entry of the payload instead of its encoding": (lambda: dsse().with_entry2(signed=STATEMENT).with_timestamp(), "log-entry-mismatch", "another artifact"),
    "a v2 entry of another algorithm": (lambda: dsse().with_entry2(details="PKIX_RSA_PKCS1V15_2048_SHA256").with_timestamp(), "log-entry-mismatch", "another key"),
    # Rekor v2 wrote it before its release 2.3; the specification dropped it, cosign and sigstore-python refuse it too.
    "a v2 entry of an envelope's payload": (lambda: dsse().with_entry2(kind="dsse").with_timestamp(), "log-entry-invalid", "not a type of entry"),
    "a v2 entry that names two verifiers": (
        lambda: dsse().with_entry2(verifier={"x509Certificate": {"rawBytes": "AAAA"}, "publicKey": {"rawBytes": "AAAA"}}).with_timestamp(),
        "log-entry-invalid",
        "exactly one",
    ),
    "an entry of a kind that signs no charts": (lambda: _kind(dsse().with_entry(), "rpm"), "log-entry-invalid", ""),
    "an entry that says another kind than its body": (lambda: put(dsse().with_entry(), {"kind": "intoto", "version": "0.0.2"}, *ENTRY, "kindVersion"), "log-entry-invalid", "the entry says"),
    "a log of version 2 without proof": (lambda: _v2_without_proof(), "bundle-malformed", "without inclusion proof"),
}  # fmt: skip


def _two_signatures(made: Made) -> Made:
    made.value["dsseEnvelope"]["signatures"] *= 2
    return made


def _twice(made: Made, key: str) -> Made:
    made.material[key] *= 2
    return made


def _same_stamp(made: Made) -> Made:
    made.material["timestampVerificationData"]["rfc3161Timestamps"] *= 2
    return made


def _garbage_stamp(made: Made) -> Made:
    made.material["timestampVerificationData"] = {"rfc3161Timestamps": [{"signedTimestamp": sim.b64(b"\x30\x03\x02\x01\x00garbage")}]}
    return made


def _other_body(made: Made) -> Made:
    entry = made.material["tlogEntries"][0]
    other = dsse().with_entry().material["tlogEntries"][0]
    entry["canonicalizedBody"] = other["canonicalizedBody"]
    return made


def _key_entry(made: Made) -> Made:
    return made.with_entry(verifier=sim.pem_key(made.key))


def _kind(made: Made, kind: str) -> Made:
    body = {"apiVersion": "0.0.1", "kind": kind, "spec": {}}
    made.material["tlogEntries"] = [INSTANCE.entry(body)]
    return made


def _v2_without_proof() -> Made:
    return without(dsse().with_entry2().with_timestamp(), *ENTRY, "inclusionProof")


@pytest.mark.parametrize("make, code, text", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_forbidden_is_refused(make: Callable[[], Made | bytes], code: str, text: str) -> None:
    error = refused(make())
    assert (error.code.name, text in error.reason) == (code, True), error.reason


# Trusted roots


def drop(key: str) -> Change:
    return lambda root: root.update({key: []})


def window(key: str, index: int, *, start: str = "2024-01-01T00:00:00Z", end: str | None = None) -> Change:
    def change(root: dict[str, Any]) -> None:
        place = root[key][index].get("publicKey", root[key][index])
        place["validFor"] = {"start": start, **({"end": end} if end else {})}

    return change


ROOTS: dict[str, tuple[Callable[[], Made], Anchor, str | None]] = {
    "a log that ended before": (lambda: dsse().with_entry(), anchor(window("tlogs", 0, end="2026-11-24T12:00:00Z")), "time-unproven"),
    "a log that ended in that second": (lambda: dsse().with_entry(), anchor(window("tlogs", 0, end="2026-11-24T12:00:01Z")), None),
    "a log that began in that second": (lambda: dsse().with_entry(), anchor(window("tlogs", 0, start="2026-11-24T12:00:01Z")), None),
    "a log that began after": (lambda: dsse().with_entry(), anchor(window("tlogs", 0, start="2026-11-24T12:00:02Z")), "time-unproven"),
    "a v2 log that ended before the timestamp": (lambda: dsse().with_entry2().with_timestamp(), anchor(window("tlogs", 1, end="2026-11-24T12:00:01Z")), "log-missing"),
    "a v2 log that ended with the timestamp": (lambda: dsse().with_entry2().with_timestamp(), anchor(window("tlogs", 1, end="2026-11-24T12:00:02Z")), None),
    "a CA that ended before": (lambda: dsse().with_entry(), anchor(window("certificateAuthorities", 0, end="2026-11-24T12:00:00Z")), "certificate-untrusted"),
    "a CA that ended in that second": (lambda: dsse().with_entry(), anchor(window("certificateAuthorities", 0, end="2026-11-24T12:00:01Z")), None),
    "a CT log that ended before": (lambda: dsse().with_entry(), anchor(window("ctlogs", 0, end="2026-11-24T11:59:59Z")), "sct-missing"),
    "a CT log that ended in that second": (lambda: dsse().with_entry(), anchor(window("ctlogs", 0, end="2026-11-24T12:00:00Z")), None),
    "an authority that ended before": (lambda: dsse().with_entry2().with_timestamp(), anchor(window("timestampAuthorities", 0, end="2026-11-24T12:00:01Z")), "timestamp-invalid"),
    "an authority that ended in that second": (lambda: dsse().with_entry2().with_timestamp(), anchor(window("timestampAuthorities", 0, end="2026-11-24T12:00:02Z")), None),
    "a root without logs": (lambda: dsse().with_entry(), anchor(drop("tlogs")), "time-unproven"),
    "a root without CAs": (lambda: dsse().with_entry(), anchor(drop("certificateAuthorities")), "certificate-untrusted"),
    "a root without CT logs": (lambda: dsse().with_entry(), anchor(drop("ctlogs")), "sct-missing"),
    "a root without timestamp authorities": (lambda: dsse().with_entry2().with_timestamp(), anchor(drop("timestampAuthorities")), "time-unproven"),
    "GitHub's own: a timestamp alone": (lambda: dsse(changed(scts=0)).with_timestamp(), anchor(drop("ctlogs"), sct=0, tlog=0, timestamp=1), None),
    "GitHub's own without timestamp": (lambda: dsse(changed(scts=0)).with_entry(), anchor(drop("ctlogs"), sct=0, tlog=0, timestamp=1), "timestamp-missing"),
    "GitHub's own with a bad timestamp": (lambda: dsse(changed(scts=0)).with_timestamp(message=b"x"), anchor(sct=0, tlog=0, timestamp=1), "timestamp-invalid"),
    "two logs demanded, one there": (lambda: dsse().with_entry(), anchor(tlog=2), "log-missing"),
    "two logs demanded, two there": (lambda: dsse().with_entry().with_entry2().with_timestamp(), anchor(tlog=2), None),
    "two entries of one log are one log": (lambda: dsse().with_entry().with_entry(index=6, leaf=6), anchor(tlog=2), "log-missing"),
    "two stamps of one authority are one": (lambda: dsse().with_entry().with_timestamp().with_timestamp(NOW + 3 * SECOND), anchor(timestamp=2), "timestamp-missing"),
    "two SCTs of one log are one": (lambda: dsse(changed(scts=2)).with_entry(), anchor(sct=2), "sct-missing"),
    "no SCT demanded, none there": (lambda: dsse(changed(scts=0)).with_entry(), anchor(sct=0), None),
}  # fmt: skip


@pytest.mark.parametrize("make, root, code", ROOTS.values(), ids=ROOTS.keys())
def test_windows_and_thresholds_of_roots(make: Callable[[], Made], root: Anchor, code: str | None) -> None:
    if code is None:
        verify(make(), root)
    else:
        assert refused(make(), root).code.name == code


def other_ca(*chain: x509.Certificate) -> Anchor:
    certificates = [{"rawBytes": sim.b64(sim.der_cert(item))} for item in chain]
    return anchor(lambda root: root["certificateAuthorities"][0]["certChain"].update(certificates=certificates))


def test_an_intermediate_that_ended() -> None:
    for end, code in ((NOW, "certificate-untrusted"), (NOW + SECOND, None)):
        ca = sim.make_ca("short", end=end)
        made = dsse(changed(issued_by=ca)).with_entry()
        if code is None:
            verify(made, other_ca(ca.intermediate, ca.root))
        else:
            assert refused(made, other_ca(ca.intermediate, ca.root)).code.name == code


def test_an_intermediate_that_only_the_bundle_carries_and_one_that_is_the_anchor() -> None:
    made = with_chain(sim.der_cert(INSTANCE.ca.intermediate))
    verify(made, other_ca(INSTANCE.ca.root))
    assert refused(dsse().with_entry(), other_ca(INSTANCE.ca.root)).code.name == "certificate-untrusted"
    verify(dsse().with_entry(), other_ca(INSTANCE.ca.intermediate))
    mixed = other_ca(INSTANCE.ca.intermediate, OTHER.ca.root)
    assert refused(dsse().with_entry(), mixed).code.name == "certificate-untrusted"


def test_two_operators_count_apart_and_one_operator_once() -> None:
    def operators(*names: str) -> Change:
        return lambda root: [log.update(operator=name) for log, name in zip(root["tlogs"], names, strict=True)]

    made = dsse().with_entry().with_entry2().with_timestamp()
    verify(made, anchor(operators("one.example", "two.example"), tlog=2))
    assert refused(made, anchor(operators("one.example", "one.example"), tlog=2)).code.name == "log-missing"


def test_a_timestamp_certificate_must_be_for_timestamping_alone() -> None:
    both = INSTANCE.timestamp_certificate(purposes=(ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING))
    lax = INSTANCE.timestamp_certificate(critical=False)
    other = INSTANCE.timestamp_certificate(purposes=(ExtendedKeyUsageOID.CODE_SIGNING,))
    for leaf in (both, lax, other):
        error = refused(dsse().with_entry2().with_timestamp(leaf=leaf))
        assert (error.code.name, "for timestamping" in error.reason) == ("timestamp-invalid", True)


def test_a_certificate_of_the_authority_that_the_root_does_not_name() -> None:
    key = sim.p256()
    other = INSTANCE.timestamp_certificate(key)
    made = dsse().with_entry2().with_timestamp(leaf=other, key=key)
    assert refused(made).code.name == "timestamp-invalid"
    # Where the root names the authority's CA alone, any certificate of it counts.
    verify(made, anchor(lambda root: root["timestampAuthorities"][0]["certChain"]["certificates"].pop(0)))


def test_a_timestamp_after_the_stampers_certificate() -> None:
    key = sim.p256()
    short = INSTANCE.timestamp_certificate(key, end=NOW)
    root = anchor(lambda value: value["timestampAuthorities"][0]["certChain"]["certificates"].pop(0))
    assert refused(dsse().with_entry2().with_timestamp(leaf=short, key=key), root).code.name == "timestamp-invalid"


def test_no_bundle_is_more_than_refused() -> None:
    """Single bytes changed all over a good bundle: never another error, and never another signer."""
    good = dsse().with_entry().with_entry2().with_timestamp().dump()
    expected = verify(good).signer
    for position in range(0, len(good), 37):
        data = good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :]
        try:
            certified = verify(data)
        except FailedError:
            continue
        assert certified.signer == expected


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], str]]:
    """The base64 texts in a bundle, with their places."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inner = [leaf for key, item in items for leaf in leaves(item, (*path, key))]
    return [(path, value)] if isinstance(value, str) and len(value) > 20 else inner


def test_no_certificate_entry_or_timestamp_is_more_than_refused() -> None:
    """Single bits changed inside certificates, signatures, entries and timestamps, which the test above seldom reaches."""
    made = dsse().with_entry().with_entry2().with_timestamp()
    expected = verify(made).signer
    chance = random.Random(7)
    for _ in range(400):
        value = copy.deepcopy(made.value)
        path, text = chance.choice(leaves(value))
        try:
            data = bytearray(base64.b64decode(text, validate=True))
        except ValueError:
            continue
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        place = value
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = sim.b64(bytes(data))
        try:
            assert verify(json.dumps(value).encode()).signer == expected
        except FailedError:
            continue


FOREIGN = {
    "a curve that nobody verifies": ec.SECP256K1(),
    "another curve": ec.BrainpoolP256R1(),
}


@pytest.mark.parametrize("curve", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_key_of_a_foreign_algorithm(curve: ec.EllipticCurve) -> None:
    assert refused(dsse(key=ec.generate_private_key(curve)).with_entry()).code.name == "certificate-invalid"


def test_digests_are_computed_and_never_believed() -> None:
    made = message(INSTANCE, ARTIFACT).with_entry("hashedrekord")
    known = Signed(sha256=hashlib.sha256(ARTIFACT).digest())
    assert verify_certified(read_bundle(made.dump(), where="x"), known, anchor()).vouched.logs == 1
    unknown = Signed(sha256=hashlib.sha256(b"other").digest())
    with pytest.raises(FailedError):
        verify_certified(read_bundle(made.dump(), where="x"), unknown, anchor())


# Bundles that others made (tests/assets/sigstore/README.md)

ASSETS = Path(__file__).parents[2] / "assets" / "sigstore"


def asset(name: str) -> bytes:
    return (ASSETS / name).read_bytes()


def test_a_provenance_attestation_that_github_made() -> None:
    public = Anchor(name="public-good", kind=ROOT, data=public_good_root())
    certified = verify(asset("github-provenance.sigstore.json"), public)
    assert certified.signer.identity == "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main"
    assert certified.signer.source_repository == "https://github.com/sigstore/sigstore-js"
    assert certified.vouched.times[0].at.year == 2023
    changed_bundle = asset("github-provenance.sigstore.json").replace(b'"integratedTime": "1692374735"', b'"integratedTime": "1692374736"')
    assert changed_bundle != asset("github-provenance.sigstore.json")
    assert refused(changed_bundle, public).code.name == "log-entry-invalid"
    assert refused(asset("github-provenance.sigstore.json")).code.name == "time-unproven"


def test_a_bundle_with_fulcios_other_name_that_a_private_instance_made() -> None:
    data = asset("othername.sigstore.json")
    root = Anchor(name="private", kind=ROOT, data=asset("othername.root.json"))
    bundle = read_bundle(data, where="x")
    assert isinstance(bundle.content, MessageSignature)
    certified = verify_certified(bundle, Signed(sha256=bundle.content.digest), root)
    assert (certified.signer.san_type, certified.signer.identity) == (SanType.OTHER, "foo!oidc.local")


def test_a_timestamp_beside_a_key_that_others_made() -> None:
    bundle = read_bundle(asset("public-key-validity.sigstore.json"), where="x")
    root = Anchor(name="private", kind=ROOT, data=asset("public-key-validity.root.json"))
    key = load_public_key(asset("public-key-validity.pem"))
    assert isinstance(bundle.content, MessageSignature)
    signed = Signed(sha256=bundle.content.digest)
    assert signature_holds(bundle.content, signed, key)
    assert [time.clock for time in vouch_for_key(bundle, signed, key, root).times] == [Clock.TIMESTAMP]
    assert vouch_for_key(bundle, signed, key, anchor()).times == ()
