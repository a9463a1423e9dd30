"""The sigstore libraries for Node as a third opinion: on bundles that we judge, that we write, and that they write."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import Peer
from tests.simulators import sigstore_http
from tests.simulators.sigstore import Made
from tests.support.charts import archive
from tests.support.cli import run
from tests.support.signers import pair
from tests.unit.schemes.test_sigstore_recipe import ACCEPTED, ARTIFACT, INSTANCE, REFUSED
from verifier.signers.key import private_pem
from verifier.signers.public import public_der

MakePeer = Callable[[str], Peer]
JS = "sigstore-js-4.1.1"
SCRIPT = Path(__file__).with_name("sigstore_js.js")
LOGGED = {"ctlogThreshold": 1, "tlogThreshold": 1, "timestampThreshold": 1}

# What we accept, and they do not.
OLD_V2 = "it compares the digest of a v2 entry with the payload's; the specification says the encoding's since 2026"
STRICTER = {
    "v0.3, hashedrekord 0.0.2 of an envelope": OLD_V2,
    "a timestamp granted with modifications": OLD_V2,
    "a timestamp without certificates in it": OLD_V2,
    "a timestamp with a SHA-512 imprint": OLD_V2,
    "a v2 entry that names the log by its checkpoint id": OLD_V2,
    "superfluous certificates above the leaf": "it wants one certificate in a 0.3 bundle",
    "a foreign certificate above the leaf": "likewise",
    "a chain member that cannot be read": "likewise",
    "an entry of another log beside": "every entry must be of a log that it knows",
    "a timestamp of another authority beside": "every timestamp must be of an authority that it knows",
    "field names of the .proto file": "it reads lowerCamelCase only",
    "a message signature without digest": "it wants the digest",
    "a P-384 certificate": "it hashes with SHA-256 whatever the key",
    "a v1 log that calls itself by its pod's name": "it compares the name with the log's host",
    "two certificate transparency stamps": "it takes two of one log for duplicates",
}
# What we refuse, and they do not.
CERTIFICATE = "it looks at the chain, the SCT and the life of a certificate, not at what it may be used for"
IDENTITY = "its policy would not find the one that is meant"
LAXER = {
    "an unknown version": "it takes any version of the media type",
    "a certificate in a 0.1 bundle": "it does not tell versions apart in this",
    "a name and its twin": "it takes the first of a field's two names",
    "a CA's certificate": CERTIFICATE,
    "no key usage": CERTIFICATE,
    "no extended key usage": CERTIFICATE,
    "a certificate for servers": CERTIFICATE,
    "an unknown critical extension": CERTIFICATE,
    "a weak key": CERTIFICATE,
    "no identity": IDENTITY,
    "two identities": IDENTITY,
    "a DNS name": IDENTITY,
    "no issuer": IDENTITY,
    "two issuers": IDENTITY,
    "an extension that is no text": IDENTITY,
    "an extension with something behind it": IDENTITY,
    "a root hash that was changed": "it takes the checkpoint's in place of the proof's",
    "a checkpoint of another size": "it does not compare the two",
    "a checkpoint of another origin": "it looks at the signer's name, not at the origin",
    "an entry of another certificate": "it compares signature and digest, not the key",
    "an entry of a bare key": "likewise",
    "an entry of no key": "likewise",
    "a v2 entry of the payload instead of its encoding": OLD_V2,
    "a v2 entry of an envelope's payload": "it knows what Rekor v2 wrote before its release 2.3",
}


def ask(peer: Peer, question: dict[str, Any]) -> Any:
    done = subprocess.run([peer.path, SCRIPT], input=json.dumps(question).encode(), capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def question(data: bytes, root: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"bundle": json.loads(data), "root": root, "artifact": base64.b64encode(ARTIFACT).decode(), "thresholds": LOGGED, **more}


def opinions(peer: Peer, made: dict[str, Made | bytes]) -> dict[str, str | None]:
    """What they say of each bundle; one that is no JSON they never get."""
    asked = {}
    for name, one in made.items():
        data = one if isinstance(one, bytes) else one.dump()
        try:
            asked[name] = question(data, INSTANCE.trusted_root())
        except ValueError:
            continue
    return dict(zip(asked, ask(peer, {"verify": list(asked.values())}), strict=True))


def test_what_we_accept(peer: MakePeer) -> None:
    said = opinions(peer(JS), {name: make() for name, make in ACCEPTED.items()})
    assert {name for name, reason in said.items() if reason is not None} == set(STRICTER), said


def test_what_we_refuse(peer: MakePeer) -> None:
    said = opinions(peer(JS), {name: case[0]() for name, case in REFUSED.items()})
    assert {name for name, reason in said.items() if reason is None} == set(LAXER)


# What we write, and what they write


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("web-1.4.2.tgz").write_bytes(archive())
    return tmp_path


def refusal(peer: Peer, **asked: Any) -> str | None:
    found: str | None = ask(peer, {"verify": [asked]})[0]
    return found


def test_they_verify_what_our_keys_sign(peer: MakePeer, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIFIER_PASSWORD", "")
    key = pair("node")
    Path("ci.key").write_bytes(private_pem(key, b""))
    assert run("sign", "web-1.4.2.tgz", "--key", "ci.key").status == 0
    bundle = json.loads(Path("web-1.4.2.tgz.sigstore.json").read_bytes())
    known = {"hint": key.public.hint, "der": base64.b64encode(public_der(key.public)).decode()}
    asked = {"bundle": bundle, "root": {}, "thresholds": {"ctlogThreshold": 0, "tlogThreshold": 0, "timestampThreshold": 0}}
    assert refusal(peer(JS), **asked, key=known) is None
    other = {**known, "der": base64.b64encode(public_der(pair("another").public)).decode()}
    assert (refusal(peer(JS), **asked, key=other) or "").startswith("SIGNATURE_ERROR")


def test_they_verify_what_we_sign_keyless(peer: MakePeer, here: Path) -> None:
    with sigstore_http.running() as services:
        config = services.trust_config(version=1)
        Path("trust.json").write_text(json.dumps(config))
        Path("token").write_text(services.token())
        ran = run("sign", "web-1.4.2.tgz", "--keyless", "--trust-config", "trust.json", "--identity-token-file", "token")
        assert ran.status == 0, ran.err
    asked = {"bundle": json.loads(Path("web-1.4.2.tgz.sigstore.json").read_bytes()), "root": config["trustedRoot"], "thresholds": LOGGED}
    who = {"subjectAlternativeName": "^alice@acme\\.test$", "extensions": {"issuer": "https://issuer.acme.test"}}
    assert refusal(peer(JS), **asked, identity=who) is None
    assert refusal(peer(JS), **asked, identity={**who, "subjectAlternativeName": "^bob@acme\\.test$"}) is not None
    asked["bundle"]["dsseEnvelope"]["payload"] = base64.b64encode(b"{}").decode()
    assert refusal(peer(JS), **asked, identity=who) is not None


@pytest.mark.parametrize("kind", [None, "application/vnd.in-toto+json"], ids=["message", "envelope"])
def test_we_verify_what_they_sign(peer: MakePeer, here: Path, kind: str | None) -> None:
    """With a log of version 1; with real services, and version 2, see test_sigstore.py."""
    with sigstore_http.running() as services:
        config = services.trust_config(version=1, timestamps=False)
        del config["signingConfig"]["tsaConfig"]  # an empty list of authorities is an error to it
        digest = hashlib.sha256(archive()).hexdigest()
        statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": digest}}],
            "predicateType": "https://a.test/p",
            "predicate": {},
        }
        data = json.dumps(statement).encode() if kind else archive()
        more = {"type": kind} if kind else {}
        signing = {"signingConfig": config["signingConfig"], "token": services.token(), "data": base64.b64encode(data).decode(), **more}
        Path("bundle.json").write_text(json.dumps(ask(peer(JS), {"sign": signing})))
    Path("root.json").write_text(json.dumps(config["trustedRoot"]))
    who = ("--certificate-identity", "alice@acme.test", "--certificate-oidc-issuer", "https://issuer.acme.test", "--trusted-root", "root.json")
    ran = run("verify-blob", "web-1.4.2.tgz", "--bundle", "bundle.json", *who)
    assert ran.status == 0, ran.text
    Path("web-1.4.2.tgz").write_bytes(archive(version="1.4.3"))
    assert run("verify-blob", "web-1.4.2.tgz", "--bundle", "bundle.json", *who).status == 1
