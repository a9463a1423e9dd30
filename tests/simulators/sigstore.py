"""A sigstore instance in this process: CA, CT log, transparency logs v1 and v2, timestamp authority; each can err on purpose.

Written from the specifications with `cryptography` and asn1crypto alone; it shares no code with what it tests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
START = datetime(2024, 1, 1, tzinfo=UTC)
END = datetime(2034, 1, 1, tzinfo=UTC)
ISSUER = "https://token.actions.githubusercontent.com"
REPOSITORY = "https://github.com/acme/charts"
WORKFLOW = f"{REPOSITORY}/.github/workflows/release.yml@refs/tags/v1.4.2"
IN_TOTO = "application/vnd.in-toto+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
GITHUB = {
    9: WORKFLOW,
    11: "github-hosted",
    12: REPOSITORY,
    13: "a" * 40,
    14: "refs/tags/v1.4.2",
    15: "1234",
    16: "https://github.com/acme",
    17: "99",
    18: WORKFLOW,
    19: "a" * 40,
    20: "push",
    21: f"{REPOSITORY}/actions/runs/1/attempts/1",
    22: "public",
}

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def spki(key: Any) -> bytes:
    public = key.public_key() if hasattr(key, "public_key") else key
    der: bytes = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return der


def pem_key(key: Any) -> bytes:
    data: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return data


def der_cert(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def pem_cert(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)


def sign(key: PrivateKey, message: bytes, algorithm: hashes.HashAlgorithm | None = None) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    if isinstance(key, rsa.RSAPrivateKey):
        from cryptography.hazmat.primitives.asymmetric import padding

        return key.sign(message, padding.PKCS1v15(), algorithm or hashes.SHA256())
    return key.sign(message, ec.ECDSA(algorithm or hashes.SHA256()))


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pae(payload_type: str, payload: bytes) -> bytes:
    return b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "acme.test"), x509.NameAttribute(NameOID.COMMON_NAME, text)])


def utf8(text: str) -> bytes:
    return core.UTF8String(text).dump()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Ca:
    """A root, an intermediate under it, and the key that issues."""

    root: x509.Certificate
    intermediate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_ca(label: str, *, end: datetime = END, path_length: int | None = 0) -> Ca:
    root_key, key = ec.generate_private_key(ec.SECP384R1()), p256()
    root = _ca_certificate(name(f"{label} root"), name(f"{label} root"), root_key, root_key, end=END, path_length=1)
    intermediate = _ca_certificate(name(label), root.subject, key, root_key, end=end, path_length=path_length)
    return Ca(root, intermediate, key)


def _ca_certificate(subject: x509.Name, issuer: x509.Name, key: Any, signer: Any, *, end: datetime, path_length: int | None) -> x509.Certificate:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(START).not_valid_after(end)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    builder = builder.add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    return builder.sign(signer, hashes.SHA384() if isinstance(signer.curve, ec.SECP384R1) else hashes.SHA256())


def _usage(**given: bool) -> x509.KeyUsage:
    off = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**{**off, **given})


@dataclass
class Order:
    """What a certificate shall say; each field can be wrong."""

    identity: str = WORKFLOW
    san: x509.GeneralName | None = None
    sans: int = 1
    issuer: str | None = ISSUER
    old_issuer: str | None = None
    extensions: dict[int, str] = field(default_factory=lambda: dict(GITHUB))
    raw: dict[int, bytes] = field(default_factory=dict)
    at: datetime = NOW
    life: timedelta = timedelta(minutes=10)
    ca: bool = False
    usage: bool = True
    purposes: tuple[ObjectIdentifier, ...] = (ExtendedKeyUsageOID.CODE_SIGNING,)
    critical_unknown: bool = False
    scts: int = 1
    sct_key: ec.EllipticCurvePrivateKey | None = None
    sct_log: bytes | None = None
    sct_at: datetime | None = None
    sct_issuer: bytes | None = None
    issued_by: Ca | None = None
    signed_by: ec.EllipticCurvePrivateKey | None = None


@dataclass
class Instance:
    """Keys and certificates of one sigstore instance."""

    ca: Ca = field(default_factory=lambda: make_ca("fulcio"))
    tsa: Ca = field(default_factory=lambda: make_ca("timestamps"))
    ct: ec.EllipticCurvePrivateKey = field(default_factory=p256)
    log: ec.EllipticCurvePrivateKey = field(default_factory=p256)
    log2: ed25519.Ed25519PrivateKey = field(default_factory=ed25519.Ed25519PrivateKey.generate)
    log_host: str = "rekor.acme.test"
    log2_host: str = "log2.acme.test"

    def __post_init__(self) -> None:
        self.tsa_key = p256()
        self.tsa_leaf = self.timestamp_certificate()

    # Trusted root

    def trusted_root(self) -> dict[str, Any]:
        window = {"start": "2024-01-01T00:00:00Z"}

        def log(key: Any, host: str, log_id: bytes, details: str) -> dict[str, Any]:
            public = {"rawBytes": b64(spki(key)), "keyDetails": details, "validFor": dict(window)}
            return {"baseUrl": f"https://{host}", "hashAlgorithm": "SHA2_256", "publicKey": public, "logId": {"keyId": b64(log_id)}}

        def authority(uri: str, *chain: x509.Certificate) -> dict[str, Any]:
            certificates = [{"rawBytes": b64(der_cert(item))} for item in chain]
            return {
                "uri": uri,
                "subject": {"organization": "acme.test", "commonName": uri},
                "certChain": {"certificates": certificates},
                "validFor": dict(window),
            }

        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [
                log(self.log, self.log_host, self.log_id, "PKIX_ECDSA_P256_SHA_256"),
                log(self.log2, self.log2_host, self.log2_id, "PKIX_ED25519"),
            ],
            "certificateAuthorities": [authority("https://fulcio.acme.test", self.ca.intermediate, self.ca.root)],
            "ctlogs": [log(self.ct, "ct.acme.test", hashlib.sha256(spki(self.ct)).digest(), "PKIX_ECDSA_P256_SHA_256")],
            "timestampAuthorities": [authority("https://tsa.acme.test", self.tsa_leaf, self.tsa.intermediate, self.tsa.root)],
        }

    @property
    def log_id(self) -> bytes:
        return hashlib.sha256(spki(self.log)).digest()

    @property
    def log2_id(self) -> bytes:
        raw = self.log2.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return hashlib.sha256(self.log2_host.encode() + b"\n\x01" + raw).digest()

    # Certificates

    def certificate(self, key: Any, order: Order | None = None) -> bytes:
        order = order or Order()
        ca = order.issued_by or self.ca
        without = self._builder(key, order, ca).sign(order.signed_by or ca.key, hashes.SHA256())
        if not order.scts:
            return der_cert(without)
        scts = [self._sct(without.tbs_certificate_bytes, order, ca) for _ in range(order.scts)]
        entries = b"".join(struct.pack("!H", len(item)) + item for item in scts)
        value = core.OctetString(struct.pack("!H", len(entries)) + entries).dump()
        extension = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), value)
        return der_cert(
            self._builder(key, order, ca, without.serial_number).add_extension(extension, critical=False).sign(order.signed_by or ca.key, hashes.SHA256())
        )

    def _builder(self, key: Any, order: Order, ca: Ca, serial: int | None = None) -> x509.CertificateBuilder:
        public = key.public_key() if hasattr(key, "public_key") else key
        builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(ca.intermediate.subject).public_key(public)
        builder = builder.serial_number(serial or x509.random_serial_number()).not_valid_before(order.at).not_valid_after(order.at + order.life)
        if order.usage:
            builder = builder.add_extension(_usage(digital_signature=True), critical=True)
        if order.purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(order.purposes), critical=False)
        if order.ca:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        if order.sans:
            kind = x509.UniformResourceIdentifier if "://" in order.identity else x509.RFC822Name
            builder = builder.add_extension(x509.SubjectAlternativeName([order.san or kind(order.identity)] * order.sans), critical=True)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False)
        fulcio = {number: utf8(text) for number, text in order.extensions.items()}
        fulcio |= {1: order.old_issuer.encode()} if order.old_issuer is not None else {}
        fulcio |= {8: utf8(order.issuer)} if order.issuer is not None else {}
        for number, value in {**fulcio, **order.raw}.items():
            builder = builder.add_extension(x509.UnrecognizedExtension(ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{number}"), value), critical=False)
        if order.critical_unknown:
            builder = builder.add_extension(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), critical=True)
        return builder

    def _sct(self, tbs: bytes, order: Order, ca: Ca) -> bytes:
        at = struct.pack("!Q", round((order.sct_at or order.at).timestamp() * 1000))
        issuer = order.sct_issuer or hashlib.sha256(spki(ca.key)).digest()
        signed = b"\0\0" + at + struct.pack("!H", 1) + issuer + len(tbs).to_bytes(3, "big") + tbs + b"\0\0"
        signature = sign(order.sct_key or self.ct, signed)
        log = order.sct_log or hashlib.sha256(spki(self.ct)).digest()
        return b"\0" + log + at + b"\0\0" + b"\x04\x03" + struct.pack("!H", len(signature)) + signature

    # Timestamps

    def timestamp_certificate(
        self, key: Any = None, *, purposes: tuple[ObjectIdentifier, ...] = (ExtendedKeyUsageOID.TIME_STAMPING,), critical: bool = True, end: datetime = END
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(name("stamper")).issuer_name(self.tsa.intermediate.subject)
        builder = builder.public_key((key or self.tsa_key).public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(START).not_valid_after(end).add_extension(_usage(digital_signature=True), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=critical)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.tsa.key.public_key()), critical=False)
        return builder.sign(self.tsa.key, hashes.SHA256())

    def timestamp(self, message: bytes, at: datetime = NOW + timedelta(seconds=2), **wrong: Any) -> bytes:
        """An RFC 3161 response over `message`. Wrong: algorithm, leaf, key, status, content_type, attribute_type, digest, ess, signers, embed, garbage."""
        algorithm = wrong.get("algorithm", "sha256")
        leaf = asn1_x509.Certificate.load(der_cert(wrong.get("leaf", self.tsa_leaf)))
        info = tsp.TSTInfo(
            {
                "version": 1,
                "policy": "1.2.3.4.5",
                "message_imprint": {
                    "hash_algorithm": {"algorithm": algorithm},
                    "hashed_message": wrong.get("imprint") or hashlib.new(algorithm, message).digest(),
                },
                "serial_number": 7,
                "gen_time": at,
                **({"nonce": wrong["nonce"]} if "nonce" in wrong else {}),
            }
        )
        content = info.dump()
        ess = tsp.SigningCertificateV2(
            {"certs": [{"hash_algorithm": {"algorithm": "sha256"}, "cert_hash": wrong.get("ess", hashlib.sha256(leaf.dump()).digest())}]}
        )
        attributes = [
            {"type": "content_type", "values": [wrong.get("attribute_type", "tst_info")]},
            {"type": "message_digest", "values": [wrong.get("digest", hashlib.sha256(content).digest())]},
        ]
        if "ess" not in wrong or wrong["ess"]:
            attributes.append({"type": "signing_certificate_v2", "values": [ess]})
        attributes += attributes[:1] if wrong.get("twice") else []
        signed = cms.CMSAttributes(attributes)
        signer = cms.SignerInfo(
            {
                "version": "v1",
                "sid": cms.SignerIdentifier({"issuer_and_serial_number": {"issuer": leaf.issuer, "serial_number": wrong.get("serial", leaf.serial_number)}}),
                "digest_algorithm": algos.DigestAlgorithm({"algorithm": wrong.get("digest_algorithm", "sha256")}),
                "signed_attrs": signed,
                "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"}),
                "signature": sign(wrong.get("key", self.tsa_key), signed.dump()),
            }
        )
        data = cms.SignedData(
            {
                "version": "v3",
                "digest_algorithms": [{"algorithm": "sha256"}],
                "encap_content_info": {"content_type": wrong.get("content_type", "tst_info"), "content": core.ParsableOctetString(content)},
                "certificates": [leaf] if wrong.get("embed", True) else [],
                "signer_infos": [signer] * wrong.get("signers", 1),
            }
        )
        token = cms.ContentInfo({"content_type": "signed_data", "content": data})
        response = tsp.TimeStampResp({"status": {"status": wrong.get("status", "granted")}, "time_stamp_token": token})
        return response.dump() + wrong.get("garbage", b"")  # type: ignore[no-any-return]

    # Logs

    def entry(self, body: dict[str, Any], at: datetime = NOW + timedelta(seconds=1), **wrong: Any) -> dict[str, Any]:
        """A v1 entry with promise and proof. Wrong: promise, proof (False leaves them out), and what `proof` knows."""
        data = json.dumps(body, separators=(",", ":"), sort_keys=True).encode()
        index, seconds = wrong.get("index", 5), int(at.timestamp())
        said = {"body": b64(data), "integratedTime": seconds, "logID": self.log_id.hex(), "logIndex": index}
        promise = sign(wrong.get("promise_key", self.log), json.dumps(said, separators=(",", ":"), sort_keys=True).encode())
        value: dict[str, Any] = {
            "logIndex": str(index),
            "logId": {"keyId": b64(wrong.get("log_id", self.log_id))},
            "kindVersion": {"kind": body["kind"], "version": body["apiVersion"]},
            "integratedTime": str(wrong.get("seconds", seconds)),
            "canonicalizedBody": b64(data),
        }
        if wrong.get("promise", True):
            value["inclusionPromise"] = {"signedEntryTimestamp": b64(promise)}
        if wrong.get("proof", True):
            value["inclusionProof"] = self.proof(
                data, self.log, self.log_id, **{"origin": f"{self.log_host} - 1234", "signer": self.log_host, **_of_proof(wrong)}
            )
        return value

    def entry2(self, body: dict[str, Any], **wrong: Any) -> dict[str, Any]:
        """A v2 entry: a proof and no time."""
        data = json.dumps(body, separators=(",", ":"), sort_keys=True).encode()
        return {
            "logIndex": "5",
            "logId": {"keyId": b64(wrong.get("log_id", self.log2_id))},
            "kindVersion": {"kind": body["kind"], "version": "0.0.2"},
            "canonicalizedBody": b64(data),
            "inclusionProof": self.proof(data, self.log2, self.log2_id, **{"origin": self.log2_host, "signer": self.log2_host, **_of_proof(wrong)}),
        }

    def proof(self, body: bytes, key: PrivateKey, key_id: bytes, *, leaf: int = 5, size: int = 11, **wrong: Any) -> dict[str, Any]:
        """The proof of one leaf among others. Wrong: root, hashes, stated_size, stated_root, origin, note_key, note_id, checkpoint."""
        leaves = [hashlib.sha256(b"\0" + (body if index == leaf else b"%d" % index)).digest() for index in range(size)]
        root, path = tree_hash(leaves), audit_path(leaf, leaves)
        text = f"{wrong['origin']}\n{wrong.get('stated_size', size)}\n{b64(wrong.get('stated_root', root))}\n"
        signature = (wrong.get("note_id") or key_id[:4]) + sign(wrong.get("note_key", key), text.encode())
        return {
            "logIndex": str(wrong.get("proof_index", leaf)),
            "rootHash": b64(wrong.get("root", root)),
            "treeSize": str(size),
            "hashes": [b64(item) for item in wrong.get("hashes", path)],
            "checkpoint": {"envelope": wrong.get("checkpoint", f"{text}\n\u2014 {wrong['signer']} {b64(signature)}\n")},
        }


def _of_proof(wrong: dict[str, Any]) -> dict[str, Any]:
    known = ("root", "hashes", "stated_size", "stated_root", "origin", "note_key", "note_id", "checkpoint", "proof_index", "leaf", "size", "signer")
    return {key: value for key, value in wrong.items() if key in known}


def tree_hash(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, over leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + tree_hash(leaves[:split]) + tree_hash(leaves[split:])).digest()


def audit_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*audit_path(index, leaves[:split]), tree_hash(leaves[split:])]
    return [*audit_path(index - split, leaves[split:]), tree_hash(leaves[:split])]


# Bodies of log entries


def verifier_pem(certificate: bytes | None, key: Any) -> bytes:
    return pem_cert(certificate) if certificate is not None else pem_key(key)


def hashedrekord(signature: bytes, digest: bytes, verifier: bytes, algorithm: str = "sha256") -> dict[str, Any]:
    spec = {
        "data": {"hash": {"algorithm": algorithm, "value": digest.hex()}},
        "signature": {"content": b64(signature), "publicKey": {"content": b64(verifier)}},
    }
    return {"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec}


def dsse_entry(signature: bytes, payload: bytes, verifier: bytes) -> dict[str, Any]:
    digest = {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()}
    spec = {
        "envelopeHash": {"algorithm": "sha256", "value": "0" * 64},
        "payloadHash": digest,
        "signatures": [{"signature": b64(signature), "verifier": b64(verifier)}],
    }
    return {"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}


def intoto_entry(signature: bytes, payload: bytes, verifier: bytes) -> dict[str, Any]:
    digest = {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()}
    envelope = {"payloadType": IN_TOTO, "signatures": [{"sig": b64(b64(signature).encode()), "publicKey": b64(verifier)}]}
    return {"apiVersion": "0.0.2", "kind": "intoto", "spec": {"content": {"envelope": envelope, "hash": digest, "payloadHash": digest}}}


def hashedrekord2(
    signature: bytes, digest: bytes, verifier: dict[str, Any], algorithm: str = "SHA2_256", details: str = "PKIX_ECDSA_P256_SHA_256"
) -> dict[str, Any]:
    data = {"algorithm": algorithm, "digest": b64(digest)}
    inner = {"data": data, "signature": {"content": b64(signature), "verifier": {"keyDetails": details, **verifier}}}
    return {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": inner}}


def dsse2(signature: bytes, payload: bytes, verifier: dict[str, Any], details: str = "PKIX_ECDSA_P256_SHA_256") -> dict[str, Any]:
    """As Rekor v2 wrote it before its release 2.3."""
    inner = {
        "payloadHash": {"algorithm": "SHA2_256", "digest": b64(hashlib.sha256(payload).digest())},
        "signatures": [{"content": b64(signature), "verifier": {"keyDetails": details, **verifier}}],
    }
    return {"apiVersion": "0.0.2", "kind": "dsse", "spec": {"dsseV002": inner}}


# Bundles


@dataclass
class Made:
    """A bundle under construction: the parts, to be changed before it is put together."""

    instance: Instance
    key: PrivateKey
    certificate: bytes
    payload: bytes
    signature: bytes
    value: dict[str, Any]

    def dump(self) -> bytes:
        return json.dumps(self.value).encode()

    @property
    def material(self) -> dict[str, Any]:
        material: dict[str, Any] = self.value["verificationMaterial"]
        return material

    def with_entry(self, kind: str = "dsse", **wrong: Any) -> Made:
        """One v1 entry of this kind."""
        verifier = wrong.pop("verifier", pem_cert(self.certificate))
        signature, payload = wrong.pop("signature", self.signature), wrong.pop("payload", self.payload)
        make = {"dsse": dsse_entry, "intoto": intoto_entry}.get(kind)
        body = make(signature, payload, verifier) if make else hashedrekord(signature, hashlib.sha256(payload).digest(), verifier)
        self.material.setdefault("tlogEntries", []).append(self.instance.entry(body, **wrong))
        return self

    def with_entry2(self, **wrong: Any) -> Made:
        """One v2 entry."""
        signed = wrong.pop("signed", pae(IN_TOTO, self.payload) if "dsseEnvelope" in self.value else self.payload)
        verifier = wrong.pop("verifier", {"x509Certificate": {"rawBytes": b64(self.certificate)}})
        details = wrong.pop("details", "PKIX_ECDSA_P256_SHA_256")
        signature = wrong.pop("signature", self.signature)
        if wrong.pop("kind", "hashedrekord") == "dsse":
            body = dsse2(signature, self.payload, verifier, details)
        else:
            body = hashedrekord2(signature, hashlib.sha256(signed).digest(), verifier, details=details)
        self.material.setdefault("tlogEntries", []).append(self.instance.entry2(body, **wrong))
        return self

    def with_timestamp(self, at: datetime = NOW + timedelta(seconds=2), **wrong: Any) -> Made:
        response = self.instance.timestamp(wrong.pop("message", self.signature), at, **wrong)
        times = self.material.setdefault("timestampVerificationData", {"rfc3161Timestamps": []})
        times["rfc3161Timestamps"].append({"signedTimestamp": b64(response)})
        return self


def envelope(
    instance: Instance, payload: bytes, order: Order | None = None, key: PrivateKey | None = None, algorithm: hashes.HashAlgorithm | None = None
) -> Made:
    """A bundle around a DSSE envelope, without entries or timestamps."""
    key = key or p256()
    certificate = instance.certificate(key, order)
    signature = sign(key, pae(IN_TOTO, payload), algorithm)
    value = {
        "mediaType": BUNDLE,
        "verificationMaterial": {"certificate": {"rawBytes": b64(certificate)}},
        "dsseEnvelope": {"payload": b64(payload), "payloadType": IN_TOTO, "signatures": [{"sig": b64(signature)}]},
    }
    return Made(instance, key, certificate, payload, signature, value)


def message(instance: Instance, data: bytes, order: Order | None = None, key: PrivateKey | None = None) -> Made:
    """A bundle around a message signature over `data`."""
    key = key or p256()
    certificate = instance.certificate(key, order)
    signature = sign(key, data)
    digest = {"algorithm": "SHA2_256", "digest": b64(hashlib.sha256(data).digest())}
    value = {
        "mediaType": BUNDLE,
        "verificationMaterial": {"certificate": {"rawBytes": b64(certificate)}},
        "messageSignature": {"messageDigest": digest, "signature": b64(signature)},
    }
    return Made(instance, key, certificate, data, signature, value)


@lru_cache(maxsize=4)
def instance(label: str = "acme") -> Instance:
    """One instance per name and process; keys are made once."""
    return Instance()


def changed(order: Order | None = None, **fields: Any) -> Order:
    return replace(order or Order(), **fields)
