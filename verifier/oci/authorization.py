"""Answering a registry's challenge without ever giving a credential to the wrong host.

1. Bearer: the realm must be https (http only beside an http registry), without user information.
2. A realm that is an address, loopback or a local name is accepted only on the registry's own host.
3. Credentials go to a realm on the registry's host, under its registrable domain, or of a known pair; elsewhere the
   token is asked for anonymously, and when the registry then still refuses, the reason says so.
4. Tokens are kept per origin, realm, service, scopes and credential, and dropped shortly before they end.
5. Basic credentials go to the registry's own origin only.

Source: distribution docs/content/spec/auth/token.md and oauth.md; CVE-2026-48978 and its kin (oras-go, ggcr).
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from urllib.parse import urlsplit

from msgspec import Struct

from verifier.formats.json import parse_object
from verifier.model import codes
from verifier.model.errors import FailedError, InconclusiveError
from verifier.net.deadline import Deadline
from verifier.net.transport import Response, origin_of
from verifier.net.web import WebClient
from verifier.oci.challenge import Challenge
from verifier.oci.credentials import Basic, Credential, IdentityToken, RegistryToken, encode_basic

_DEFAULT_LIFE = 60.0  # the specification's default for expires_in, in seconds
_SKEW = 10.0
_TOKENS = 4096
# Registries whose token server lives under another registrable domain.
_PAIRS = {"registry-1.docker.io": ("auth.docker.io",), "registry.gitlab.com": ("gitlab.com",)}
# Two-label suffixes under which strangers register names: a shared parent there means nothing.
_COUNTRY_SECONDS = ("ac", "co", "com", "edu", "go", "gov", "gob", "ne", "net", "nom", "or", "org")
_SHARED_SUFFIXES = ("github.io", "amazonaws.com", "azurecr.io", "pkg.dev", "cloudfront.net", "azurewebsites.net")


class _Token(Struct, frozen=True):
    value: str
    ends: float


class Answer(Struct, frozen=True):
    """An Authorization header, and until when (monotonic) it is good."""

    header: str
    ends: float

    def __repr__(self) -> str:
        return "Answer()"


class Authorizer:
    """Turns challenges into Authorization headers; safe to share between threads."""

    def __init__(self, web: WebClient) -> None:
        self._web = web
        self._tokens: dict[tuple[object, ...], _Token] = {}
        self._locks: dict[tuple[object, ...], threading.Lock] = {}
        self._lock = threading.Lock()

    def answer(self, challenge: Challenge, url: str, credential: Credential | None, deadline: Deadline) -> Answer | None:
        """The Authorization header for `url`, or None when we have nothing to offer; raises InconclusiveError."""
        if challenge.scheme == "basic":  # 5
            return Answer(encode_basic(credential), math.inf) if isinstance(credential, Basic) else None
        if isinstance(credential, RegistryToken):
            return Answer(f"Bearer {credential.token}", math.inf)
        realm = challenge.parameters.get("realm", "")
        trusted = _check_realm(realm, url)
        token = self._token(realm, challenge, url, credential if trusted else None, deadline)
        return Answer(f"Bearer {token.value}", token.ends)

    def forget(self, header: str) -> None:
        """Drop a token that the registry has refused."""
        with self._lock:
            for key in [key for key, token in self._tokens.items() if f"Bearer {token.value}" == header]:
                del self._tokens[key]

    def _token(self, realm: str, challenge: Challenge, url: str, credential: Credential | None, deadline: Deadline) -> _Token:
        service, scope = challenge.parameters.get("service", ""), challenge.parameters.get("scope", "")
        key = (origin_of(url), realm, service, scope, credential)  # 4
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:  # single-flight
            known = self._tokens.get(key)
            if known is not None and known.ends > time.monotonic():
                return known
            token = _read_token(self._request(realm, service, scope, credential, deadline), realm)
            with self._lock:
                self._tokens[key] = token
                if len(self._tokens) > _TOKENS:  # whoever asks about ever new repositories must not fill our memory
                    self._tokens.clear()
                    self._locks.clear()
            return token

    def _request(self, realm: str, service: str, scope: str, credential: Credential | None, deadline: Deadline) -> Response:
        if isinstance(credential, IdentityToken):
            form = {"grant_type": "refresh_token", "service": service, "client_id": "helm-verifier", "scope": scope, "refresh_token": credential.token}
            return self._web.post(realm, form, deadline)
        query = [("service", service)] if service else []
        query += [("scope", one) for one in scope.split()]  # a mount names two repositories; each is a parameter of its own (token.md)
        headers = {"Authorization": encode_basic(credential)} if isinstance(credential, Basic) else {}
        return self._web.get(realm, query, headers, deadline)


def _check_realm(realm: str, url: str) -> bool:
    """Whether the realm may see our credentials; raises InconclusiveError `auth-refused` when it may not even be asked."""
    there, here = urlsplit(realm), urlsplit(url)
    if there.scheme not in ("https", "http") or not there.hostname or there.username is not None:  # 1
        raise _refused(f"the realm {realm[:200]!r} is not a URL that we ask", url)
    if there.scheme == "http" and here.scheme != "http":
        raise _refused(f"the realm {realm[:200]!r} is plain http under an https registry", url)
    same = there.hostname == here.hostname
    if not same and _is_local(there.hostname):  # 2
        raise _refused(f"the realm {realm[:200]!r} is a local address on another host than the registry's", url)
    return same or _related(there.hostname, here.hostname or "")  # 3


def _is_local(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".localhost", ".internal"))
    return True


def _related(there: str, here: str) -> bool:
    if there in _PAIRS.get(here, ()):
        return True
    labels = here.split(".")
    parent = ".".join(labels[-2:])
    country = len(labels[-1]) == 2 and labels[-2:-1] and labels[-2] in _COUNTRY_SECONDS  # co.uk, com.cn, ...
    if len(labels) < 2 or country or parent in _SHARED_SUFFIXES:
        return False
    return there == parent or there.endswith(f".{parent}")


def _read_token(response: Response, realm: str) -> _Token:
    if response.status in (401, 403):
        raise InconclusiveError(codes.UNAUTHORIZED, f"the token server refused with status {response.status}", where=realm)
    if response.status == 429:
        raise InconclusiveError(codes.RATE_LIMITED, "the token server refuses for now", where=realm)
    if response.status != 200:
        raise InconclusiveError(codes.REGISTRY_ERROR, f"the token server answered with status {response.status}", where=realm)
    try:
        value = parse_object(response.body, where=realm)
    except FailedError as error:
        raise InconclusiveError(codes.REGISTRY_NONSENSE, f"the token answer is {error.reason}", where=realm) from error
    token = value.get("token") or value.get("access_token")
    if not isinstance(token, str) or not token.isascii() or any(ord(character) < 33 for character in token):
        raise InconclusiveError(codes.REGISTRY_NONSENSE, "the token answer holds no token", where=realm)
    life = value.get("expires_in")
    seconds = float(life) if isinstance(life, int | float) and life > 0 else _DEFAULT_LIFE
    return _Token(token, time.monotonic() + max(seconds - _SKEW, 1.0))


def _refused(reason: str, url: str) -> InconclusiveError:
    return InconclusiveError(codes.AUTH_REFUSED, reason, where=origin_of(url))
