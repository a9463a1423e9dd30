"""Reading requirements: the tree under `require:` and `baseline:`."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from verifier.attest.predicates import PROVENANCE, TYPES, predicate_uri
from verifier.attest.summary import SUMMARY
from verifier.formats.yaml import Node
from verifier.model.claim import Form
from verifier.model.decision import Action
from verifier.model.digest import parse_digest
from verifier.policy.chart import read_chart
from verifier.policy.document import (
    DEFAULT_FORMS,
    All,
    AnyOf,
    AtLeast,
    Attested,
    BuildConditions,
    ChartIs,
    DigestIn,
    Expr,
    Requirement,
    ReviewedDigest,
    Signed,
    TrustKind,
    Verified,
    Window,
    walk,
)
from verifier.policy.fields import Fields, duration, fail, known, moment, named, one_of, pattern, positive, sequence, text, texts
from verifier.policy.identity import Pattern
from verifier.policy.predicates import KEYS, read_conditions

_KINDS = ("signed", "attested", "verified", "digest", "chart", "expr", "all", "any", "atLeast")
_COMMON = ("since", "until", "enforceFrom", "action")
_SIGNED = ("by", "forms", "bind", "expiredKeys", "retiredKeys", "expr")
_BUILD = ("builder", "buildType", "sourceRepository", "ref", "parameters", "otherParameters")
_ATTESTED = ("type", "by", "bind", "expiredKeys", "retiredKeys", "expr", *KEYS, *_BUILD)
_VERIFIED = ("by", "verifier", "maxAge", "policies", "trusts", "rules")
_REVIEWED = ("digest", "owner", "reason", "expires")
_MAX_DEPTH = 10


class Names(Struct, frozen=True):
    """The trust names of the policy and their kinds."""

    kinds: Mapping[str, TrustKind]


class _Place(Struct, frozen=True, kw_only=True):
    """Where a requirement stands: what may be written there follows from it."""

    path: str = "require"
    depth: int = 0
    optional: bool = False  # inside `any` or `atLeast`
    actionable: bool = True  # at the top, or directly under the top `all`


def read_requirement(node: Node, names: Names, *, top: bool) -> Requirement:
    """Read one requirement tree; raises YamlError. `top` is true for a rule's `require` and for baseline items."""
    return _read(node, names, _Place(actionable=top))


def read_image_requirement(node: Node, names: Names) -> Requirement:
    """What an image must meet: the same tree without conditions on charts, and where every failure counts."""
    requirement = _read(node, names, _Place(path="images.require", actionable=False))
    for inner in walk(requirement):
        if isinstance(inner, ChartIs | Verified | Expr) or (isinstance(inner, Signed | Attested) and inner.expr is not None):
            what = {"ChartIs": "chart", "Verified": "verified"}.get(type(inner).__name__, "expr")
            fail(node, f"an image is no chart: {what} says nothing of it")
    return requirement


def digest_text(node: Node) -> str:
    """A digest, as text."""
    try:
        return str(parse_digest(text(node)))
    except ValueError as error:
        fail(node, str(error))


def _read(node: Node, names: Names, place: _Place) -> Requirement:
    fields = Fields(node, "a requirement", (*_KINDS, *_COMMON))
    kinds = [key for key in fields.items() if key in _KINDS]
    if len(kinds) != 1:
        fail(node, f"a requirement says exactly one of: {', '.join(_KINDS)}")
    if place.depth > _MAX_DEPTH:
        fail(node, f"requirements nested deeper than {_MAX_DEPTH}")
    window, action = _window(fields, place), _action(fields, place)
    inner, kind = fields.need(kinds[0]), kinds[0]
    here = f"{place.path}.{kind}"
    match kind:
        case "signed":
            return _signed(inner, names, here, (window, action))
        case "attested":
            return _attested(inner, names, here, (window, action))
        case "verified":
            return _verified(inner, names, here, (window, action))
        case "digest":
            return DigestIn(entries=_reviewed(inner), place=here, window=window, action=action)
        case "chart":
            return read_chart(inner, place=f"{place.path}.chart", window=window, action=action)
        case "expr":
            return Expr(text=_expression(inner, "chart"), place=here, window=window, action=action)
        case "all":
            of = _children(inner, names, _Place(path=here, depth=place.depth + 1, optional=place.optional, actionable=place.actionable and place.depth == 0))
            return All(of=of, place=here, window=window, action=action)
        case "any":
            of = _children(inner, names, _Place(path=here, depth=place.depth + 1, optional=True, actionable=False))
            return AnyOf(of=of, place=here, window=window, action=action)
        case _:
            return _at_least(inner, names, _Place(path=here, depth=place.depth + 1, optional=True, actionable=False), (window, action))


def _children(node: Node, names: Names, place: _Place) -> tuple[Requirement, ...]:
    return tuple(
        _read(item, names, _Place(path=f"{place.path}[{index}]", depth=place.depth, optional=place.optional, actionable=place.actionable))
        for index, item in enumerate(sequence(node))
    )


def _at_least(node: Node, names: Names, place: _Place, common: tuple[Window, Action]) -> AtLeast:
    fields = Fields(node, "atLeast", ("count", "of"))
    count, of = positive(fields.need("count")), _children(fields.need("of"), names, place)
    for item, child in zip(sequence(fields.need("of")), of, strict=True):
        if not isinstance(child, Signed):
            fail(item, "atLeast counts signers: each entry of `of` must be `signed`")
    principals = {name for child in of if isinstance(child, Signed) for name in child.by}
    if count > min(len(of), len(principals)):
        fail(fields.need("count"), f"count is {count}, but there are only {min(len(of), len(principals))} distinct signers to count")
    return AtLeast(count=count, of=of, place=place.path, window=common[0], action=common[1])


def _signed(node: Node, names: Names, place: str, common: tuple[Window, Action]) -> Signed:
    fields = Fields(node, "signed", _SIGNED)
    extra = frozenset(Form(one_of("message")(item)) for item in fields.get("forms", sequence, ()))
    return Signed(
        by=by_names_of(fields, names),
        forms=DEFAULT_FORMS | extra,
        expr=fields.optional("expr", lambda inner: _expression(inner, "signature")),
        bind_repository=fields.optional("bind", one_of("repository")) is not None,
        expired_keys=_allowed(fields, "expiredKeys"),
        retired_keys=_allowed(fields, "retiredKeys"),
        place=place,
        window=common[0],
        action=common[1],
    )


def by_names_of(fields: Fields, names: Names) -> tuple[str, ...]:
    """The trust names under `by`, each known and there once; raises YamlError."""
    node = fields.need("by")
    by = texts(node)
    for name in by:
        if name not in names.kinds:
            fail(node, f"{name[:80]!r} is not a name under trust; {known(name, names.kinds)}")
    if len(set(by)) != len(by):
        fail(node, "a name is there twice")
    return by


def _allowed(fields: Fields, key: str) -> bool:
    return fields.get(key, one_of("allow", "deny"), "deny") == "allow"


def _check_no_keyring(fields: Fields, by: tuple[str, ...], names: Names, what: str) -> None:
    for name in by:
        if names.kinds[name] is TrustKind.OPENPGP:
            fail(fields.need("by"), f"{name} is an OpenPGP keyring, and {what} are signed with keys or keyless")


def _attested(node: Node, names: Names, place: str, common: tuple[Window, Action]) -> Attested:
    fields = Fields(node, "attested", _ATTESTED)
    by, written = by_names_of(fields, names), text(fields.need("type"))
    uri = predicate_uri(written)
    if uri is None:
        fail(fields.need("type"), f"{written[:60]!r} is not a predicate type; write its URI or one of: {', '.join(TYPES)}")
    if uri == SUMMARY:
        fail(fields.need("type"), "a verification summary satisfies only `verified`, which says whose decision it must be")
    _check_no_keyring(fields, by, names, "attestations")
    conditions = [key for key in _BUILD if fields.has(key)]
    if conditions and uri not in PROVENANCE:
        fail(fields.need(conditions[0]), f"{conditions[0]} is a condition on build provenance, and {written} is none")
    return Attested(
        by=by,
        predicate_type=uri,
        build=_build(fields) if conditions else None,
        conditions=read_conditions(fields, uri),
        expr=fields.optional("expr", lambda inner: _expression(inner, "predicate")),
        bind_repository=fields.optional("bind", one_of("repository")) is not None,
        expired_keys=_allowed(fields, "expiredKeys"),
        retired_keys=_allowed(fields, "retiredKeys"),
        place=place,
        window=common[0],
        action=common[1],
    )


def _verified(node: Node, names: Names, place: str, common: tuple[Window, Action]) -> Verified:
    fields = Fields(node, "verified", _VERIFIED)
    by = by_names_of(fields, names)
    _check_no_keyring(fields, by, names, "summaries")
    return Verified(
        by=by,
        verifier=text(fields.need("verifier")),
        max_age=duration(fields.need("maxAge")),
        policies=frozenset(digest_text(item) for item in sequence(fields.need("policies"))),
        trusts=frozenset(digest_text(item) for item in sequence(fields.need("trusts"))),
        rules=frozenset(fields.get("rules", texts, ())),
        place=place,
        window=common[0],
        action=common[1],
    )


def _expression(node: Node, scope: str) -> str:
    """An expression that compiles; without the extra the policy does not load."""
    from verifier.policy.expression import Scope, compile_expression  # most policies have none

    written = text(node)
    try:
        compile_expression(written, Scope(scope))
    except ValueError as error:
        fail(node, f"the expression, at {error}")
    return written


def _build(fields: Fields) -> BuildConditions:
    other = fields.optional("otherParameters", one_of("allow")) is not None
    if other and not fields.has("parameters"):
        fail(fields.need("otherParameters"), "otherParameters goes with parameters")
    return BuildConditions(
        builder=fields.optional("builder", pattern),
        build_type=fields.optional("buildType", pattern),
        source_repository=fields.optional("sourceRepository", _repository_url),
        ref=fields.optional("ref", pattern),
        parameters=fields.optional("parameters", _parameters),
        other_parameters=other,
    )


def _repository_url(node: Node) -> str:
    written = text(node)
    if "://" not in written or "*" in written:
        fail(node, "a source repository is compared exactly: write its whole URL")
    return written.rstrip("/")


def _parameters(node: Node) -> tuple[tuple[str, Pattern], ...]:
    return tuple((path, pattern(inner)) for path, inner in sorted(named(node, "parameters").items().items()))


def _reviewed(node: Node) -> tuple[ReviewedDigest, ...]:
    entries = []
    for item in sequence(Fields(node, "digest", ("in",)).need("in")):
        fields = Fields(item, "a reviewed digest", _REVIEWED)
        entries.append(
            ReviewedDigest(
                digest=digest_text(fields.need("digest")),
                owner=text(fields.need("owner")),
                reason=text(fields.need("reason")),
                expires=moment(fields.need("expires")),
            )
        )
    return tuple(entries)


def _window(fields: Fields, place: _Place) -> Window:
    since, until = fields.optional("since", moment), fields.optional("until", moment)
    if until is not None and not place.optional:
        fail(fields.need("until"), "until is legal only inside any or atLeast, where another branch can take over")
    if since and until and since >= until:
        fail(fields.need("until"), "until must lie after since")
    if fields.has("enforceFrom") and not place.actionable:
        fail(fields.need("enforceFrom"), "enforceFrom is legal at a rule's top or directly under its top `all`")
    return Window(since=since, until=until, enforce_from=fields.optional("enforceFrom", moment))


def _action(fields: Fields, place: _Place) -> Action:
    written = fields.optional("action", one_of(*Action))
    if written is not None and not place.actionable:
        fail(fields.need("action"), "action is legal at a rule's top or directly under its top `all`")
    return Action(written) if written is not None else Action.ENFORCE
