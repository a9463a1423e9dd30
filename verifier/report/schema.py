"""The JSON Schema of a decision, kept beside the codec; `docs/decision.schema.json` is written from it."""

from __future__ import annotations

from typing import Any

from verifier.model.claim import Clock, Form, Role
from verifier.model.codes import ALL, Family
from verifier.model.decision import Action, Outcome, Result
from verifier.model.evidence import Kind

_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_MAYBE_TIME = {"type": ["string", "null"], "format": "date-time"}
_DIGEST = {"type": "string", "pattern": "^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$"}
_MAYBE_DIGEST = {"anyOf": [_DIGEST, {"type": "null"}]}


def decision_schema() -> dict[str, Any]:
    """The schema as a JSON value (draft 2020-12)."""
    code = {"enum": [*sorted(ALL), None]}
    evidence = _object(kind=_enum(Kind), where=_TEXT, digest=_MAYBE_DIGEST, mediaType=_TEXT)
    signer = {
        "oneOf": [
            _object(kind={"const": "openpgp"}, fingerprint=_TEXT, signingKey=_TEXT, userId=_TEXT),
            _object(kind={"const": "key"}, keyId=_TEXT, algorithm=_TEXT),
        ]
    }
    kind = {
        "oneOf": [
            _object(type={"const": "signature"}, form=_enum(Form)),
            _object(type={"const": "attestation"}, predicateType=_TEXT),
        ]
    }
    claim = _object(
        scheme=_TEXT,
        kind=kind,
        signer=signer,
        digest=_DIGEST,
        binds=_enum(Role),
        repository=_MAYBE_TEXT,
        signedAt=_MAYBE_TIME,
        clock={"enum": [*Clock, None]},
        keyExpires=_MAYBE_TIME,
        trust=_array(_TEXT),
        evidence=evidence,
    )
    artifact = _object(
        reference=_TEXT,
        digest=_DIGEST,
        pinned={"type": "boolean"},
        readFrom=_MAYBE_TEXT,
        mediaType=_TEXT,
        name=_TEXT,
        version=_TEXT,
        chartDigest=_DIGEST,
    )
    rejection = _object(scheme=_MAYBE_TEXT, family=_enum(Family), code=code, reason=_TEXT, signer=_MAYBE_TEXT, evidence=evidence)
    check = _object(
        name=_TEXT,
        outcome=_enum(Result),
        action=_enum(Action),
        reason=_TEXT,
        code=code,
        claims=_array({"type": "integer", "minimum": 0}),
        children=_array({"$ref": "#/$defs/check"}),
    )
    gap = _object(kind=_TEXT, where=_TEXT, code=code, reason=_TEXT, retryAfter={"type": ["number", "null"]})
    context = {"type": "object", "required": ["source"], "additionalProperties": _TEXT}
    decision = _object(
        apiVersion={"const": "verifier/v1"},
        kind={"const": "Decision"},
        id={"type": "string", "format": "uuid"},
        time={"type": "string", "format": "date-time"},
        outcome=_enum(Outcome),
        allowed={"type": "boolean"},
        reference=_TEXT,
        context=context,
        validUntil=_MAYBE_TIME,
        unsafe=_array(_TEXT),
        artifact={"anyOf": [artifact, {"type": "null"}]},
        policy=_object(name=_TEXT, rule=_MAYBE_TEXT, digest=_TEXT),
        trust=_object(digest=_TEXT),
        code=code,
        reason=_TEXT,
        checks=_array({"$ref": "#/$defs/check"}),
        claims=_array(claim),
        rejections=_array(rejection),
        gaps=_array(gap),
        exceptions=_array({}),
        subcharts={"const": "not judged"},
        warnings=_array(_TEXT),
        versions={"type": "object", "additionalProperties": _TEXT},
    )
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Decision of verifier, version verifier/v1"}
    return {**head, **decision, "$defs": {"check": check}}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _enum(values: Any) -> dict[str, Any]:
    return {"enum": [str(value) for value in values]}
