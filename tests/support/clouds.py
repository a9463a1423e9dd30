"""Where the clouds' libraries look for an identity: nowhere, or at a stand-in on loopback."""

from __future__ import annotations

import pytest
from google.auth.compute_engine import _metadata

_VARIABLES = ("GOOGLE_APPLICATION_CREDENTIALS", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AZURE_CLIENT_ID", "IDENTITY_ENDPOINT")


def no_identity(patch: pytest.MonkeyPatch) -> None:
    """No cloud is asked: this machine has no identity in any."""
    for name in _VARIABLES:
        patch.delenv(name, raising=False)
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    patch.setattr(_metadata, "_NO_GCE_CHECK", True)  # the library reads its variables when it is imported


def google_at(patch: pytest.MonkeyPatch, host: str) -> None:
    """Google's metadata service."""
    patch.setenv("GCE_METADATA_IP", host)
    patch.setattr(_metadata, "_GCE_METADATA_HOST", host)
    patch.setattr(_metadata, "_NO_GCE_CHECK", False)
