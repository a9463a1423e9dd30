"""Vault's transit engine: keys/NAME and sign/NAME/HASH, for one token, in one namespace.

Source: https://developer.hashicorp.com/vault/api-docs/secret/transit
"""

from __future__ import annotations

import base64
import re

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.simulators.keepers import Answer, Keeper, Private, Question, public_bytes, verifies

TOKEN = "hvs.canary-b7f3-secret"
_PATH = re.compile(r"/v1/([\w/]+)/(keys|sign|verify)/([\w.-]+)(?:/(sha2-(?:256|384|512)))?")
_TYPES = {"secp256r1": "ecdsa-p256", "secp384r1": "ecdsa-p384", "secp521r1": "ecdsa-p521"}
_SIZES = {"sha2-256": 32, "sha2-384": 48, "sha2-512": 64}


def environment(url: str) -> dict[str, str]:
    return {"VAULT_ADDR": url, "VAULT_TOKEN": TOKEN, "VAULT_NAMESPACE": "team"}


def answer(keeper: Keeper, question: Question) -> Answer:
    if question.headers.get("x-vault-token") != TOKEN or question.headers.get("x-vault-namespace", "team") != "team":
        return Answer(403, {"errors": ["permission denied"]})
    found = _PATH.fullmatch(question.path)
    if found is None or found[1] != "transit" or found[3] not in keeper.keys:
        return Answer(404, {"errors": []})
    versions = keeper.keys[found[3]]
    if found[2] == "keys":
        keys = {
            str(number): {"name": _type(key), "public_key": public_bytes(key, serialization.Encoding.PEM).decode()} for number, key in enumerate(versions, 1)
        }
        said = {"data": {"type": _type(versions[-1]), "latest_version": len(versions), "keys": keys, "supports_signing": True}}
        return Answer(200, said)
    asked = question.json
    if found[2] == "verify":  # cosign's question
        version, _, encoded = str(asked["signature"]).removeprefix("vault:v").partition(":")
        valid = verifies(versions[int(version) - 1], base64.b64decode(encoded), base64.b64decode(str(asked["input"])))
        return Answer(200, {"data": {"valid": valid}})
    number = int(str(asked.get("key_version") or len(versions)))
    digest = base64.b64decode(str(asked["input"]), validate=True)
    # Both are what makes a signature that others can read; the engine's own defaults are other ones.
    if asked.get("prehashed") is not True or len(digest) != _SIZES.get(str(found[4] or asked.get("hash_algorithm"))):
        return Answer(400, {"errors": ["the input is not a digest"]})
    if _type(versions[0]).startswith("rsa") and asked.get("signature_algorithm") != "pkcs1v15":
        return Answer(400, {"errors": ["this stand-in signs with pkcs1v15 only; the engine would sign with pss"]})
    signature = base64.b64encode(keeper.sign(versions[number - 1], digest)).decode()
    return Answer(200, {"data": {"signature": f"vault:v{number}:{signature}", "key_version": number}})


def _type(private: Private) -> str:
    return _TYPES[private.curve.name] if isinstance(private, ec.EllipticCurvePrivateKey) else f"rsa-{private.key_size}"
