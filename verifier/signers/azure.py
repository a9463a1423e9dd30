"""`azurekms://VAULT.vault.azure.net/KEY[/VERSION]`: keys of Azure Key Vault and managed HSMs, as cosign writes them.

Without a version it is the current one. Credentials are the SDK's own business (AZURE_CLIENT_ID ..., workload identity, managed
identity, `az login`). Source: https://learn.microsoft.com/en-us/rest/api/keyvault/keys/sign/sign
"""

from __future__ import annotations

import re
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.signers.public import PublicKey
from verifier.signers.remote import CONNECT_SECONDS, SECONDS, Access, RemoteKey, asking, checked, der_signature, extra, is_rsa, malformed, unavailable

_FORM = re.compile(r"azurekms://(?P<vault>[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::\d+)?)/(?P<name>[A-Za-z0-9-]+)(?:/(?P<version>[a-z0-9]*))?")
_WRITTEN = "azurekms://VAULT.vault.azure.net/KEY, with /VERSION behind it where a version is meant"
_CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


def open_key(keyref: str, access: Access) -> RemoteKey:
    """The key; signing needs the rights keys/get and keys/sign (the role Key Vault Crypto User)."""
    held, public, credential = _fetch(keyref)
    with extra("azure", keyref):
        from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm
    algorithm = SignatureAlgorithm(f"{'RS' if is_rsa(public) else 'ES'}{public.hash.removeprefix('sha')}")

    def sign_digest(digest: bytes) -> bytes:
        with _asking(keyref):
            answer = CryptographyClient(held, credential, **_limits()).sign(algorithm, digest)  # `held` names its version
        return answer.signature if is_rsa(public) else der_signature(answer.signature)

    return RemoteKey(public, keyref, sign_digest)


def public_key(keyref: str, access: Access) -> PublicKey:
    """The public half; needs the right keys/get."""
    return _fetch(keyref)[1]


def _fetch(keyref: str) -> tuple[Any, PublicKey, Any]:
    found = _FORM.fullmatch(keyref)
    if found is None:
        raise malformed(keyref, _WRITTEN)
    with extra("azure", keyref):
        from azure.identity import DefaultAzureCredential
        from azure.keyvault.keys import KeyClient
    with _asking(keyref):
        credential = DefaultAzureCredential()
        held = KeyClient(f"https://{found['vault']}/", credential, **_limits()).get_key(found["name"], found["version"] or None)
    return held, checked(_public(held.key, keyref), keyref), credential


def _public(key: Any, where: str) -> object:
    """A JSON Web Key as a public key (RFC 7518 sections 6.2.1 and 6.3.1)."""
    try:
        match str(getattr(key.kty, "value", key.kty)).removesuffix("-HSM"):
            case "RSA":
                return rsa.RSAPublicNumbers(int.from_bytes(key.e), int.from_bytes(key.n)).public_key()
            case "EC" if (curve := _CURVES.get(str(getattr(key.crv, "value", key.crv)))) is not None:
                return ec.EllipticCurvePublicNumbers(int.from_bytes(key.x), int.from_bytes(key.y), curve).public_key()
            case kind:
                raise MisuseError(codes.KEY_UNSUPPORTED, f"a key of kind {kind} {key.crv or ''}; make one of P-256".replace(" ;", ";"), where=where)
    except (TypeError, ValueError) as error:
        raise unavailable(f"the answer holds no public key: {error}", where) from error


def _limits() -> dict[str, Any]:
    return {"connection_timeout": CONNECT_SECONDS, "read_timeout": SECONDS, "retry_total": 2}


def _asking(where: str) -> Any:
    from azure.core.exceptions import AzureError

    return asking(where, AzureError, ValueError)  # ValueError: outside its dates, or a challenge of another host
