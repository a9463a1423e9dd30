"""Expressions: what they see, that they are checked at load, and every way in which one must not pass."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import pytest

from tests.support.charts import archive, chart_file
from tests.unit.policy.test_engine import NOW, by_alice, by_ci, chart, denied, judged, policy
from verifier.model.claim import Attestation, Claim, Clock, SigningTime
from verifier.model.context import Context, Facts, Request
from verifier.model.errors import MisuseError
from verifier.model.reference import parse
from verifier.policy import expression
from verifier.policy.engine import decide
from verifier.policy.expression import MOST, VOCABULARY, Scope

EXTRA = "appVersion: 2.0.0\nannotations: {owner: web, 'example.test/tier': gold}\nkeywords: [a, b]\nmaintainers: [{name: ann, email: ann@acme.example}]\n"


def beside(text: str) -> str:
    return f"    require: {{all: [{{signed: {{by: [alice, ci]}}}}, {{expr: {text!r}}}]}}"


TRUE = [
    "chart.name == 'web' && chart.version == '1.4.2' && chart.appVersion == '2.0.0'",
    "chart.type == 'application' && !chart.deprecated && chart.kubeVersion == ''",
    "chart.annotations['owner'] == 'web' && 'example.test/tier' in chart.annotations",
    "chart.keywords == ['a', 'b'] && chart.maintainers.exists(m, m.email.endsWith('@acme.example'))",
    "chart.dependencies.all(d, d.repository.startsWith('oci://'))",
    "chart.digest.startsWith('sha256:') && chart.size > 100 && chart.size < 100000",
    "request.repository == 'reg.example.test/acme/web' && request.tag == '1.4.2' && !request.pinned",
    "request.environment == 'prod' && request.cluster == '' && request.namespace == ''",
    "now > timestamp('2026-01-01T00:00:00Z') && now < timestamp('2026-12-01T00:00:00Z')",
    "chart.name.matches('^w[a-z]+$')",
]


@pytest.mark.parametrize("text", TRUE)
def test_what_it_sees(text: str) -> None:
    context = Context(environment="prod")
    assert judged(policy(beside(text)), chart(extra=EXTRA), by_alice(), context=context).allowed
    denied(judged(policy(beside(f"!({text})")), chart(extra=EXTRA), by_alice(), context=context), "expression-false")


def test_a_file_that_stands_for_nothing() -> None:
    text = "request.repository == '' && request.tag == '' && request.pinned"
    loaded = policy(beside(text), charts='["file:*.tgz"]')
    facts = Facts(request=Request(reference=parse("web-1.4.2.tgz"), context=Context()), artifact=chart_file(archive()), claims=(by_alice(),))
    assert decide(loaded, facts, NOW).allowed


# What never passes


@pytest.mark.parametrize(
    "text",
    [
        "chart.annotations['nobody'] == 'x'",
        "1 / 0 == 1",
        "chart.name.matches('^w(')",
        "[1, 2][7] == 1",
        "timestamp(chart.name) < now",
        "int(chart.name) == 1",
        f"{'[1,2,3,4,5,6,7,8,9,10]'}.all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, true)))))",
    ],
)
def test_an_error_never_passes(text: str) -> None:
    denied(judged(policy(beside(text)), chart(extra=EXTRA), by_alice()), "expression-error")
    denied(judged(policy(beside(f"!({text})")), chart(extra=EXTRA), by_alice()), "expression-error")


def test_a_library_that_breaks_never_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = policy(beside("true"))

    class Broken:
        def __init__(self, made: object) -> None:
            self.made = made

        def eval(self, data: object) -> Any:
            if isinstance(self.made, BaseException):
                raise self.made
            return self.made

    class Value:
        def type(self) -> str:
            return "ERROR"

        def value(self) -> bool:
            return True

        def plain_value(self) -> str:
            return "a truthy text"

    for made in (ValueError("x"), RuntimeError("INTERNAL: Iteration budget exceeded"), OverflowError(), Value(), None, True):
        monkeypatch.setattr(expression, "_compiled", lambda text, scope, made=made: Broken(made))
        denied(judged(loaded, chart(), by_alice()), "expression-error")


def test_it_signs_nothing() -> None:
    denied(judged(policy(beside("true")), chart()), "unsigned")


# Signatures


def inside(text: str) -> str:
    return f"    require: {{signed: {{by: [alice, ci], expr: {text!r}}}}}"


PROVEN = by_ci(times=(SigningTime(at=NOW - timedelta(days=3), clock=Clock.TIMESTAMP),), logs=2)


@pytest.mark.parametrize(
    "text, claim",
    [
        ("signature.kind == 'openpgp' && signature.by == ['alice'] && signature.role == 'archive'", by_alice()),
        ("signature.fingerprint == 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' && signature.time == ''", by_alice()),
        ("signature.kind == 'key' && signature.logs == 2 && timestamp(signature.time) > now - duration('100h')", PROVEN),
        ("signature.identity == '' && signature.issuer == '' && signature.sourceRepository == '' && size(signature.claims) == 0", PROVEN),
    ],
)
def test_a_signature(text: str, claim: Claim) -> None:
    assert judged(policy(inside(text)), chart(), claim).allowed
    denied(judged(policy(inside(f"!({text})")), chart(), claim), "expression-false")


def test_one_signature_for_which_it_holds_is_enough() -> None:
    loaded = policy(inside("signature.kind == 'key'"))
    assert judged(loaded, chart(), by_alice(), by_ci()).allowed
    denied(judged(loaded, chart(), by_alice()), "expression-false")


def test_a_keyless_signature() -> None:
    from tests.unit.policy.test_keyless import ENTRY, GITHUB, claim
    from tests.unit.policy.test_keyless import policy as keyless_policy

    loaded = keyless_policy(ENTRY)
    facts = Facts(request=Request(reference=parse("oci://reg.example.test/acme/web:1.4.2"), context=Context()), artifact=chart(), claims=(claim(),))
    assert decide(loaded, facts, NOW).allowed, decide(loaded, facts, NOW).check.reason
    seen = expression._of_signature(claim())
    assert (seen["signature.kind"], seen["signature.issuer"]) == ("keyless", GITHUB)
    assert seen["signature.identity"]
    assert seen["signature.claims"]


# Predicates

VULN = "https://cosign.sigstore.dev/attestation/vuln/v1"


def says(predicate: Any) -> Claim:
    return by_ci(kind=Attestation(predicate_type=VULN, predicate=predicate))


def attested(text: str) -> str:
    return f"    require: {{attested: {{type: vuln, by: ci, expr: {text!r}}}}}"


@pytest.mark.parametrize(
    "text, predicate",
    [
        ("predicate.score < 7.0", {"score": 6.5}),
        ("predicate.found.all(v, v.severity != 'critical')", {"found": [{"severity": "low"}]}),
        ("has(predicate.ok) && predicate.ok == true", {"ok": True}),
        ("predicate == 'text'", "text"),
    ],
)
def test_a_predicate(text: str, predicate: Any) -> None:
    assert judged(policy(attested(text)), chart(), says(predicate)).allowed
    assert not judged(policy(attested(f"!({text})")), chart(), says(predicate)).allowed


@pytest.mark.parametrize(
    "predicate", [{}, None, [], "x", 7, {"found": None}, {"found": "x"}, {"found": [7]}, {"found": [{}]}, {"found": 2**63}, {"found": {"a": 2**70}}]
)
def test_predicates_of_another_shape(predicate: Any) -> None:
    denied(judged(policy(attested("predicate.found.all(v, v.severity != 'critical')")), chart(), says(predicate)), "expression-error")


# At load


@pytest.mark.parametrize(
    "text, reason",
    [
        ("chart.nmae == 'web'", "undeclared reference to 'chart.nmae'"),
        ("chart.name", "must be true or false, this is STRING"),
        ("chart.size > 'a'", "no matching overload"),
        ("1 ==", "Syntax error"),
        ("signature.kind == 'key'", "undeclared reference"),
        ("predicate.x == 1", "undeclared reference"),
        ("size(signatures) == 0", "undeclared reference"),
        ("signatures.exists(s, true)", "undeclared reference"),
        ("(" * 40 + "true" + ")" * 40, "recursion limit"),
        (f"'{'x' * MOST}' == 'y'", "more than 2048"),
    ],
)
def test_what_does_not_load(text: str, reason: str) -> None:
    with pytest.raises(MisuseError) as caught:
        policy(beside(text))
    assert caught.value.code.name == "policy-invalid"
    assert reason in caught.value.reason
    assert "require.all[1].expr" in caught.value.reason


def test_predicates_are_no_matter_of_signatures() -> None:
    with pytest.raises(MisuseError, match="undeclared reference to 'predicate.x'"):
        policy(inside("predicate.x == 1"))
    with pytest.raises(MisuseError, match="this is DYN"):
        policy(attested("predicate.ok"))


def test_without_the_extra_it_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    expression._compiled.cache_clear()
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    with pytest.raises(MisuseError) as caught:
        policy(beside("chart.name == 'never compiled'"))
    assert caught.value.code.name == "extra-missing"
    assert "helm-verifier[cel]" in caught.value.reason


def test_images_know_no_expressions() -> None:
    for require in ("{expr: 'true'}", "{signed: {by: ci, expr: 'true'}}"):
        with pytest.raises(MisuseError, match="an image is no chart: expr"):
            policy(extra=f"    images: {{from: values, repositories: ['oci://x/**'], require: {require}}}")


def test_the_vocabulary_is_what_is_given() -> None:
    """Every documented name is bound, with its type, or evaluation fails."""
    from verifier.policy.case import Case

    loaded = policy()
    case = Case(
        policy=loaded,
        rule=loaded.rules[0],
        facts=Facts(request=Request(reference=parse("web-1.tgz"), context=Context()), artifact=chart()),
        artifact=chart(),
        claims=(),
        now=NOW,
    )
    given = {**expression._of_chart(case), **expression._of_signature(PROVEN)}
    assert set(given) == set(VOCABULARY[Scope.SIGNATURE])
    for name, (kind, _) in VOCABULARY[Scope.SIGNATURE].items():
        comparison = {"string": f"{name} == {name}", "bool": f"{name} || !{name}", "int": f"{name} >= 0", "timestamp": f"{name} == {name}"}.get(
            kind, f"size({name}) >= 0"
        )
        assert expression._problem(comparison, Scope.SIGNATURE, given) is None, name
