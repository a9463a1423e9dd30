"""Expressions in CEL, for what the other fields of a policy cannot say; the one room that knows the library (extra `cel`).

1. An expression is compiled when the policy is loaded: unknown names, wrong types and anything but a truth value are errors there.
2. It sees verified facts only: the chart, the request and `now`; inside `signed` and `attested` also the one signature that is looked at,
   and there the predicate. It never sees how much evidence there is: nothing could be approved because something is absent (ADR 10).
3. It holds if it is `true`. An evaluation error comes back as a value from this library, and is a failure here, as is everything else; so
   is a result of another type, more steps than the library's budget, and what the library refuses to take.

Source: cel.dev language definition; what was measured of the library stands in ADR 10.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any

from verifier.model import codes
from verifier.model.claim import Attestation, CertificateSigner, Claim, KeySigner, OpenPGPSigner
from verifier.model.codes import Code
from verifier.model.decision import Check, Result
from verifier.model.errors import MisuseError
from verifier.policy.case import Case
from verifier.policy.document import Attested, Expr, Signed

MOST = 2_048  # characters of one expression

Problem = tuple[Code, str]


class Scope(StrEnum):
    """What an expression may speak of."""

    CHART = "chart"
    SIGNATURE = "signature"
    PREDICATE = "predicate"


# Name -> (CEL type, what it is); docs/policy.md prints this table.
_CHART = {
    "chart.name": ("string", "name in Chart.yaml"),
    "chart.version": ("string", "version in Chart.yaml"),
    "chart.appVersion": ("string", "empty where there is none"),
    "chart.type": ("string", "`application` where Chart.yaml says nothing"),
    "chart.kubeVersion": ("string", "empty where there is none"),
    "chart.deprecated": ("bool", ""),
    "chart.annotations": ("map(string, string)", ""),
    "chart.keywords": ("list(string)", ""),
    "chart.maintainers": ("list(map(string, string))", "`name`, `email`, `url`"),
    "chart.dependencies": ("list(map(string, string))", "`name`, `version`, `repository`, as declared"),
    "chart.digest": ("string", "of the manifest; of a file, of its bytes"),
    "chart.size": ("int", "bytes of the archive"),
    "request.repository": ("string", "`host/path`; empty for a file that stands for nothing"),
    "request.tag": ("string", "empty where none was asked for"),
    "request.pinned": ("bool", "whether the digest was asked for"),
    "request.environment": ("string", "empty where the request carries none"),
    "request.cluster": ("string", "likewise"),
    "request.namespace": ("string", "likewise"),
    "now": ("timestamp", "the moment of the decision"),
}
_SIGNATURE = {
    "signature.kind": ("string", "`openpgp`, `key` or `keyless`"),
    "signature.by": ("list(string)", "the trust names that it verifies under"),
    "signature.identity": ("string", "of keyless ones; else empty"),
    "signature.issuer": ("string", "likewise"),
    "signature.sourceRepository": ("string", "likewise"),
    "signature.claims": ("map(string, string)", "certified claims by the names of docs/keyless.md"),
    "signature.fingerprint": ("string", "of OpenPGP certificates and keys; else empty"),
    "signature.time": ("string", "when a log or an authority proves that it was made (RFC 3339); else empty"),
    "signature.logs": ("int", "distinct logs that hold it"),
    "signature.role": ("string", "`manifest` or `archive`"),
}
_PREDICATE = {"predicate": ("dyn", "what the attestation says")}
VOCABULARY = {Scope.CHART: _CHART, Scope.SIGNATURE: {**_CHART, **_SIGNATURE}, Scope.PREDICATE: {**_CHART, **_SIGNATURE, **_PREDICATE}}


def compile_expression(text: str, scope: Scope) -> None:
    """Check an expression; raises ValueError with what is wrong, or MisuseError `extra-missing`."""
    _compiled(text, scope)


def check_expression(requirement: Expr, case: Case, name: str) -> Check:
    """An expression about chart and request."""
    problem = _problem(requirement.text, Scope.CHART, _of_chart(case))
    if problem is None:
        return Check(name=name, outcome=Result.PASSED, reason=f"true: {requirement.text}", action=requirement.action)
    return Check(name=name, outcome=Result.FAILED, reason=problem[1], code=problem[0], action=requirement.action)


def claim_expression(requirement: Signed | Attested, claim: Claim, case: Case) -> Problem | None:
    """Why the requirement's own expression does not hold for a claim; None if it does, or if there is none."""
    if requirement.expr is None:
        return None
    facts = {**_of_chart(case), **_of_signature(claim)}
    if isinstance(requirement, Signed):
        return _problem(requirement.expr, Scope.SIGNATURE, facts)
    assert isinstance(claim.kind, Attestation)
    return _problem(requirement.expr, Scope.PREDICATE, {**facts, "predicate": claim.kind.predicate})


def _problem(text: str, scope: Scope, facts: Mapping[str, Any]) -> Problem | None:  # 3
    try:
        from cel_expr_python import cel

        result = _compiled(text, scope).eval(data=facts)
        if result.type() == cel.Type.BOOL:
            return None if result.value() is True else (codes.EXPRESSION_FALSE, f"the expression is false: {text}")
        found = str(result.plain_value())
    except Exception as error:  # noqa: BLE001  # whatever the library does with a stranger's data, the expression does not hold
        found = str(error) or type(error).__name__
    return codes.EXPRESSION_ERROR, f"the expression cannot be evaluated: {found.splitlines()[0][:200]}: {text}"


@lru_cache(maxsize=1_024)
def _compiled(text: str, scope: Scope) -> Any:  # 1
    try:
        from cel_expr_python import cel
    except ImportError as error:
        raise MisuseError(codes.EXTRA_MISSING, "expressions need the extra `cel`: pip install 'helm-verifier[cel]'") from error
    if len(text) > MOST:
        raise ValueError(f"an expression of more than {MOST} characters")
    try:
        compiled = _environment(scope).compile(text)
    except RuntimeError as error:
        raise ValueError(_said(error)) from error
    if compiled.return_type() != cel.Type.BOOL:
        raise ValueError(f"an expression must be true or false, this is {compiled.return_type().name()}; compare it with something")
    return compiled


@lru_cache(maxsize=8)
def _environment(scope: Scope) -> Any:
    from cel_expr_python import cel

    kinds = cel.Type
    types = {
        "string": kinds.STRING,
        "bool": kinds.BOOL,
        "int": kinds.INT,
        "timestamp": kinds.TIMESTAMP,
        "dyn": kinds.DYN,
        "list(string)": kinds.List(kinds.STRING),
        "map(string, string)": kinds.Map(kinds.STRING, kinds.STRING),
        "list(map(string, string))": kinds.List(kinds.Map(kinds.STRING, kinds.STRING)),
    }
    return cel.NewEnv(variables={name: types[kind] for name, (kind, _) in VOCABULARY[scope].items()})


def _said(error: Exception) -> str:
    """`ERROR: <input>:1:6: undeclared reference` as a reason."""
    first = str(error).splitlines()[0].partition("<input>:")[2] or str(error).splitlines()[0]
    return first.replace(" (in container '')", "")[:200]


def _of_chart(case: Case) -> dict[str, Any]:  # 2
    chart, context = case.chart, case.facts.request.context
    metadata = chart.facts.metadata
    return {
        "chart.name": chart.facts.name,
        "chart.version": chart.facts.version,
        "chart.appVersion": _text(metadata.get("appVersion")),
        "chart.type": _text(metadata.get("type")) or "application",
        "chart.kubeVersion": _text(metadata.get("kubeVersion")),
        "chart.deprecated": bool(metadata.get("deprecated")),
        "chart.annotations": _texts(metadata.get("annotations")),
        "chart.keywords": [_text(item) for item in metadata.get("keywords") or ()],
        "chart.maintainers": [_texts(item) for item in metadata.get("maintainers") or ()],
        "chart.dependencies": [{key: _text(item.get(key)) for key in ("name", "version", "repository")} for item in metadata.get("dependencies") or ()],
        "chart.digest": str(chart.digests[0]),
        "chart.size": len(chart.archive),
        "request.repository": case.repository or "",
        "request.tag": case.tag or "",
        "request.pinned": case.pinned,
        "request.environment": context.environment or "",
        "request.cluster": context.cluster or "",
        "request.namespace": context.namespace or "",
        "now": case.now,
    }


def _of_signature(claim: Claim) -> dict[str, Any]:
    proven = next((time.at for time in claim.times if time.proven), None)
    known: dict[str, Any] = {"identity": "", "issuer": "", "sourceRepository": "", "claims": {}, "fingerprint": ""}
    match claim.signer:
        case OpenPGPSigner(fingerprint=fingerprint):
            known.update(kind="openpgp", fingerprint=fingerprint)
        case KeySigner(key_id=key_id):
            known.update(kind="key", fingerprint=key_id)
        case CertificateSigner() as signer:
            source, certified = signer.source_repository, dict(signer.extensions)
            known.update(kind="keyless", identity=signer.identity, issuer=signer.issuer, sourceRepository=source, claims=certified)
    known.update(by=sorted(claim.anchors), time=proven.isoformat() if proven else "", logs=claim.logs, role=claim.role.value)
    return {f"signature.{name}": value for name, value in known.items()}


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _texts(value: Any) -> dict[str, str]:
    return {str(key): _text(inner) for key, inner in value.items()} if isinstance(value, Mapping) else {}
