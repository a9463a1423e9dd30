"""The published JSON form of a decision: one schema for the command line, HTTP and every store (docs/decision.schema.json)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from verifier.model.artifact import Chart, ChartFile, OciChart, RepositoryChart, Subchart
from verifier.model.claim import Attestation, CertificateSigner, Claim, KeySigner, OpenPGPSigner, Rejection, Signature
from verifier.model.context import CONTEXT_KEYS, Context
from verifier.model.decision import Check, Decision, JudgedPart, PartState, RootUsed
from verifier.model.evidence import Gap, Location
from verifier.oci.manifest import MANIFEST


def encode(decision: Decision) -> dict[str, Any]:
    """A decision as a JSON value."""
    return {
        "apiVersion": "verifier/v1",
        "kind": "Decision",
        "id": decision.id,
        "time": timestamp(decision.time),
        "outcome": decision.outcome.value,
        "allowed": decision.allowed,
        "reference": str(decision.request.reference),
        "context": _context(decision.request.context),
        "validUntil": timestamp(decision.valid_until) if decision.valid_until else None,
        "unsafe": list(decision.unsafe),
        "artifact": _artifact(decision.artifact, {part.path: part.state for part in decision.parts}) if decision.artifact is not None else None,
        "policy": {"name": decision.policy.name, "rule": decision.policy.rule, "digest": decision.policy.digest},
        "trust": {"digest": decision.trust_digest, "roots": [_root(root) for root in decision.roots]},
        "code": decision.check.code.name if decision.check.code else None,
        "reason": decision.check.reason,
        "checks": [_check(child) for child in decision.check.children],
        "claims": [_claim(claim) for claim in decision.claims],
        "rejections": [_rejection(rejection) for rejection in decision.rejections],
        "gaps": [gap_value(gap) for gap in decision.gaps],
        "exceptions": [_exception(path, check) for path, check in decision.exceptions],
        "subcharts": decision.subcharts,
        "parts": [_part(part) for part in decision.parts],
        "warnings": list(decision.warnings),
        "versions": dict(decision.versions),
    }


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _context(context: Context) -> dict[str, Any]:
    values = {key: value for key in CONTEXT_KEYS if (value := context.value(key)) is not None}
    return {**values, "source": context.asserted_by}


def _artifact(artifact: Chart, states: Mapping[str, PartState]) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": artifact.facts.name, "version": artifact.facts.version, "chartDigest": str(artifact.archive_digest)}
    facts["subcharts"] = [_subchart(item, "", states) for item in artifact.facts.subcharts]
    match artifact:
        case OciChart(reference=reference):
            return {
                "reference": str(reference),
                "digest": str(reference.digest),
                "pinned": reference.was_pinned,
                "readFrom": reference.read_from,
                "mediaType": MANIFEST,
                **facts,
            }
        case RepositoryChart(reference=reference):
            named = {"reference": str(reference), "digest": str(reference.digest), "pinned": reference.was_pinned, "readFrom": reference.read_from}
            return {**named, "mediaType": "archive", **facts}
        case ChartFile():
            return {"reference": f"file:{artifact.path}", "digest": str(artifact.digest), "pinned": True, "readFrom": None, "mediaType": "file", **facts}


def _subchart(item: Subchart, above: str, states: Mapping[str, PartState], default: str = "not judged") -> dict[str, Any]:
    """What lies in a packed chart that was judged is part of that one."""
    path = f"{above}{item.path}"
    state = states[path].value if path in states else default
    inner = PartState.PARENT.value if item.digest is not None and path in states else default
    return {
        "path": item.path,
        "name": item.name,
        "version": item.version,
        "digest": str(item.digest) if item.digest else None,
        "declaredFrom": item.repository,
        "state": state,
        "problem": item.problem,
        "subcharts": [_subchart(below, f"{path}/", states, inner) for below in item.subcharts],
    }


def _check(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "outcome": check.outcome.value,
        "action": check.action.value,
        "reason": check.reason,
        "code": check.code.name if check.code else None,
        "claims": list(check.claims),
        "exception": check.waived.ticket if check.waived else None,
        "children": [_check(child) for child in check.children],
    }


def _exception(path: str, check: Check) -> dict[str, Any]:
    waiver = check.waived
    assert waiver is not None
    who = {"owner": waiver.owner, "reason": waiver.reason, "ticket": waiver.ticket, "expires": timestamp(waiver.expires), "grantedBy": waiver.granted_by}
    return {"check": path, "code": check.code.name if check.code else None, **who}


def _part(part: JudgedPart) -> dict[str, Any]:
    code = part.check.code.name if part.check.code else None
    place = {"kind": part.kind.value, "path": part.path, "reference": part.reference, "digest": part.digest}
    return {**place, "state": part.state.value, "code": code, "reason": part.check.reason}


def _claim(claim: Claim) -> dict[str, Any]:
    signed = next(iter(claim.times), None)
    return {
        "scheme": claim.scheme,
        "kind": _kind(claim),
        "signer": signer_value(claim),
        "logs": claim.logs,
        "digest": str(claim.digest),
        "binds": claim.role.value,
        "repository": claim.repository,
        "signedAt": timestamp(signed.at) if signed else None,
        "clock": signed.clock.value if signed else None,
        "keyExpires": timestamp(claim.key_expires) if claim.key_expires else None,
        "trust": sorted(claim.anchors),
        "evidence": location_value(claim.location),
    }


def _kind(claim: Claim) -> dict[str, str]:
    match claim.kind:
        case Signature(form=form):
            return {"type": "signature", "form": form.value}
        case Attestation(predicate_type=predicate_type):
            return {"type": "attestation", "predicateType": predicate_type}


def signer_value(claim: Claim) -> dict[str, Any]:
    """Who signed, by kind."""
    match claim.signer:
        case OpenPGPSigner(fingerprint=fingerprint, signing_key=signing_key, user_id=user_id):
            return {"kind": "openpgp", "fingerprint": fingerprint, "signingKey": signing_key, "userId": user_id}
        case KeySigner(key_id=key_id, algorithm=algorithm):
            return {"kind": "key", "keyId": key_id, "algorithm": algorithm}
        case CertificateSigner(identity=identity, san_type=san_type, issuer=issuer, root=root, extensions=extensions):
            named = {"identity": identity, "identityType": san_type.value, "issuer": issuer, "root": root}
            return {"kind": "keyless", **named, "claims": dict(extensions)}


def _root(root: RootUsed) -> dict[str, Any]:
    return {"name": root.name, "digest": root.digest, "asOf": timestamp(root.as_of) if root.as_of else None}


def _rejection(rejection: Rejection) -> dict[str, Any]:
    return {
        "scheme": rejection.scheme,
        "family": rejection.code.family.value,
        "code": rejection.code.name,
        "reason": rejection.reason,
        "signer": rejection.signer,
        "evidence": location_value(rejection.location),
    }


def location_value(location: Location) -> dict[str, Any]:
    """Where evidence lay."""
    digest = str(location.digest) if location.digest else None
    return {"kind": location.kind.value, "where": location.where, "digest": digest, "mediaType": location.media_type}


def gap_value(gap: Gap) -> dict[str, Any]:
    """What could not be read."""
    return {"kind": gap.kind, "where": gap.where, "code": gap.code.name, "reason": gap.reason, "retryAfter": gap.retry_after}
