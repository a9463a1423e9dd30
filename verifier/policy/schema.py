"""The JSON Schema of a policy, for editors; `docs/policy.schema.json` is written from it. The loader is stricter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from verifier.attest.findings import SEVERITIES, VEX_STATUSES
from verifier.model.claim import CERTIFICATE_CLAIMS, SanType
from verifier.model.context import CONTEXT_KEYS
from verifier.policy.cluster import Admission, Leniency, Whose
from verifier.policy.document import API_VERSION, KIND, ImageSource
from verifier.policy.exceptions import WAIVABLE
from verifier.policy.meanings import MEANINGS

_TEXT = {"type": "string", "minLength": 1}
_EXPR = {"type": "string", "minLength": 1, "maxLength": 2_048}
_TIME = {"type": "string", "format": "date-time"}
_TRUE, _FALSE = {"const": True}, {"const": False}
_DIGEST = {"type": "string", "pattern": "^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$"}
_FINGERPRINT = {"type": "string", "pattern": "^([0-9A-Fa-f ]{40,60}|[0-9A-Fa-f ]{64,90})$"}
_DURATION = {"type": "string", "pattern": "^[1-9][0-9]{0,5}[smhd]$"}
_TEXTS = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}


def policy_schema() -> dict[str, Any]:
    """The schema as a JSON value (draft 2020-12)."""
    top = _object(
        ("apiVersion", "kind", "metadata", "rules"),
        apiVersion={"const": API_VERSION},
        kind={"const": KIND},
        metadata=_object(("name",), name=_TEXT, serial={"type": "integer", "minimum": 1}, expires=_TIME),
        trust={"type": "object", "additionalProperties": {"oneOf": [_openpgp(), _key(), _keyless()]}},
        roots={"type": "object", "additionalProperties": _root()},
        baseline=_list({"$ref": "#/$defs/requirement"}),
        deny=_list(_deny()),
        rules=_list(_rule()),
        exceptions={**_object((), by=_TEXTS, signed=_TEXTS, granted=_list(_exemption())), "minProperties": 1},
        sources=_list(_source()),
        default={"const": "deny"},
    )
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"{KIND} of verifier, version {API_VERSION}"}
    schema = {**head, **top, "$defs": {"requirement": _requirement(), "chart": _chart()}}
    for place, inner in objects(schema):
        for field, value in inner["properties"].items():
            inner["properties"][field] = {**value, "description": MEANINGS[f"{place}.{field}"]}
    return schema


def objects(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object with fields, by its place: `rules.images`, and `requirement` and `chart` for what stands in several places."""
    yield from _objects("policy", schema)
    for name, inner in schema["$defs"].items():
        yield from _objects(name, inner)


def _objects(place: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield place, schema
    for field, value in list(schema["properties"].items()):
        for below in (value, value.get("items"), value.get("additionalProperties")):
            for one in [below, *below.get("oneOf", ())] if isinstance(below, dict) else ():
                if "properties" in one:
                    yield from _objects(f"{place}.{field}" if place != "policy" else field, one)


def _openpgp() -> dict[str, Any]:
    inner = _object((), keyring=_TEXT, inline=_TEXT, gnupgHome=_TEXT, fingerprints=_list(_FINGERPRINT), anyKey=_TRUE)
    return _object(("openpgp",), openpgp=inner)


def _key() -> dict[str, Any]:
    inner = _object((), file=_TEXT, pem=_TEXT, secret=_TEXT, secretKey=_TEXT, notBefore=_TIME, notAfter=_TIME, root=_TEXT, tlog={"const": "required"})
    return _object(("key",), key=inner)


def _keyless() -> dict[str, Any]:
    claims = {"type": "object", "properties": dict.fromkeys(CERTIFICATE_CLAIMS, _TEXT), "additionalProperties": False, "minProperties": 1}
    inner = _object(
        ("issuer",),
        issuer={"type": "string", "pattern": "^https?://"},
        identity=_TEXT,
        identityRegexp=_TEXT,
        identityType={"enum": [str(kind) for kind in SanType]},
        sourceRepository=_TEXT,
        claims=claims,
        root=_TEXT,
    )
    return _object(("keyless",), keyless=inner)


def _root() -> dict[str, Any]:
    several = {"type": "integer", "minimum": 0, "maximum": 16}
    return _object((), trustedRoot=_TEXT, thresholds=_object((), sct=several, tlog=several, timestamp=several), maxAge=_DURATION)


def _deny() -> dict[str, Any]:
    return _object(
        (), digest=_DIGEST, name=_TEXT, versions=_TEXT, fingerprint=_FINGERPRINT, key=_DIGEST, identity=_TEXT, issuer=_TEXT, revokedAt=_TIME, reason=_TEXT
    )


def _exemption() -> dict[str, Any]:
    texts = dict.fromkeys(("rule", "owner", "reason", "ticket"), _TEXT)
    which = {"repository": {"type": "string", "pattern": "^(oci|https?)://"}, "digest": _DIGEST, "codes": _list({"enum": sorted(WAIVABLE)}), "expires": _TIME}
    return _object((*texts, *which), **texts, **which)


def _rule() -> dict[str, Any]:
    return _object(
        ("name", "charts", "require"),
        name=_TEXT,
        charts=_list({"type": "string", "pattern": "^(oci://|https?://|file:)"}),
        when=_when(),
        require={"$ref": "#/$defs/requirement"},
        chart={"$ref": "#/$defs/chart"},
        origins=_list({"type": "string", "pattern": "^oci://"}),
        channels=_TEXTS,
        subcharts=_object(("packed",), packed={"enum": ["judged", "parent"]}, unpacked={"const": "parent"}, partial={"const": "accept"}),
        images=_images(),
        admission={"enum": [str(mode) for mode in Admission]},
        credentials={"enum": [str(whose) for whose in Whose]},
        **{str(kind): _TRUE for kind in Leniency},
    )


def _source() -> dict[str, Any]:
    repositories = _list({"type": "string", "pattern": "^(oci|https?)://"})
    return {**_object((), repositories=repositories, when=_when(), unsafe_allow_git=_TRUE), "minProperties": 1}


def _when() -> dict[str, Any]:
    return {**_object((), **dict.fromkeys(CONTEXT_KEYS, _TEXTS)), "minProperties": 1}


def _images() -> dict[str, Any]:
    repositories = _list({"type": "string", "pattern": "^oci://"})
    inner = {
        "from": {"enum": [str(source) for source in ImageSource]},
        "pinned": _TRUE,
        "repositories": repositories,
        "require": {"$ref": "#/$defs/requirement"},
    }
    return {**_object(("from",), **inner), "minProperties": 2}


def _requirement() -> dict[str, Any]:
    several = _list({"$ref": "#/$defs/requirement"})
    reviewed = _object(("digest", "owner", "reason", "expires"), digest=_DIGEST, owner=_TEXT, reason=_TEXT, expires=_TIME)
    allow = {"enum": ["allow", "deny"]}
    signed = _object(("by",), by=_TEXTS, forms=_list({"const": "message"}), bind={"const": "repository"}, expiredKeys=allow, retiredKeys=allow, expr=_EXPR)
    build = {"builder": _TEXT, "buildType": _TEXT, "sourceRepository": _TEXT, "ref": _TEXT, "parameters": {"type": "object", "additionalProperties": _TEXT}}
    more = {"bind": {"const": "repository"}, "expiredKeys": allow, "retiredKeys": allow, "otherParameters": {"const": "allow"}, "expr": _EXPR, **_predicates()}
    summary = _object(
        ("by", "verifier", "maxAge", "policies", "trusts"),
        by=_TEXTS,
        verifier=_TEXT,
        maxAge=_DURATION,
        policies=_list(_DIGEST),
        trusts=_list(_DIGEST),
        rules=_TEXTS,
    )
    kinds = {
        "verified": summary,
        "signed": signed,
        "attested": _object(("type", "by"), type=_TEXT, by=_TEXTS, **build, **more),
        "digest": _object(("in",), **{"in": _list(reviewed)}),
        "chart": {"$ref": "#/$defs/chart"},
        "expr": _EXPR,
        "all": several,
        "any": several,
        "atLeast": _object(("count", "of"), count={"type": "integer", "minimum": 1}, of=several),
    }
    common = {"since": _TIME, "until": _TIME, "enforceFrom": _TIME, "action": {"enum": ["enforce", "warn"]}}
    return {**_object((), **kinds, **common), "oneOf": [{"required": [kind]} for kind in kinds]}


def _predicates() -> dict[str, Any]:
    severities, statuses = (_list({"enum": list(words)}) for words in (SEVERITIES, VEX_STATUSES))
    return {
        "vulnerabilities": {**_object((), none=severities, accepted=_TEXTS, scanner=_TEXT, maxAge=_DURATION), "minProperties": 1},
        "packages": {**_object((), none=_list(_TEXT), licenses=_object(("none",), none=_list(_TEXT))), "minProperties": 1},
        "statuses": _object(("none",), none=statuses),
        "fields": {"type": "object", "additionalProperties": _TEXT, "minProperties": 1},
    }


def _chart() -> dict[str, Any]:
    fields = _object(
        (),
        name=_TEXT,
        pinned=_TRUE,
        version=_TEXT,
        prerelease={"type": "boolean"},
        maxAge=_DURATION,
        clock={"enum": ["proven", "signer"]},
        annotations=_TEXTS,
        type={"enum": ["application", "library"]},
        deprecated=_FALSE,
        maxBytes={"type": "integer", "minimum": 1},
        kubeVersion=_TEXT,
        dependencies={**_object((), repositories=_list({"type": "string", "pattern": "^(oci|https)://"}), lock={"const": "required"}), "minProperties": 1},
    )
    return {**fields, "minProperties": 1}


def _object(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _list(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}
