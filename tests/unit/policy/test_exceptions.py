"""Exceptions (semantics 23): what one lets pass, and all that none ever does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support.charts import archive, chart_file, chart_yaml
from tests.support.cli import Ran, run
from tests.support.signers import pair
from tests.support.world import connect, publish
from tests.unit.policy.test_engine import HERE, HOST, MANIFEST_DIGEST, NOW, by_alice, by_bob, by_ci, chart, denied, inconclusive, judged, policy
from verifier.attest.dsse import IN_TOTO
from verifier.formats.json import dump_json, parse_object
from verifier.model import codes
from verifier.model.artifact import RepositoryChart
from verifier.model.claim import Attestation, Rejection
from verifier.model.context import Context, Facts, Part, PartKind, Request
from verifier.model.decision import Decision, PartState
from verifier.model.evidence import Gap
from verifier.model.reference import PinnedReference, parse_chart_repository, parse_oci
from verifier.operations.policies import load
from verifier.operations.summarize import summarize
from verifier.policy.engine import decide
from verifier.policy.exceptions import WAIVABLE
from verifier.policy.words import exemption_words
from verifier.report.codec import encode
from verifier.report.text import explain
from verifier.server.cache import cache_key
from verifier.signers.key import private_pem
from verifier.signers.public import public_pem

LATER = NOW + timedelta(days=30)


def granted(
    *waived: str, repository: str = "acme/web", digest: str = str(MANIFEST_DIGEST), rule: str = "ours", expires: object = LATER, ticket: str = "OPS-1"
) -> str:
    return (
        f"  - {{repository: 'oci://{HOST}/{repository}', digest: '{digest}', rule: {rule}, codes: [{', '.join(waived)}], owner: ann, "
        f"reason: the vendor is slow, ticket: {ticket}, expires: '{expires:%Y-%m-%dT%H:%M:%SZ}'}}\n"
    )


def exceptions(*items: str) -> str:
    return "exceptions:\n granted:\n" + "".join(items)


def under(*items: str, require: str = "    require: {signed: {by: alice}}", extra: str = "", top: str = "", **chart_is: object) -> Decision:
    return judged(policy(require, extra=extra, top=top + exceptions(*items)), chart(**chart_is))  # type: ignore[arg-type]


# What is let pass


def test_an_unsigned_chart_that_somebody_answers_for() -> None:
    decision = under(granted("unsigned"))
    assert decision.allowed
    ((path, check),) = decision.exceptions
    assert (path, check.outcome.value, check.code) == ("require", "failed", codes.UNSIGNED)
    assert decision.valid_until == LATER
    assert any("let pass by the exception OPS-1 of ann until 2026-12-24" in warning for warning in decision.warnings)


def test_it_is_told_and_never_called_signed() -> None:
    decision = under(granted("unsigned"))
    told = encode(decision)
    assert told["exceptions"] == [
        {
            "check": "require",
            "code": "unsigned",
            "owner": "ann",
            "reason": "the vendor is slow",
            "ticket": "OPS-1",
            "expires": "2026-12-24T12:00:00Z",
            "grantedBy": None,
        }
    ]
    text = explain(decision)
    assert "- require: expected a signature by alice; nothing is attached to the chart [unsigned] (let pass: OPS-1, ann)" in text
    assert "verified" not in text


def test_no_other_decision_may_rest_on_it() -> None:
    assert "the exception OPS-1" in summarize(under(granted("unsigned")), "https://v.example.test").leaned_on


ALL = [
    ("    require: {all: [{signed: {by: alice}}, {signed: {by: bob}}]}", "", ("unsigned",)),
    ("    require: {any: [{signed: {by: alice}}, {signed: {by: bob}}]}", "", ("unsigned",)),
    ("    require: {atLeast: {count: 2, of: [{signed: {by: alice}}, {signed: {by: bob}}]}}", "", ("threshold",)),
    ("    require: {attested: {type: spdx, by: ci}}", "", ("attestation-missing",)),
    ("    require: {all: [{signed: {by: alice}}, {chart: {pinned: true}}]}", "", ("unsigned", "not-pinned")),
    ("    require: {signed: {by: alice}}", "    chart: {version: '>=2.0.0', prerelease: false}", ("unsigned", "version-refused")),
    ("    require: {signed: {by: alice}, since: 2027-01-01T00:00:00Z}", "", ("window-closed",)),
    (
        f"    require: {{digest: {{in: [{{digest: 'sha256:{'9' * 64}', owner: a, reason: b, expires: 2030-01-01T00:00:00Z}}]}}}}",
        "",
        ("digest-not-listed",),
    ),
]


@pytest.mark.parametrize("require, extra, waived", ALL)
def test_each_kind_of_requirement(require: str, extra: str, waived: tuple[str, ...]) -> None:
    assert under(granted(*waived), require=require, extra=extra).allowed
    assert not judged(policy(require, extra=extra), chart()).allowed


@pytest.mark.parametrize("require, extra, waived", [item for item in ALL if len(item[2]) > 1])
def test_each_failure_needs_its_code(require: str, extra: str, waived: tuple[str, ...]) -> None:
    for code in waived:
        left = next(other for other in waived if other != code)
        denied(under(granted(code), require=require, extra=extra), left)


def test_a_true_signature_is_told_before_an_exception() -> None:
    loaded = policy("    require: {any: [{signed: {by: alice}}, {signed: {by: bob}}]}", top=exceptions(granted("unsigned", "signer-not-allowed")))
    check = judged(loaded, chart(), by_bob()).check.children[-1]
    assert (check.reason.startswith("signed by bob"), len(check.claims)) == (True, 1)


def test_what_the_rule_says_of_parts() -> None:
    files = {"charts/db/Chart.yaml": chart_yaml("db", "1.0.0")}
    require, extra = "    require: {chart: {type: application}}", "    subcharts: {packed: judged}"
    denied(under(granted("unsigned"), require=require, extra=extra, files=files), "subchart-unpacked")
    assert under(granted("subchart-unpacked"), require=require, extra=extra, files=files).allowed


def test_an_image_has_exceptions_of_its_own() -> None:
    """Bound to the image's repository and digest, under the chart's rule."""
    from verifier.model.artifact import OciImage
    from verifier.model.reference import PinnedReference

    image = PinnedReference(registry=HOST, repository="acme/app", digest=MANIFEST_DIGEST, tag=None, was_pinned=True)
    request = Request(reference=parse_oci(f"oci://{HOST}/acme/app@{MANIFEST_DIGEST}"), context=judged(policy(), chart()).request.context)
    part = Part(kind=PartKind.IMAGE, path="app", facts=Facts(request=request, artifact=OciImage(reference=image, manifest=b"")))
    for repository, allowed in (("acme/app", True), ("acme/web", False)):
        top = exceptions(granted("unsigned", repository=repository))
        loaded = policy(
            "    require: {signed: {by: alice}}",
            extra=f"    images: {{from: values, repositories: ['oci://{HOST}/**'], require: {{signed: {{by: ci}}}}}}",
            top=top,
        )
        facts = Facts(
            request=Request(reference=parse_oci(f"oci://{HOST}/acme/web:1.4.2"), context=request.context),
            artifact=chart(),
            claims=(by_alice(),),
            parts=(part,),
            images_from=frozenset(("values",)),
        )
        assert decide(loaded, facts, NOW).allowed is allowed


def with_image(written: str, *waived: str, require: str = "", images: str = "pinned: true", repository: str = "acme/web", **facts_are: object) -> Decision:
    reference = parse_oci(f"oci://{HOST}/{written}")
    inner = Facts(request=Request(reference=reference, context=Context()), artifact=None, **facts_are)  # type: ignore[arg-type]
    part = Part(kind=PartKind.IMAGE, path=written, facts=inner)
    extra = f"    images: {{from: values, repositories: ['oci://{HOST}/**'], {images}{require}}}"
    loaded = policy(extra=extra, top=exceptions(granted(*waived, repository=repository)) if waived else "")
    request = Request(reference=parse_oci(f"oci://{HOST}/acme/web:1.4.2"), context=Context())
    return decide(loaded, Facts(request=request, artifact=chart(), claims=(by_alice(),), parts=(part,), images_from=frozenset(("values",))), NOW)


REQUIRE = ", require: {signed: {by: ci}}"


def test_an_image_by_tag_that_somebody_answers_for() -> None:
    denied(with_image("acme/app:1"), "image-refused")
    decision = with_image("acme/app:1", "image-refused")
    assert decision.allowed
    assert [part.state for part in decision.parts] == [PartState.UNJUDGED]
    assert decision.check.children[-1].reason == "all 1 hold"  # what lets it pass is told below, and in a warning


def test_a_refused_image_does_not_hide_that_its_signature_could_not_be_told() -> None:
    """One failure that is let pass takes neither another one nor a gap along."""
    gap = Gap(kind="evidence", where="there", code=codes.REGISTRY_ERROR, reason="503")
    inconclusive(with_image("acme/app:1", *sorted(WAIVABLE), require=REQUIRE, gaps=(gap,)), "registry-error")
    bad = Rejection(scheme=None, code=codes.DIGEST_MISMATCH, reason="other bytes", location=HERE)
    denied(with_image("acme/app:1", *sorted(WAIVABLE), require=REQUIRE, rejections=(bad,)), "digest-mismatch")


def test_a_subchart_whose_own_rule_denies_is_no_matter_of_the_parents_exceptions() -> None:
    """Its code may be that of a part of its own."""
    db = archive("db", "1.0.0", {"charts/x/Chart.yaml": chart_yaml("x", "1.0.0")})
    extra = f'dependencies: [{{name: db, version: 1.0.0, repository: "oci://{HOST}/acme"}}]\n'
    parent = chart(extra=extra, files={"charts/db-1.0.0.tgz": db})
    below = replace(chart("db", "1.0.0", tag="1.0.0", repository="acme/db", pinned=True), archive=db, facts=chart_file(db).facts)
    below = replace(below, chart=replace(below.chart, digest=chart_file(db).digest))
    inner = Facts(request=Request(reference=parse_oci(f"oci://{HOST}/acme/db:1.0.0"), context=Context()), artifact=below, claims=(by_alice(),))
    part = Part(kind=PartKind.SUBCHART, path="charts/db-1.0.0.tgz", facts=inner)
    for repository, allowed in (("acme/web", False), ("acme/db", True)):
        loaded = policy(extra="    subcharts: {packed: judged}", top=exceptions(granted("subchart-unpacked", repository=repository)))
        request = Request(reference=parse_oci(f"oci://{HOST}/acme/web:1.4.2"), context=Context())
        decision = decide(loaded, Facts(request=request, artifact=parent, claims=(by_alice(),), parts=(part,)), NOW)
        assert decision.allowed is allowed, decision.check.reason
        assert [item.state for item in decision.parts] == [PartState.UNJUDGED if allowed else PartState.DENIED]


# What is not


@pytest.mark.parametrize(
    "item",
    [
        granted("unsigned", repository="acme/other"),
        granted("unsigned", digest="sha256:" + "1" * 64),
        granted("unsigned", rule="theirs"),
        granted("key-expired"),
        granted("unsigned", expires=NOW),
        granted("unsigned", expires=NOW - timedelta(days=1)),
    ],
)
def test_one_that_is_for_something_else(item: str) -> None:
    theirs = "\n  - name: theirs\n    charts: ['oci://elsewhere.example/x']\n    require: {signed: {by: alice}}"
    denied(under(item, extra=theirs), "unsigned")


def test_a_signature_that_is_bound_to_another_repository() -> None:
    """Nothing lets it count; what lets nothing count lets pass that there is none which does."""
    loaded = policy(top=exceptions(granted(*sorted(WAIVABLE - {"unsigned", "signer-not-allowed", "identity-mismatch"}))))
    denied(judged(loaded, chart(), by_alice(repository=f"{HOST}/evil/web")), "origin-mismatch")
    assert judged(policy(top=exceptions(granted("unsigned"))), chart(), by_alice(repository=f"{HOST}/evil/web")).allowed


def test_more_evidence_never_takes_an_exception_away() -> None:
    """Whoever may attach something could do that otherwise."""
    loaded = policy(top=exceptions(granted("unsigned")))
    for claims in ((), (by_bob(),), (by_alice(key_revoked=True),), (by_alice(key_expires=NOW), by_bob())):
        assert judged(loaded, chart(), *claims).allowed, claims
    attested = policy("    require: {attested: {type: slsaprovenance1, by: ci}}", top=exceptions(granted("attestation-missing")))
    assert judged(attested, chart(), by_ci(kind=Attestation(predicate_type="https://slsa.dev/provenance/v1", predicate=None))).allowed


def test_a_signature_that_fails_for_one_more_reason_is_not_let_pass() -> None:
    loaded = policy(top=exceptions(granted("key-expired")))
    assert judged(loaded, chart(), by_alice(key_expires=NOW)).allowed
    denied(judged(loaded, chart(), by_alice(key_expires=NOW, key_revoked=True)), "key-retired")
    both = judged(policy(top=exceptions(granted("key-expired", "key-retired"))), chart(), by_alice(key_expires=NOW, key_revoked=True))
    assert both.allowed
    told = both.check.children[-1].children[0]
    assert [told.code, *(child.code for child in told.children)] == [codes.KEY_RETIRED, codes.KEY_EXPIRED]


def test_a_strangers_signature_makes_no_exception_hold() -> None:
    """What somebody attaches must not turn a denial into an approval: the code of it means no more than that nothing counts."""
    for code in ("signer-not-allowed", "identity-mismatch", "unsigned"):
        loaded = policy(top=exceptions(granted(code)))
        assert judged(loaded, chart()).allowed
        assert judged(loaded, chart(), by_bob()).allowed
    loaded = policy(top=exceptions(granted("key-expired")))
    denied(judged(loaded, chart()), "unsigned")
    denied(judged(loaded, chart(), by_bob()), "signer-not-allowed")
    denied(judged(loaded, chart(), by_bob(key_expires=NOW)), "signer-not-allowed")


def test_the_order_of_what_fails_means_nothing() -> None:
    loaded = policy("    require: {signed: {by: [alice, bob]}}", top=exceptions(granted("key-expired")))
    one, two = by_alice(key_expires=NOW), by_bob(key_revoked=True)
    assert judged(loaded, chart(), one, two).allowed
    assert judged(loaded, chart(), two, one).allowed
    denied(judged(loaded, chart(), two), "key-retired")


def test_binding_is_never_let_pass() -> None:
    denied(under(granted(*sorted(WAIVABLE)), version="1.4.1"), "version-mismatch")
    denied(under(granted(*sorted(WAIVABLE)), name="other"), "name-mismatch")


def test_the_deny_list_beats_it() -> None:
    denied(under(granted(*sorted(WAIVABLE)), top=f"deny: [{{digest: '{MANIFEST_DIGEST}'}}]\n"), "deny-listed")


def test_what_could_not_be_told_stays_so() -> None:
    gap = Gap(kind="evidence", where="there", code=codes.REGISTRY_ERROR, reason="503")
    inconclusive(judged(policy(top=exceptions(granted(*sorted(WAIVABLE)))), chart(), gaps=(gap,)), "registry-error")


def test_a_fetched_dependency_is_no_matter_of_exceptions() -> None:
    extra = 'dependencies: [{name: db, version: 1.0.0, repository: "https://x.test"}]\n'
    loaded = policy("    require: {chart: {type: application}}", top=exceptions(granted(*sorted(WAIVABLE))))
    denied(judged(loaded, chart(extra=extra)), "dependency-missing")


def test_the_one_that_ends_first_holds() -> None:
    early, late = granted("unsigned", expires=NOW + timedelta(days=1), ticket="A"), granted("unsigned", ticket="B")
    decision = under(early, late)
    assert [check.waived.ticket for _, check in decision.exceptions if check.waived] == ["A"]
    loaded = policy(top=exceptions(early, late))
    denied(judged(loaded, chart(), now=NOW + timedelta(days=2)), "unsigned")


def test_only_codes_of_requirements_and_conditions_can_be_let_pass() -> None:
    never = {"digest-mismatch", "name-mismatch", "version-mismatch", "origin-mismatch", "deny-listed", "attestation-forged", "archive-ambiguous", "no-rule"}
    assert not WAIVABLE & never
    assert all(codes.ALL[name].family is codes.Family.FAILED for name in WAIVABLE)


# Signed ones

POLICY = """apiVersion: verifier/v1
kind: ChartPolicy
metadata: {{name: p}}
trust:
  ci: {{key: {{file: ci.pub}}}}
  boss: {{key: {{file: boss.pub{window}}}}}
rules:
  - name: ours
    charts: ["oci://{host}/acme/*"]
    require: {{signed: {{by: ci}}}}
exceptions: {{by: {by}, signed: [granted]}}
{extra}
"""
EXCEPTION = """apiVersion: verifier/v1
kind: Exception
exception:
  repository: "oci://{host}/acme/web"
  digest: "{digest}"
  rule: ours
  codes: [unsigned]
  owner: ann
  reason: the vendor is slow
  ticket: OPS-2
  expires: "2099-01-01T00:00:00Z"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: str) -> tuple[str, str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERIFIER_PASSWORD", "")
    for name in ("ci", "boss"):
        Path(f"{name}.pub").write_bytes(public_pem(pair(name).public))
        Path(f"{name}.key").write_bytes(private_pem(pair(name), b""))
    digest = publish(connect(), registry, archive())
    Path("granted").mkdir()
    Path("e.yaml").write_text(EXCEPTION.format(host=registry, digest=digest))
    write(registry)
    return registry, str(digest)


def write(host: str, *, by: str = "boss", window: str = "", extra: str = "") -> None:
    Path("p.yaml").write_text(POLICY.format(host=host, by=by, window=window, extra=extra))


def grant(key: str = "boss.key") -> Ran:
    return run("policy", "grant", "e.yaml", "--key", key, "-o", "granted/OPS-2.json")


def verify(host: str) -> Ran:
    return run("verify", f"oci://{host}/acme/web:1.4.2", "--policy", "p.yaml")


def test_a_signed_exception(here: tuple[str, str]) -> None:
    assert verify(here[0]).status == 1
    assert grant().status == 0
    ran = verify(here[0])
    assert ran.status == 0, ran.text
    assert "OPS-2 of ann until 2099-01-01 00:00Z, signed by boss: the vendor is slow" in ran.out


def test_it_is_part_of_the_cache_key(here: tuple[str, str]) -> None:
    from verifier.model.context import Context
    from verifier.model.digest import parse_digest
    from verifier.model.reference import PinnedReference

    reference = PinnedReference(registry=here[0], repository="acme/web", digest=parse_digest(here[1]), tag=None, was_pinned=True)
    before = load(Path("p.yaml"))
    grant()
    after = load(Path("p.yaml"))
    assert (before.policy.digest, before.trust_digest) == (after.policy.digest, after.trust_digest)
    assert cache_key(reference, Context(), before, ()) != cache_key(reference, Context(), after, ())
    assert Path("granted/OPS-2.json") in after.files


def test_a_recording_keeps_it(here: tuple[str, str]) -> None:
    grant()
    assert run("record", f"oci://{here[0]}/acme/web:1.4.2", "--policy", "p.yaml", "-d", "kept").status == 0
    assert "allowed, unchanged" in run("policy", "replay", "kept").out
    ran = run("policy", "exceptions", "kept", "--policy", "p.yaml")
    assert "kept: allowed by OPS-2 until 2099-01-01 00:00Z, then denied [unsigned]" in ran.out


def test_by_somebody_who_may_not(here: tuple[str, str]) -> None:
    grant("ci.key")
    ran = verify(here[0])
    assert (ran.status, f"[{codes.EXCEPTION_INVALID.name}]" in ran.err, "not signed by boss" in ran.err) == (2, True, True)


def test_a_key_outside_its_window(here: tuple[str, str]) -> None:
    grant()
    write(here[0], window=", notAfter: 2020-01-01T00:00:00Z")
    assert verify(here[0]).status == 1


def test_a_key_on_the_deny_list(here: tuple[str, str]) -> None:
    grant()
    write(here[0], extra=f"deny: [{{key: '{pair('boss').public.key_id}'}}]")
    assert verify(here[0]).status == 1


def test_a_changed_one(here: tuple[str, str]) -> None:
    grant()
    path = Path("granted/OPS-2.json")
    value = parse_object(path.read_bytes(), where="x")
    value["payload"] = value["payload"][:-8] + "AAAAAAA="
    path.write_bytes(dump_json(value))
    assert "not signed by boss" in verify(here[0]).err


def test_another_payload_type(here: tuple[str, str]) -> None:
    """No signature over anything else can be taken for an exception."""
    grant()
    path = Path("granted/OPS-2.json")
    path.write_bytes(dump_json({**parse_object(path.read_bytes(), where="x"), "payloadType": IN_TOTO}))
    assert "its payload is 'application/vnd.in-toto+json'" in verify(here[0]).err


@pytest.mark.parametrize(
    "old, new, reason",
    [
        ("rule: ours", "rule: our", "did you mean 'ours'"),
        ("codes: [unsigned]", "codes: [digest-mismatch]", "never let pass"),
        ("codes: [unsigned]", "codes: [unsined]", "is no code"),
        ("codes: [unsigned]", "codes: []", "not empty"),
        ("owner: ann", "owner: ''", "not empty"),
        ("  ticket: OPS-2\n", "", "needs the field 'ticket'"),
        ("kind: Exception", "kind: ChartPolicy", "must be one of: Exception"),
        ("/acme/web", "/acme/*", "without wildcards"),
    ],
)
def test_one_that_makes_no_sense(here: tuple[str, str], old: str, new: str, reason: str) -> None:
    Path("e.yaml").write_text(Path("e.yaml").read_text().replace(old, new))
    ran = grant()
    if ran.status == 0:  # what only the policy can tell
        ran = verify(here[0])
    assert (ran.status, "[exception-invalid]" in ran.err, reason in ran.err) == (2, True, True), ran.err


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"payloadType": "x"}', b'{"payload": "e30=", "payloadType": "x", "signatures": []}'])
def test_what_is_no_envelope(here: tuple[str, str], data: bytes) -> None:
    Path("granted/x.json").write_bytes(data)
    assert "[exception-invalid]" in verify(here[0]).err


@pytest.mark.parametrize(
    "text, reason",
    [
        ("exceptions: {by: boss}", "by and signed go together"),
        ("exceptions: {signed: [x]}", "by and signed go together"),
        ("exceptions: {by: nobody, signed: [x]}", "not a name under trust"),
        ("exceptions: {granted: []}", "not empty"),
        ("exceptions: {granted: [{rule: x}]}", "needs the field"),
    ],
)
def test_the_policys_own_field(here: tuple[str, str], text: str, reason: str) -> None:
    written = Path("p.yaml").read_text().replace("exceptions: {by: boss, signed: [granted]}", text)
    Path("p.yaml").write_text(written)
    ran = run("policy", "lint", "p.yaml")
    assert (ran.status, "[policy-invalid]" in ran.err, reason in ran.err) == (2, True, True), ran.err


def test_a_keyring_signs_no_exceptions() -> None:
    with pytest.raises(Exception, match="is no key: exceptions are signed with keys"):
        policy(top="exceptions: {by: alice, signed: [x]}")


def test_the_report(here: tuple[str, str]) -> None:
    assert run("policy", "exceptions", "--policy", "p.yaml").out == "the policy has no exceptions\n"
    grant()
    Path("e.yaml").write_text(Path("e.yaml").read_text().replace("OPS-2", "OPS-3").replace("2099", "2098"))
    run("policy", "grant", "e.yaml", "--key", "boss.key", "-o", "granted/OPS-3.json")
    Path("e.yaml").write_text(Path("e.yaml").read_text().replace("OPS-3", "OPS-4").replace("2098", "2001").replace("unsigned", "threshold"))
    run("policy", "grant", "e.yaml", "--key", "boss.key", "-o", "granted/OPS-4.json")
    lines = run("policy", "exceptions", "--policy", "p.yaml").out.splitlines()
    assert lines[0].startswith("ended     OPS-4: oci://")
    assert [line.split()[2] for line in lines[2:6:2]] == ["OPS-3:", "OPS-2:"]
    assert lines[6] == "overlap   OPS-3 and OPS-2 are for the same failure: the one that ends first holds, so take OPS-3 away"


def test_a_recorded_decision_that_rests_on_none(here: tuple[str, str]) -> None:
    run("record", f"oci://{here[0]}/acme/web:1.4.2", "--policy", "p.yaml", "-d", "kept")
    grant()
    Path("e.yaml").write_text(Path("e.yaml").read_text().replace("unsigned", "threshold"))
    Path("granted/OPS-2.json").unlink()
    grant()
    assert "kept: denied, and rests on no exception" in run("policy", "exceptions", "kept", "--policy", "p.yaml").out


def test_what_was_granted_is_joined_over_a_directory(here: tuple[str, str]) -> None:
    text = Path("p.yaml").read_text()
    head = "apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {name: p}\n"
    Path("d").mkdir()
    Path("d/granted").mkdir()
    Path("d/a.yaml").write_text(text.replace("ci.pub", "../ci.pub").replace("boss.pub", "../boss.pub"))
    item = granted("unsigned").replace(HOST, here[0])
    Path("d/b.yaml").write_text(head + exceptions(item))
    Path("d/c.yaml").write_text(head + exceptions(item.replace("OPS-1", "OPS-9")))
    assert [one.waiver.ticket for one in load(Path("d")).policy.exceptions] == ["OPS-1", "OPS-9"]
    Path("d/c.yaml").write_text(head + "exceptions: {by: boss, signed: [granted]}\n")
    assert "stands in another document as well" in run("policy", "lint", "d").err


def test_an_exception_for_a_chart_of_a_chart_repository() -> None:
    """Bound to its URL and its archive's digest."""
    digest, url = chart_file().digest, "https://charts.acme.test/stable"
    reference = parse_chart_repository(f"{url}/web:1.4.2")
    pinned = PinnedReference(registry=reference.registry, repository=reference.repository, digest=digest, tag="1.4.2", was_pinned=False)
    artifact = RepositoryChart(reference=pinned, facts=chart_file().facts, archive=chart_file().archive)
    facts = Facts(request=Request(reference=reference, context=Context()), artifact=artifact)
    text = granted("unsigned", digest=str(digest)).replace(f"oci://{HOST}/acme/web", f"{url}/{{name}}")
    for name, allowed in (("web", True), ("api", False)):
        loaded = policy("    require: {signed: {by: alice}}", top=exceptions(text.replace("{name}", name)), charts=f'["{url}/*"]')
        decision = decide(loaded, facts, NOW)
        assert decision.allowed is allowed, decision.check.reason
        assert f"{url}/{name}@{digest}, rule 'ours'" in exemption_words(loaded.exceptions[0])
