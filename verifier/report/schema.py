"""The JSON Schema of a decision, kept beside the codec; `docs/decision.schema.json` is written from it."""

from __future__ import annotations

from typing import Any

from verifier.model.claim import CERTIFICATE_CLAIMS, Clock, Form, Role, SanType
from verifier.model.codes import ALL, Family
from verifier.model.context import PartKind
from verifier.model.decision import Action, Outcome, PartState, Result
from verifier.model.evidence import Kind

_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_MAYBE_TIME = {"type": ["string", "null"], "format": "date-time"}
_DIGEST = {"type": "string", "pattern": "^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$"}


def decision_schema() -> dict[str, Any]:
    """The schema as a JSON value (draft 2020-12)."""
    decision = _object(
        apiVersion={"const": "verifier/v1"},
        kind={"const": "Decision"},
        id={"type": "string", "format": "uuid"},
        time={"type": "string", "format": "date-time"},
        outcome=_enum(Outcome),
        allowed={"type": "boolean"},
        reference=_TEXT,
        context={"type": "object", "required": ["source"], "additionalProperties": _TEXT},
        validUntil=_MAYBE_TIME,
        unsafe=_array(_TEXT),
        artifact={"anyOf": [_artifact(), {"type": "null"}]},
        policy=_object(name=_TEXT, rule=_MAYBE_TEXT, digest=_TEXT),
        trust=_object(digest=_TEXT, roots=_array(_object(name=_TEXT, digest=_DIGEST, asOf=_MAYBE_TIME))),
        code=_code(),
        reason=_TEXT,
        checks=_array({"$ref": "#/$defs/check"}),
        claims=_array(_claim()),
        rejections=_array(_rejection()),
        gaps=_array(_object(kind=_TEXT, where=_TEXT, code=_code(), reason=_TEXT, retryAfter={"type": ["number", "null"]})),
        exceptions=_array(
            _object(
                check=_TEXT, code=_code(), owner=_TEXT, reason=_TEXT, ticket=_TEXT, expires={"type": "string", "format": "date-time"}, grantedBy=_MAYBE_TEXT
            )
        ),
        subcharts={"enum": ["none", "not judged", "judged", "partial"]},
        parts=_array(_part()),
        warnings=_array(_TEXT),
        versions={"type": "object", "additionalProperties": _TEXT},
    )
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Decision of verifier, version verifier/v1"}
    return {**head, **decision, "$defs": {"check": _check(), "subchart": _subchart()}}


def _code() -> dict[str, Any]:
    return {"enum": [*sorted(ALL), None]}


def _artifact() -> dict[str, Any]:
    texts = {"reference": _TEXT, "mediaType": _TEXT, "name": _TEXT, "version": _TEXT}
    return _object(digest=_DIGEST, pinned={"type": "boolean"}, readFrom=_MAYBE_TEXT, chartDigest=_DIGEST, subcharts=_subcharts(), **texts)


def _subcharts() -> dict[str, Any]:
    return _array({"$ref": "#/$defs/subchart"})


def _subchart() -> dict[str, Any]:
    digest = {"anyOf": [_DIGEST, {"type": "null"}]}
    texts = {"path": _TEXT, "name": {"type": "string"}, "version": {"type": "string"}}
    return _object(digest=digest, declaredFrom=_MAYBE_TEXT, state={"enum": ["not judged", *PartState]}, problem=_MAYBE_TEXT, subcharts=_subcharts(), **texts)


def _exception() -> dict[str, Any]:
    expires = {"type": "string", "format": "date-time"}
    return _object(check=_TEXT, code=_code(), owner=_TEXT, reason=_TEXT, ticket=_TEXT, expires=expires, grantedBy=_MAYBE_TEXT)


def _part() -> dict[str, Any]:
    digest = {"anyOf": [_DIGEST, {"type": "null"}]}
    return _object(kind=_enum(PartKind), path=_TEXT, reference=_MAYBE_TEXT, digest=digest, state=_enum(PartState), code=_code(), reason=_TEXT)


def _check() -> dict[str, Any]:
    return _object(
        name=_TEXT,
        outcome=_enum(Result),
        action=_enum(Action),
        reason=_TEXT,
        code=_code(),
        claims=_array({"type": "integer", "minimum": 0}),
        exception=_MAYBE_TEXT,
        children=_array({"$ref": "#/$defs/check"}),
    )


def _claim() -> dict[str, Any]:
    openpgp = _object(kind={"const": "openpgp"}, fingerprint=_TEXT, signingKey=_TEXT, userId=_TEXT)
    key = _object(kind={"const": "key"}, keyId=_TEXT, algorithm=_TEXT)
    claims = {"type": "object", "properties": dict.fromkeys(CERTIFICATE_CLAIMS, _TEXT), "additionalProperties": False}
    keyless = _object(kind={"const": "keyless"}, identity=_TEXT, identityType=_enum(SanType), issuer=_TEXT, root=_TEXT, claims=claims)
    signature = _object(type={"const": "signature"}, form=_enum(Form))
    attestation = _object(type={"const": "attestation"}, predicateType=_TEXT)
    return _object(
        scheme=_TEXT,
        kind={"oneOf": [signature, attestation]},
        signer={"oneOf": [openpgp, key, keyless]},
        logs={"type": "integer", "minimum": 0},
        digest=_DIGEST,
        binds=_enum(Role),
        repository=_MAYBE_TEXT,
        signedAt=_MAYBE_TIME,
        clock={"enum": [*Clock, None]},
        keyExpires=_MAYBE_TIME,
        trust=_array(_TEXT),
        evidence=_evidence(),
    )


def _rejection() -> dict[str, Any]:
    return _object(scheme=_MAYBE_TEXT, family=_enum(Family), code=_code(), reason=_TEXT, signer=_MAYBE_TEXT, evidence=_evidence())


def _evidence() -> dict[str, Any]:
    return _object(kind=_enum(Kind), where=_TEXT, digest={"anyOf": [_DIGEST, {"type": "null"}]}, mediaType=_TEXT)


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _enum(values: Any) -> dict[str, Any]:
    return {"enum": [str(value) for value in values]}
