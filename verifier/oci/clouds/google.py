"""Google Artifact Registry and Container Registry: user `oauth2accesstoken` with an access token, for an hour.

Where the token comes from is the SDK's own business (GOOGLE_APPLICATION_CREDENTIALS, workload identity, the metadata service, gcloud's login).
Needs the role artifactregistry.reader, to sign writer. Source: https://cloud.google.com/artifact-registry/docs/docker/authentication
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from verifier.oci.clouds.lease import SECONDS, Asking, Lease, failed, logging_in
from verifier.oci.credentials import Basic

HOSTS = re.compile(r"(?:[a-z0-9-]+\.)?gcr\.io|[a-z0-9-]+-docker\.pkg\.dev")
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_USER = "oauth2accesstoken"


def log_in(host: str, asking: Asking) -> Lease:
    """An access token for the registry; raises InconclusiveError `login-failed`."""
    with logging_in("Google Cloud", "gcp", host):
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request
    with logging_in("Google Cloud", "gcp", host, GoogleAuthError, ValueError):
        credentials: Any = google.auth.default(scopes=[_SCOPE])[0]
        request = Request()
        credentials.refresh(lambda *arguments, **named: request(*arguments, **{**named, "timeout": SECONDS}))
    if not credentials.token:
        raise failed("Google Cloud: the answer holds no token", host)
    ends = credentials.expiry  # naive, in UTC
    seconds = (ends.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds() if ends is not None else 0.0
    return Lease(Basic(_USER, credentials.token), seconds)
