"""Credentials from Docker's, Helm's and podman's configuration files, and from their helpers.

Order: what the environment gives for one host, then each file in the order given (Helm's, Docker's, podman's). In a file the key that
names the longest prefix of `host/repository` wins; a `credHelpers` entry beats `credsStore`, which beats `auths`.
Nothing is ever read from netrc. Files are read once and helpers run once per host, when a registry first asks.

Source: docker/cli cli/config/configfile, docker/docker-credential-helpers, containers-auth.json(5).
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from verifier.formats.json import dump_json, parse_object
from verifier.model import codes, limits
from verifier.model.errors import FailedError, MisuseError
from verifier.model.reference import DOCKER_HUB
from verifier.net.process import run_program

_HELPER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_NOT_FOUND = b"credentials not found"


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

    def candidates(self, registry: str, repository: str) -> tuple[Credential, ...]:
        """Those that may be shown, to be tried in this order; without any the registry is asked anonymously. Raises VerifierError."""

    def identity(self, registry: str, repository: str) -> str:
        """Whom the registry takes us for: what it answers to one is not told to another."""


class Credentials:
    """Finds the credential for a repository; safe to share between threads."""

    def __init__(self, files: Sequence[Path] = (), *, given: tuple[str, Credential] | None = None, environment: Mapping[str, str] | None = None) -> None:
        self._files = tuple(files)
        self._given = given
        self._environment = dict(environment or {})
        self._lock = threading.Lock()
        self._loaded: list[tuple[Path, dict[str, Any]]] | None = None
        self._helped: dict[tuple[str, str], Credential | None] = {}

    def find(self, registry: str, repository: str) -> Credential | None:
        """The credential, or None; raises MisuseError `config-invalid` on a file or helper that is broken."""
        if self._given is not None and self._given[0] == registry:
            return self._given[1]
        with self._lock:
            for path, config in self._configs():
                for key in _keys(registry, repository):
                    if (found := self._lookup(path, config, key)) is not None:
                        return found
        return None

    def candidates(self, registry: str, repository: str) -> tuple[Credential, ...]:
        """What `find` finds."""
        found = self.find(registry, repository)
        return (found,) if found is not None else ()

    def identity(self, registry: str, repository: str) -> str:
        """There is one identity in these files for each repository, so that it needs no name."""
        return ""

    def _configs(self) -> list[tuple[Path, dict[str, Any]]]:
        if self._loaded is None:
            self._loaded = [(path, _read(path)) for path in self._files if path.is_file()]
        return self._loaded

    def _lookup(self, path: Path, config: dict[str, Any], key: str) -> Credential | None:
        helper = _mapping(config, "credHelpers", path).get(key)
        if helper is None and "/" not in key.removeprefix("https://"):
            helper = config.get("credsStore") or None
        if key == _DOCKER_HUB_KEY:
            helper = helper or config.get("credsStore") or None
        if helper is not None and (found := self._ask(str(helper), key, path)) is not None:
            return found
        entry = _mapping(config, "auths", path).get(key)
        return read_entry(entry, f"{path}: auths[{key!r}]") if isinstance(entry, dict) else None

    def _ask(self, helper: str, key: str, path: Path) -> Credential | None:
        if (helper, key) not in self._helped:
            self._helped[helper, key] = self._run(helper, key, path)
        return self._helped[helper, key]

    def _run(self, helper: str, key: str, path: Path) -> Credential | None:
        if not _HELPER.fullmatch(helper):
            raise _invalid(f"{helper[:80]!r} is not a helper's name", str(path))
        program = f"docker-credential-{helper}"
        done = run_program([program, "get"], stdin=key.encode(), seconds=limits.HELPER_SECONDS, environment=self._environment)
        if done.status != 0:
            if _NOT_FOUND in done.stdout:
                return None
            raise _invalid(f"{program} failed with status {done.status}", str(path))
        try:
            answer = parse_object(done.stdout, where=program)
        except FailedError as error:
            raise _invalid(f"{program} did not answer with JSON", str(path)) from error
        username, secret = answer.get("Username"), answer.get("Secret")
        if not isinstance(username, str) or not isinstance(secret, str):
            raise _invalid(f"{program} answered without Username or Secret", str(path))
        if not username and not secret:
            return None
        return IdentityToken(secret) if username == "<token>" else Basic(username, secret)


def encode_basic(credential: Basic) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode()


def store(path: Path, host: str, credential: Basic) -> bytes:
    """The file's new content with this credential added, in the format that Helm and Docker share."""
    config = _read(path) if path.is_file() else {}
    auths = dict(_mapping(config, "auths", path))
    auths[_DOCKER_HUB_KEY if host == DOCKER_HUB else host] = {"auth": encode_basic(credential).removeprefix("Basic ")}
    return dump_json({**config, "auths": auths})


def forget(path: Path, host: str) -> bytes | None:
    """The file's new content without this host's credential; None when there was none."""
    config = _read(path)
    auths = dict(_mapping(config, "auths", path))
    if auths.pop(_DOCKER_HUB_KEY if host == DOCKER_HUB else host, None) is None:
        return None
    return dump_json({**config, "auths": auths})


def _keys(registry: str, repository: str) -> Iterator[str]:
    """Most specific first; then the forms that Docker's older clients wrote."""
    parts = repository.split("/")
    for count in range(len(parts), 0, -1):
        yield "/".join((registry, *parts[:count]))
    yield registry
    yield f"https://{registry}"
    yield f"https://{registry}/v2/"
    if registry == DOCKER_HUB:
        yield _DOCKER_HUB_KEY
        yield "index.docker.io"


def _read(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _invalid(error.strerror or str(error), str(path)) from error
    if not data.strip():
        return {}
    try:
        return parse_object(data, where=str(path))
    except FailedError as error:
        raise _invalid(error.reason, str(path)) from error


def _mapping(config: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = config.get(key) or {}
    if not isinstance(value, dict):
        raise _invalid(f"{key} is not an object", str(path))
    return value


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
            raise _invalid("auth is not base64", where) from error
        if not colon:
            raise _invalid("auth is not user:password", where)
        return Basic(username, password.rstrip("\0"))
    if "username" in entry and "password" in entry:
        return Basic(str(entry["username"]), str(entry["password"]))
    return None


def _invalid(reason: str, where: str) -> MisuseError:
    return MisuseError(codes.CONFIG_INVALID, reason, where=where)
