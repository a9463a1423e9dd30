"""The law, number by number: semantics 1 to 20 as tables of facts and answers. No I/O: claims are made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from tests.support.charts import archive, chart_file, chart_yaml
from tests.support.signers import pair
from verifier.model import codes
from verifier.model.artifact import Artifact, Descriptor, OciChart
from verifier.model.claim import Attestation, Claim, Clock, Form, KeySigner, OpenPGPSigner, Rejection, Role, Signature, SigningTime
from verifier.model.context import Context, Facts, Request
from verifier.model.decision import Decision, Outcome
from verifier.model.digest import sha256
from verifier.model.errors import MisuseError
from verifier.model.evidence import Gap, Kind, Location
from verifier.model.reference import PinnedReference, parse, parse_oci
from verifier.policy.document import Policy
from verifier.policy.engine import decide
from verifier.policy.loader import load_policy
from verifier.signers.public import public_pem

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOST = "reg.example.test"
HERE = Location(kind=Kind.REFERRER, where="test")
FPR_A, FPR_B = "A" * 40, "B" * 40
MANIFEST_DIGEST = sha256(b"manifest")
PEM = public_pem(pair().public).decode().replace("\n", "\n        ")
TRUST = f"""\
trust:
  alice: {{openpgp: {{keyring: a.asc, fingerprints: ["{FPR_A}"]}}}}
  bob: {{openpgp: {{keyring: b.asc, fingerprints: ["{FPR_B}"]}}}}
  ci: {{key: {{file: ci.pub}}}}
  old: {{key: {{file: old.pub, notAfter: 2026-01-01T00:00:00Z}}}}
"""
SIGNED_BY_ALICE = "    require: {signed: {by: alice}}"


def policy(require: str = SIGNED_BY_ALICE, *, extra: str = "", top: str = "", charts: str = f'["oci://{HOST}/acme/*"]') -> Policy:
    text = f"apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {{name: test}}\n{TRUST}{top}\nrules:\n  - name: ours\n    charts: {charts}\n{require}\n{extra}\n"
    return load_policy(text.encode(), where="policy.yaml")


def chart(
    name: str = "web",
    version: str = "1.4.2",
    *,
    tag: str | None = "1.4.2",
    pinned: bool = False,
    repository: str = "acme/web",
    extra: str = "",
    files: Mapping[str, bytes] | None = None,
) -> OciChart:
    data = archive(name, version, files, extra)
    local = chart_file(data)
    layer = Descriptor(media_type="chart", digest=local.digest, size=len(data))
    reference = PinnedReference(registry=HOST, repository=repository, digest=MANIFEST_DIGEST, tag=tag, was_pinned=pinned)
    return OciChart(reference=reference, manifest=b"manifest", config=b"", chart=layer, provenance=None, facts=local.facts, archive=data)


def facts(
    artifact: Artifact | None, *claims: Claim, context: Context | None = None, gaps: tuple[Gap, ...] = (), rejections: tuple[Rejection, ...] = ()
) -> Facts:
    reference = parse_oci(f"oci://{HOST}/acme/web:1.4.2")
    if isinstance(artifact, OciChart):
        tag = f":{artifact.reference.tag}" if artifact.reference.tag else ""
        digest = f"@{artifact.reference.digest}" if artifact.reference.was_pinned else ""
        reference = parse_oci(f"oci://{HOST}/{artifact.reference.repository}{tag}{digest}")
    return Facts(request=Request(reference=reference, context=context or Context()), artifact=artifact, claims=claims, gaps=gaps, rejections=rejections)


def by_alice(**changes: object) -> Claim:
    claim = Claim(
        scheme="openpgp",
        kind=Signature(form=Form.PROVENANCE),
        signer=OpenPGPSigner(fingerprint=FPR_A, signing_key=FPR_A),
        anchors=frozenset(("alice",)),
        role=Role.ARCHIVE,
        digest=MANIFEST_DIGEST,
        location=HERE,
        times=(SigningTime(at=NOW - timedelta(days=10), clock=Clock.SIGNER),),
    )
    return replace(claim, **changes)


def by_bob(**changes: object) -> Claim:
    return replace(by_alice(), signer=OpenPGPSigner(fingerprint=FPR_B, signing_key=FPR_B), anchors=frozenset(("bob",)), **changes)


def by_ci(anchor: str = "ci", key: str = "sha256:" + "1" * 64, **changes: object) -> Claim:
    signer = KeySigner(key_id=key, algorithm="ecdsa")
    claim = replace(
        by_alice(), scheme="sigstore", kind=Signature(form=Form.STATEMENT), signer=signer, anchors=frozenset((anchor,)), times=(), role=Role.MANIFEST
    )
    return replace(claim, **changes)


def judged(loaded: Policy, *arguments: object, now: datetime = NOW, **keywords: object) -> Decision:
    return decide(loaded, facts(*arguments, **keywords), now)  # type: ignore[arg-type]


def denied(decision: Decision, code: str) -> None:
    assert (decision.outcome, decision.allowed) == (Outcome.DENIED, False), decision.check.reason
    assert decision.check.code is not None
    assert decision.check.code.name == code, decision.check.reason


def inconclusive(decision: Decision, code: str) -> None:
    assert (decision.outcome, decision.allowed) == (Outcome.INCONCLUSIVE, False)
    assert decision.check.code is not None
    assert decision.check.code.name == code


def test_a_signature_by_the_named_signer_allows() -> None:
    decision = judged(policy(), chart(), by_alice())
    assert decision.allowed
    assert decision.policy.rule == "ours"


# 1. Context


CONTEXT_RULES = f"""    when: {{environment: prod}}
{SIGNED_BY_ALICE}
  - name: everywhere
    charts: ["oci://{HOST}/acme/*"]
    require: {{signed: {{by: bob}}}}"""


def test_context_selects_the_rule() -> None:
    loaded = policy(CONTEXT_RULES)
    assert judged(loaded, chart(), by_alice(), context=Context(environment="prod")).policy.rule == "ours"
    assert judged(loaded, chart(), by_bob(), context=Context(environment="dev")).policy.rule == "everywhere"


def test_a_missing_context_key_is_denied_not_ignored() -> None:
    denied(judged(policy(CONTEXT_RULES), chart(), by_alice(), by_bob()), "context-missing")


def test_a_context_that_no_rule_names_is_denied() -> None:
    denied(judged(policy(f"    when: {{environment: prod}}\n{SIGNED_BY_ALICE}"), chart(), by_alice(), context=Context(environment="dev")), "no-rule")


def test_a_chart_that_no_rule_names_is_denied_before_it_is_fetched() -> None:
    denied(judged(policy(charts=f'["oci://{HOST}/other/*"]'), None), "no-rule")


# 4. Binding


@pytest.mark.parametrize(
    "artifact, code",
    {
        "another name than the repository's": (chart("api"), "name-mismatch"),
        "another version than the tag's": (chart(version="1.4.3"), "version-mismatch"),
        "a channel that is not listed": (chart(tag="stable"), "version-mismatch"),
        "a tag of a prefix": (chart(tag="1.4"), "version-mismatch"),
    }.values(),
)
def test_name_and_version_are_bound(artifact: OciChart, code: str) -> None:
    denied(judged(policy(), artifact, by_alice()), code)


@pytest.mark.parametrize(
    "artifact, extra",
    [
        (chart(tag="v1.4.2"), ""),
        (chart(version="1.4.2+build.5", tag="1.4.2_build.5"), ""),
        (chart(version="v1.4.2", tag="1.4.2"), ""),
        (chart(tag="stable"), "    channels: [stable]"),
        (chart("api"), "    chart: {name: api}"),
        (chart(tag=None, pinned=True), ""),
    ],
)
def test_what_binds(artifact: OciChart, extra: str) -> None:
    assert judged(policy(extra=extra), artifact, by_alice()).allowed


def test_a_rule_that_only_warns_does_not_relax_binding() -> None:
    loaded = policy("    require: {signed: {by: alice}, action: warn}")
    assert judged(loaded, chart()).allowed
    denied(judged(loaded, chart("api")), "name-mismatch")


# 6. Origins


def test_a_signature_that_names_another_repository_is_denied() -> None:
    elsewhere = by_ci(repository=f"{HOST}/acme/other")
    denied(judged(policy("    require: {signed: {by: ci}}"), chart(), elsewhere), "origin-mismatch")
    assert judged(policy("    require: {signed: {by: ci}}", extra=f'    origins: ["oci://{HOST}/acme/other"]'), chart(), elsewhere).allowed
    assert judged(policy("    require: {signed: {by: ci}}"), chart(), by_ci(repository=f"{HOST}/acme/web")).allowed


def test_a_rule_may_demand_that_the_repository_is_named() -> None:
    loaded = policy("    require: {signed: {by: ci, bind: repository}}")
    denied(judged(loaded, chart(), by_ci()), "repository-unbound")
    assert judged(loaded, chart(), by_ci(repository=f"{HOST}/acme/web")).allowed


# 8. What signs


def test_an_attestation_is_not_a_signature() -> None:
    attested = by_ci(kind=Attestation(predicate_type="https://slsa.dev/provenance/v1", predicate={}))
    denied(judged(policy("    require: {signed: {by: ci}}"), chart(), attested), "signer-not-allowed")


def test_a_message_signature_counts_only_where_the_rule_says_so() -> None:
    message = by_ci(kind=Signature(form=Form.MESSAGE))
    denied(judged(policy("    require: {signed: {by: ci}}"), chart(), message), "signer-not-allowed")
    assert judged(policy("    require: {signed: {by: ci, forms: [message]}}"), chart(), message).allowed


# 10. Distinct principals

TWO = "    require: {atLeast: {count: 2, of: [{signed: {by: [alice, bob]}}, {signed: {by: [bob, ci]}}, {signed: {by: ci}}]}}"


def test_two_principals_fill_two_slots() -> None:
    assert judged(policy(TWO), chart(), by_alice(), by_bob()).allowed
    assert judged(policy(TWO), chart(), by_bob(), by_ci()).allowed


@pytest.mark.parametrize(
    "claims",
    {
        "one signer": (by_bob(),),
        "one signer twice": (by_ci(), by_ci()),
        "one key under two names": (by_ci(anchors=frozenset(("ci", "bob"))),),
        "one entry with two keys": (by_ci(), by_ci(key="sha256:" + "2" * 64)),
        "one key in two kinds": (by_ci(), by_alice(signer=OpenPGPSigner(fingerprint=FPR_A, signing_key=FPR_A, key_id="sha256:" + "1" * 64))),
    }.values(),
)
def test_one_principal_fills_one_slot(claims: tuple[Claim, ...]) -> None:
    denied(judged(policy(TWO), chart(), *claims), "threshold")


def test_a_threshold_that_could_still_be_met_is_inconclusive() -> None:
    gap = Gap(kind="evidence", where="there", code=codes.REGISTRY_ERROR, reason="status 500")
    inconclusive(judged(policy(TWO), chart(), by_bob(), gaps=(gap,)), "registry-error")


# 11. Logic

P, F = "{signed: {by: alice}}", "{signed: {by: bob}}"


@pytest.mark.parametrize(
    "require, outcome",
    [
        (f"{{all: [{P}, {P}]}}", Outcome.ALLOWED),
        (f"{{all: [{P}, {F}]}}", Outcome.DENIED),
        (f"{{any: [{F}, {P}]}}", Outcome.ALLOWED),
        (f"{{any: [{F}, {F}]}}", Outcome.DENIED),
        (f"{{all: [{P}, {{any: [{F}, {P}]}}]}}", Outcome.ALLOWED),
        ("{all: [{signed: {by: alice}}, {signed: {by: bob}, action: warn}]}", Outcome.ALLOWED),
    ],
)
def test_combinators(require: str, outcome: Outcome) -> None:
    assert judged(policy(f"    require: {require}"), chart(), by_alice()).outcome is outcome


def test_a_definite_failure_beats_could_not_tell() -> None:
    gap = Gap(kind="evidence", where="there", code=codes.TIMEOUT, reason="late")
    loaded = policy("    require: {all: [{signed: {by: bob}}, {chart: {pinned: true}}]}")
    denied(judged(loaded, chart(), by_alice(), gaps=(gap,)), "not-pinned")
    inconclusive(judged(policy("    require: {any: [{signed: {by: bob}}, {chart: {pinned: true}}]}"), chart(), gaps=(gap,)), "timeout")


def test_a_warning_is_said() -> None:
    decision = judged(policy("    require: {all: [{signed: {by: alice}}, {signed: {by: bob}, action: warn}]}"), chart(), by_alice())
    assert decision.allowed
    assert any("only warns" in warning for warning in decision.warnings)


def test_branches_keep_their_reasons() -> None:
    decision = judged(policy("    require: {any: [{signed: {by: bob}}, {chart: {pinned: true}}]}"), chart(), by_alice())
    denied(decision, "requirements-failed")
    names = {child.code.name for child in decision.check.children[-1].children if child.code}
    assert names == {"signer-not-allowed", "not-pinned"}


# 12. Windows

WINDOW = "    require: {any: [{signed: {by: alice}, until: 2027-01-01T00:00:00Z}, {signed: {by: bob}}]}"


def test_a_migration_ends_by_itself() -> None:
    loaded = policy(WINDOW)
    end = datetime(2027, 1, 1, tzinfo=UTC)
    decision = judged(loaded, chart(), by_alice())
    assert decision.allowed
    assert decision.valid_until == end
    assert judged(loaded, chart(), by_alice(), now=end - timedelta(seconds=1)).allowed
    after = judged(loaded, chart(), by_alice(), now=end)
    assert after.outcome is Outcome.DENIED
    assert after.check.children[-1].children[0].code is codes.WINDOW_CLOSED


def test_a_branch_before_its_time_is_failed_not_skipped() -> None:
    denied(judged(policy("    require: {signed: {by: alice}, since: 2027-01-01T00:00:00Z}"), chart(), by_alice()), "window-closed")


def test_a_demand_phases_in() -> None:
    loaded = policy("    require: {all: [{signed: {by: alice}}, {signed: {by: bob}, enforceFrom: 2027-01-01T00:00:00Z}]}")
    assert judged(loaded, chart(), by_alice()).allowed
    denied(judged(loaded, chart(), by_alice(), now=datetime(2027, 1, 1, tzinfo=UTC)), "signer-not-allowed")


# 14. Reviewed digests


def reviewed(digest: object, expires: str = "2027-01-01T00:00:00Z") -> str:
    return f"    require: {{digest: {{in: [{{digest: '{digest}', owner: me, reason: read it, expires: {expires}}}]}}}}"


def test_an_unsigned_chart_is_allowed_by_a_reviewed_digest() -> None:
    assert judged(policy(reviewed(MANIFEST_DIGEST)), chart()).allowed
    assert judged(policy(reviewed(chart().archive_digest)), chart()).allowed
    denied(judged(policy(reviewed(sha256(b"other"))), chart()), "digest-not-listed")
    denied(judged(policy(reviewed(MANIFEST_DIGEST)), chart(), now=datetime(2027, 1, 1, tzinfo=UTC)), "digest-not-listed")


# 15. Scopes


def test_a_chart_that_no_rule_speaks_of_is_denied() -> None:
    denied(judged(policy(charts=f'["oci://{HOST}/other/*"]'), chart(), by_alice()), "no-rule")
    denied(judged(policy(charts='["oci://elsewhere.test/acme/*"]'), chart(), by_alice()), "no-rule")


def test_the_most_specific_rule_wins() -> None:
    more = f"""{SIGNED_BY_ALICE}
  - name: exact
    charts: ["oci://{HOST}/acme/web"]
    require: {{signed: {{by: bob}}}}"""
    assert judged(policy(more), chart(), by_bob()).policy.rule == "exact"
    denied(judged(policy(more), chart(), by_alice()), "signer-not-allowed")


# 16. Baseline and deny list


def test_a_baseline_joins_every_rule() -> None:
    top = "baseline:\n  - chart: {pinned: true}"
    denied(judged(policy(top=top), chart(), by_alice()), "not-pinned")
    assert judged(policy(top=top), chart(pinned=True), by_alice()).allowed


@pytest.mark.parametrize(
    "entry",
    [
        f"digest: '{MANIFEST_DIGEST}'",
        f"digest: '{chart().archive_digest}'",
        "name: web",
        "name: web\n    versions: '<1.5.0'",
        "name: web\n    versions: '1.4.2'",
    ],
)
def test_the_deny_list_beats_a_good_signature(entry: str) -> None:
    denied(judged(policy(top=f"deny:\n  - {entry}\n    reason: bad"), chart(), by_alice()), "deny-listed")


@pytest.mark.parametrize("entry", ["name: api", "name: web\n    versions: '>=2.0.0'", f"digest: '{sha256(b'x')}'", f"fingerprint: {'C' * 40}"])
def test_the_deny_list_names_only_what_it_names(entry: str) -> None:
    assert judged(policy(top=f"deny:\n  - {entry}\n    reason: bad"), chart(), by_alice()).allowed


def test_a_prerelease_of_a_denied_version_is_denied() -> None:
    top = "deny:\n  - name: web\n    versions: '<1.5.0'"
    denied(judged(policy(top=top), chart(version="1.4.2-rc.1", tag="1.4.2-rc.1"), by_alice()), "deny-listed")


def test_a_denied_signer_does_not_count_but_does_not_harm() -> None:
    top = f"deny:\n  - fingerprint: {FPR_A}\n    reason: stolen"
    decision = judged(policy("    require: {signed: {by: [alice, bob]}}", top=top), chart(), by_alice())
    denied(decision, "signer-not-allowed")
    assert [item.code for item in decision.rejections] == [codes.DENY_LISTED]
    assert judged(policy("    require: {signed: {by: [alice, bob]}}", top=top), chart(), by_alice(), by_bob()).allowed


def test_a_denied_key_counts_for_what_it_provably_signed_before() -> None:
    key = "sha256:" + "1" * 64
    top = f"deny:\n  - key: {key}\n    revokedAt: 2026-06-01T00:00:00Z"
    loaded = policy("    require: {signed: {by: ci}}", top=top)
    denied(judged(loaded, chart(), by_ci()), "signer-not-allowed")
    late = (SigningTime(at=datetime(2026, 7, 1, tzinfo=UTC), clock=Clock.LOG),)
    early = (SigningTime(at=datetime(2026, 5, 1, tzinfo=UTC), clock=Clock.LOG),)
    denied(judged(loaded, chart(), by_ci(times=late)), "signer-not-allowed")
    denied(judged(loaded, chart(), by_ci(times=(SigningTime(at=datetime(2026, 5, 1, tzinfo=UTC), clock=Clock.SIGNER),))), "signer-not-allowed")
    assert judged(loaded, chart(), by_ci(times=early)).allowed


# 18, 19. Time


def test_a_key_outside_its_window_is_denied_at_now() -> None:
    denied(judged(policy("    require: {signed: {by: old}}"), chart(), by_ci("old")), "key-outside-window")


def test_a_proven_time_inside_the_window_counts() -> None:
    proven = (SigningTime(at=datetime(2025, 12, 1, tzinfo=UTC), clock=Clock.TIMESTAMP),)
    claimed = (SigningTime(at=datetime(2025, 12, 1, tzinfo=UTC), clock=Clock.SIGNER),)
    assert judged(policy("    require: {signed: {by: old}}"), chart(), by_ci("old", times=proven)).allowed
    denied(judged(policy("    require: {signed: {by: old}}"), chart(), by_ci("old", times=claimed)), "key-outside-window")


def test_a_windows_end_is_inside() -> None:
    end = datetime(2026, 1, 1, tzinfo=UTC)
    assert judged(policy("    require: {signed: {by: old}}"), chart(), by_ci("old"), now=end).allowed
    denied(judged(policy("    require: {signed: {by: old}}"), chart(), by_ci("old"), now=end + timedelta(seconds=1)), "key-outside-window")


def test_expired_and_retired_keys() -> None:
    expired, retired = by_alice(key_expires=NOW - timedelta(days=1)), by_alice(key_revoked=True)
    denied(judged(policy(), chart(), expired), "key-expired")
    assert judged(policy("    require: {signed: {by: alice, expiredKeys: allow}}"), chart(), expired).allowed
    denied(judged(policy(), chart(), retired), "key-retired")
    assert judged(policy("    require: {signed: {by: alice, retiredKeys: allow}}"), chart(), retired).allowed
    denied(judged(policy("    require: {signed: {by: alice, expiredKeys: allow}}"), chart(), retired), "key-retired")


def test_age_counts_proven_clocks_only() -> None:
    old, young = NOW - timedelta(days=40), NOW - timedelta(days=5)
    aged = policy(extra="    chart: {maxAge: 30d}")
    denied(judged(aged, chart(), by_alice()), "age-unproven")
    denied(judged(aged, chart(), by_alice(times=(SigningTime(at=old, clock=Clock.LOG),))), "too-old")
    assert judged(aged, chart(), by_alice(times=(SigningTime(at=young, clock=Clock.LOG),))).allowed
    believing = policy(extra="    chart: {maxAge: 30d, clock: signer}")
    assert judged(believing, chart(), by_alice()).allowed
    denied(judged(believing, chart(), by_alice(times=(SigningTime(at=old, clock=Clock.SIGNER),))), "too-old")


# Chart conditions


LISTED = '["oci://ghcr.io/acme/lib/*", "https://charts.example.test/stable/"]'
LISTED_URLS = ("https://charts.example.test/stable", "https://charts.example.test/stable/")
UNLISTED = (
    "",
    "oci://ghcr.io/acme",
    "oci://ghcr.io/evil/lib",
    "oci://evil.test/acme/lib",
    "https://charts.example.test",
    "https://charts.example.test/stable/more",
    "http://charts.example.test/stable",
    "file://../common",
    "@stable",
    "alias:stable",
    "oci://nonsense",
)


def needs(repository: str) -> str:
    return f'dependencies: [{{name: common, version: 1.0.0, repository: "{repository}"}}]\n'


def with_common(repository: str) -> OciChart:
    return chart(extra=needs(repository), files={"charts/common/Chart.yaml": chart_yaml("common", "1.0.0")})


def test_a_dependency_that_would_be_fetched_is_denied() -> None:
    denied(judged(policy(), chart(extra=needs("oci://ghcr.io/acme/lib")), by_alice()), "dependency-missing")
    assert judged(policy(), with_common("oci://ghcr.io/acme/lib"), by_alice()).allowed


@pytest.mark.parametrize(
    "condition, artifact, code",
    [
        ("version: '>=1.5.0'", chart(), "version-refused"),
        ("prerelease: false", chart(version="1.5.0-rc.1", tag="1.5.0-rc.1"), "prerelease"),
        ("annotations: [owner]", chart(), "chart-condition"),
        ("type: library", chart(), "chart-condition"),
        ("deprecated: false", chart(extra="deprecated: true\n"), "chart-condition"),
        ("maxBytes: 10", chart(), "chart-condition"),
        ("pinned: true", chart(), "not-pinned"),
        ("kubeVersion: 1.34.0", chart(), "chart-condition"),
        ("kubeVersion: 1.34.0", chart(extra="kubeVersion: '<1.30.0'\n"), "chart-condition"),
        ("kubeVersion: 1.34.0", chart(extra="kubeVersion: nonsense\n"), "chart-condition"),
        *((f"dependencies: {{repositories: {LISTED}}}", chart(extra=needs(repository)), "chart-condition") for repository in UNLISTED),
        ("dependencies: {lock: required}", chart(extra=needs("oci://ghcr.io/acme/lib")), "chart-condition"),
    ],
)
def test_a_chart_condition_denies(condition: str, artifact: OciChart, code: str) -> None:
    denied(judged(policy(extra=f"    chart: {{{condition}}}"), artifact, by_alice()), code)


@pytest.mark.parametrize(
    "condition, artifact",
    [
        ("version: '>=1.4.0'", chart()),
        ("prerelease: false", chart()),
        ("prerelease: true", chart(version="1.5.0-rc.1", tag="1.5.0-rc.1")),
        ("annotations: [owner]", chart(extra="annotations: {owner: me}\n")),
        ("type: application", chart()),
        ("type: library", chart(extra="type: library\n")),
        ("deprecated: false", chart()),
        ("maxBytes: 100000", chart()),
        ("kubeVersion: 1.34.0", chart(extra="kubeVersion: '>=1.30.0-0'\n")),
        (f"dependencies: {{repositories: {LISTED}, lock: required}}", chart()),
        *((f"dependencies: {{repositories: {LISTED}}}", with_common(repository)) for repository in ("oci://ghcr.io/acme/lib", *LISTED_URLS)),
    ],
)
def test_a_chart_condition_that_holds(condition: str, artifact: OciChart) -> None:
    assert judged(policy(extra=f"    chart: {{{condition}}}"), artifact, by_alice()).allowed


# 20, 21. Evidence and gaps


def test_unrelated_evidence_neither_helps_nor_harms() -> None:
    foreign = Rejection(scheme=None, code=codes.EVIDENCE_FOREIGN, reason="an SBOM", location=HERE)
    assert judged(policy(), chart(), by_alice(), rejections=(foreign,)).allowed
    denied(judged(policy(), chart(), rejections=(foreign,)), "signer-not-allowed")
    denied(judged(policy(), chart()), "unsigned")


def test_a_gap_does_not_hurt_when_the_rest_suffices() -> None:
    gap = Gap(kind="evidence", where="there", code=codes.EVIDENCE_LIMIT, reason="too many")
    assert judged(policy(), chart(), by_alice(), gaps=(gap,)).allowed
    inconclusive(judged(policy(), chart(), gaps=(gap,)), "evidence-limit")
    inconclusive(judged(policy(), chart(), by_bob(), gaps=(gap,)), "evidence-limit")


def test_a_chart_that_could_not_be_had() -> None:
    gap = Gap(kind="chart", where="there", code=codes.NOT_FOUND, reason="not found")
    inconclusive(judged(policy(), None, gaps=(gap,)), "not-found")
    bad = Rejection(scheme=None, code=codes.DIGEST_MISMATCH, reason="other bytes", location=Location(kind=Kind.CHART, where="there"))
    denied(judged(policy(), None, by_alice(), rejections=(bad,)), "digest-mismatch")
    denied(judged(policy(), None), "requirements-failed")


def test_subcharts_are_not_claimed_to_be_judged() -> None:
    extra = "dependencies:\n- name: db\n  version: 1.0.0\n  repository: https://example.test\n"
    decision = judged(policy(), chart(extra=extra, files={"charts/db/Chart.yaml": chart_yaml("db", "1.0.0")}), by_alice())
    assert "subcharts: not judged" in decision.warnings


def test_the_answer_ends_with_the_first_thing_it_rests_on() -> None:
    expires = NOW + timedelta(days=3)
    assert judged(policy(), chart(), by_alice(key_expires=expires)).valid_until == expires
    assert judged(policy(), chart(), by_alice()).valid_until is None
    aged = judged(policy(extra="    chart: {maxAge: 30d, clock: signer}"), chart(), by_alice())
    assert aged.valid_until == NOW + timedelta(days=20)


def test_a_policy_is_not_a_place_for_guesses() -> None:
    with pytest.raises(MisuseError):
        policy("    require: {}")


# A warning ahead of every end

SOON, LATE = NOW + timedelta(days=10), NOW + timedelta(days=20)


def ahead(decision: Decision) -> list[str]:
    assert decision.allowed, decision.check.reason
    return [warning for warning in decision.warnings if "then" in warning]


def ends(at: datetime) -> dict[str, tuple[Policy, tuple[Claim, ...], str]]:
    written = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    review = f"{{digest: '{MANIFEST_DIGEST}', owner: me, reason: read, expires: {written}}}"
    return {
        "a branch": (
            policy(f"    require: {{any: [{{signed: {{by: alice}}, until: {written}}}, {{signed: {{by: bob}}}}]}}"),
            (by_alice(),),
            "requirements-failed",
        ),
        "a review": (policy(f"    require: {{digest: {{in: [{review}]}}}}"), (), "digest-not-listed"),
        "a phase of warning": (
            policy(f"    require: {{all: [{{signed: {{by: alice}}}}, {{signed: {{by: bob}}, enforceFrom: {written}}}]}}"),
            (by_alice(),),
            "signer-not-allowed",
        ),
        "an OpenPGP key": (policy(), (by_alice(key_expires=at),), "key-expired"),
        "a signature's age": (
            policy(extra="    chart: {maxAge: 30d}"),
            (by_alice(times=(SigningTime(at=at - timedelta(days=30), clock=Clock.LOG),)),),
            "too-old",
        ),
        "a key's window": (
            load_policy(
                f"apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {{name: t}}\ntrust: {{ci: {{key: {{file: c, notAfter: {written}}}}}}}\n"
                f'rules: [{{name: r, charts: ["oci://{HOST}/acme/*"], require: {{signed: {{by: ci}}}}}}]\n'.encode(),
                where="p",
            ),
            (by_ci(),),
            "key-outside-window",
        ),
    }


@pytest.mark.parametrize("name", ends(SOON))
def test_an_end_within_a_fortnight_is_told(name: str) -> None:
    loaded, claims, code = ends(SOON)[name]
    (warning,) = ahead(judged(loaded, chart(), *claims))
    assert warning.startswith(f"allowed until {SOON:%Y-%m-%d %H:%M}Z, then denied: "), warning
    assert warning.endswith(f"[{code}]"), warning
    denied(judged(loaded, chart(), *claims, now=SOON + timedelta(seconds=1)), code)


@pytest.mark.parametrize("name", ends(LATE))
def test_a_later_end_is_not_told_yet(name: str) -> None:
    loaded, claims, _ = ends(LATE)[name]
    decision = judged(loaded, chart(), *claims)
    assert ahead(decision) == []
    assert decision.valid_until == LATE


def test_an_end_that_changes_nothing_is_not_told() -> None:
    loaded, _, _ = ends(SOON)["a branch"]
    decision = judged(loaded, chart(), by_alice(), by_bob())
    assert ahead(decision) == []
    assert decision.valid_until == SOON  # a cache asks again all the same


def test_a_denial_has_no_end_to_be_told() -> None:
    loaded, _, _ = ends(SOON)["a branch"]
    decision = judged(loaded, chart())
    assert not decision.allowed
    assert not [warning for warning in decision.warnings if "then" in warning]


def test_of_several_ends_the_first_that_matters_is_told() -> None:
    loaded, _, _ = ends(SOON)["a branch"]
    (warning,) = ahead(judged(loaded, chart(), by_alice(key_expires=SOON - timedelta(days=2))))
    assert f"until {SOON - timedelta(days=2):%Y-%m-%d}" in warning


# What mutants showed that no test looked at


def test_only_what_fails_is_warned_of_and_nothing_else_is_said() -> None:
    loaded = policy("    require: {all: [{signed: {by: alice}}, {signed: {by: bob}, action: warn}]}")
    assert judged(loaded, chart(), by_alice(), by_bob()).warnings == ()
    assert judged(policy(), chart(), by_alice()).warnings == ()
    (warning,) = judged(loaded, chart(), by_alice()).warnings
    assert "signer-not-allowed" not in warning
    assert warning.startswith("require[1]: ") or "bob" in warning
    denied(judged(policy(), chart()), "unsigned")
    assert judged(policy(), chart()).warnings == ()


def test_a_file_that_stands_for_a_chart_is_said_to() -> None:
    local = chart_file(archive())
    asserted = replace(local, path="web-1.4.2.tgz")
    reference = replace(parse("web-1.4.2.tgz"), asserted=parse_oci(f"oci://{HOST}/acme/web:1.4.2"))
    decision = decide(policy(), Facts(request=Request(reference=reference, context=Context()), artifact=asserted, claims=(by_alice(),)), NOW)
    assert decision.allowed, decision.check.reason
    assert decision.warnings == (f"judged as oci://{HOST}/acme/web:1.4.2 because the caller says so",)
    plain = policy(charts='["file:*.tgz"]')
    alone = decide(plain, Facts(request=Request(reference=parse("web-1.4.2.tgz"), context=Context()), artifact=asserted, claims=(by_alice(),)), NOW)
    assert (alone.allowed, alone.warnings) == (True, ())
    nobody = decide(policy(), Facts(request=Request(reference=parse("web-1.4.2.tgz"), context=Context()), artifact=asserted), NOW)
    assert nobody.check.reason.startswith("no rule speaks of file:/")


def test_a_deny_entry_gives_its_reason_where_it_has_one() -> None:
    for extra, said in (("", "the deny list names name web"), (", reason: broken", "the deny list names name web: broken")):
        assert judged(policy(top=f"deny: [{{name: web{extra}}}]"), chart(), by_alice()).check.reason == said
        struck = judged(policy(top=f'deny: [{{fingerprint: "{FPR_A}"{extra}}}]'), chart(), by_alice())
        assert struck.rejections[0].reason == said.replace("name web", f"fingerprint {FPR_A}")


def test_a_denied_key_is_meant_in_whatever_kind_and_no_other_is() -> None:
    key = "sha256:" + "7" * 64
    loaded = policy(top=f"deny: [{{key: '{key}'}}]")
    denied(judged(loaded, chart(), replace(by_alice(), signer=OpenPGPSigner(fingerprint=FPR_A, signing_key=FPR_A, key_id=key))), "signer-not-allowed")
    assert judged(loaded, chart(), replace(by_alice(), signer=OpenPGPSigner(fingerprint=FPR_A, signing_key=FPR_A, key_id="sha256:" + "8" * 64))).allowed


def test_the_moment_of_revocation_counts_as_after_it() -> None:
    at = NOW - timedelta(days=3)
    loaded = policy(top=f'deny: [{{fingerprint: "{FPR_A}", revokedAt: {at:%Y-%m-%dT%H:%M:%SZ}}}]')
    assert judged(loaded, chart(), by_alice(times=(SigningTime(at=at - timedelta(seconds=1), clock=Clock.LOG),))).allowed
    denied(judged(loaded, chart(), by_alice(times=(SigningTime(at=at, clock=Clock.LOG),))), "signer-not-allowed")


def test_the_first_moment_of_a_window_is_in_it_and_the_moment_of_an_end_is_its_edge() -> None:
    opens = policy(f"    require: {{any: [{{signed: {{by: alice}}, since: {NOW:%Y-%m-%dT%H:%M:%SZ}}}]}}")
    assert judged(opens, chart(), by_alice()).allowed
    assert judged(opens, chart(), by_alice()).valid_until is None
    assert not judged(opens, chart(), by_alice(), now=NOW - timedelta(seconds=1)).allowed


def test_a_fortnight_is_a_fortnight() -> None:
    for end, told in ((NOW + timedelta(days=14), True), (NOW + timedelta(days=14, seconds=1), False)):
        assert bool(ahead(judged(policy(), chart(), by_alice(key_expires=end)))) is told


def test_any_keeps_the_claims_of_the_branch_that_holds() -> None:
    decision = judged(policy("    require: {any: [{signed: {by: bob}}, {signed: {by: alice}}]}"), chart(), by_alice())
    assert decision.check.children[-1].claims == (0,)
    gap = Gap(kind=Kind.REFERRER, where="x", code=codes.TIMEOUT, reason="slow")
    unclear = judged(policy("    require: {any: [{signed: {by: bob}}, {chart: {pinned: true}}]}"), chart(), by_alice(), gaps=(gap,))
    assert unclear.check.children[-1].claims == ()


def test_the_context_that_the_most_specific_rule_lacks_is_named() -> None:
    loaded = load_policy(
        f"apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {{name: t}}\n{TRUST}\nrules:\n"
        f'  - {{name: wide, charts: ["oci://{HOST}/**"], when: {{cluster: [a]}}, require: {{signed: {{by: alice}}}}}}\n'
        f'  - {{name: narrow, charts: ["oci://{HOST}/acme/web"], when: {{namespace: [b]}}, require: {{signed: {{by: alice}}}}}}\n'.encode(),
        where="p",
    )
    assert "'narrow' selects on namespace" in judged(loaded, chart(), by_alice()).check.reason
