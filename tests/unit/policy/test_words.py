"""A policy in words says everything that its values hold, and the difference of two policies misses nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import fields, replace

from tests.support.cli import run
from tests.support.signers import pair
from verifier.charts.version import parse_range, parse_version
from verifier.model.claim import Clock, Form, SanType
from verifier.model.decision import Action, Waiver
from verifier.policy.cluster import Admission, Leniency, Source, Whose
from verifier.policy.difference import differences
from verifier.policy.document import (
    All,
    AnyOf,
    AtLeast,
    Attested,
    BuildConditions,
    ChartIs,
    Denied,
    Dependencies,
    DigestIn,
    ExceptionSources,
    Exemption,
    Expr,
    Images,
    ImageSource,
    PackageConditions,
    Policy,
    PredicateConditions,
    ReviewedDigest,
    RootEntry,
    Rule,
    ScanConditions,
    SecretKey,
    Signed,
    Subcharts,
    TrustEntry,
    TrustKind,
    Verified,
    Window,
)
from verifier.policy.identity import How, Identity, Pattern
from verifier.policy.loader import load_policy
from verifier.policy.scopes import parse_scope
from verifier.signers.public import public_pem
from verifier.trust.anchors import Thresholds

DAY, NIGHT = datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC)
ONE, TWO = Pattern(How.EXACT, "one"), Pattern(How.GLOB, "two*")
SILENT = {"place", "digest", "as_of", "stale_at"}  # where something stands, and what is filled in when files are read

# For each field another value than the example's.
OTHER: dict[str, Any] = {
    "by": ("b",),
    "bind_repository": True,
    "expired_keys": True,
    "retired_keys": True,
    "forms": frozenset((Form.STATEMENT, Form.MESSAGE)),
    "window": Window(since=DAY),
    "action": Action.WARN,
    "expr": "now > now",
    "conditions": PredicateConditions(statuses=frozenset(("fixed",))),
    "scan": ScanConditions(none=frozenset(("low",))),
    "packages": PackageConditions(none=(ONE,)),
    "statuses": frozenset(("affected",)),
    "fields": (("a.b", ONE),),
    "none": ("x",),
    "accepted": frozenset(("CVE-1",)),
    "scanner": TWO,
    "licenses": (ONE,),
    "predicate_type": "https://other",
    "build": BuildConditions(builder=TWO),
    "builder": TWO,
    "build_type": TWO,
    "source_repository": "https://x/y",
    "ref": TWO,
    "parameters": (("p", ONE),),
    "other_parameters": True,
    "verifier": "https://other",
    "policies": frozenset(("sha256:2",)),
    "trusts": frozenset(("sha256:3",)),
    "rules": frozenset(("other",)),
    "entries": (ReviewedDigest(digest="sha256:9", owner="me", reason="why", expires=DAY),),
    "owner": "you",
    "reason": "because",
    "expires": NIGHT,
    "name": "other",
    "pinned": True,
    "version": parse_range(">=2"),
    "versions": parse_range(">=2"),
    "prerelease": True,
    "max_age": timedelta(days=9),
    "clock": Clock.SIGNER,
    "annotations": ("x",),
    "type": "library",
    "deprecated": False,
    "max_bytes": 7,
    "kube_version": parse_version("1.34.0"),
    "dependencies": Dependencies(locked=True),
    "locked": True,
    "urls": frozenset(("https://charts",)),
    "of": (Signed(by=("z",)),),
    "count": 2,
    "scopes": (parse_scope("oci://y/z"),),
    "require": Signed(by=("z",)),
    "chart": ChartIs(pinned=True),
    "context": (("environment", frozenset(("dev",))),),
    "origins": frozenset(("y/z",)),
    "channels": frozenset(("stable",)),
    "subcharts": Subcharts(judged=True),
    "images": Images(source=ImageSource.VALUES, pinned=True),
    "judged": False,
    "unpacked": True,
    "partial": True,
    "source": ImageSource.RENDERED,
    "since": DAY,
    "until": DAY,
    "enforce_from": DAY,
    "kind": TrustKind.OPENPGP,
    "path": "other.pub",
    "inline": "PEM",
    "gnupg_home": "default",
    "fingerprints": ("F" * 40,),
    "any_key": True,
    "not_before": DAY,
    "not_after": DAY,
    "identity": Identity(issuer="https://i", san=ONE, san_type=SanType.URI),
    "root": "other",
    "tlog_required": True,
    "issuer": "https://other",
    "san": TWO,
    "san_type": SanType.EMAIL,
    "claims": (("ref", ONE),),
    "thresholds": Thresholds(timestamp=1),
    "fingerprint": "E" * 40,
    "key": "sha256:4",
    "revoked_at": DAY,
    "how": How.REGEXP,
    "serial": 7,
    "trust": (TrustEntry(name="t", kind=TrustKind.KEY),),
    "roots": (RootEntry(name="r"),),
    "baseline": (Signed(by=("a",)),),
    "deny": (Denied(name="web"),),
    "exceptions": (
        Exemption(
            repository="x/a", digest="sha256:1", rule="r", codes=frozenset(("unsigned",)), waiver=Waiver(owner="me", reason="why", ticket="T-1", expires=DAY)
        ),
    ),
    "exception_sources": ExceptionSources(by=("a",), signed=("d",)),
    "sources": (Source(repositories=("x/a",)),),
    "lenient": frozenset((Leniency.UNPINNED,)),
    "admission": Admission.WARN,
    "credentials": Whose.SERVER,
    "secret": SecretKey(name="keys", key="ci.pub"),
    "repository": "x/b",
    "rule": "other",
    "codes": frozenset(("threshold",)),
    "waiver": Waiver(owner="you", reason="because", ticket="T-2", expires=NIGHT),
    "ticket": "T-3",
    "granted_by": "a",
    "signed": ("d",),
    "text": "other",
}
CHART = ChartIs(max_age=timedelta(days=3), name="web")


def policy(require: Any = None, **changes: Any) -> Policy:
    rule = Rule(name="r", scopes=(parse_scope("oci://x/a"),), require=require or Signed(by=("a",)))
    return replace(Policy(name="p", digest="d", trust=(), rules=(rule,)), **changes)


def in_trust(entry: TrustEntry) -> Policy:
    return policy(trust=(entry,))


IDENTITY = Identity(issuer="https://i", san=Pattern(How.EXACT, "me"), san_type=SanType.URI)
EXEMPTION = Exemption(
    repository="x/a", digest="sha256:1", rule="r", codes=frozenset(("unsigned",)), waiver=Waiver(owner="me", reason="why", ticket="T-1", expires=DAY)
)
KEYLESS = TrustEntry(name="t", kind=TrustKind.KEYLESS, identity=IDENTITY)
PLACES: dict[str, tuple[Struct, Any]] = {
    "signed": (Signed(by=("a",)), policy),
    "attested": (Attested(by=("a",), predicate_type="https://t"), policy),
    "build": (BuildConditions(parameters=()), lambda build: policy(Attested(by=("a",), predicate_type="https://t", build=build))),
    "conditions": (PredicateConditions(), lambda wanted: policy(Attested(by=("a",), predicate_type="https://t", conditions=wanted))),
    "scan": (ScanConditions(), lambda scan: policy(Attested(by=("a",), predicate_type="https://t", conditions=PredicateConditions(scan=scan)))),
    "packages": (PackageConditions(), lambda found: policy(Attested(by=("a",), predicate_type="https://t", conditions=PredicateConditions(packages=found)))),
    "verified": (Verified(by=("a",), verifier="https://v", max_age=timedelta(1), policies=frozenset(("sha256:1",)), trusts=frozenset()), policy),
    "digest": (DigestIn(entries=()), policy),
    "review": (ReviewedDigest(digest="sha256:1", owner="me", reason="why", expires=DAY), lambda entry: policy(DigestIn(entries=(entry,)))),
    "chart": (CHART, policy),
    "dependencies": (Dependencies(scopes=()), lambda wanted: policy(ChartIs(dependencies=wanted))),
    "all": (All(of=(Signed(by=("a",)),)), policy),
    "any": (AnyOf(of=(Signed(by=("a",)),)), policy),
    "expr": (Expr(text="true"), policy),
    "atLeast": (AtLeast(count=1, of=(Signed(by=("a",)),)), policy),
    "window": (Window(), lambda window: policy(Signed(by=("a",), window=window))),
    "rule": (policy().rules[0], lambda rule: policy(rules=(rule,))),
    "subcharts": (Subcharts(judged=True), lambda wanted: policy(rules=(replace(policy().rules[0], subcharts=wanted),))),
    "images": (Images(source=ImageSource.VALUES, scopes=()), lambda wanted: policy(rules=(replace(policy().rules[0], images=wanted),))),
    "trust": (TrustEntry(name="t", kind=TrustKind.KEY), in_trust),
    "identity": (IDENTITY, lambda identity: in_trust(replace(KEYLESS, identity=identity))),
    "pattern": (ONE, lambda pattern: in_trust(replace(KEYLESS, identity=replace(IDENTITY, san=pattern)))),
    "root": (RootEntry(name="r"), lambda root: policy(roots=(root,))),
    "exception": (EXEMPTION, lambda item: policy(exceptions=(item,))),
    "waiver": (EXEMPTION.waiver, lambda waiver: policy(exceptions=(replace(EXEMPTION, waiver=waiver),))),
    "sources": (ExceptionSources(), lambda sources: policy(exception_sources=sources)),
    "the policy": (policy(), lambda whole: whole),
    "deny by name": (Denied(name="web"), lambda entry: policy(deny=(entry,))),
    "baseline": (Signed(by=("a",)), lambda item: policy(baseline=(item,))),
}
# A deny entry says one thing: digest, fingerprint, key and identity never stand beside a name.
APART = {("deny by name", name) for name in ("fingerprint", "key", "identity")} | {("exception", "key")}  # which is the signer's own


CASES = [
    pytest.param(name, field.name, id=f"{name}: {field.name}")
    for name, (value, _) in PLACES.items()
    for field in fields(type(value))
    if field.name not in SILENT - ({"digest"} if name in ("review", "exception") else set()) and (name, field.name) not in APART | {("the policy", "rules")}
]


@pytest.mark.parametrize("name, field", CASES)
def test_each_field_is_said(name: str, field: str) -> None:
    value, place = PLACES[name]
    other = "sha256:8" if field == "digest" else (ONE,) if (name, field) == ("packages", "none") else OTHER[field]
    changed = replace(value, **{field: other})
    assert changed != value, "the table must hold another value"
    assert list(differences(place(value), place(value))) == []
    assert list(differences(place(value), place(changed))), f"{name}.{field} changes unseen"


@pytest.mark.parametrize(
    "one, two",
    [
        ({"digest": "sha256:1"}, {"digest": "sha256:2"}),
        ({"fingerprint": "A" * 40}, {"fingerprint": "B" * 40}),
        ({"key": "sha256:1"}, {"key": "sha256:2"}),
        ({"identity": ONE}, {"identity": TWO}),
    ],
)
def test_each_kind_of_denial_is_said(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert list(differences(policy(deny=(Denied(**one),)), policy(deny=(Denied(**two),))))


def test_the_order_of_rules_and_denials_means_nothing() -> None:
    rules = tuple(replace(policy().rules[0], name=name) for name in ("r", "s"))
    denials = (Denied(name="a"), Denied(name="b"))
    assert list(differences(policy(rules=rules, deny=denials), policy(rules=rules[::-1], deny=denials[::-1]))) == []


# On the command line

DOCUMENT = """apiVersion: verifier/v1
kind: ChartPolicy
metadata: {name: p}
trust:
  ci: {key: {file: ci.pub}}
rules:
  - name: ours
    charts: ["oci://ghcr.io/acme/*"]
    require: {all: [{signed: {by: ci}}, {chart: {pinned: true}}]}
  - name: theirs
    charts: ["oci://ghcr.io/vendor/*"]
    require: {signed: {by: ci}}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("ci.pub").write_bytes(public_pem(pair().public))
    Path("old.yaml").write_text(DOCUMENT)
    return tmp_path


def diff(new: str) -> tuple[int, list[str]]:
    Path("new.yaml").write_text(new)
    ran = run("policy", "diff", "old.yaml", "new.yaml")
    return ran.status, ran.out.splitlines()


def test_comments_and_layout_are_no_difference(here: Path) -> None:
    assert diff(
        "# a comment\n"
        + DOCUMENT.replace("{all: [{signed: {by: ci}}, {chart: {pinned: true}}]}", "\n      all:\n        - signed: {by: ci}\n        - chart: {pinned: true}")
    ) == (0, [])


def test_what_changed_is_said(here: Path) -> None:
    status, lines = diff(DOCUMENT.replace("pinned: true", "version: '>=1.0.0'").replace("theirs", "vendors"))
    assert status == 1
    assert lines == [
        "~ rule ours",
        "    - require     the chart itself: pinned True",
        "    + require     the chart itself: version >=1.0.0",
        "- rule theirs",
        "+ rule vendors",
        "    + scopes    oci://ghcr.io/vendor/*",
        "    + require   signed by ci",
    ]


def test_another_key_under_the_same_name_is_said(here: Path) -> None:
    (here / "b").mkdir()
    (here / "b" / "ci.pub").write_bytes(public_pem(pair("other").public))
    (here / "b" / "new.yaml").write_text(DOCUMENT)
    ran = run("policy", "diff", "old.yaml", "b/new.yaml")
    assert (ran.status, ran.out) == (1, "~ ci: what it stands for, or its limits, is not the same\n")


def test_a_policy_that_does_not_load_has_no_difference(here: Path) -> None:
    Path("new.yaml").write_text("a: b")
    ran = run("policy", "diff", "old.yaml", "new.yaml")
    assert (ran.status, "[policy-invalid]" in ran.err) == (2, True)


def test_show_says_everything(here: Path) -> None:
    ran = run("policy", "show", "oci://ghcr.io/acme/web:1.0.0", "--policy", "old.yaml")
    assert "the chart itself: pinned True" in ran.out
    assert load_policy(DOCUMENT.encode(), where="x").rules[0].name in ran.out
