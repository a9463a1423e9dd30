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
from collections import Counter
from collections.abc import Mapping

from msgspec.structs import replace

from verifier.formats.yaml import Node, YamlError, parse_yaml, path_of
from verifier.model import codes, limits
from verifier.model.digest import parse_digest
from verifier.model.errors import MisuseError
from verifier.policy.chart import read_chart, read_versions
from verifier.policy.cluster import Admission, Leniency, Whose
from verifier.policy.contents import read_images, read_subcharts, read_when, repository_of, scope
from verifier.policy.directory import METADATA, TOP, items_of, join
from verifier.policy.document import API_VERSION, KIND, Denied, ExceptionSources, Policy, Rule, signers_of_summaries, walk
from verifier.policy.document import Signed as SignedRequirement
from verifier.policy.exceptions import read_exceptions
from verifier.policy.fields import Fields, fail, known, moment, one_of, positive, sequence, text, texts, true
from verifier.policy.identity import glob_or_exact
from verifier.policy.index import ScopeIndex
from verifier.policy.requirements import Names, digest_text, read_requirement
from verifier.policy.sources import read_sources
from verifier.policy.trust import exactly_one, fingerprint, read_trust

_RULE = ("name", "charts", "when", "require", "chart", "origins", "channels", "subcharts", "images", "admission", "credentials", *Leniency)
_DENY = ("digest", "name", "versions", "fingerprint", "key", "identity", "issuer", "revokedAt", "reason")


def load_policy(data: bytes, *, where: str) -> Policy:
    """Read and check a policy; raises MisuseError `policy-invalid` with `where:line:column` and the field's path."""
    return load_documents({where: data})


def load_documents(documents: Mapping[str, bytes]) -> Policy:
    """The same of several documents by their places, which are one policy together (docs/policy.md, "A directory")."""
    tops: dict[str, Node] = {}
    here = next(iter(documents))
    try:
        for here, data in documents.items():
            if len(data) > limits.POLICY_BYTES:
                raise MisuseError(codes.POLICY_INVALID, f"larger than {limits.POLICY_BYTES} bytes", where=here)
            tops[here] = parse_yaml(data)
        whole = next(iter(tops.values())) if len(tops) == 1 else join(tops)
        policy = _policy(whole, _digest(documents))
    except YamlError as error:
        raise _located(error, tops, here) from error
    return policy if len(tops) == 1 else _with_places(policy, tops)


def _located(error: YamlError, tops: Mapping[str, Node], here: str) -> MisuseError:
    """The error with the document that holds its node; without one it is of YAML itself, in the document that was being read."""
    for where, top in tops.items():
        if error.node is not None and (field := path_of(error.node, top)) is not None:
            return MisuseError(codes.POLICY_INVALID, f"{field}: {error.reason}" if field else error.reason, where=f"{where}:{error.line}:{error.column}")
    return MisuseError(codes.POLICY_INVALID, error.reason, where=f"{here}:{error.line}:{error.column}" if error.line else here)


def _digest(documents: Mapping[str, bytes]) -> str:
    """Of the one document; of several, of their digests in the order of their names."""
    digests = [hashlib.sha256(data).hexdigest() for _, data in sorted(documents.items())]
    return f"sha256:{digests[0] if len(digests) == 1 else hashlib.sha256(chr(10).join(digests).encode()).hexdigest()}"


def _with_places(policy: Policy, tops: Mapping[str, Node]) -> Policy:
    places = [f"{where} line {item.line}" for where, top in tops.items() for item in items_of(top, "rules")]
    return replace(policy, rules=tuple(replace(rule, place=place) for rule, place in zip(policy.rules, places, strict=True)))


def _policy(node: Node, digest: str) -> Policy:
    top = Fields(node, "the policy", TOP)
    one_of(API_VERSION)(top.need("apiVersion"))
    one_of(KIND)(top.need("kind"))
    top.get("default", one_of("deny"), "deny")
    trust, roots = read_trust(top)
    names = Names({entry.name: entry.kind for entry in trust})
    sources, exceptions = top.get("exceptions", lambda inner: read_exceptions(inner, names), (ExceptionSources(), ()))
    metadata = Fields(top.need("metadata"), "metadata", METADATA)
    policy = Policy(
        name=text(metadata.need("name")),
        serial=metadata.optional("serial", positive),
        expires=metadata.optional("expires", moment),
        digest=digest,
        trust=trust,
        roots=roots,
        baseline=top.get("baseline", lambda inner: tuple(read_requirement(item, names, top=True) for item in sequence(inner)), ()),
        deny=top.get("deny", lambda inner: tuple(_denied(item) for item in sequence(inner)), ()),
        rules=tuple(_rule(item, names) for item in sequence(top.need("rules"))),
        exceptions=exceptions,
        exception_sources=sources,
        sources=top.get("sources", read_sources, ()),
    )
    _check_unique(top.need("rules"), [rule.name for rule in policy.rules], "rule")
    _check_ties(top.need("rules"), policy.rules)
    _check_summaries(top, policy)
    _check_exceptions(top, policy)
    return policy


def _check_exceptions(top: Fields, policy: Policy) -> None:
    rules = [rule.name for rule in policy.rules]
    for item in policy.exceptions:
        if item.rule not in rules:
            fail(top.need("exceptions"), f"{item.place}: {item.rule[:80]!r} is no rule; {known(item.rule, rules)}")


def _check_summaries(top: Fields, policy: Policy) -> None:
    """Keys of summaries sign nothing else: whoever holds one could approve what nobody signed (semantics 24)."""
    summaries, others = signers_of_summaries(policy)
    for name in sorted(summaries):
        if name in others:
            fail(top.need("trust"), f"{name} signs both summaries and charts: that must be two keys")
    for entry in policy.trust:  # who may edit a namespace's Secrets must not approve for the organisation
        if entry.secret is not None and (entry.name in summaries or entry.name in policy.exception_sources.by):
            fail(top.need("trust"), f"{entry.name} is a key of the object's namespace: it can sign charts there, no summaries and no exceptions")


def _rule(node: Node, names: Names) -> Rule:
    fields = Fields(node, "a rule", _RULE)
    name = text(fields.need("name"))
    chart = fields.optional("chart", read_chart)
    require = read_requirement(fields.need("require"), names, top=True)
    if chart is not None and chart.max_age is not None and not any(isinstance(item, SignedRequirement) for item in walk(require)):
        fail(fields.need("chart"), "maxAge is the age of a signature, and this rule requires none")
    return Rule(
        name=name,
        scopes=tuple(scope(item) for item in sequence(fields.need("charts"))),
        require=require,
        chart=chart,
        context=fields.get("when", read_when, ()),
        origins=fields.get("origins", lambda inner: frozenset(repository_of(item) for item in sequence(inner)), frozenset()),
        channels=frozenset(fields.get("channels", texts, ())),
        subcharts=fields.optional("subcharts", read_subcharts),
        images=fields.optional("images", lambda inner: read_images(inner, names)),
        lenient=frozenset(kind for kind in Leniency if fields.get(kind, true, False)),
        admission=Admission(fields.get("admission", one_of(*Admission), Admission.ENFORCE)),
        credentials=Whose(fields.get("credentials", one_of(*Whose), Whose.NAMESPACE)),
        place=f"line {fields.node.line}",
    )


def _denied(node: Node) -> Denied:
    fields = Fields(node, "a deny entry", _DENY)
    exactly_one(fields, ("digest", "name", "fingerprint", "key", "identity"))
    if fields.has("versions") and not fields.has("name"):
        fail(node, "versions goes with name")
    if fields.has("revokedAt") and not any(fields.has(key) for key in ("fingerprint", "key", "identity")):
        fail(node, "revokedAt goes with fingerprint, key or identity")
    if fields.has("issuer") and not fields.has("identity"):
        fail(node, "issuer goes with identity")
    return Denied(
        digest=fields.optional("digest", digest_text),
        name=fields.optional("name", text),
        versions=fields.optional("versions", read_versions),
        fingerprint=fields.optional("fingerprint", fingerprint),
        key=fields.optional("key", _key_id),
        identity=fields.optional("identity", lambda inner: glob_or_exact(text(inner))),
        issuer=fields.optional("issuer", text),
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
    for name, count in Counter(names).items():
        if count > 1:
            fail(node, f"the {what} name {name!r} is there twice")


def _check_ties(node: Node, rules: tuple[Rule, ...]) -> None:
    """Each scope against those that came before it."""
    index = ScopeIndex()
    for number, rule in enumerate(rules):
        for one in rule.scopes:
            for entry in index.tied(one):
                other = rules[entry.rule]
                if len(rule.context) == len(other.context) and not _disjoint(rule, other):
                    where = f"rules {other.name!r} ({other.place}) and {rule.name!r} ({rule.place})"
                    fail(sequence(node)[number], f"{where} tie: {entry.scope.text} and {one.text} are equally specific and can match the same chart")
        for one in rule.scopes:
            index.add(one, number)


def _disjoint(rule: Rule, other: Rule) -> bool:
    theirs = dict(other.context)
    return any(key in theirs and not values & theirs[key] for key, values in rule.context)
