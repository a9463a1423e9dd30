"""Kubernetes' pull secrets as a keychain: those of one namespace, and behind them somebody's own, where that is allowed.

1. A Secret of type `kubernetes.io/dockerconfigjson` holds `auths`, one of type `kubernetes.io/dockercfg` the same without the word. Nothing else
   in it is read: whoever may write a Secret must not name a program (`credsStore`) that we run.
2. A key names a host, where `*` stands for (a part of) one label, and perhaps the beginning of a path, which ends where a segment does.
3. All that fit are tried, the longest key first, those of several Secrets in the order of the Secrets' names.
4. A Secret that cannot be read is nobody's credential: only a registry that asks for one brings that to light.

Source: kubernetes pkg/credentialprovider keyring.go, secrets/secrets.go; semantics 33.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from msgspec import Struct

from verifier.formats.json import parse_object
from verifier.model import codes
from verifier.model.errors import FailedError, InconclusiveError, MisuseError
from verifier.model.reference import canonical_host
from verifier.oci.credentials import Credential, Keychain, read_entry

TYPES = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg"}
_MOST = 8  # credentials that are tried for one repository


class _Entry(Struct, frozen=True):
    pattern: str
    path: str
    credential: Credential


class PullSecrets:
    """The credentials of one namespace, by the Secrets that hold them; `problem` says why they could not be looked up."""

    def __init__(self, secrets: Sequence[Mapping[str, Any]] = (), problem: InconclusiveError | None = None) -> None:
        self._entries: list[_Entry] = []
        self._problem = problem
        for secret in sorted(secrets, key=_name):
            try:
                self._entries += _entries(secret)
            except InconclusiveError as error:  # 4
                self._problem = error
        self._entries.sort(key=lambda entry: len(entry.pattern) + len(entry.path), reverse=True)

    def fitting(self, registry: str, repository: str) -> tuple[Credential, ...]:
        """3; where none fits, raises InconclusiveError `pull-secret-invalid` or what kept us from looking."""
        found = tuple(dict.fromkeys(entry.credential for entry in self._entries if _fits(entry, registry, repository)))
        if not found and self._problem is not None:
            raise self._problem
        return found[:_MOST]


class ScopedKeychain:
    """The credentials of a namespace for one question; behind them `own`, for repositories for which that is allowed."""

    def __init__(self, secrets: PullSecrets, own: Keychain, allows_own: Callable[[str, str], bool]) -> None:
        self._secrets = secrets
        self._own = own
        self._allows_own = lru_cache(maxsize=64)(allows_own)  # it takes the policy's rules, and is asked with each request
        self._identities: dict[tuple[str, str], str] = {}

    def candidates(self, registry: str, repository: str) -> Iterator[Credential]:
        """The namespace's, then `own`; what keeps us from the namespace's matters only where there are no others."""
        trouble: InconclusiveError | None = None
        try:
            yield from self._secrets.fitting(registry, repository)
        except InconclusiveError as error:
            trouble = error
        if self._allows_own(registry, repository):
            for credential in self._own.candidates(registry, repository):
                trouble = None
                yield credential
        if trouble is not None:
            raise trouble

    def refresh(self, registry: str, repository: str) -> bool:
        """Of what is one's own, where it is lent; Secrets are watched by whoever made this."""
        return self._allows_own(registry, repository) and self._own.refresh(registry, repository)

    def identity(self, registry: str, repository: str) -> str:
        """By what the credentials are, not by whose: two namespaces with the same ones are one to a registry."""
        known = self._identities.get((registry, repository))
        if known is None:
            known = self._identities[registry, repository] = self._identify(registry, repository)
        return known

    def _identify(self, registry: str, repository: str) -> str:
        own = self._allows_own(registry, repository)
        try:
            found = self._secrets.fitting(registry, repository)
        except InconclusiveError:
            return "unknown" + (" or own" if own else "")
        if not found:
            return self._own.identity(registry, repository) if own else "anonymous"
        return hashlib.sha256("\n".join(_secret(item) for item in found).encode()).hexdigest() + (" or own" if own else "")


def _secret(credential: Credential) -> str:
    """What no `repr` shows."""
    values = (type(credential).__name__, *(str(getattr(credential, name)) for name in credential.__struct_fields__))
    return "\0".join(values)


def _entries(secret: Mapping[str, Any]) -> Iterator[_Entry]:  # 1
    """Of a Secret whose data are decoded."""
    name, key = _name(secret), TYPES.get(str(secret.get("type")))
    if key is None:
        raise _invalid(f"it is of type {str(secret.get('type'))[:80]!r}", name)
    try:
        value = parse_object(secret.get("data", {}).get(key, b""), where=name)
    except FailedError as error:
        raise _invalid(f"{key}: {error.reason}", name) from error
    auths = value.get("auths") if key == ".dockerconfigjson" else value
    if not isinstance(auths, dict):
        raise _invalid(f"{key} holds no `auths`", name)
    for written, entry in auths.items():
        pattern, path = _place(written)
        try:
            credential = read_entry(entry, f"auths[{written[:200]!r}]") if isinstance(entry, dict) else None
        except MisuseError as error:
            raise _invalid(f"{error.where}: {error.reason}", name) from error
        if credential is not None and pattern:
            yield _Entry(pattern, path, credential)


def _place(written: str) -> tuple[str, str]:
    """Host pattern and path of a key; `https://index.docker.io/v1/` is a host."""
    host, _, path = written.removeprefix("https://").removeprefix("http://").partition("/")
    path = path.strip("/")
    if path in ("v1", "v2"):
        path = ""
    if "*" in host:
        return host.lower(), path
    try:
        return canonical_host(host, written=written), path
    except MisuseError:
        return "", path  # a key that names no host fits none


def _fits(entry: _Entry, registry: str, repository: str) -> bool:  # 2
    host = entry.pattern == registry if "*" not in entry.pattern else _matches(entry.pattern, registry)
    return host and (not entry.path or f"{repository}/".startswith(f"{entry.path}/"))


def _matches(pattern: str, registry: str) -> bool:
    """Label by label, and the port exactly; brackets are no classes."""
    (pattern, _, wanted), (host, _, port) = pattern.replace("[", "[[]").replace("?", "[?]").partition(":"), registry.partition(":")
    patterns, labels = pattern.split("."), host.split(".")
    return wanted == port and len(patterns) == len(labels) and all(map(fnmatchcase, labels, patterns))


def _name(secret: Mapping[str, Any]) -> str:
    return str(secret.get("name"))


def _invalid(reason: str, where: str) -> InconclusiveError:
    return InconclusiveError(codes.PULL_SECRET_INVALID, f"the pull secret {where[:253]!r} cannot be used: {reason}")
