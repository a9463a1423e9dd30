"""`awskms://[ENDPOINT]/KEY`: keys of AWS KMS, by id, ARN, alias or the alias's ARN, as cosign writes them.

Credentials, region and proxies are the SDK's own business (AWS_PROFILE, AWS_REGION, roles ...); an ARN names its region.
Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html
"""

from __future__ import annotations

import re
from typing import Any

from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.signers.public import PublicKey
from verifier.signers.remote import CONNECT_SECONDS, SECONDS, Access, RemoteKey, asking, extra, is_rsa, malformed, read_public

_NAME = r"[A-Za-z0-9:/_-]+"
_FORM = re.compile(
    rf"awskms://(?P<endpoint>[^/]*)/(?P<id>arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):\d{{12}}:(?:key|alias)/{_NAME}|alias/{_NAME}|(?:mrk-)?[A-Fa-f0-9-]{{32,36}})"
)
_WRITTEN = "awskms://[ENDPOINT]/KEY, where KEY is an id, alias/NAME or an ARN"


def open_key(keyref: str, access: Access) -> RemoteKey:
    """The key; signing needs the rights kms:GetPublicKey and kms:Sign."""
    client, key_id, public, offered = _fetch(keyref, access)
    algorithm = f"RSASSA_PKCS1_V1_5_{_hash(public)}" if is_rsa(public) else f"ECDSA_{_hash(public)}"
    if algorithm not in offered:
        raise MisuseError(codes.KEY_UNSUPPORTED, f"the key does not sign with {algorithm}, only with {', '.join(offered) or 'nothing'}", where=keyref)

    def sign_digest(digest: bytes) -> bytes:
        with _asking(keyref):
            answer = client.sign(KeyId=key_id, Message=digest, MessageType="DIGEST", SigningAlgorithm=algorithm)
            signature: bytes = answer["Signature"]
            return signature

    return RemoteKey(public, keyref, sign_digest)


def public_key(keyref: str, access: Access) -> PublicKey:
    """The public half; needs the right kms:GetPublicKey."""
    return _fetch(keyref, access)[2]


def _fetch(keyref: str, access: Access) -> tuple[Any, str, PublicKey, list[str]]:
    """A client, the key's own ARN (an alias may be pointed elsewhere between two calls), the public half, and what it signs with."""
    found = _FORM.fullmatch(keyref)
    if found is None:
        raise malformed(keyref, _WRITTEN)
    with extra("aws", keyref):
        import boto3
        from botocore.config import Config
    with _asking(keyref):
        config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 3})
        endpoint = f"https://{found['endpoint']}" if found["endpoint"] else None
        region = found["region"] or access.environment.get("AWS_REGION")  # boto3 knows AWS_DEFAULT_REGION only, every other client of AWS this one
        client = boto3.session.Session().client("kms", region_name=region, endpoint_url=endpoint, config=config)
        answer = client.get_public_key(KeyId=found["id"])
        return client, answer["KeyId"], read_public(answer["PublicKey"], keyref), answer.get("SigningAlgorithms", [])


def _asking(where: str) -> Any:
    from botocore.exceptions import BotoCoreError, ClientError

    return asking(where, BotoCoreError, ClientError, KeyError)


def _hash(public: PublicKey) -> str:
    return public.hash.upper().replace("SHA", "SHA_")
