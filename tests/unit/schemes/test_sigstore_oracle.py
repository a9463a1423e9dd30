"""sigstore-python as a second opinion on the same bundles: where it differs from us, the difference is named here.

A test that allowed us to be more lenient than the oracle without a reason would be no test: each exception has one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.x509 import Certificate
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier

from tests.simulators.sigstore import Made
from tests.unit.schemes.test_sigstore_recipe import ACCEPTED, ARTIFACT, INSTANCE, REFUSED

# What we accept, and sigstore-python 4.5 does not.
STRICTER = {
    "v0.3, intoto 0.0.2": "it knows no intoto entries",
    "v0.1 with a promise alone": "it wants a proof",
    "an entry of another log beside": "it reads bundles with exactly one entry",
    "superfluous certificates above the leaf": "it reads one certificate in a 0.3 bundle",
    "a foreign certificate above the leaf": "it reads one certificate in a 0.3 bundle",
    "a chain member that cannot be read": "it reads one certificate in a 0.3 bundle",
    "field names of the .proto file": "it reads lowerCamelCase only",
    "URL-safe base64 without padding": "it reads the standard alphabet only",
    "fields that nobody knows": "it refuses unknown fields",
    "numbers instead of texts": "it reads 64-bit integers as text only",
    "a P-384 certificate": "it hashes with SHA-256 whatever the key",
    "an RSA certificate": "it takes every key for an EC key",
    "an Ed25519 certificate": "it takes every key for an EC key",
    "two certificate transparency stamps": "it wants exactly one",
    "a timestamp granted with modifications": "it wants status 0, RFC 3161 allows 1",
}
# What we refuse, and sigstore-python does not.
LAXER = {
    "no issuer": "its policies would refuse it, its verification does not look",
    "two issuers": "likewise",
    "an extension that is no text": "likewise",
    "an extension with something behind it": "likewise",
    "a checkpoint of another size": "it compares the root hash only",
    "a checkpoint of another origin": "it compares key ids only",
    "a v2 checkpoint of another origin": "it compares key ids only",
    "a checkpoint signed under another name": "it compares key ids only",
    "an SCT before the log's window": "it does not look at the log's window",
    "an SCT of another log": "it tries the keys that it has, whatever the log id says",
    "two identities": "its policies look for one among them",
    "a DNS name": "its policies would not find it",
    "no certificate hash": "it names the signer by its serial number alone",
    "another certificate's hash": "likewise",
    "a signed content type that differs": "it leaves that to OpenSSL, which does not look",
    "an attribute twice": "likewise",
}


class AnyIdentity:
    def verify(self, certificate: Certificate) -> None:
        return


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Verifier:
    path: Path = tmp_path_factory.mktemp("root") / "root.json"
    path.write_text(json.dumps(INSTANCE.trusted_root()))
    return Verifier(trusted_root=TrustedRoot.from_file(str(path)))


def accepts(verifier: Verifier, made: Made | bytes) -> bool:
    data = made if isinstance(made, bytes) else made.dump()
    try:
        bundle = Bundle.from_json(data)
        if b"dsseEnvelope" in data:
            verifier.verify_dsse(bundle, AnyIdentity())
        else:
            verifier.verify_artifact(ARTIFACT, bundle, AnyIdentity())
    except Exception:  # whatever it raises, it does not accept
        return False
    return True


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_we_accept(verifier: Verifier, name: str) -> None:
    assert accepts(verifier, ACCEPTED[name]()) is (name not in STRICTER), STRICTER.get(name)


@pytest.mark.parametrize("name", REFUSED)
def test_what_we_refuse(verifier: Verifier, name: str) -> None:
    make: Callable[[], Made | bytes] = REFUSED[name][0]
    assert accepts(verifier, make()) is (name in LAXER), LAXER.get(name)
