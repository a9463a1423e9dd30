"""Google Cloud KMS over REST, for callers who sign their own token with a service account's key.

Source: https://cloud.google.com/kms/docs/reference/rest; https://google.aip.dev/auth/4111
"""

from __future__ import annotations

import base64
import json
import re
from functools import lru_cache
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.simulators.keepers import Answer, Keeper, Private, Question, public_bytes

KEY = "projects/acme/locations/global/keyRings/charts/cryptoKeys/release"
ACCOUNT = "ci@acme.iam.example"
_VERSION = re.compile(r"/v1/(projects/[^?]+?/cryptoKeys/[^/]+)/cryptoKeyVersions/(\d+)(/publicKey|:asymmetricSign)")


def environment(url: str, directory: Path) -> dict[str, str]:
    """A service account's file, as the cloud hands it out."""
    pem = _account().private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    said = {
        "type": "service_account",
        "project_id": "acme",
        "private_key_id": "1",
        "private_key": pem,
        "client_email": ACCOUNT,
        "client_id": "1",
        "token_uri": f"{url}/token",
    }
    path = directory / "account.json"
    path.write_text(json.dumps(said))
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(path), "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS": url, "NO_GCE_CHECK": "true"}


@lru_cache(maxsize=1)
def _account() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def answer(keeper: Keeper, question: Question) -> Answer:
    if (problem := _stranger(question)) is not None:
        return _error(401, "UNAUTHENTICATED", problem)
    split = urlsplit(question.path)
    path = unquote(split.path)
    if (name := path.removeprefix("/v1/").removesuffix("/cryptoKeyVersions")) in keeper.keys:
        if parse_qs(split.query).get("filter") != ["state=ENABLED"]:
            return _error(400, "INVALID_ARGUMENT", split.query)
        versions = range(len(keeper.keys[name]), 0, -1)  # the real one sorts them as text
        return Answer(200, {"cryptoKeyVersions": [{"name": f"{name}/cryptoKeyVersions/{v}", "state": "ENABLED"} for v in sorted(versions, key=str)]})
    found = _VERSION.fullmatch(path)
    if found is None or found[1] not in keeper.keys or not 1 <= int(found[2]) <= len(keeper.keys[found[1]]):
        return _error(404, "NOT_FOUND", f"{path} not found.")
    private = keeper.keys[found[1]][int(found[2]) - 1]
    version = f"{found[1]}/cryptoKeyVersions/{found[2]}"
    if found[3] == "/publicKey":
        said = {"pem": public_bytes(private, serialization.Encoding.PEM).decode(), "algorithm": _algorithm(private), "name": version}
        return Answer(200, said)
    asked = question.json["digest"]
    assert isinstance(asked, dict)
    if list(asked) != [_hash(private)]:
        return _error(400, "INVALID_ARGUMENT", f"Digest type {list(asked)}")
    return Answer(200, {"signature": base64.b64encode(keeper.sign(private, base64.b64decode(asked[_hash(private)]))).decode(), "name": version})


def _algorithm(private: Private) -> str:
    match private:
        case ec.EllipticCurvePrivateKey(curve=ec.SECP384R1()):
            return "EC_SIGN_P384_SHA384"
        case ec.EllipticCurvePrivateKey():
            return "EC_SIGN_P256_SHA256"
        case rsa.RSAPrivateKey(key_size=3072):
            return "RSA_SIGN_PSS_3072_SHA256"
        case rsa.RSAPrivateKey():
            return f"RSA_SIGN_PKCS1_{private.key_size}_SHA256"


def _hash(private: Private) -> str:
    return "sha384" if _algorithm(private).endswith("384") else "sha256"


def _stranger(question: Question) -> str | None:
    try:
        said = jwt.decode(
            question.headers.get("authorization", "").removeprefix("Bearer "),
            _account().public_key(),
            algorithms=["RS256"],
            options={"verify_aud": False, "require": ["iss", "sub", "iat", "exp"]},
        )
    except jwt.InvalidTokenError as error:
        return str(error)
    return None if said["iss"] == said["sub"] == ACCOUNT else f"issued by {said['iss']}"


def _error(code: int, status: str, message: str) -> Answer:
    return Answer(code, {"error": {"code": code, "message": message, "status": status}})
