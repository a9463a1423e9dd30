"""Parts of a chart and the moments at which an answer changes, on facts made by hand: semantics 25, 22 and 27 at their edges."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from tests.support.charts import archive, chart_file
from tests.unit.policy.test_engine import HOST, NOW, SIGNED_BY_ALICE, by_alice, by_bob, chart, denied, facts, inconclusive, policy
from verifier.model import codes
from verifier.model.artifact import Descriptor, OciChart
from verifier.model.claim import Claim, Clock, SigningTime
from verifier.model.context import Context, Facts, Part, PartKind, Request
from verifier.model.decision import Decision, PartState
from verifier.model.digest import sha256
from verifier.model.reference import PinnedReference, parse_oci
from verifier.policy.document import Policy, RootEntry
from verifier.policy.engine import decide

DB = archive("db", "1.0.0")
PACKED = "charts/db-1.0.0.tgz"
FROM_OCI = f"dependencies: [{{name: db, version: 1.0.0, repository: 'oci://{HOST}/acme'}}]\n"
FROM_FOLDER = "dependencies: [{name: db, version: 1.0.0, repository: 'file://../db'}]\n"
JUDGED = "    subcharts: {packed: judged}"
DAY = timedelta(days=1)


def subchart(*claims: Claim, data: bytes = DB) -> Facts:
    """What was found where the subchart comes from."""
    local = chart_file(data)
    digest = sha256(b"db's manifest")
    artifact = OciChart(
        reference=PinnedReference(registry=HOST, repository="acme/db", digest=digest, tag="1.0.0", was_pinned=False),
        manifest=b"",
        config=b"",
        chart=Descriptor(media_type="chart", digest=local.digest, size=len(data)),
        provenance=None,
        facts=local.facts,
        archive=data,
    )
    return Facts(request=Request(reference=parse_oci(f"oci://{HOST}/acme/db:1.0.0"), context=Context()), artifact=artifact, claims=claims)


def with_parts(*parts: Part, extra: str = FROM_OCI, claims: tuple[Claim, ...] | None = None) -> Facts:
    found = facts(chart(extra=extra, files={PACKED: DB}), *(claims if claims is not None else (by_alice(),)))
    return replace(found, parts=parts)


def packed(*claims: Claim, **changes: object) -> Part:
    return replace(Part(kind=PartKind.SUBCHART, path=PACKED, facts=subchart(*claims)), **changes)


def asked(loaded: Policy, found: Facts, now: datetime = NOW) -> Decision:
    return decide(loaded, found, now)


# Subcharts


def test_a_subchart_is_allowed_by_its_own_rule() -> None:
    decision = asked(policy(extra=JUDGED), with_parts(packed(by_alice())))
    assert decision.allowed, decision.check.reason
    assert [(part.path, part.state) for part in decision.parts] == [(PACKED, PartState.VERIFIED)]
    assert not decision.warnings


def test_a_subchart_that_its_own_rule_denies_denies_the_chart() -> None:
    decision = asked(policy(extra=JUDGED), with_parts(packed(by_bob())))
    denied(decision, "signer-not-allowed")
    assert [part.state for part in decision.parts] == [PartState.DENIED]


def test_a_subchart_of_other_bytes_than_its_origin_holds() -> None:
    other = archive("db", "1.0.0", {"templates/x.yaml": b"{}"})
    found = with_parts(Part(kind=PartKind.SUBCHART, path=PACKED, facts=subchart(by_alice(), data=other)))
    denied(asked(policy(extra=JUDGED), found), "subchart-differs")


def test_a_subchart_that_could_not_be_looked_up_is_unknown() -> None:
    gone = Part(kind=PartKind.SUBCHART, path=PACKED, code=codes.TIMEOUT, reason="no answer")
    decision = asked(policy(extra=JUDGED), with_parts(gone))
    inconclusive(decision, "timeout")
    assert [part.state for part in decision.parts] == [PartState.UNKNOWN]


def test_that_nobody_judges_subcharts_is_said() -> None:
    assert asked(policy(), with_parts()).warnings == ("subcharts: not judged",)
    assert asked(policy(), facts(chart(), by_alice())).warnings == ()


def test_that_nobody_judges_subcharts_is_said_where_no_rule_speaks_of_the_chart_too() -> None:
    decision = asked(policy(charts=f'["oci://{HOST}/other/*"]'), with_parts())
    denied(decision, "no-rule")
    assert decision.warnings == ("subcharts: not judged",)


def test_partial_is_refused_unless_the_rule_accepts_it_and_then_it_is_said() -> None:
    nowhere = with_parts(extra=FROM_FOLDER)
    denied(asked(policy(extra=JUDGED), nowhere), "subchart-unjudged")
    decision = asked(policy(extra="    subcharts: {packed: judged, partial: accept}"), nowhere)
    assert decision.allowed, decision.check.reason
    assert [part.state for part in decision.parts] == [PartState.UNJUDGED]
    assert [warning.partition(":")[0] for warning in decision.warnings] == [f"subchart {PACKED}"]


# The moments at which an answer changes


@pytest.mark.parametrize(("field", "code"), [("expires", "policy-expired"), ("stale_at", "policy-stale")])
def test_a_policy_that_has_ended_decides_nothing_from_its_last_moment_on(field: str, code: str) -> None:
    found = facts(chart(), by_alice())
    before = asked(replace(policy(), **{field: NOW + timedelta(microseconds=1)}), found)
    assert before.allowed
    assert before.valid_until == NOW + timedelta(microseconds=1)
    inconclusive(asked(replace(policy(), **{field: NOW}), found), code)
    inconclusive(asked(replace(policy(), **{field: NOW - DAY}), found), code)


def test_the_end_of_a_policy_is_told_ahead_and_that_it_is_due_for_a_fetch_is_not() -> None:
    found = facts(chart(), by_alice())
    assert [warning.rpartition(" [")[2] for warning in asked(replace(policy(), expires=NOW + 3 * DAY), found).warnings] == ["policy-expired]"]
    assert asked(replace(policy(), stale_at=NOW + 3 * DAY), found).warnings == ()


def test_a_decision_ends_when_a_root_is_too_old() -> None:
    root = RootEntry(name="public-good", path=None, digest="sha256:0", as_of=NOW - DAY, max_age=3 * DAY)
    found = facts(chart(), by_alice())
    assert asked(replace(policy(), roots=(root,)), found).valid_until == NOW + 2 * DAY
    assert asked(replace(policy(), roots=(replace(root, max_age=None),)), found).valid_until is None
    assert asked(replace(policy(), roots=(replace(root, as_of=None),)), found).valid_until is None


def test_a_decision_ends_with_the_key_that_signed() -> None:
    found = facts(chart(), by_alice(key_expires=NOW + 5 * DAY))
    assert asked(policy(), found).valid_until == NOW + 5 * DAY


def test_a_decision_ends_with_the_key_that_signed_a_subchart() -> None:
    decision = asked(policy(extra=JUDGED), with_parts(packed(by_alice(key_expires=NOW + 2 * DAY))))
    assert (decision.allowed, decision.valid_until) == (True, NOW + 2 * DAY)
    assert [warning.rpartition(" [")[2] for warning in decision.warnings] == ["key-expired]"]


def test_a_decision_ends_when_the_signature_of_a_subchart_is_too_old_under_its_own_rule() -> None:
    second = f"""  - name: databases
    charts: ["oci://{HOST}/acme/db"]
{SIGNED_BY_ALICE}
    chart: {{maxAge: 30d, clock: signer}}
"""
    signed = by_alice(times=(SigningTime(at=NOW - 28 * DAY, clock=Clock.SIGNER),))
    decision = asked(policy(extra=f"{JUDGED}\n{second}"), with_parts(packed(signed)))
    assert (decision.allowed, decision.valid_until) == (True, NOW + 2 * DAY)


def test_an_image_ends_a_decision_by_the_rule_of_its_chart() -> None:
    rule = (
        "    images: {from: values, repositories: ['oci://reg.example.test/acme/*'], require: {signed: {by: alice}}}\n    chart: {maxAge: 30d, clock: signer}\n"
    )
    signed = by_alice(times=(SigningTime(at=NOW - 29 * DAY, clock=Clock.SIGNER),))
    image = Part(kind=PartKind.IMAGE, path=f"{HOST}/acme/app:1", facts=replace(subchart(signed), request=_image_request()))
    found = replace(with_parts(image, claims=(by_alice(times=(SigningTime(at=NOW, clock=Clock.SIGNER),)),)), images_from=frozenset(("values",)))
    assert asked(policy(extra=rule), found).valid_until == NOW + DAY


def _image_request() -> Request:
    return Request(reference=parse_oci(f"oci://{HOST}/acme/app:1"), context=Context())
