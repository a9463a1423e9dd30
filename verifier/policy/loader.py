"""Reading a policy document strictly: whatever is not understood is an error with line and column.

1. One YAML document without anchors, tags or duplicate keys (formats.yaml).
2. Known fields only, right types, nothing empty that would make a requirement trivially true (semantics 13).
3. Names: every `by` names a trust entry, and every name is there once.
4. Places: `until` only inside `any` or `atLeast`; `action` and `enforceFrom` only at a rule's top or directly under its
   top `all` (semantics 11, 12).
5. Scopes: no two rules that tie (semantics 15).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from verifier.formats.yaml import Node, Scalar, YamlError, parse_yaml
from verifier.model import codes, limits
from verifier.model.context import CONTEXT_KEYS
from verifier.model.digest import parse_digest
from verifier.model.errors import MisuseError
from verifier.policy.document import API_VERSION, KIND, Denied, Policy, Rule, TrustEntry, TrustKind, walk
from verifier.policy.document import Signed as SignedRequirement
from verifier.policy.fields import Fields, boolean, fail, moment, one_of, sequence, text, texts
from verifier.policy.requirements import Names, digest_text, read_chart, read_requirement, read_versions
from verifier.policy.scopes import Scope, parse_scope

_TOP = ("apiVersion", "kind", "metadata", "trust", "baseline", "deny", "rules", "default")
_RULE = ("name", "charts", "when", "require", "chart", "origins", "channels")
_TRUST = ("openpgp", "key")
_OPENPGP = ("keyring", "inline", "gnupgHome", "fingerprints", "anyKey")
_KEY = ("file", "pem", "notBefore", "notAfter")
_DENY = ("digest", "name", "versions", "fingerprint", "key", "revokedAt", "reason")
_FINGERPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def load_policy(data: bytes, *, where: str) -> Policy:
    """Read and check a policy; raises MisuseError `policy-invalid` with `where:line:column`."""
    if len(data) > limits.POLICY_BYTES:
        raise MisuseError(codes.POLICY_INVALID, f"larger than {limits.POLICY_BYTES} bytes", where=where)
    try:
        return _policy(parse_yaml(data), data)
    except YamlError as error:
        place = f"{where}:{error.line}:{error.column}" if error.line else where
        raise MisuseError(codes.POLICY_INVALID, error.reason, where=place) from error


def _policy(node: Node, data: bytes) -> Policy:
    top = Fields(node, "the policy", _TOP)
    one_of(API_VERSION)(top.need("apiVersion"))
    one_of(KIND)(top.need("kind"))
    top.get("default", one_of("deny"), "deny")
    trust = _trust(top)
    names = Names({entry.name: entry.kind for entry in trust})
    policy = Policy(
        name=text(Fields(top.need("metadata"), "metadata", ("name",)).need("name")),
        digest="sha256:" + hashlib.sha256(data).hexdigest(),
        trust=trust,
        baseline=top.get("baseline", lambda inner: tuple(read_requirement(item, names, top=True) for item in sequence(inner)), ()),
        deny=top.get("deny", lambda inner: tuple(_denied(item) for item in sequence(inner)), ()),
        rules=tuple(_rule(item, names) for item in sequence(top.need("rules"))),
    )
    _check_unique(top.need("rules"), [rule.name for rule in policy.rules], "rule")
    _check_ties(top.need("rules"), policy.rules)
    return policy


def _trust(top: Fields) -> tuple[TrustEntry, ...]:
    if not top.has("trust"):
        return ()
    node = top.need("trust")
    entries = Fields(node, "trust", tuple(getattr(node, "items", {})))
    return tuple(_trust_entry(name, inner, entries) for name, inner in entries.items().items())


def _trust_entry(name: str, node: Node, entries: Fields) -> TrustEntry:
    if not _NAME.fullmatch(name):
        fail(entries.node.keys[name], f"{name[:80]!r} is not a name (letters, digits, '.', '_', '-')")
    fields = Fields(node, f"trust.{name}", _TRUST)
    if len(fields.items()) != 1:
        fail(node, f"trust.{name} holds one kind: {' or '.join(_TRUST)}")
    kind, inner = next(iter(fields.items().items()))
    place = f"trust.{name}"
    return _openpgp(name, inner, place) if kind == "openpgp" else _key(name, inner, place)


def _openpgp(name: str, node: Node, place: str) -> TrustEntry:
    fields = Fields(node, f"{place}.openpgp", _OPENPGP)
    _exactly_one(fields, ("keyring", "inline", "gnupgHome"))
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
        fingerprints=fields.get("fingerprints", lambda inner: tuple(_fingerprint(item) for item in sequence(inner)), ()),
        any_key=any_key,
        place=place,
    )


def _key(name: str, node: Node, place: str) -> TrustEntry:
    fields = Fields(node, f"{place}.key", _KEY)
    _exactly_one(fields, ("file", "pem"))
    not_before, not_after = fields.optional("notBefore", moment), fields.optional("notAfter", moment)
    if not_before and not_after and not_before >= not_after:
        fail(node, "notBefore must lie before notAfter")
    return TrustEntry(
        name=name,
        kind=TrustKind.KEY,
        path=fields.optional("file", text),
        inline=fields.optional("pem", text),
        not_before=not_before,
        not_after=not_after,
        place=place,
    )


def _exactly_one(fields: Fields, keys: tuple[str, ...]) -> None:
    if sum(fields.has(key) for key in keys) != 1:
        fail(fields.node, f"{fields.what} needs exactly one of: {', '.join(keys)}")


def _fingerprint(node: Node) -> str:
    written = text(node).replace(" ", "").upper()
    if not _FINGERPRINT.fullmatch(written):
        fail(node, "a fingerprint has 40 or 64 hex digits (a short key id can be forged)")
    return written


def _rule(node: Node, names: Names) -> Rule:
    fields = Fields(node, "a rule", _RULE)
    name = text(fields.need("name"))
    chart = fields.optional("chart", read_chart)
    require = read_requirement(fields.need("require"), names, top=True)
    if chart is not None and chart.max_age is not None and not any(isinstance(item, SignedRequirement) for item in walk(require)):
        fail(fields.need("chart"), "maxAge is the age of a signature, and this rule requires none")
    return Rule(
        name=name,
        scopes=tuple(_scope(item) for item in sequence(fields.need("charts"))),
        require=require,
        chart=chart,
        context=fields.get("when", _context, ()),
        origins=fields.get("origins", lambda inner: frozenset(_origin(item) for item in sequence(inner)), frozenset()),
        channels=frozenset(fields.get("channels", texts, ())),
        place=f"line {fields.node.line}",
    )


def _scope(node: Node) -> Scope:
    try:
        return parse_scope(text(node))
    except ValueError as error:
        fail(node, str(error))


def _origin(node: Node) -> str:
    scope = _scope(node)
    if not scope.host or scope.rank[0] != 2:
        fail(node, "an origin is one repository: oci://HOST/PATH without wildcards")
    return f"{scope.host}/{'/'.join(scope.segments)}"


def _context(node: Node) -> tuple[tuple[str, frozenset[str]], ...]:
    fields = Fields(node, "when", CONTEXT_KEYS)
    if not fields.items():
        fail(node, "when must select on something")
    return tuple((key, frozenset(texts(inner))) for key, inner in sorted(fields.items().items()))


def _denied(node: Node) -> Denied:
    fields = Fields(node, "a deny entry", _DENY)
    _exactly_one(fields, ("digest", "name", "fingerprint", "key"))
    if fields.has("versions") and not fields.has("name"):
        fail(node, "versions goes with name")
    if fields.has("revokedAt") and not (fields.has("fingerprint") or fields.has("key")):
        fail(node, "revokedAt goes with fingerprint or key")
    return Denied(
        digest=fields.optional("digest", digest_text),
        name=fields.optional("name", text),
        versions=fields.optional("versions", read_versions),
        fingerprint=fields.optional("fingerprint", _fingerprint),
        key=fields.optional("key", _key_id),
        revoked_at=fields.optional("revokedAt", moment),
        reason=fields.get("reason", text, ""),
    )


def _key_id(node: Node) -> str:
    written = text(node)
    try:
        return str(parse_digest(written))
    except ValueError:
        fail(node, "a key is named by the sha256:HEX that `verifier keys show` prints")


def _check_unique(node: Node, names: list[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            fail(node, f"the {what} name {name!r} is there twice")


def _check_ties(node: Node, rules: tuple[Rule, ...]) -> None:
    for index, rule in enumerate(rules):
        for other in rules[index + 1 :]:
            for one, two in _tied(rule, other):
                line = Scalar("", True, getattr(node, "line", 0), getattr(node, "column", 0))
                where = f"rules {rule.name!r} ({rule.place}) and {other.name!r} ({other.place})"
                fail(line, f"{where} tie: {one.text} and {two.text} are equally specific and can match the same chart")


def _tied(rule: Rule, other: Rule) -> Iterable[tuple[Scope, Scope]]:
    if len(rule.context) != len(other.context) or _disjoint(rule, other):
        return ()
    return ((one, two) for one in rule.scopes for two in other.scopes if one.rank == two.rank and one.overlaps(two))


def _disjoint(rule: Rule, other: Rule) -> bool:
    theirs = dict(other.context)
    return any(key in theirs and not values & theirs[key] for key, values in rule.context)
