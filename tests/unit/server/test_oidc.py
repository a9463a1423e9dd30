"""Callers by identity token: whose tokens count, and every way in which one does not (RFC 8725)."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from verifier.model.errors import InconclusiveError, MisuseError
from verifier.policy.identity import glob_or_exact
from verifier.server.callers import Caller, Callers, load_callers
from verifier.server.oidc import Identity, Issuers, is_secure, issuer_of

ISSUER = "https://issuer.test"
IDENTITY = Identity(issuer=ISSUER, audience="helm-verifier", subject=glob_or_exact("repo:acme/*:**"))
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(key: Any, kid: str, **more: str) -> dict[str, Any]:
    algorithm: Any = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


class Issuer:
    """An issuer's documents; what was asked for."""

    def __init__(self) -> None:
        self.keys = [
            jwk(RSA, "one"),
            jwk(EC, "two"),
            {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
            {"kty": "odd", "kid": "odd"},
            1,
            jwk(OTHER, "enc", use="enc"),
        ]
        self.documents: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.now = 0.0

    def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if url in self.documents:
            return self.documents[url]
        if url.endswith("/.well-known/openid-configuration"):
            return json.dumps({"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}).encode()
        return json.dumps({"keys": self.keys}).encode()

    def issuers(self) -> Issuers:
        return Issuers(self.fetch, lambda: self.now)


def token(key: Any = RSA, kid: str | None = "one", algorithm: str = "RS256", drop: str = "", **changes: Any) -> str:
    claims = {"iss": ISSUER, "aud": "helm-verifier", "sub": "repo:acme/charts:ref:refs/heads/main", "exp": time.time() + 300, "iat": time.time(), **changes}
    claims.pop(drop, None)
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid} if kid is not None else {})


def test_a_token_of_the_identity() -> None:
    issuer = Issuer()
    issuers = issuer.issuers()
    assert issuers.stands_for(token(), IDENTITY)
    assert issuers.stands_for(token(EC, "two", "ES256"), IDENTITY)
    assert issuers.stands_for(token(aud=["other", "helm-verifier"]), IDENTITY)
    assert len(issuer.asked) == 2, "the keys were fetched once"


@pytest.mark.parametrize(
    "given",
    [
        token(aud="other"),
        token(iss="https://evil.test"),
        token(iss=ISSUER + "/"),
        token(sub="repo:evil/charts:x"),
        token(sub="x repo:acme/charts:x"),
        token(exp=time.time() - 60),
        token(nbf=time.time() + 600),
        token(drop="exp"),
        token(drop="sub"),
        token(drop="aud"),
        token(OTHER),
        token(kid="unknown"),
        token(kid=None),
        token(OTHER, "enc"),
        token(EC, "one", "ES256"),
        token("secret-secret-secret-secret-secret", "shared", "HS256"),
        jwt.encode({"iss": ISSUER, "aud": "helm-verifier", "sub": "repo:acme/x:y", "exp": time.time() + 60}, "", algorithm="none", headers={"kid": "one"}),
        token()[:-4] + "AAAA",
        token() + "." + "x",
        "a.b.c",
        "",
        "x" * 20_000,
    ],
    ids=lambda _: "token",
)
def test_a_token_that_is_none_of_it(given: str) -> None:
    assert Issuer().issuers().stands_for(given, IDENTITY) is False


def test_keys_are_fetched_again_but_not_for_every_wrong_token() -> None:
    issuer = Issuer()
    issuers = issuer.issuers()
    assert issuers.stands_for(token(), IDENTITY)
    issuer.keys.append(jwk(OTHER, "new"))
    assert not issuers.stands_for(token(OTHER, "new"), IDENTITY)
    assert len(issuer.asked) == 2
    issuer.now = 61.0
    assert issuers.stands_for(token(OTHER, "new"), IDENTITY)
    issuer.keys = issuer.keys[1:]
    issuer.now = 700.0
    assert not issuers.stands_for(token(), IDENTITY), "a key that its issuer has taken back does not count for ever"


@pytest.mark.parametrize(
    "document",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"issuer": "https://evil.test", "jwks_uri": "https://evil.test/keys"}',
        b'{"issuer": "https://issuer.test", "jwks_uri": "http://evil.test/keys"}',
    ],
)
def test_an_issuer_whose_keys_cannot_be_had_is_no_refusal(document: bytes) -> None:
    issuer = Issuer()
    issuer.documents[f"{ISSUER}/.well-known/openid-configuration"] = document
    with pytest.raises(InconclusiveError) as refused:
        issuer.issuers().stands_for(token(), IDENTITY)
    assert refused.value.code.name == "unreachable"


def test_nobody_but_the_configured_issuer_is_asked() -> None:
    issuer = Issuer()
    assert not issuer.issuers().stands_for(token(iss="https://internal.test/admin"), IDENTITY)
    assert issuer.asked == []
    assert (issuer_of("a.b"), issuer_of("a.b.c"), issuer_of(token())) == ("", "", ISSUER)
    assert [is_secure(url) for url in ("https://x", "http://x", "http://127.0.0.1:1", "file:///x", "")] == [True, False, True, False, False]


def test_callers_by_token_and_by_identity() -> None:
    import hashlib

    issuer = Issuer()
    static = Caller(name="static", token_sha256=hashlib.sha256(b"secret").hexdigest())
    callers = Callers((static, Caller(name="ci", identity=IDENTITY)), issuer.issuers())

    def who(authorization: str) -> str | None:
        found = asyncio.run(callers.identify(authorization))
        return found.name if found is not None else None

    assert [who(text) for text in ("Bearer secret", f"Bearer {token()}", f"bearer {token()}")] == ["static", "ci", "ci"]
    assert [who(text) for text in ("", "Bearer", "Bearer x", f"Basic {token()}", f"Bearer {token(aud='x')}", token())] == [None] * 6
    assert callers.issuer_hosts == frozenset(("issuer.test",))


@pytest.mark.parametrize(
    "entry",
    [
        "{name: a, oidc: {issuer: http://x.test, audience: a, subject: s}}",
        "{name: a, oidc: {issuer: https://x.test, subject: s}}",
        "{name: a, oidc: {issuer: https://x.test, audience: a}}",
        "{name: a, oidc: {issuer: https://x.test, audience: a, subject: ''}}",
        "{name: a}",
        "{name: a, sha256: '" + "0" * 64 + "', oidc: {issuer: https://x.test, audience: a, subject: s}}",
    ],
)
def test_entries_that_are_none(tmp_path: Path, entry: str) -> None:
    (tmp_path / "c.yaml").write_text(f"apiVersion: verifier/v1\nkind: Callers\ncallers: [{entry}]\n")
    with pytest.raises(MisuseError) as refused:
        load_callers(tmp_path / "c.yaml")
    assert refused.value.code.name == "config-invalid"


def test_an_entry(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "apiVersion: verifier/v1\nkind: Callers\ncallers: [{name: ci, roles: [verify, decisions], oidc: {issuer: https://issuer.test, audience: helm-verifier, subject: 'repo:acme/*:**'}}]\n"
    )
    (caller,) = load_callers(tmp_path / "c.yaml").callers
    assert (caller.identity, caller.may("decisions"), caller.may("admission")) == (IDENTITY, True, False)
