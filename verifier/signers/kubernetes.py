"""`k8s://NAMESPACE/SECRET`: a key pair in a Secret, as `cosign generate-key-pair k8s://NAMESPACE/SECRET` writes it.

The Secret holds `cosign.key` (encrypted), `cosign.password` and `cosign.pub`. The cluster is the current context's of
KUBECONFIG or ~/.kube/config, else the one that we run in. Reading the Secret needs the right to get it, nothing else.
Source: sigstore/cosign pkg/cosign/kubernetes.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from verifier.kube.cluster import read_configuration
from verifier.model.errors import first_line
from verifier.signers.key import LocalKey, parse_signing_key
from verifier.signers.public import PublicKey
from verifier.signers.remote import CONNECT_SECONDS, SECONDS, Access, asking, extra, malformed, read_public, unavailable

_NAME = r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?"
_FORM = re.compile(rf"k8s://(?P<namespace>{_NAME})/(?P<secret>{_NAME})")


def open_key(keyref: str, access: Access) -> LocalKey:
    """The key, opened with the password beside it, or with the caller's where there is none."""
    data = _fetch(keyref, access)
    password = _value(data, "cosign.password", keyref) if "cosign.password" in data else access.passphrase()
    return parse_signing_key(_value(data, "cosign.key", keyref), password, where=keyref)


def public_key(keyref: str, access: Access) -> PublicKey:
    """What the Secret holds as `cosign.pub`; the private key is not touched."""
    return read_public(_value(_fetch(keyref, access), "cosign.pub", keyref), keyref)


def _fetch(keyref: str, access: Access) -> Mapping[str, Any]:
    found = _FORM.fullmatch(keyref)
    if found is None:
        raise malformed(keyref, "k8s://NAMESPACE/SECRET")
    with extra("kubernetes", keyref):
        from httpx2 import Timeout
        from lightkube import Client
        from lightkube.resources.core_v1 import Secret
    with asking(keyref, Exception):  # a malformed kubeconfig is told in errors of four libraries
        client = Client(config=read_configuration(access.environment), timeout=Timeout(SECONDS, connect=CONNECT_SECONDS))
        try:
            secret = client.get(Secret, name=found["secret"], namespace=found["namespace"])
        finally:
            client.close()
    return secret.data or {}


def _value(data: Mapping[str, Any], name: str, where: str) -> bytes:
    try:
        return base64.b64decode(data[name] or "", validate=True)
    except (KeyError, TypeError, binascii.Error) as error:
        raise unavailable(f"the Secret holds no {name}: {first_line(error)}", where) from error
