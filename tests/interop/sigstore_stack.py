"""A private sigstore instance of the real programs: Fulcio, Rekor v2, a timestamp authority; issuer and CT log are ours.

Only the certificate transparency log and the OpenID issuer are made here, as the real ones cannot be had as programs.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import struct
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from tests.interop.conftest import program
from tests.simulators.sigstore import b64, sign, spki
from tests.support.servers import free_port, serving, start, stop

POISON = "1.3.6.1.4.1.11129.2.4.3"
LOG_HOST = "localhost"


@dataclass
class Stack:
    """What a client needs of the instance, and tokens for it."""

    work: Path
    issuer: str = ""
    fulcio: str = ""
    rekor: str = ""
    tsa: str = ""
    oidc_key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    ct_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    log_key: ed25519.Ed25519PrivateKey = field(default_factory=ed25519.Ed25519PrivateKey.generate)

    def token(self, **claims: Any) -> str:
        now = int(time.time())
        said = {
            "iss": self.issuer,
            "sub": "alice@acme.test",
            "email": "alice@acme.test",
            "email_verified": True,
            "aud": "sigstore",
            "iat": now,
            "exp": now + 600,
        }
        return jwt.encode({**said, **claims}, self.oidc_key, algorithm="RS256", headers={"kid": "one"})

    def github_token(self) -> str:
        """What GitHub Actions would say of a release workflow, from an issuer of its own kind."""
        workflow = "acme/charts/.github/workflows/release.yml@refs/tags/v1.4.2"
        claims = {
            "iss": f"{self.issuer}/github",
            "sub": "repo:acme/charts:ref:refs/tags/v1.4.2",
            "job_workflow_ref": workflow,
            "job_workflow_sha": "a" * 40,
            "workflow_ref": workflow,
            "workflow_sha": "a" * 40,
            "repository": "acme/charts",
            "repository_id": "1",
            "repository_owner": "acme",
            "repository_owner_id": "2",
            "repository_visibility": "public",
            "ref": "refs/tags/v1.4.2",
            "sha": "a" * 40,
            "event_name": "push",
            "runner_environment": "github-hosted",
            "workflow": "release",
            "run_id": "7",
            "run_attempt": "1",
        }
        return self.token(**claims)

    def gitlab_token(self) -> str:
        """What GitLab would say of a pipeline."""
        claims = {
            "iss": f"{self.issuer}/gitlab",
            "sub": "project_path:acme/charts:ref_type:tag:ref:v1.4.2",
            "project_path": "acme/charts",
            "project_id": "1",
            "project_visibility": "public",
            "namespace_path": "acme",
            "namespace_id": "2",
            "ref": "v1.4.2",
            "ref_path": "refs/tags/v1.4.2",
            "ref_type": "tag",
            "sha": "b" * 40,
            "ci_config_ref_uri": "gitlab.com/acme/charts//.gitlab-ci.yml@refs/tags/v1.4.2",
            "ci_config_sha": "b" * 40,
            "pipeline_id": "5",
            "pipeline_source": "push",
            "job_id": "6",
            "runner_id": 3,
            "runner_environment": "gitlab-hosted",
        }
        return self.token(**claims)

    def trust_config(self) -> dict[str, Any]:
        def service(url: str, version: int = 1) -> dict[str, Any]:
            return {"url": url, "majorApiVersion": version, "validFor": {"start": "2024-01-01T00:00:00Z"}, "operator": "acme.test"}

        signing = {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [service(self.fulcio)],
            "oidcUrls": [service(self.issuer)],
            "rekorTlogUrls": [service(self.rekor, 2)],
            "tsaUrls": [service(f"{self.tsa}/api/v1/timestamp")],
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaConfig": {"selector": "ANY"},
        }
        return {"mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json", "trustedRoot": self.trusted_root(), "signingConfig": signing}

    def trusted_root(self) -> dict[str, Any]:
        window = {"start": "2024-01-01T00:00:00Z"}

        def log(key: Any, url: str, log_id: bytes, details: str) -> dict[str, Any]:
            public = {"rawBytes": b64(spki(key)), "keyDetails": details, "validFor": window}
            return {"baseUrl": url, "hashAlgorithm": "SHA2_256", "publicKey": public, "logId": {"keyId": b64(log_id)}}

        def authority(uri: str, pem: bytes) -> dict[str, Any]:
            chain = [{"rawBytes": b64(item.public_bytes(serialization.Encoding.DER))} for item in x509.load_pem_x509_certificates(pem)]
            return {"uri": uri, "subject": {"organization": "acme", "commonName": uri}, "certChain": {"certificates": chain}, "validFor": window}

        raw = self.log_key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(self.log_key, self.rekor, hashlib.sha256(LOG_HOST.encode() + b"\n\x01" + raw).digest(), "PKIX_ED25519")],
            "certificateAuthorities": [authority(self.fulcio, (self.work / "ca.pem").read_bytes())],
            "ctlogs": [log(self.ct_key, "http://localhost/ct", hashlib.sha256(spki(self.ct_key)).digest(), "PKIX_ECDSA_P256_SHA_256")],
            "timestampAuthorities": [authority(self.tsa, urllib.request.urlopen(f"{self.tsa}/api/v1/timestamp/certchain").read())],
        }


@contextlib.contextmanager
def sigstore_stack(work: Path) -> Iterator[Stack]:
    """All of it, on loopback and free ports, until the block ends."""
    stack = Stack(work)
    with contextlib.ExitStack() as ends:
        ends.enter_context(_served(stack))
        _write_keys(stack)
        fulcio, grpc, rekor, tsa = free_port(), free_port(), free_port(), free_port()
        stack.fulcio, stack.rekor, stack.tsa = f"http://localhost:{fulcio}", f"http://{LOG_HOST}:{rekor}", f"http://localhost:{tsa}"
        local = ("--host=127.0.0.1", f"--port={fulcio}", "--grpc-host=127.0.0.1", f"--grpc-port={grpc}", f"--metrics-port={free_port()}")
        ca = ("--ca=fileca", f"--fileca-cert={work / 'ca.pem'}", f"--fileca-key={work / 'ca.key'}", "--fileca-key-passwd=secret", "--fileca-watch=false")
        ct = (f"--ct-log-url={stack.issuer}", f"--ct-log-public-key-path={work / 'ct.pub'}", f"--config-path={work / 'fulcio.json'}")
        socket_path = f"--legacy-unix-domain-socket=@fulcio-{fulcio}"
        _start(ends, work, f"{stack.fulcio}/api/v2/configuration", "fulcio-1.8.8", *local, *ca, *ct, socket_path)
        places = (f"--hostname={LOG_HOST}", f"--storage-dir={work / 'log'}", f"--signer-filepath={work / 'log.key'}", "--checkpoint-interval=1s")
        ports = (f"--http-port={rekor}", f"--grpc-port={free_port()}", f"--http-metrics-port={free_port()}")
        _start(ends, work, f"{stack.rekor}/healthz", "rekor-2.3.0", *places, *ports)
        stamps = ("--host=127.0.0.1", f"--port={tsa}", "--timestamp-signer=memory", "--disable-ntp-monitoring", "--scheme=http")
        _start(ends, work, f"{stack.tsa}/ping", "timestamp-server-2.1.3", *stamps)
        yield stack


def _start(ends: contextlib.ExitStack, work: Path, url: str, name: str, *arguments: str) -> None:
    ends.callback(stop, start([program(name), "serve", *arguments], url, work))


def _write_keys(stack: Stack) -> None:
    work = stack.work
    key = ec.generate_private_key(ec.SECP384R1())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "acme"), x509.NameAttribute(NameOID.COMMON_NAME, "acme fulcio")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    usage = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False
    )
    builder = builder.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
    (work / "ca.pem").write_bytes(builder.sign(key, hashes.SHA384()).public_bytes(serialization.Encoding.PEM))
    encrypted = serialization.BestAvailableEncryption(b"secret")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (work / "ca.key").write_bytes(key.private_bytes(pem, pkcs8, encrypted))
    (work / "log.key").write_bytes(stack.log_key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    (work / "ct.pub").write_bytes(stack.ct_key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    issuers = {
        stack.issuer: {"IssuerURL": stack.issuer, "ClientID": "sigstore", "Type": "email"},
        f"{stack.issuer}/github": {"IssuerURL": f"{stack.issuer}/github", "ClientID": "sigstore", "Type": "github-workflow"},
        f"{stack.issuer}/gitlab": {"IssuerURL": f"{stack.issuer}/gitlab", "ClientID": "sigstore", "Type": "gitlab-pipeline"},
    }
    (work / "fulcio.json").write_text(json.dumps({"OIDCIssuers": issuers}))


@contextlib.contextmanager
def _served(stack: Stack) -> Iterator[None]:
    """Issuer and certificate transparency log."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            return

        def do_GET(self) -> None:
            base = self.path.partition("/.well-known")[0].partition("/keys")[0]
            if self.path.endswith("openid-configuration"):
                issuer = stack.issuer + base
                value: dict[str, Any] = {"issuer": issuer, "jwks_uri": f"{issuer}/keys", "id_token_signing_alg_values_supported": ["RS256"]}
            else:
                value = {"keys": [{**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(stack.oidc_key.public_key())), "kid": "one", "alg": "RS256", "use": "sig"}]}
            self._answer(value)

        def do_POST(self) -> None:
            chain = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["chain"]
            self._answer(_sct(stack, base64.b64decode(chain[0]), base64.b64decode(chain[1])))

        def _answer(self, value: dict[str, Any]) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        stack.issuer = f"http://localhost:{port}"
        yield


def _sct(stack: Stack, precertificate: bytes, issuer: bytes) -> dict[str, Any]:
    """RFC 6962, 3.2: a promise over the precertificate without its poison."""
    tbs = asn1_x509.Certificate.load(precertificate)["tbs_certificate"].copy()
    tbs["extensions"] = asn1_x509.Extensions([item for item in tbs["extensions"] if item["extn_id"].dotted != POISON])
    body = tbs.dump(force=True)
    at = int(time.time() * 1000)
    key_hash = hashlib.sha256(spki(x509.load_der_x509_certificate(issuer).public_key())).digest()
    signed = b"\0\0" + struct.pack("!QH", at, 1) + key_hash + len(body).to_bytes(3, "big") + body + b"\0\0"
    signature = sign(stack.ct_key, signed)
    told = b"\x04\x03" + struct.pack("!H", len(signature)) + signature
    return {"sct_version": 0, "id": b64(hashlib.sha256(spki(stack.ct_key)).digest()), "timestamp": at, "extensions": "", "signature": b64(told)}
