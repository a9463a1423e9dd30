"""Reading cases: what a policy is expected to answer, in a `NAME.test.yaml` beside it.

A case names a reference and states what is known about the chart, as if it had been verified; or it names a recording, whose evidence
is verified. It says what is expected: the outcome, and for anything but an allow the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from verifier.attest.predicates import predicate_uri
from verifier.formats.yaml import Mapping as YamlMapping
from verifier.formats.yaml import Node, Scalar, YamlError, parse_yaml, plain, told
from verifier.model import codes, limits
from verifier.model.claim import CERTIFICATE_CLAIMS
from verifier.model.codes import Code
from verifier.model.context import CONTEXT_KEYS
from verifier.model.decision import Outcome
from verifier.model.errors import MisuseError
from verifier.policy.fields import Fields, boolean, fail, known, moment, named, one_of, sequence, text, texts
from verifier.trust.anchors import PUBLIC_GOOD

_TOP = ("context", "at", "identities", "cases")
_IDENTITY = ("identity", "issuer", "claims", "root")
_ATTESTED = ("by", "certified", "type", "predicate")
_STATED = ("pinned", "signedBy", "signedAt", "certified", "attested", "chart", "locked", "images", "unread")
_CASE = ("name", "reference", "recording", "context", "at", "expect", "code", "warns", *_STATED)


class Identity(Struct, frozen=True, kw_only=True):
    """Whom a CA certified: what a keyless signature carries."""

    identity: str
    issuer: str
    claims: Mapping[str, str]
    root: str = PUBLIC_GOOD


class StatedAttestation(Struct, frozen=True, kw_only=True):
    """An attestation by a trust name, or by whom a CA certified."""

    by: str | None
    certified: Identity | None
    predicate_type: str
    predicate: Any


class Stated(Struct, frozen=True, kw_only=True):
    """What a case states about a chart; `chart` is written into its Chart.yaml."""

    pinned: bool = False
    signed_by: tuple[str, ...] = ()
    signed_at: datetime | None = None
    certified: tuple[Identity, ...] = ()
    attested: tuple[StatedAttestation, ...] = ()
    chart: Mapping[str, Any]
    locked: bool = False
    images: tuple[str, ...] | None = None
    unread: Code | None = None


class Expected(Struct, frozen=True, kw_only=True):
    """What the answer must be; `warns` is a part of one of its warnings."""

    outcome: Outcome
    code: Code | None = None
    warns: str | None = None


class Case(Struct, frozen=True, kw_only=True):
    """One case. `recording` is relative to the file; `at` None is the time of the recording, or now."""

    name: str
    place: str
    reference: str | None
    recording: str | None
    stated: Stated
    context: Mapping[str, str]
    at: datetime | None
    expected: Expected


def read_cases(data: bytes, *, where: str) -> tuple[Case, ...]:
    """Read a file of cases; raises MisuseError `policy-invalid` with `where:line:column` and the field's path."""
    top: Node | None = None
    try:
        top = parse_yaml(data)
        return _cases(top)
    except YamlError as error:
        reason, place = told(error, top, where)
        raise MisuseError(codes.POLICY_INVALID, reason, where=place) from error


def _cases(node: Node) -> tuple[Case, ...]:
    top = Fields(node, "a file of cases", _TOP)
    identities = {name: _identity(inner) for name, inner in top.get("identities", lambda inner: named(inner, "identities").items(), {}).items()}
    context, at = top.get("context", _context, {}), top.optional("at", moment)
    items = sequence(top.need("cases"))
    if len(items) > limits.CASES:
        fail(top.need("cases"), f"more than {limits.CASES} cases")
    cases = tuple(_case(item, identities, context, at) for item in items)
    names: set[str] = set()
    for item, case in zip(items, cases, strict=True):
        if case.name in names:
            fail(item, f"the name {case.name[:80]!r} is there twice")
        names.add(case.name)
    return cases


def _case(node: Node, identities: Mapping[str, Identity], context: Mapping[str, str], at: datetime | None) -> Case:
    fields = Fields(node, "a case", _CASE)
    recording, reference = fields.optional("recording", text), fields.optional("reference", text)
    if (recording is None) == (reference is None):
        fail(node, "a case has either a reference, with what it states of the chart, or a recording")
    stated = [key for key in _STATED if fields.has(key)]
    if recording is not None and (stated or fields.has("context")):
        fail(fields.need((stated or ["context"])[0]), "a recording holds what was found and asked; nothing is stated beside it")
    return Case(
        name=text(fields.need("name")),
        place=f"line {fields.node.line}",
        reference=reference,
        recording=recording,
        stated=_stated(fields, identities),
        context=fields.get("context", _context, context),
        at=fields.get("at", moment, at),
        expected=_expected(fields),
    )


def _expected(fields: Fields) -> Expected:
    outcome = Outcome(one_of(*Outcome)(fields.need("expect")))
    code = fields.optional("code", _code)
    if (outcome is Outcome.ALLOWED) != (code is None):
        fail(fields.node, "a denial is expected with its code, an allow has none")
    return Expected(outcome=outcome, code=code, warns=fields.optional("warns", text))


def _code(node: Node) -> Code:
    written = text(node)
    if written not in codes.ALL:
        fail(node, f"{written[:60]!r} is no code; {known(written, codes.ALL)}")
    return codes.ALL[written]


def _stated(fields: Fields, identities: Mapping[str, Identity]) -> Stated:
    return Stated(
        pinned=fields.get("pinned", boolean, False),
        signed_by=fields.get("signedBy", texts, ()),
        signed_at=fields.optional("signedAt", moment),
        certified=fields.get("certified", lambda inner: tuple(_identity_of(item, identities) for item in _several(inner)), ()),
        attested=fields.get("attested", lambda inner: tuple(_attested(item, identities) for item in _several(inner)), ()),
        chart=fields.get("chart", _mapping, {}),
        locked=fields.get("locked", boolean, False),
        images=fields.optional("images", texts),
        unread=fields.optional("unread", _code),
    )


def _several(node: Node) -> tuple[Node, ...]:
    """One thing, or a list of them."""
    return sequence(node) if not isinstance(node, Scalar | YamlMapping) else (node,)


def _attested(node: Node, identities: Mapping[str, Identity]) -> StatedAttestation:
    fields = Fields(node, "an attestation", _ATTESTED)
    if fields.has("by") == fields.has("certified"):
        fail(node, "an attestation is either `by` a trust name or by whom a CA `certified`")
    written = text(fields.need("type"))
    uri = predicate_uri(written)
    if uri is None:
        fail(fields.need("type"), f"{written[:60]!r} is not a predicate type")
    return StatedAttestation(
        by=fields.optional("by", text),
        certified=fields.optional("certified", lambda inner: _identity_of(inner, identities)),
        predicate_type=uri,
        predicate=fields.get("predicate", _mapping, {}),
    )


def _identity_of(node: Node, identities: Mapping[str, Identity]) -> Identity:
    """Written here, or the name of one under `identities`."""
    if not isinstance(node, Scalar):
        return _identity(node)
    if node.text not in identities:
        fail(node, f"{node.text[:80]!r} is not a name under identities; {known(node.text, identities)}")
    return identities[node.text]


def _identity(node: Node) -> Identity:
    fields = Fields(node, "an identity", _IDENTITY)
    return Identity(
        identity=text(fields.need("identity")),
        issuer=text(fields.need("issuer")),
        claims=fields.get("claims", _claims, {}),
        root=fields.get("root", text, PUBLIC_GOOD),
    )


def _claims(node: Node) -> Mapping[str, str]:
    return {key: text(inner) for key, inner in Fields(node, "claims", CERTIFICATE_CLAIMS).items().items()}


def _context(node: Node) -> Mapping[str, str]:
    return {key: text(inner) for key, inner in Fields(node, "context", CONTEXT_KEYS).items().items()}


def _mapping(node: Node) -> Mapping[str, Any]:
    if not isinstance(node, YamlMapping):
        fail(node, "must be a mapping")
    value: Mapping[str, Any] = plain(node)
    return value
