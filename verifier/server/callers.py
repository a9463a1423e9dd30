"""Who calls, and which context they may speak for (semantics 1).

    apiVersion: verifier/v1
    kind: Callers
    callers:
      - name: deployer
        sha256: HEX                      # of the bearer token; the token itself is never stored
        roles: [verify]                  # verify (the default), decisions (reads what was decided), admission (the API server)
        grants: {environment: [prod], namespace: ["*"]}
      - name: ci
        oidc: {issuer: https://token.actions.githubusercontent.com, audience: helm-verifier, subject: "repo:acme/charts:**"}

What a caller merely claims counts only if it is granted; the rest of the context is the server's own.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct, field

from verifier.formats.yaml import Node, YamlError, parse_yaml
from verifier.model import codes, limits
from verifier.model.context import CONTEXT_KEYS, Context
from verifier.model.errors import MisuseError
from verifier.operations.resolve import read_local
from verifier.policy.fields import Fields, fail, one_of, sequence, text, texts
from verifier.policy.identity import glob_or_exact
from verifier.policy.trust import exactly_one
from verifier.server.oidc import Identity, Issuers, is_secure

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Caller(Struct, frozen=True, kw_only=True):
    """An authenticated principal; `grants` maps a context key to the values that it may claim (`*`: any)."""

    name: str
    token_sha256: str = ""
    identity: Identity | None = None
    roles: frozenset[str] = frozenset(("verify",))
    grants: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def may(self, role: str) -> bool:
        """Whether the caller has one of ROLES."""
        return role in self.roles

    def context(self, own: Context, claimed: Mapping[str, str]) -> Context:
        """The server's context with what the caller claims and is granted."""
        granted = {key: value for key, value in claimed.items() if {value, "*"} & self.grants.get(key, frozenset())}
        if not granted:
            return own
        values = {key: granted.get(key, own.value(key)) for key in CONTEXT_KEYS}
        source = f"{own.asserted_by}, token {self.name}" if own != Context(asserted_by=own.asserted_by) else f"token {self.name}"
        return Context(environment=values["environment"], cluster=values["cluster"], namespace=values["namespace"], asserted_by=source)


ROLES = ("verify", "decisions", "admission")
ANYONE = Caller(name="anyone", roles=frozenset(ROLES))


class Callers(Struct, frozen=True):
    """All who may call; none at all means that nobody is asked."""

    callers: tuple[Caller, ...] = ()
    issuers: Issuers | None = None

    async def identify(self, authorization: str) -> Caller | None:
        """The caller whose token this is; every token is compared, in constant time. Raises InconclusiveError where an issuer's keys cannot be had."""
        if not self.callers:
            return ANYONE
        scheme, _, written = authorization.partition(" ")
        token = written.strip()
        if scheme.lower() != "bearer" or not token:
            return None
        given = hashlib.sha256(token.encode()).hexdigest()
        found = [caller for caller in self.callers if hmac.compare_digest(caller.token_sha256, given)]
        if found or self.issuers is None or token.count(".") != 2:
            return found[0] if found else None
        return await asyncio.to_thread(self._by_identity, token, self.issuers)

    def _by_identity(self, token: str, issuers: Issuers) -> Caller | None:
        return next((caller for caller in self.callers if caller.identity is not None and issuers.stands_for(token, caller.identity)), None)

    @property
    def issuer_hosts(self) -> frozenset[str]:
        """Whom we may ask for keys, though they lie on a private address: they are configured."""
        return frozenset(urlsplit(caller.identity.issuer).netloc for caller in self.callers if caller.identity is not None)


def load_callers(path: Path) -> Callers:
    """Read the file; raises MisuseError `config-invalid` or `file-unreadable`."""
    try:
        node = parse_yaml(read_local(path, limits.POLICY_BYTES))
        top = Fields(node, "the callers file", ("apiVersion", "kind", "callers"))
        one_of("verifier/v1")(top.need("apiVersion"))
        one_of("Callers")(top.need("kind"))
        return Callers(tuple(_caller(item) for item in sequence(top.need("callers"))))
    except YamlError as error:
        raise MisuseError(codes.CONFIG_INVALID, error.reason, where=f"{path}:{error.line}:{error.column}") from error


def _caller(node: Node) -> Caller:
    fields = Fields(node, "a caller", ("name", "sha256", "oidc", "roles", "grants"))
    exactly_one(fields, ("sha256", "oidc"))
    digest = fields.get("sha256", text, "")
    if fields.has("sha256") and not _SHA256.fullmatch(digest):
        fail(fields.need("sha256"), "must be the SHA-256 of the token, 64 lower-case hex digits in quotes")
    grants = {}
    if fields.has("grants"):
        grants = {key: frozenset(texts(inner)) for key, inner in Fields(fields.need("grants"), "grants", CONTEXT_KEYS).items().items()}
    roles = frozenset(fields.get("roles", lambda inner: tuple(one_of(*ROLES)(item) for item in sequence(inner)), ("verify",)))
    return Caller(name=text(fields.need("name")), token_sha256=digest, identity=fields.optional("oidc", _identity), roles=roles, grants=grants)


def _identity(node: Node) -> Identity:
    fields = Fields(node, "oidc", ("issuer", "audience", "subject"))
    issuer = text(fields.need("issuer"))
    if not is_secure(issuer):
        fail(fields.need("issuer"), "an issuer is an https:// URL")
    return Identity(issuer=issuer, audience=text(fields.need("audience")), subject=glob_or_exact(text(fields.need("subject"))))
