"""AWS KMS: GetPublicKey and Sign, for requests that carry a valid Signature Version 4.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.simulators.keepers import Answer, Keeper, Private, Question, public_bytes, sha256_hex

REGION, ACCOUNT, ACCESS_KEY, SECRET_KEY = "eu-central-1", "111122223333", "AKIDEXAMPLE", "canary-b7f3-secret"
_AUTHORIZATION = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/kms/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})")


def environment(url: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL_KMS": url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def arn(name: str) -> str:
    return f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{name}"


def answer(keeper: Keeper, question: Question) -> Answer:
    if (problem := _unsigned(question)) is not None:
        return _error(400, "InvalidSignatureException", problem)
    asked = question.json
    name = _resolve(str(asked["KeyId"]))
    if name not in keeper.keys:
        return _error(400, "NotFoundException", f"Key '{asked['KeyId']}' does not exist")
    private = keeper.keys[name][-1]
    match question.headers["x-amz-target"]:
        case "TrentService.GetPublicKey":
            said = {
                "KeyId": arn(name),
                "KeyUsage": "SIGN_VERIFY",
                "PublicKey": base64.b64encode(public_bytes(private, serialization.Encoding.DER)).decode(),
                "SigningAlgorithms": _algorithms(private),
            }
            return Answer(200, said)
        case "TrentService.DescribeKey":  # cosign's question
            return Answer(200, {"KeyMetadata": {"KeyId": name, "Arn": arn(name), "SigningAlgorithms": _algorithms(private)}})
        case "TrentService.Sign":
            if asked["MessageType"] != "DIGEST" or asked["SigningAlgorithm"] not in _algorithms(private):
                return _error(400, "ValidationException", f"not as expected: {asked}")
            digest = base64.b64decode(str(asked["Message"]), validate=True)
            keeper.asked[-1] = f"Sign {asked['KeyId']}"
            return Answer(200, {"KeyId": arn(name), "Signature": base64.b64encode(keeper.sign(private, digest)).decode()})
        case target:
            return _error(400, "UnknownOperationException", target)


ALIASES = {"alias/release": "1234abcd-12ab-34cd-56ef-1234567890ab"}


def _resolve(key_id: str) -> str:
    name = key_id.rpartition(":")[2].removeprefix("key/")
    return ALIASES.get(name, name)


def _algorithms(private: Private) -> list[str]:
    match private:
        case ec.EllipticCurvePrivateKey(curve=ec.SECP384R1()):
            return ["ECDSA_SHA_384"]
        case ec.EllipticCurvePrivateKey(curve=ec.SECP521R1()):
            return ["ECDSA_SHA_512"]
        case rsa.RSAPrivateKey():
            return [f"RSASSA_{kind}_SHA_{size}" for kind in ("PKCS1_V1_5", "PSS") for size in (256, 384, 512)]
        case _:
            return ["ECDSA_SHA_256"]


def _error(status: int, kind: str, message: str) -> Answer:
    return Answer(status, {"__type": kind, "message": message}, {"x-amzn-ErrorType": kind})


def _unsigned(question: Question) -> str | None:
    """Why the request's signature does not hold."""
    found = _AUTHORIZATION.fullmatch(question.headers.get("authorization", ""))
    if found is None:
        return "no signature"
    access_key, day, region, names, signature = found.groups()
    if (access_key, region) != (ACCESS_KEY, REGION):
        return f"credentials of {access_key} for {region}"
    headers = "".join(f"{name}:{' '.join(question.headers[name].split())}\n" for name in names.split(";"))
    canonical = "\n".join((question.method, question.path, "", headers, names, sha256_hex(question.body)))
    scope = f"{day}/{region}/kms/aws4_request"
    to_sign = "\n".join(("AWS4-HMAC-SHA256", question.headers["x-amz-date"], scope, sha256_hex(canonical.encode())))
    key = f"AWS4{SECRET_KEY}".encode()
    for part in (day, region, "kms", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return None if hmac.compare_digest(hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest(), signature) else "the signature does not match"
