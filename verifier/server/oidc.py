"""Callers by identity token (OpenID Connect): a job of a CI system, or a service account of a cluster, without a secret of its own.

1. The token's issuer must be one that the callers file names; nobody else is asked for keys.
2. Its keys come from the issuer's own discovery document and JWKS, over TLS (loopback excepted), and are kept for ten minutes; an unknown key id makes us look
   again, once a minute at most.
3. Signature, issuer, audience and times are checked by PyJWT, under asymmetric algorithms only; `exp` and `sub` must be there.
4. The subject must be one that a caller of this issuer stands for.

Source: OpenID Connect Core 1.0, 3.1.3.7; Discovery 1.0, 4; RFC 8725 (JWT best current practices).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import jwt
from msgspec import Struct

from verifier.formats.json import parse_object
from verifier.formats.loose import items, text
from verifier.model import codes
from verifier.model.errors import FailedError, InconclusiveError
from verifier.policy.identity import Pattern

_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_KEEP_SECONDS = 600.0
_AGAIN_SECONDS = 60.0
_LEEWAY_SECONDS = 30
_TOKEN = 16 * 1024
Fetch = Callable[[str], bytes]


class Identity(Struct, frozen=True, kw_only=True):
    """Which tokens stand for a caller."""

    issuer: str
    audience: str
    subject: Pattern


class _Keys(Struct):
    """An issuer's keys, and when they were fetched."""

    by_id: dict[str, Any]
    at: float


class Issuers:
    """Keys of issuers, fetched when a token of theirs is met; safe to share between threads."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, _Keys] = {}
        self._lock = threading.Lock()

    def stands_for(self, token: str, identity: Identity) -> bool:
        """Whether the token is one of this identity; raises InconclusiveError where the issuer's keys cannot be had."""
        if len(token) > _TOKEN or issuer_of(token) != identity.issuer:  # 1
            return False
        try:
            key = self._key(identity.issuer, text(jwt.get_unverified_header(token).get("kid")))  # 2
            if key is None:
                return False
            options: Any = {"require": ["exp", "sub", "iss", "aud"]}
            audience, issuer = identity.audience, identity.issuer
            claims = jwt.decode(token, key, algorithms=_ALGORITHMS, audience=audience, issuer=issuer, leeway=_LEEWAY_SECONDS, options=options)  # 3
        except (jwt.PyJWTError, TypeError, ValueError):  # a key of another kind than the token's algorithm takes
            return False
        return identity.subject.matches(text(claims.get("sub")))  # 4

    def _key(self, issuer: str, identifier: str) -> Any:
        with self._lock:
            held = self._keys.get(issuer)
            age = self._clock() - held.at if held is not None else None
            if held is None or age is None or age > _KEEP_SECONDS or (identifier not in held.by_id and age > _AGAIN_SECONDS):
                held = self._keys[issuer] = _Keys(by_id=self._load(issuer), at=self._clock())
            return held.by_id.get(identifier)

    def _load(self, issuer: str) -> dict[str, Any]:
        try:
            document = parse_object(self._fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration"), where=issuer)
            if text(document.get("issuer")) != issuer:
                raise InconclusiveError(codes.UNREACHABLE, f"the discovery document is of {text(document.get('issuer'))[:200]!r}", where=issuer)
            url = text(document.get("jwks_uri"))
            if not is_secure(url):
                raise InconclusiveError(codes.UNREACHABLE, f"its keys lie at {url[:200]!r}, without TLS", where=issuer)
            listed = items(parse_object(self._fetch(url), where=url).get("keys"))
        except FailedError as error:
            raise InconclusiveError(codes.UNREACHABLE, f"the issuer's keys cannot be read: {error.reason}", where=issuer) from error
        return {text(item.get("kid")): key for item in listed if isinstance(item, dict) and (key := _parsed(item)) is not None}


def issuer_of(token: str) -> str:
    """What an unverified token says of its issuer; empty for what is no token."""
    if token.count(".") != 2:
        return ""
    try:
        return text(jwt.decode(token, options={"verify_signature": False}).get("iss"))
    except (jwt.PyJWTError, ValueError):
        return ""


def is_secure(url: str) -> bool:
    """https, or a loopback address for tests and sidecars."""
    split = urlsplit(url)
    return split.scheme == "https" or (split.scheme == "http" and split.hostname in ("127.0.0.1", "localhost", "::1"))


def _parsed(value: dict[str, Any]) -> Any:
    """A key that may sign; symmetric ones are none."""
    if value.get("kty") == "oct" or value.get("use", "sig") != "sig":
        return None
    try:
        return jwt.PyJWK(value).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
