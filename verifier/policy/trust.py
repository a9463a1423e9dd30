"""Reading `trust:` and `roots:`: the names for what a policy believes in (semantics 9)."""

from __future__ import annotations

import re

from verifier.formats.yaml import Node, Scalar
from verifier.model.claim import CERTIFICATE_CLAIMS, SanType
from verifier.policy.document import RootEntry, SecretKey, TrustEntry, TrustKind
from verifier.policy.fields import Fields, boolean, count, duration, fail, known, moment, named, one_of, pattern, sequence, text
from verifier.policy.identity import GITHUB_ISSUER, How, Identity, Pattern, compiles, repository_host, san_type
from verifier.trust.anchors import PUBLIC_GOOD, Thresholds

_TRUST = ("openpgp", "key", "keyless")
_OPENPGP = ("keyring", "inline", "gnupgHome", "fingerprints", "anyKey")
_KEY = ("file", "pem", "secret", "secretKey", "notBefore", "notAfter", "root", "tlog")
_KEYLESS = ("issuer", "identity", "identityRegexp", "identityType", "sourceRepository", "claims", "root")
_ROOT = ("trustedRoot", "thresholds", "maxAge")
_THRESHOLDS = ("sct", "tlog", "timestamp")
_FINGERPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")
_SECRET = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_OWNER_AND_NAME = re.compile(r"[\w.-]+(/[\w.-]+)+")


def read_trust(top: Fields) -> tuple[tuple[TrustEntry, ...], tuple[RootEntry, ...]]:
    """Trust entries and roots; a root that an entry names is there, and one that nobody names is not."""
    roots = tuple(_root(name, inner) for name, inner in _named(top, "roots"))
    names = {PUBLIC_GOOD, *(root.name for root in roots)}
    entries = tuple(_entry(name, inner, names) for name, inner in _named(top, "trust"))
    return entries, _used(entries, roots)


def _named(top: Fields, key: str) -> list[tuple[str, Node]]:
    if not top.has(key):
        return []
    node = top.need(key)
    fields = named(node, key)
    for name in fields.items():
        if not _NAME.fullmatch(name):
            fail(fields.node.keys[name], f"{name[:80]!r} is not a name (letters, digits, '.', '_', '-')")
    return list(fields.items().items())


def _used(entries: tuple[TrustEntry, ...], roots: tuple[RootEntry, ...]) -> tuple[RootEntry, ...]:
    """The roots that entries name; the public instance's need not be written."""
    named = {entry.root for entry in entries if entry.root is not None}
    written = {root.name for root in roots}
    built_in = (RootEntry(name=PUBLIC_GOOD, place="the built-in root"),) if PUBLIC_GOOD in named - written else ()
    return tuple(root for root in roots if root.name in named) + built_in


def _entry(name: str, node: Node, roots: set[str]) -> TrustEntry:
    place = f"trust.{name}"
    fields = Fields(node, place, _TRUST)
    if len(fields.items()) != 1:
        fail(node, f"{place} holds one kind: {' or '.join(_TRUST)}")
    kind, inner = next(iter(fields.items().items()))
    match kind:
        case "openpgp":
            return _openpgp(name, inner, place)
        case "key":
            return _key(name, Fields(inner, f"{place}.key", _KEY), roots)
        case _:
            return _keyless(name, Fields(inner, f"{place}.keyless", _KEYLESS), roots)


def _openpgp(name: str, node: Node, place: str) -> TrustEntry:
    fields = Fields(node, f"{place}.openpgp", _OPENPGP)
    exactly_one(fields, ("keyring", "inline", "gnupgHome"))
    any_key = fields.get("anyKey", boolean, False)
    if any_key == fields.has("fingerprints"):
        fail(node, "name the `fingerprints` of primary keys that you mean (or say `anyKey: true` for every key of the keyring)")
    if any_key and fields.has("gnupgHome"):
        fail(node, "a GnuPG home holds whatever its owner ever imported: name the fingerprints")
    return TrustEntry(
        name=name,
        kind=TrustKind.OPENPGP,
        path=fields.optional("keyring", text),
        inline=fields.optional("inline", text),
        gnupg_home=fields.optional("gnupgHome", text),
        fingerprints=fields.get("fingerprints", lambda inner: tuple(fingerprint(item) for item in sequence(inner)), ()),
        any_key=any_key,
        place=place,
    )


def _key(name: str, fields: Fields, roots: set[str]) -> TrustEntry:
    exactly_one(fields, ("file", "pem", "secret"))
    if fields.has("secretKey") and not fields.has("secret"):
        fail(fields.node, "secretKey goes with secret")
    not_before, not_after = fields.optional("notBefore", moment), fields.optional("notAfter", moment)
    if not_before and not_after and not_before >= not_after:
        fail(fields.node, "notBefore must lie before notAfter")
    required = fields.optional("tlog", one_of("required")) is not None
    return TrustEntry(
        name=name,
        kind=TrustKind.KEY,
        path=fields.optional("file", _key_file),
        inline=fields.optional("pem", text),
        secret=SecretKey(name=_secret_name(fields.need("secret")), key=fields.get("secretKey", text, "cosign.pub")) if fields.has("secret") else None,
        not_before=not_before,
        not_after=not_after,
        root=_root_name(fields, roots) if fields.has("root") else PUBLIC_GOOD if required else None,
        tlog_required=required,
        place=f"trust.{name}",
    )


def _secret_name(node: Node) -> str:
    written = text(node)
    if not _SECRET.fullmatch(written):
        fail(node, "the name of a Secret: lower-case letters, digits, '-' and '.'")
    return written


def _key_file(node: Node) -> str:
    """A policy holds no key that somebody must be asked for: deciding sends no packet beyond the registry (ADR 9)."""
    written = text(node)
    if ("://" in written and not written.startswith("env://")) or written.startswith("pkcs11:"):
        fail(node, "write the key's public half into a file: verifier keys show --pem KEYREF > ci.pub")
    return written


def _keyless(name: str, fields: Fields, roots: set[str]) -> TrustEntry:
    exactly_one(fields, ("identity", "identityRegexp"))
    issuer = text(fields.need("issuer"))
    if not issuer.startswith(("https://", "http://")) or "*" in issuer:
        fail(fields.need("issuer"), "an issuer is compared exactly: write its whole URL")
    identity = Identity(
        issuer=issuer,
        san=_san(fields),
        san_type=_san_type(fields),
        source_repository=_source_repository(fields, issuer),
        claims=fields.get("claims", _claims, ()),
    )
    root = _root_name(fields, roots) if fields.has("root") else PUBLIC_GOOD
    return TrustEntry(name=name, kind=TrustKind.KEYLESS, identity=identity, root=root, place=f"trust.{name}")


def _san(fields: Fields) -> Pattern:
    if fields.has("identityRegexp"):
        return _regexp(fields.need("identityRegexp"))
    return pattern(fields.need("identity"))


def _regexp(node: Node) -> Pattern:
    written = text(node)
    if (problem := compiles(written)) is not None:
        fail(node, problem)
    return Pattern(How.REGEXP, written)


def _san_type(fields: Fields) -> SanType:
    if fields.has("identityType"):
        return SanType(one_of(*SanType)(fields.need("identityType")))
    if fields.has("identityRegexp"):
        fail(fields.need("identityRegexp"), "say which type of identity is meant: identityType: email, uri or other")
    written = text(fields.need("identity"))
    if (kind := san_type(written)) is not None:
        return kind
    fail(fields.need("identity"), "neither a URL nor an e-mail address: say identityType: email, uri or other")


def _source_repository(fields: Fields, issuer: str) -> str | None:
    host = repository_host(issuer)
    if not fields.has("sourceRepository"):
        if host is not None:
            service = "GitHub" if issuer == GITHUB_ISSUER else "GitLab"
            fail(fields.node, f"an identity of {service} also names `sourceRepository: OWNER/NAME`: whoever calls a reusable workflow shares its identity")
        return None
    node = fields.need("sourceRepository")
    written = text(node).rstrip("/")
    if "*" in written:
        fail(node, "a source repository is compared exactly")
    if "://" in written:
        return written
    if host is None or not _OWNER_AND_NAME.fullmatch(written):
        fail(node, "write the repository's whole URL (OWNER/NAME is enough for GitHub and GitLab)")
    return f"{host}{written}"


def _claims(node: Node) -> tuple[tuple[str, Pattern], ...]:
    fields = Fields(node, "claims", CERTIFICATE_CLAIMS)
    if not fields.items():
        fail(node, "claims must name a claim of the certificate")
    return tuple((name, pattern(inner)) for name, inner in sorted(fields.items().items()))


def _root_name(fields: Fields, roots: set[str]) -> str:
    name = text(fields.need("root"))
    if name not in roots:
        fail(fields.need("root"), f"{name[:80]!r} is not a name under roots; {known(name, sorted(roots))}")
    return name


def _root(name: str, node: Node) -> RootEntry:
    fields = Fields(node, f"roots.{name}", _ROOT)
    return RootEntry(
        name=name,
        path=fields.optional("trustedRoot", text),
        thresholds=fields.get("thresholds", _thresholds, Thresholds()),
        max_age=fields.optional("maxAge", duration),
        place=f"roots.{name}",
    )


def _thresholds(node: Node) -> Thresholds:
    fields = Fields(node, "thresholds", _THRESHOLDS)
    found = Thresholds(sct=fields.get("sct", count, 1), tlog=fields.get("tlog", count, 1), timestamp=fields.get("timestamp", count, 0))
    if found.tlog == 0 and found.timestamp == 0:
        fail(node, "a time must be proven: tlog or timestamp must be at least 1")
    return found


def exactly_one(fields: Fields, keys: tuple[str, ...]) -> None:
    """Refuse unless exactly one of the fields is written."""
    if sum(fields.has(key) for key in keys) != 1:
        fail(fields.node, f"{fields.what} needs exactly one of: {', '.join(keys)}")


def fingerprint(node: Node | Scalar) -> str:
    """A whole fingerprint, upper-case."""
    written = text(node).replace(" ", "").upper()
    if not _FINGERPRINT.fullmatch(written):
        fail(node, "a fingerprint has 40 or 64 hex digits (a short key id can be forged)")
    return written
