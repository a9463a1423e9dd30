"""Azure Container Registry: an access token of Entra ID is exchanged at the registry for a refresh token of its own, good for three hours.

1. The identity's token is for the registries' audience; where it comes from is the SDK's own business (AZURE_CLIENT_ID ..., workload identity,
   managed identity, `az login`).
2. POST /oauth2/exchange, over TLS, to the registry itself, with the tenant that the token names.
3. What comes back is an identity token: the registry's token server takes it by POST (oci.authorization).

Needs the role AcrPull, to sign AcrPush. Source: Azure/acr docs/AAD-OAuth.md
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping
from typing import Any

from verifier.formats.json import parse_object
from verifier.model.errors import FailedError, InconclusiveError
from verifier.net.deadline import Deadline
from verifier.oci.clouds.lease import CONNECT_SECONDS, SECONDS, Asking, Lease, failed, logging_in
from verifier.oci.credentials import IdentityToken

HOSTS = re.compile(r"[a-z0-9]{5,50}(?:-[a-z0-9]+)?(?:\.geo)?\.azurecr\.(?:io|cn|us|de)")
_SCOPE = "https://containerregistry.azure.net/.default"
_LIFE = 3 * 3600.0  # of a refresh token that does not say how long it lives


def log_in(host: str, asking: Asking) -> Lease:
    """A refresh token of the registry; raises InconclusiveError `login-failed`."""
    with logging_in("Azure", "azure", host):
        from azure.core.exceptions import AzureError
        from azure.identity import DefaultAzureCredential
    with logging_in("Azure", "azure", host, AzureError, ValueError):
        limits = {"connection_timeout": CONNECT_SECONDS, "read_timeout": SECONDS, "retry_total": 1}
        token = DefaultAzureCredential(**limits).get_token(_SCOPE).token  # 1
    tenant = _claims(token).get("tid") or asking.environment.get("AZURE_TENANT_ID") or ""
    form = {"grant_type": "access_token", "service": host, "tenant": str(tenant), "access_token": token}
    refresh = _exchange(host, {key: value for key, value in form.items() if value}, asking)  # 2
    ends = _claims(refresh).get("exp")
    return Lease(IdentityToken(refresh), ends - time.time() if isinstance(ends, int | float) else _LIFE)  # 3


def _exchange(host: str, form: Mapping[str, str], asking: Asking) -> str:
    try:
        response = asking.web().post(f"https://{host}/oauth2/exchange", form, Deadline.after(SECONDS))
    except InconclusiveError as error:
        raise failed(f"Azure: the exchange at the registry: {error.reason}", host) from error
    if response.status != 200:
        raise failed(f"Azure: the registry refused to exchange the token, with status {response.status}: has this identity a role on it?", host)
    try:
        token = parse_object(response.body, where=host).get("refresh_token")
    except FailedError as error:
        raise failed(f"Azure: the answer to the exchange is {error.reason}", host) from error
    if not isinstance(token, str) or not token:
        raise failed("Azure: the answer to the exchange holds no token", host)
    return token


def _claims(token: str) -> dict[str, Any]:
    """What a token says of itself; only to know when to ask again, and whom."""
    parts = token.split(".")
    try:
        return parse_object(base64.urlsafe_b64decode(parts[1] + "=="), where="token") if len(parts) == 3 else {}
    except (ValueError, FailedError):
        return {}
