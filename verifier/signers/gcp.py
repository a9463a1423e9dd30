"""`gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K[/cryptoKeyVersions/V]`: keys of Google Cloud KMS, as cosign writes them.

Without a version it is the newest that is enabled. Credentials are the SDK's own business (GOOGLE_APPLICATION_CREDENTIALS,
workload identity ...). Source: https://cloud.google.com/kms/docs/reference/rest
"""

from __future__ import annotations

import re
from typing import Any

from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.signers.public import PublicKey
from verifier.signers.remote import SECONDS, Access, RemoteKey, asking, extra, malformed, read_public, unavailable

_FORM = re.compile(r"gcpkms://(?P<key>projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+)(?:/(?:cryptoKeyVersions|versions)/(?P<version>[0-9]+))?")
_WRITTEN = "gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K, with /cryptoKeyVersions/V behind it where a version is meant"
# PSS, raw PKCS#1 and SHA-512 with RSA are not what our verifiers, cosign's among them, expect of such a key.
_ALGORITHMS = re.compile(r"EC_SIGN_P256_SHA256|EC_SIGN_P384_SHA384|RSA_SIGN_PKCS1_(2048|3072|4096)_SHA256")
_ENDPOINT = "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS"  # gcloud's own variable for a private endpoint


def open_key(keyref: str, access: Access) -> RemoteKey:
    """The key; signing needs the roles cloudkms.publicKeyViewer and cloudkms.signer, and viewer where no version is written."""
    client, name, public = _fetch(keyref, access)

    def sign_digest(digest: bytes) -> bytes:
        with _asking(keyref):
            # The checksums of request and answer are left out: step 3 of signers.remote checks more.
            answer = client.asymmetric_sign(request={"name": name, "digest": {public.hash: digest}}, timeout=SECONDS)
            signature: bytes = answer.signature
            return signature

    return RemoteKey(public, keyref, sign_digest)


def public_key(keyref: str, access: Access) -> PublicKey:
    """The public half."""
    return _fetch(keyref, access)[2]


def _fetch(keyref: str, access: Access) -> tuple[Any, str, PublicKey]:
    found = _FORM.fullmatch(keyref)
    if found is None:
        raise malformed(keyref, _WRITTEN)
    with extra("gcp", keyref):
        from google.cloud import kms
    with _asking(keyref):
        endpoint = access.environment.get(_ENDPOINT)
        # REST: gRPC does not pass the proxies that REST does, and a signature takes two calls.
        client = kms.KeyManagementServiceClient(transport="rest", client_options={"api_endpoint": endpoint.rstrip("/")} if endpoint else None)
        name = f"{found['key']}/cryptoKeyVersions/{found['version']}" if found["version"] else _newest(client, found["key"], keyref)
        answer = client.get_public_key(request={"name": name}, timeout=SECONDS)
    if not _ALGORITHMS.fullmatch(answer.algorithm.name):
        raise MisuseError(codes.KEY_UNSUPPORTED, f"a key for {answer.algorithm.name}; make one for EC_SIGN_P256_SHA256", where=keyref)
    return client, name, read_public(answer.pem.encode(), keyref)


def _newest(client: Any, key: str, keyref: str) -> str:
    """The enabled version with the greatest number: names sort as text, where 9 comes after 10."""
    versions: list[str] = [version.name for version in client.list_crypto_key_versions(request={"parent": key, "filter": "state=ENABLED"}, timeout=SECONDS)]
    if not versions:
        raise unavailable("the key has no version that is enabled", keyref)
    return max(versions, key=lambda name: int(name.rpartition("/")[2]))


def _asking(where: str) -> Any:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.protobuf.json_format import Error as FormatError

    return asking(where, GoogleAPIError, GoogleAuthError, FormatError)
