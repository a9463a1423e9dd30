"""`hashivault://KEY` (or `openbao://KEY`): keys of the transit engine of HashiCorp Vault or OpenBao, as cosign writes them.

The newest version signs. VAULT_ADDR and VAULT_TOKEN (or ~/.vault-token) say where and who, TRANSIT_SECRET_ENGINE_PATH where
the engine is mounted, VAULT_NAMESPACE and VAULT_CACERT what Vault's own client takes them for; BAO_ADDR and BAO_TOKEN count too.
Source: https://developer.hashicorp.com/vault/api-docs/secret/transit
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from verifier.formats.protojson import encode_base64
from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.signers.public import PublicKey
from verifier.signers.remote import SECONDS, Access, RemoteKey, asking, extra, is_rsa, malformed, read_public, unavailable

_FORM = re.compile(r"(?:hashivault|openbao)://(?P<name>\w(?:[\w.-]*\w)?)", re.ASCII)
_SIGNATURE = re.compile(r"vault:v(?P<version>[0-9]+):(?P<base64>[A-Za-z0-9+/=]+)")


def open_key(keyref: str, access: Access) -> RemoteKey:
    """The key; the token's policy allows reading keys/KEY and updating sign/KEY/*."""
    transit, name, version, public = _fetch(keyref, access)

    def sign_digest(digest: bytes) -> bytes:
        with _asking(keyref):
            answer = transit.sign_data(
                name=name,
                hash_input=encode_base64(digest),
                key_version=int(version),
                hash_algorithm=public.hash.replace("sha", "sha2-"),
                prehashed=True,
                signature_algorithm="pkcs1v15" if is_rsa(public) else None,
                marshaling_algorithm="asn1",
                mount_point=_mount(access.environment),
            )
            found = _SIGNATURE.fullmatch(str(answer["data"]["signature"]))
        if found is None or found["version"] != version:
            raise unavailable(f"the answer is no signature of version {version}", keyref)
        return base64.b64decode(found["base64"])

    return RemoteKey(public, keyref, sign_digest)


def public_key(keyref: str, access: Access) -> PublicKey:
    """The newest version's public half."""
    return _fetch(keyref, access)[3]


def _fetch(keyref: str, access: Access) -> tuple[Any, str, str, PublicKey]:
    found = _FORM.fullmatch(keyref)
    if found is None:
        raise malformed(keyref, "hashivault://KEY, where KEY is its name in the transit engine")
    transit = _transit(keyref, access.environment)
    with _asking(keyref):
        data = transit.read_key(name=found["name"], mount_point=_mount(access.environment))["data"]
        version, kind = str(data["latest_version"]), str(data["type"])
        if not kind.startswith(("ecdsa-", "rsa-")):
            raise MisuseError(codes.KEY_UNSUPPORTED, f"a key of type {kind}; make one of type ecdsa-p256", where=keyref)
        public = str(data["keys"][version]["public_key"])
    return transit, found["name"], version, read_public(public.encode(), keyref)


def _transit(keyref: str, environment: Mapping[str, str]) -> Any:
    address = environment.get("VAULT_ADDR") or environment.get("BAO_ADDR")
    if not address:
        raise MisuseError(codes.CONFIG_INVALID, "VAULT_ADDR does not say where Vault is", where=keyref)
    with extra("vault", keyref):
        import hvac
    token = environment.get("VAULT_TOKEN") or environment.get("BAO_TOKEN")
    namespace, authority = environment.get("VAULT_NAMESPACE"), environment.get("VAULT_CACERT")
    # The token is a header of Vault's own, which a redirect to another host would carry along.
    client = hvac.Client(url=address, token=token, namespace=namespace, verify=authority, timeout=SECONDS, allow_redirects=False)
    return client.secrets.transit


def _mount(environment: Mapping[str, str]) -> str:
    return environment.get("TRANSIT_SECRET_ENGINE_PATH") or "transit"


def _asking(where: str) -> Any:
    from hvac.exceptions import VaultError

    return asking(where, VaultError, KeyError, TypeError, ValueError)  # the last three: an answer of another shape
