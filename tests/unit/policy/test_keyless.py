"""Keyless identities in policies (semantics 9, 10, 16, 19): who is meant, who is not, and how that is written."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.unit.policy.test_engine import HERE, MANIFEST_DIGEST, NOW, chart, facts
from verifier.model.claim import CertificateSigner, Claim, Clock, Form, KeySigner, Role, SanType, Signature, SigningTime
from verifier.model.decision import Decision, Outcome
from verifier.model.errors import MisuseError
from verifier.policy.document import Policy
from verifier.policy.engine import decide
from verifier.policy.identity import How, Pattern
from verifier.policy.loader import load_policy

GITHUB = "https://token.actions.githubusercontent.com"
REPOSITORY = "https://github.com/acme/charts"
WORKFLOW = f"{REPOSITORY}/.github/workflows/release.yml@refs/tags/v1.4.2"
ENTRY = f'issuer: {GITHUB}, identity: "{REPOSITORY}/.github/workflows/release.yml@refs/tags/*", sourceRepository: acme/charts'
SIGNER = CertificateSigner(
    identity=WORKFLOW,
    san_type=SanType.URI,
    issuer=GITHUB,
    root="public-good",
    extensions={"sourceRepositoryURI": REPOSITORY, "sourceRepositoryRef": "refs/tags/v1.4.2"},
)


def text(entry: str = ENTRY, require: str = "{signed: {by: release}}", top: str = "", more: str = "") -> str:
    return f"""\
apiVersion: verifier/v1
kind: ChartPolicy
metadata: {{name: test}}
trust:
  release: {{keyless: {{{entry}}}}}
{more}
{top}
rules:
  - name: ours
    charts: ["oci://reg.example.test/acme/*"]
    require: {require}
"""


def policy(*arguments: str, **named: str) -> Policy:
    return load_policy(text(*arguments, **named).encode(), where="p.yaml")


def claim(**changes: object) -> Claim:
    signer = replace(SIGNER, **{key: value for key, value in changes.items() if key in SIGNER.__struct_fields__})
    return Claim(
        scheme="sigstore",
        kind=Signature(form=Form.STATEMENT),
        signer=signer,
        anchors=frozenset(),
        role=Role.MANIFEST,
        digest=MANIFEST_DIGEST,
        location=HERE,
        times=(SigningTime(at=NOW - timedelta(days=1), clock=Clock.LOG),),
        logs=1,
    )


def judged(loaded: Policy, *claims: Claim) -> Decision:
    return decide(loaded, facts(chart(), *claims), NOW)


def code(decision: Decision) -> str:
    assert decision.outcome is Outcome.DENIED, decision.outcome
    assert decision.check.code is not None
    return decision.check.code.name


# Patterns

PATTERNS = [
    (Pattern(How.EXACT, "a@b.c"), "a@b.c", True),
    (Pattern(How.EXACT, "a@b.c"), "xa@b.c", False),
    (Pattern(How.GLOB, "https://x/*"), "https://x/y", True),
    (Pattern(How.GLOB, "https://x/*"), "https://x/y/z", False),
    (Pattern(How.GLOB, "https://x/*"), "https://x/y@z", False),
    (Pattern(How.GLOB, "https://x/**"), "https://x/y/z@w", True),
    (Pattern(How.GLOB, "*@acme.test"), "alice@acme.test", True),
    (Pattern(How.GLOB, "*@acme.test"), "alice@evil.test@acme.test", False),
    (Pattern(How.GLOB, "https://x.y/*"), "https://xzy/a", False),
    (Pattern(How.GLOB, "a*"), "a\nb", True),
    (Pattern(How.GLOB, "**"), "x" * 5000, False),
    (Pattern(How.REGEXP, "https://github.com/acme/.*"), "https://github.com/acme/x", True),
    (Pattern(How.REGEXP, "https://github.com/acme/.*"), "https://evil.test/https://github.com/acme/x", False),
    (Pattern(How.REGEXP, "a|b"), "ab", False),
    (Pattern(How.REGEXP, "a.c"), "a\nc", False),
    (Pattern(How.REGEXP, "(a+)+$"), "a" * 4000 + "b", False),
]


@pytest.mark.parametrize("pattern, value, fits", PATTERNS)
def test_patterns_match_the_whole_text(pattern: Pattern, value: str, fits: bool) -> None:
    assert pattern.matches(value) is fits


# Judging


def test_the_identity_that_is_meant() -> None:
    decision = judged(policy(), claim())
    assert decision.outcome is Outcome.ALLOWED
    assert decision.claims[0].anchors == {"release"}
    assert [(root.name, root.as_of) for root in decision.roots] == [("public-good", None)]


OTHERS = {
    "another issuer": ({"issuer": "https://accounts.example"}, "issued for 'https://accounts.example'"),
    "another workflow": ({"identity": f"{REPOSITORY}/.github/workflows/evil.yml@refs/tags/v1"}, "its identity is"),
    "another ref": ({"identity": f"{REPOSITORY}/.github/workflows/release.yml@refs/heads/main"}, "its identity is"),
    "a prefix": ({"identity": f"x{WORKFLOW}"}, "its identity is"),
    "another type": ({"san_type": SanType.OTHER}, "type other, expected uri"),
    "another root": ({"root": "evil"}, "certified under the root evil"),
    "another source repository": ({"extensions": {"sourceRepositoryURI": "https://github.com/evil/charts"}}, "its source repository"),
    "no source repository": ({"extensions": {}}, "its source repository is ''"),
}


@pytest.mark.parametrize("changes, reason", OTHERS.values(), ids=OTHERS.keys())
def test_others_are_named_with_what_differs(changes: dict[str, object], reason: str) -> None:
    decision = judged(policy(), claim(**changes))
    assert code(decision) == "identity-mismatch"
    assert reason in decision.check.reason
    assert decision.claims[0].anchors == frozenset()


def test_the_old_extension_names_the_repository_too() -> None:
    assert judged(policy(), claim(extensions={"githubWorkflowRepository": "acme/charts"})).outcome is Outcome.ALLOWED


def test_claims_of_the_certificate() -> None:
    entry = f"{ENTRY}, claims: {{sourceRepositoryRef: refs/tags/*}}"
    assert judged(policy(entry), claim()).outcome is Outcome.ALLOWED
    other = claim(extensions={"sourceRepositoryURI": REPOSITORY, "sourceRepositoryRef": "refs/heads/main"})
    missing = claim(extensions={"sourceRepositoryURI": REPOSITORY})
    for wrong in (other, missing):
        decision = judged(policy(entry), wrong)
        assert code(decision) == "identity-mismatch"
        assert "its sourceRepositoryRef is" in decision.check.reason


def test_a_key_is_not_an_identity_nor_the_reverse() -> None:
    both = policy(more="  ci: {key: {file: ci.pub}}", require="{signed: {by: ci}}")
    assert code(judged(both, claim())) == "signer-not-allowed"
    by_key = replace(claim(), signer=KeySigner(key_id="sha256:" + "1" * 64, algorithm="ecdsa"), anchors=frozenset(("ci",)))
    assert code(judged(policy(more="  ci: {key: {file: ci.pub}}"), by_key)) == "signer-not-allowed"


def test_workflows_are_counted_and_not_entries() -> None:
    entry = f'issuer: {GITHUB}, identity: "{REPOSITORY}/.github/workflows/*@refs/tags/*", sourceRepository: acme/charts'
    two = policy(entry, more=f"  second: {{keyless: {{{entry}}}}}", require="{atLeast: {count: 2, of: [{signed: {by: release}}, {signed: {by: second}}]}}")
    again = claim(identity=WORKFLOW.replace("v1.4.2", "v1.4.1"))
    assert code(judged(two, claim(), again)) == "threshold"
    assert judged(two, claim(), claim(identity=WORKFLOW.replace("release.yml", "review.yml"))).outcome is Outcome.ALLOWED


def test_denied_identities() -> None:
    denied = policy(top=f'deny: [{{identity: "{REPOSITORY}/**", reason: stolen}}]')
    decision = judged(denied, claim())
    assert code(decision) == "signer-not-allowed"
    assert decision.rejections[0].code.name == "deny-listed"
    of_another_issuer = policy(top=f'deny: [{{identity: "{REPOSITORY}/**", issuer: "https://accounts.example"}}]')
    assert judged(of_another_issuer, claim()).outcome is Outcome.ALLOWED
    since = policy(top=f'deny: [{{identity: "{REPOSITORY}/**", revokedAt: 2026-11-24T00:00:00Z}}]')
    assert judged(since, claim()).outcome is Outcome.ALLOWED
    assert judged(since, replace(claim(), times=(SigningTime(at=NOW, clock=Clock.LOG),))).rejections[0].code.name == "deny-listed"


def test_the_age_of_a_root() -> None:
    loaded = policy(top="roots: {public-good: {maxAge: 30d}}")
    root = loaded.roots[0]
    fresh = replace(loaded, roots=(replace(root, as_of=NOW - timedelta(days=29)),))
    stale = replace(loaded, roots=(replace(root, as_of=NOW - timedelta(days=31)),))
    allowed = judged(fresh, claim())
    assert allowed.outcome is Outcome.ALLOWED
    assert allowed.valid_until == NOW + timedelta(days=1)
    assert code(judged(stale, claim())) == "root-too-old"
    assert code(judged(loaded, claim())) == "root-too-old"  # of an unknown day


def test_a_log_that_the_policy_demands_of_a_key() -> None:
    loaded = policy(more="  ci: {key: {file: ci.pub, tlog: required}}", require="{signed: {by: ci}}")
    assert [root.name for root in loaded.roots] == ["public-good"]
    by_key = replace(claim(), signer=KeySigner(key_id="sha256:" + "1" * 64, algorithm="ecdsa"), anchors=frozenset(("ci",)))
    assert judged(loaded, by_key).outcome is Outcome.ALLOWED
    assert code(judged(loaded, replace(by_key, logs=0))) == "tlog-required"


# Loading

MISTAKES = {
    "no identity": (f"issuer: {GITHUB}, sourceRepository: acme/charts", "exactly one of: identity, identityRegexp"),
    "two identities": (f'{ENTRY}, identityRegexp: "x.*"', "exactly one of: identity, identityRegexp"),
    "no issuer": ("identity: a@b.c", "needs the field 'issuer'"),
    "an empty identity": (f'issuer: {GITHUB}, identity: "", sourceRepository: a/b', "not empty"),
    "an identity of wildcards": (f'issuer: {GITHUB}, identity: "**", identityType: uri, sourceRepository: a/b', "names nobody"),
    "an issuer with a wildcard": ('issuer: "https://*.example", identity: a@b.c', "compared exactly"),
    "an issuer that is no URL": ("issuer: github, identity: a@b.c", "compared exactly"),
    "GitHub without repository": (f"issuer: {GITHUB}, identity: {WORKFLOW}", "sourceRepository: OWNER/NAME"),
    "GitLab without repository": ("issuer: https://gitlab.com, identity: https://gitlab.com/a/b//x.yml@refs/heads/main", "identity of GitLab"),
    "a repository with a wildcard": (f'issuer: {GITHUB}, identity: {WORKFLOW}, sourceRepository: "acme/*"', "compared exactly"),
    "a short repository elsewhere": ("issuer: https://ci.example, identity: https://ci.example/x, sourceRepository: acme/charts", "whole URL"),
    "a type that nobody can tell": ("issuer: https://ci.example, identity: alice", "identityType"),
    "an unknown type": ("issuer: https://ci.example, identity: alice, identityType: dns", "must be one of: email, uri, other"),
    "a regexp without type": ('issuer: https://ci.example, identityRegexp: "a.*"', "identityType"),
    "a regexp that is none": ('issuer: https://ci.example, identityRegexp: "a(", identityType: uri', "not a regular expression"),
    "a regexp that looks back": ('issuer: https://ci.example, identityRegexp: "(a)\\\\1", identityType: uri', "not a regular expression"),
    "a regexp that matches nothing": ('issuer: https://ci.example, identityRegexp: ".*", identityType: uri', "also matches nothing"),
    "an unknown root": (f"{ENTRY}, root: acme", "not a name under roots"),
    "an unknown claim": (f"{ENTRY}, claims: {{color: red}}", "unknown field 'color'"),
    "empty claims": (f"{ENTRY}, claims: {{}}", "must name a claim"),
    "a claim of wildcards": (f'{ENTRY}, claims: {{buildTrigger: "*"}}', "names nobody"),
}


@pytest.mark.parametrize("entry, reason", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_named(entry: str, reason: str) -> None:
    with pytest.raises(MisuseError) as caught:
        policy(entry)
    assert (caught.value.code.name, caught.value.where) == ("policy-invalid", "p.yaml:5:" + caught.value.where.rpartition(":")[2])
    assert reason in caught.value.reason


ROOT_MISTAKES = {
    "a name that is none": ("roots: {'a b': {trustedRoot: x}}", "is not a name"),
    "no time": ("roots: {acme: {trustedRoot: x, thresholds: {tlog: 0}}}", "a time must be proven"),
    "a threshold below zero": ("roots: {acme: {trustedRoot: x, thresholds: {sct: -1}}}", "from 0 to 16"),
    "a threshold of text": ("roots: {acme: {trustedRoot: x, thresholds: {sct: many}}}", "from 0 to 16"),
    "an unknown threshold": ("roots: {acme: {trustedRoot: x, thresholds: {logs: 1}}}", "unknown field 'logs'"),
    "a list": ("roots: [acme]", "must be a mapping"),
}


@pytest.mark.parametrize("top, reason", ROOT_MISTAKES.values(), ids=ROOT_MISTAKES.keys())
def test_a_mistake_among_roots_is_named(top: str, reason: str) -> None:
    with pytest.raises(MisuseError) as caught:
        policy(top=top)
    assert (caught.value.code.name, reason in caught.value.reason) == ("policy-invalid", True), caught.value.reason


def test_a_key_may_name_a_root_and_only_required_is_a_demand() -> None:
    for entry, reason in (("root: acme", "not a name under roots"), ("tlog: optional", "must be one of: required")):
        with pytest.raises(MisuseError) as caught:
            policy(more=f"  ci: {{key: {{file: ci.pub, {entry}}}}}")
        assert reason in caught.value.reason


def test_roots_that_nobody_names_are_not_read() -> None:
    loaded = policy(f"{ENTRY}, root: acme", top="roots: {acme: {trustedRoot: a.json}, other: {trustedRoot: b.json}}")
    assert [root.name for root in loaded.roots] == ["acme"]
    assert policy(ENTRY).roots[0].path is None
