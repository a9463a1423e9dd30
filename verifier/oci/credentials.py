"""What a registry can be shown, and who has it: the kinds of credentials, and what a session asks for them.

`auth_file` reads files and helpers, `cloud` logs in with a cloud's own identity, `pull_secrets` reads Kubernetes' Secrets; `keychain` puts the first
two in order.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any, Protocol

from msgspec import Struct

from verifier.model import codes
from verifier.model.errors import MisuseError


class Basic(Struct, frozen=True):
    """User and password; never printed."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Basic({self.username!r})"


class IdentityToken(Struct, frozen=True):
    """A refresh token for the token server's OAuth2 endpoint."""

    token: str

    def __repr__(self) -> str:
        return "IdentityToken()"


class RegistryToken(Struct, frozen=True):
    """A bearer token for the registry itself."""

    token: str

    def __repr__(self) -> str:
        return "RegistryToken()"


Credential = Basic | IdentityToken | RegistryToken


class Keychain(Protocol):
    """Where a session gets credentials from."""

    def candidates(self, registry: str, repository: str) -> Iterator[Credential]:
        """Those that may be shown, to be tried in this order, each got when it is its turn; without any the registry is asked anonymously.

        Raises VerifierError; what comes last may be that there is one to be had and it could not be.
        """

    def identity(self, registry: str, repository: str) -> str:
        """Whom the registry takes us for: what it answers to one is not told to another."""

    def refresh(self, registry: str, repository: str) -> bool:
        """Forget what may have ended since it was got; whether asking again may give something else."""


def encode_basic(credential: Basic) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode()


def read_entry(entry: dict[str, Any], where: str) -> Credential | None:
    """The credential in an entry of `auths`; None if there is none in it. Raises MisuseError `config-invalid`."""
    if token := entry.get("identitytoken"):
        return IdentityToken(str(token))
    if token := entry.get("registrytoken"):
        return RegistryToken(str(token))
    if auth := entry.get("auth"):
        try:
            username, colon, password = base64.b64decode(str(auth), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise invalid_config("auth is not base64", where) from error
        if not colon:
            raise invalid_config("auth is not user:password", where)
        return Basic(username, password.rstrip("\0"))
    if "username" in entry and "password" in entry:
        return Basic(str(entry["username"]), str(entry["password"]))
    return None


def invalid_config(reason: str, where: str) -> MisuseError:
    """A file, a variable or a helper of credentials that cannot be used."""
    return MisuseError(codes.CONFIG_INVALID, reason, where=where)
