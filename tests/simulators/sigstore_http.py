"""The instance of `simulators.sigstore` behind HTTP: an issuer of tokens, Fulcio, Rekor v1 and v2, a timestamp authority.

Each service can refuse, be slow, or answer nonsense on purpose. What was asked is kept.
"""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from asn1crypto import tsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.simulators import sigstore as sim
from tests.support.servers import serving

AUDIENCE = "sigstore"
ISSUER_KEY = rsa.generate_private_key(65537, 2048)  # cosign reads no token that is signed with a shared secret


@dataclass
class Switches:
    """By the last part of a path: `signingCert`, `entries`, `timestamp`."""

    status: dict[str, int] = field(default_factory=dict)
    sleep: dict[str, float] = field(default_factory=dict)
    nonsense: set[str] = field(default_factory=set)
    foreign_log: bool = False  # the entry is of another instance's log
    wrong: dict[str, Any] = field(default_factory=dict)  # what a v2 entry gets wrong (see `Instance.proof`)


@dataclass
class Services:
    """A running instance: its URL, its trust configuration, and what was asked."""

    instance: sim.Instance
    switches: Switches
    url: str = ""
    asked: list[str] = field(default_factory=list)
    job_secret: str = "of the job"
    job: dict[str, str] = field(default_factory=dict)  # the claims of GitHub's tokens

    def token(self, subject: str = "alice@acme.test", *, audience: str = AUDIENCE, age: float = 0.0, **claims: Any) -> str:
        now = time.time() - age
        said = {
            "iss": "https://issuer.acme.test",
            "sub": subject,
            "email": subject,
            "email_verified": True,
            "aud": audience,
            "iat": now,
            "nbf": now,
            "exp": now + 300,
        }
        told = {name: value for name, value in {**said, **claims}.items() if value is not None}
        return jwt.encode(told, ISSUER_KEY, algorithm="RS256")

    def trust_config(self, *, version: int = 1, timestamps: bool = True, logs: bool = True) -> dict[str, Any]:
        def service(path: str = "", api: int = 1) -> dict[str, Any]:
            return {"url": self.url + path, "majorApiVersion": api, "validFor": {"start": "2024-01-01T00:00:00Z"}, "operator": "acme.test"}

        signing: dict[str, Any] = {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [service()],
            "oidcUrls": [service()],
            "rekorTlogUrls": [service(api=version)] if logs else [],
            "tsaUrls": [service("/api/v1/timestamp")] if timestamps else [],
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaConfig": {"selector": "ANY"},
        }
        return {"mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json", "trustedRoot": self.instance.trusted_root(), "signingConfig": signing}


@contextlib.contextmanager
def running(switches: Switches | None = None) -> Iterator[Services]:
    """Serve until the block ends."""
    services = Services(sim.Instance(), switches or Switches())

    class Handler(_Handler):
        on = services

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        services.url = f"http://127.0.0.1:{port}"
        yield services


class _Handler(BaseHTTPRequestHandler):
    on: Services

    def log_message(self, format: str, *args: object) -> None:
        return

    def do_GET(self) -> None:
        """GitHub's token endpoint: whoever holds the job's own secret gets a token for the audience that it asks for."""
        self.on.asked.append(self.path)
        if self.headers.get("Authorization") != f"bearer {self.on.job_secret}":
            return self._answer(401, b"{}")
        told: dict[str, Any] = {"email": None, **self.on.job}
        token = self.on.token(f"repo:acme/charts:ref:{self.on.job['ref']}", **told)
        return self._answer(200, json.dumps({"value": token}).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        last = self.path.rstrip("/").rpartition("/")[2]
        self.on.asked.append(self.path)
        time.sleep(self.on.switches.sleep.get(last, 0.0))
        if last in self.on.switches.status:
            return self._answer(self.on.switches.status[last], b'{"message": "refused on purpose"}')
        if last in self.on.switches.nonsense:
            return self._answer(200, b"<html>login</html>")
        work = {"signingCert": self._certificate, "timestamp": self._timestamp}.get(last, self._entry)
        work(body)
        return None

    def _answer(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        with contextlib.suppress(OSError):  # whoever asked may have given up
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    def _certificate(self, body: bytes) -> None:
        asked = json.loads(body)
        token = asked.get("credentials", {}).get("oidcIdentityToken") or self.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            claims = jwt.decode(token, ISSUER_KEY.public_key(), algorithms=["RS256"], audience=AUDIENCE)
            key = _requested_key(asked, claims.get("email", claims["sub"]))
        except (jwt.PyJWTError, InvalidSignature) as error:
            return self._answer(401, json.dumps({"message": str(error)}).encode())
        start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=5)
        # Fulcio writes the issuer twice; cosign's old path reads the old one alone.
        named = {"issuer": claims["iss"], "old_issuer": claims["iss"]}
        identity, extensions = _certified(claims)
        order = sim.Order(identity=identity, **named, extensions=extensions, at=start)
        instance = self.on.instance
        leaf = instance.certificate(key, order)
        chain = [
            sim.pem_cert(leaf).decode(),
            *(item.public_bytes(serialization.Encoding.PEM).decode() for item in (instance.ca.intermediate, instance.ca.root)),
        ]
        return self._answer(200, json.dumps({"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}).encode())

    def _timestamp(self, body: bytes) -> None:
        request = tsp.TimeStampReq.load(body)
        imprint = request["message_imprint"]
        more = {"nonce": request["nonce"].native} if request["nonce"].native is not None else {}
        response = self.on.instance.timestamp(
            b"",
            datetime.now(UTC).replace(microsecond=0),
            algorithm=imprint["hash_algorithm"]["algorithm"].native,
            imprint=imprint["hashed_message"].native,
            **more,
        )
        self._answer(201, response, "application/timestamp-reply")

    def _entry(self, body: bytes) -> None:
        value = json.loads(body)
        instance = sim.Instance() if self.on.switches.foreign_log else self.on.instance
        if "/api/v2/" in self.path:
            if "hashedRekordRequestV002" not in value:  # rekor-tiles 2.3 knows no other
                return self._answer(400, b'{"message": "invalid type, must be either a hashedrekord"}')
            asked = value["hashedRekordRequestV002"]
            entry = {
                "apiVersion": "0.0.2",
                "kind": "hashedrekord",
                "spec": {"hashedRekordV002": {"data": {"algorithm": "SHA2_256", "digest": asked["digest"]}, "signature": asked["signature"]}},
            }
            return self._answer(201, json.dumps(instance.entry2(entry, **self.on.switches.wrong)).encode())
        made = instance.entry(_canonical(value), datetime.now(UTC).replace(microsecond=0))
        proof = made["inclusionProof"]
        answer = {
            "body": made["canonicalizedBody"],
            "integratedTime": int(made["integratedTime"]),
            "logID": instance.log_id.hex(),
            "logIndex": int(made["logIndex"]),
            "verification": {
                "signedEntryTimestamp": made["inclusionPromise"]["signedEntryTimestamp"],
                "inclusionProof": {
                    "checkpoint": proof["checkpoint"]["envelope"],
                    "hashes": [base64.b64decode(item).hex() for item in proof["hashes"]],
                    "logIndex": int(proof["logIndex"]),
                    "rootHash": base64.b64decode(proof["rootHash"]).hex(),
                    "treeSize": int(proof["treeSize"]),
                },
            },
        }
        uuid = "24296fb24b8ad77a" + "0" * 64
        where = {"ETag": uuid, "Location": f"/api/v1/log/entries/{uuid}"}  # Go's client finds the entry by them
        return self._answer(201, json.dumps({uuid: answer}).encode(), **where)


def _requested_key(asked: dict[str, Any], subject: str) -> Any:
    """The key of a signing request, or one that comes with a proof of possession: a signature over the token's subject."""
    if "certificateSigningRequest" in asked:
        return x509.load_pem_x509_csr(base64.b64decode(asked["certificateSigningRequest"])).public_key()
    request = asked["publicKeyRequest"]
    key = serialization.load_pem_public_key(request["publicKey"]["content"].encode())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(base64.b64decode(request["proofOfPossession"]), subject.encode(), ec.ECDSA(hashes.SHA256()))
    return key


def _canonical(proposed: dict[str, Any]) -> dict[str, Any]:
    """What Rekor v1 logs for a proposed entry."""
    if proposed["kind"] != "dsse":
        return {key: proposed[key] for key in ("apiVersion", "kind", "spec")}
    content = proposed["spec"]["proposedContent"]
    envelope = json.loads(content["envelope"])
    return sim.dsse_entry(base64.b64decode(envelope["signatures"][0]["sig"]), base64.b64decode(envelope["payload"]), base64.b64decode(content["verifiers"][0]))


def _certified(claims: dict[str, Any]) -> tuple[str, dict[int, str]]:
    """Identity and extensions of a certificate, as Fulcio makes them of GitHub's claims; of other tokens what they ask for."""
    workflow = claims.get("job_workflow_ref")
    if "ci_config_ref_uri" in claims:  # GitLab's
        return f"https://{claims['ci_config_ref_uri']}", {}
    if workflow is None:
        return claims.get("email", claims["sub"]), {int(number): text for number, text in claims.get("extensions", {}).items()}
    identity, repository = f"https://github.com/{workflow}", f"https://github.com/{claims['repository']}"
    return identity, {9: identity, 11: "github-hosted", 12: repository, 13: claims["sha"], 14: claims["ref"], 18: identity}
