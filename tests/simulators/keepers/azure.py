"""Azure Key Vault with the identity endpoint of an App Service: tokens for the one that knows its header, keys for tokens.

Source: https://learn.microsoft.com/en-us/rest/api/keyvault/keys; .../app-service/overview-managed-identity (REST endpoint reference)
"""

from __future__ import annotations

import base64
import re
import socket
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.simulators.keepers import Answer, Keeper, Private, Question

HEADER, TOKEN = "canary-b7f3-secret", "a.token.of-the-vault"
RESOURCE = "https://vault.test"  # and the port: the client compares it with the vault's own host
_KEY = re.compile(r"/keys/([A-Za-z0-9-]+)(?:/([0-9a-f]{32}))?/?(sign)?")
_CURVES = {"secp256r1": ("P-256", "ES256", 32), "secp384r1": ("P-384", "ES384", 48), "secp521r1": ("P-521", "ES512", 66), "secp256k1": ("P-256K", "ES256K", 32)}


def environment(identity: str, ca: str) -> dict[str, str]:
    return {"IDENTITY_ENDPOINT": f"{identity}/msi/token", "IDENTITY_HEADER": HEADER, "REQUESTS_CA_BUNDLE": ca, "AZURE_TOKEN_CREDENTIALS": "prod"}


def find_vault_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names below vault.test lead to this machine."""
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: real("127.0.0.1" if str(host).endswith("vault.test") else host, *rest, **more))


def version(index: int) -> str:
    return f"{index:032x}"


def identity(keeper: Keeper, question: Question) -> Answer:
    """The endpoint that gives tokens."""
    asked = parse_qs(urlsplit(question.path).query)
    if question.headers.get("x-identity-header") != HEADER or not asked.get("resource", [""])[0].startswith(RESOURCE):
        return Answer(400, {"statusCode": 400, "message": f"{question.path} is not understood"})
    return Answer(200, {"access_token": TOKEN, "expires_on": str(int(time.time()) + 3600), "resource": asked["resource"][0], "token_type": "Bearer"})


def answer(keeper: Keeper, question: Question) -> Answer:
    """The vault."""
    if question.headers.get("authorization") != f"Bearer {TOKEN}":
        challenge = f'Bearer authorization="https://login.test/acme", resource="{keeper.url.replace("team.", "")}"'
        return Answer(401, {"error": {"code": "Unauthorized", "message": "AKV10000: Request is missing a Bearer token."}}, {"WWW-Authenticate": challenge})
    found = _KEY.fullmatch(urlsplit(question.path).path)
    if found is None or found[1] not in keeper.keys:
        return Answer(404, {"error": {"code": "KeyNotFound", "message": "A key with this name was not found in this key vault."}})
    versions = keeper.keys[found[1]]
    number = int(found[2], 16) if found[2] else len(versions)
    private = versions[number - 1]
    kid = f"{keeper.url}/keys/{found[1]}/{version(number)}"
    if not found[3]:
        said = {"key": {"kid": kid, "key_ops": ["sign", "verify"], **_jwk(private)}, "attributes": {"enabled": True}}
        return Answer(200, said)
    asked = question.json
    digest = base64.urlsafe_b64decode(str(asked["value"]) + "==")
    if asked["alg"] != _algorithm(private) or not found[2]:
        return Answer(400, {"error": {"code": "BadParameter", "message": f"{asked['alg']} with {found[0]}"}})
    return Answer(200, {"kid": kid, "value": _url64(_raw(private, keeper.sign(private, digest)))})


def _jwk(private: Private) -> dict[str, str]:
    match private:
        case ec.EllipticCurvePrivateKey():
            numbers = private.public_key().public_numbers()
            curve, _, size = _CURVES[private.curve.name]
            return {"kty": "EC-HSM", "crv": curve, "x": _url64(numbers.x.to_bytes(size)), "y": _url64(numbers.y.to_bytes(size))}
        case rsa.RSAPrivateKey():
            public = private.public_key().public_numbers()
            return {"kty": "RSA", "n": _url64(public.n.to_bytes(private.key_size // 8)), "e": _url64(public.e.to_bytes(3))}


def _algorithm(private: Private) -> str:
    return _CURVES[private.curve.name][1] if isinstance(private, ec.EllipticCurvePrivateKey) else "RS256"


def _raw(private: Private, signature: bytes) -> bytes:
    """ECDSA as JWA writes it: r and s side by side."""
    if isinstance(private, rsa.RSAPrivateKey):
        return signature
    size = _CURVES[private.curve.name][2]
    return b"".join(number.to_bytes(size) for number in decode_dss_signature(signature))


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
