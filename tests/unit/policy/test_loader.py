"""The strict loader: every mistake is refused with its line and column (semantics 9, 11 to 13, 15)."""

from __future__ import annotations

import pytest

from verifier.model.errors import MisuseError
from verifier.policy.loader import load_policy
from verifier.policy.words import describe

FPR = "A" * 40
GOOD = f"""\
apiVersion: verifier/v1
kind: ChartPolicy
metadata: {{name: test}}
trust:
  team: {{openpgp: {{keyring: team.asc, fingerprints: ["{FPR}"]}}}}
  ci: {{key: {{file: ci.pub}}}}
rules:
  - name: ours
    charts: ["oci://reg.test/acme/*"]
    require: {{signed: {{by: team}}}}
default: deny
"""


def mistake(text: str) -> MisuseError:
    with pytest.raises(MisuseError) as caught:
        load_policy(text.encode(), where="p.yaml")
    assert caught.value.code.name == "policy-invalid"
    return caught.value


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


REQUIRE = "{signed: {by: team}}"

MISTAKES = {
    "subcharts without a word for packed ones": (
        changed(f"    require: {REQUIRE}\n", f"    require: {REQUIRE}\n    subcharts: {{unpacked: parent}}\n"),
        "needs the field 'packed'",
    ),
    "subcharts in another word": (
        changed(f"    require: {REQUIRE}\n", f"    require: {REQUIRE}\n    subcharts: {{packed: trusted}}\n"),
        "must be one of: judged, parent",
    ),
    "partial where nothing is judged": (
        changed(f"    require: {REQUIRE}\n", f"    require: {REQUIRE}\n    subcharts: {{packed: parent, partial: accept}}\n"),
        "goes with `packed: judged`",
    ),
    "images without a source": (changed(f"    require: {REQUIRE}\n", f"    require: {REQUIRE}\n    images: {{pinned: true}}\n"), "needs the field 'from'"),
    "images from elsewhere": (
        changed(f"    require: {REQUIRE}\n", f"    require: {REQUIRE}\n    images: {{from: chart, pinned: true}}\n"),
        "must be one of: values, rendered",
    ),
    "images that demand nothing": (changed(f"    require: {REQUIRE}\n", f"    require: {REQUIRE}\n    images: {{from: values}}\n"), "images demands nothing"),
    "images that a chart chooses": (
        changed(f"    require: {REQUIRE}\n", f"    require: {REQUIRE}\n    images: {{from: values, require: {REQUIRE}}}\n"),
        "a chart must not choose",
    ),
    "images in files": (
        changed(f"    require: {REQUIRE}\n", f"    require: {REQUIRE}\n    images: {{from: values, repositories: ['file:x']}}\n"),
        "images lie in repositories",
    ),
    "images that are charts": (
        changed(
            f"    require: {REQUIRE}\n",
            f"    require: {REQUIRE}\n    images: {{from: values, repositories: ['oci://x/**'], require: {{chart: {{pinned: true}}}}}}\n",
        ),
        "an image is no chart",
    ),
    "a serial that is none": (changed("{name: test}", "{name: test, serial: 0}"), "serial"),
    "an end that is none": (changed("{name: test}", "{name: test, expires: soon}"), "is not a time"),
    "empty document": ("", "empty document"),
    "not a mapping": ("- a", "must be a mapping"),
    "a list of policies": (GOOD + "---\n" + GOOD, "more than one document"),
    "an unknown version": (changed("verifier/v1", "verifier/v2"), "must be one of: verifier/v1"),
    "an unknown kind": (changed("ChartPolicy", "Policy"), "must be one of: ChartPolicy"),
    "an unknown field": (changed("default: deny", "defaults: deny"), "unknown field 'defaults'"),
    "default allow": (changed("default: deny", "default: allow"), "must be one of: deny"),
    "no rules": (changed('rules:\n  - name: ours\n    charts: ["oci://reg.test/acme/*"]\n    require: {signed: {by: team}}\n', ""), "needs the field 'rules'"),
    "empty rules": (
        changed('rules:\n  - name: ours\n    charts: ["oci://reg.test/acme/*"]\n    require: {signed: {by: team}}\n', "rules: []\n"),
        "list that is not empty",
    ),
    "no require": (changed(f"    require: {REQUIRE}\n", ""), "needs the field 'require'"),
    "empty require": (changed(REQUIRE, "{}"), "exactly one of"),
    "null require": (changed(REQUIRE, "null"), "must be a mapping"),
    "two requirements in one": (changed(REQUIRE, "{signed: {by: team}, digest: {in: []}}"), "exactly one of"),
    "empty all": (changed(REQUIRE, "{all: []}"), "list that is not empty"),
    "empty any": (changed(REQUIRE, "{any: []}"), "list that is not empty"),
    "empty by": (changed(REQUIRE, "{signed: {by: []}}"), "list that is not empty"),
    "no by": (changed(REQUIRE, "{signed: {bind: repository}}"), "needs the field 'by'"),
    "an unknown name": (changed(REQUIRE, "{signed: {by: nobody}}"), "not a name under trust"),
    "a name twice": (changed(REQUIRE, "{signed: {by: [team, team]}}"), "there twice"),
    "empty charts": (changed('["oci://reg.test/acme/*"]', "[]"), "list that is not empty"),
    "a count of zero": (changed(REQUIRE, "{atLeast: {count: 0, of: [{signed: {by: team}}]}}"), "at least 1"),
    "a count above the signers": (changed(REQUIRE, "{atLeast: {count: 2, of: [{signed: {by: team}}, {signed: {by: team}}]}}"), "only 1 distinct"),
    "no of": (changed(REQUIRE, "{atLeast: {count: 1}}"), "needs the field 'of'"),
    "atLeast of something else": (changed(REQUIRE, "{atLeast: {count: 1, of: [{chart: {pinned: true}}]}}"), "must be `signed`"),
    "negation": (changed(REQUIRE, "{not: {signed: {by: team}}}"), "unknown field 'not'"),
    "attested without type": (changed(REQUIRE, "{attested: {by: ci}}"), "needs the field 'type'"),
    "attested by a keyring": (changed(REQUIRE, "{attested: {type: spdx, by: team}}"), "is an OpenPGP keyring"),
    "attested by nobody": (changed(REQUIRE, "{attested: {type: spdx, by: [nobody]}}"), "not a name under trust"),
    "a type that is none": (changed(REQUIRE, "{attested: {type: sbom, by: ci}}"), "not a predicate type"),
    "a condition on something else than a build": (changed(REQUIRE, "{attested: {type: spdx, by: ci, builder: x}}"), "condition on build provenance"),
    "a builder of wildcards": (changed(REQUIRE, '{attested: {type: slsaprovenance1, by: ci, builder: "**"}}'), "names nobody"),
    "a short repository of a build": (changed(REQUIRE, "{attested: {type: slsaprovenance1, by: ci, sourceRepository: a/b}}"), "whole URL"),
    "other parameters than none": (changed(REQUIRE, "{attested: {type: slsaprovenance1, by: ci, otherParameters: allow}}"), "goes with parameters"),
    "attested among atLeast": (changed(REQUIRE, "{atLeast: {count: 1, of: [{attested: {type: spdx, by: ci}}]}}"), "must be `signed`"),
    "until at the top": (changed(REQUIRE, "{signed: {by: team}, until: 2027-01-01T00:00:00Z}"), "only inside any or atLeast"),
    "until under all": (changed(REQUIRE, "{all: [{signed: {by: team}, until: 2027-01-01T00:00:00Z}]}"), "only inside any or atLeast"),
    "a window that ends before it begins": (
        changed(REQUIRE, "{any: [{signed: {by: team}, since: 2027-02-01T00:00:00Z, until: 2027-01-01T00:00:00Z}]}"),
        "must lie after since",
    ),
    "action inside any": (changed(REQUIRE, "{any: [{signed: {by: team}, action: warn}]}"), "legal at a rule's top"),
    "enforceFrom inside any": (changed(REQUIRE, "{any: [{signed: {by: team}, enforceFrom: 2027-01-01T00:00:00Z}]}"), "legal at a rule's top"),
    "action two levels down": (changed(REQUIRE, "{all: [{all: [{signed: {by: team}, action: warn}]}]}"), "legal at a rule's top"),
    "a time without a zone": (changed(REQUIRE, "{signed: {by: team}, since: 2027-01-01T00:00:00}"), "no time zone"),
    "a time that is none": (changed(REQUIRE, "{signed: {by: team}, since: soon}"), "is not a time"),
    "an unknown form": (changed(REQUIRE, "{signed: {by: team, forms: [anything]}}"), "must be one of: message"),
    "a digest without owner": (changed(REQUIRE, f"{{digest: {{in: [{{digest: 'sha256:{'a' * 64}'}}]}}}}"), "needs the field 'owner'"),
    "a digest that is none": (
        changed(REQUIRE, "{digest: {in: [{digest: latest, owner: me, reason: x, expires: 2027-01-01T00:00:00Z}]}}"),
        "not a sha256 or sha512 digest",
    ),
    "an empty digest list": (changed(REQUIRE, "{digest: {in: []}}"), "list that is not empty"),
    "requirements without end": (changed(REQUIRE, "{all: [" * 14 + REQUIRE + "]}" * 14), "nested deeper"),
    "two kinds under one name": (
        changed("ci: {key: {file: ci.pub}}", f"ci: {{key: {{file: ci.pub}}, openpgp: {{keyring: x, fingerprints: ['{FPR}']}}}}"),
        "holds one kind",
    ),
    "a kind that nobody knows": (changed("ci: {key: {file: ci.pub}}", "ci: {notation: {store: x}}"), "unknown field 'notation'"),
    "empty fingerprints": (changed(f'["{FPR}"]', "[]"), "list that is not empty"),
    "no fingerprints": (changed(f', fingerprints: ["{FPR}"]', ""), "name the `fingerprints`"),
    "a short key id": (changed(f'"{FPR}"', "'AAAAAAAAAAAAAAAA'"), "40 or 64 hex digits"),
    "any key of a GnuPG home": (changed(f'keyring: team.asc, fingerprints: ["{FPR}"]', "gnupgHome: default, anyKey: true"), "name the fingerprints"),
    "a key from two places": (changed("{file: ci.pub}", "{file: ci.pub, pem: x}"), "exactly one of"),
    "a key's window that is none": (
        changed("{file: ci.pub}", "{file: ci.pub, notBefore: 2027-01-01T00:00:00Z, notAfter: 2026-01-01T00:00:00Z}"),
        "must lie before",
    ),
    "a name that is none": (changed("ci: {key", "'c i': {key"), "is not a name"),
    "a scope with a tag": (changed("acme/*", "acme/web:1.0.0"), "no tag and no digest"),
    "a scope with a wildcard host": (changed("reg.test", "*.test"), "must not hold a wildcard"),
    "a scope of ftp": (changed("oci://reg.test", "ftp://reg.test"), "begins with oci://"),
    "a scope of https with a version": (changed("oci://reg.test/acme/*", "https://reg.test/acme/web:1.0.0"), "cannot stand in a path"),
    "a scope of https with a wildcard host": (changed("oci://reg.test", "https://*.test"), "must not hold a wildcard"),
    "a scope of https without a chart": (changed("oci://reg.test/acme/*", "https://reg.test"), "must follow the host"),
    "a scope of https with a dot segment": (changed("acme/*", "acme/*").replace("oci://reg.test/acme", "https://reg.test/%2e%2e"), "cannot stand in a path"),
    "a scope of https with an empty segment": (changed("oci://reg.test/acme/*", "https://reg.test//web"), "cannot stand in a path"),
    "a scope without a repository": (changed("oci://reg.test/acme/*", "oci://reg.test"), "must follow the host"),
    "a scope with ** inside a segment": (changed("acme/*", "acme/a**"), "whole segments only"),
    "a scope in upper case": (changed("acme/*", "Acme/*"), "cannot be part of a repository"),
    "file: without a pattern": (changed("oci://reg.test/acme/*", "file:"), "must follow 'file:'"),
    "a rule name twice": (
        changed("default: deny", "").replace("rules:", 'rules:\n  - name: ours\n    charts: ["oci://reg.test/b/*"]\n    require: {signed: {by: team}}'),
        "there twice",
    ),
    "a tie": (
        changed("default: deny", "").replace("rules:", 'rules:\n  - name: other\n    charts: ["oci://reg.test/acme/*"]\n    require: {signed: {by: team}}'),
        "tie",
    ),
    "an empty chart": (changed("default: deny", "baseline: [{chart: {}}]"), "must name a condition"),
    "pinned: false": (changed("default: deny", "baseline: [{chart: {pinned: false}}]"), "only `true`"),
    "deprecated: true": (changed("default: deny", "baseline: [{chart: {deprecated: true}}]"), "only `false`"),
    "a broken range": (changed("default: deny", "baseline: [{chart: {version: 'about 1'}}]"), "not a version range"),
    "a broken age": (changed("default: deny", "").replace("    require:", "    chart: {maxAge: a week}\n    require:"), "must be a duration"),
    "no dependency condition": (changed("default: deny", "baseline: [{chart: {dependencies: {}}}]"), "must name a condition: repositories or lock"),
    "a repository of another kind": (
        changed("default: deny", "baseline: [{chart: {dependencies: {repositories: ['file://x']}}}]"),
        "an oci:// scope, or the whole https",
    ),
    "a repository URL with a wildcard": (
        changed("default: deny", "baseline: [{chart: {dependencies: {repositories: ['https://x.test/*']}}}]"),
        "compared exactly",
    ),
    "a scope that is none": (changed("default: deny", "baseline: [{chart: {dependencies: {repositories: ['oci://*/x']}}}]"), "the host must not hold"),
    "no repositories": (changed("default: deny", "baseline: [{chart: {dependencies: {repositories: []}}}]"), ""),
    "a lock that is optional": (changed("default: deny", "baseline: [{chart: {dependencies: {lock: optional}}}]"), "required"),
    "a cluster's version as a range": (changed("default: deny", "baseline: [{chart: {kubeVersion: '>=1.30'}}]"), "the version of the cluster"),
    "clock without age": (changed("default: deny", "baseline: [{chart: {clock: signer}}]"), "goes with maxAge"),
    "age in a baseline": (changed("default: deny", "baseline: [{chart: {maxAge: 3d}}]"), "belongs to a rule's own"),
    "age without a signature": (
        changed(
            f"    require: {REQUIRE}",
            f"    chart: {{maxAge: 3d}}\n    require: {{digest: {{in: [{{digest: 'sha256:{'a' * 64}', owner: me, reason: x, expires: 2027-01-01T00:00:00Z}}]}}}}",
        ),
        "requires none",
    ),
    "a deny entry without a subject": (changed("default: deny", "deny: [{reason: x}]"), "exactly one of"),
    "versions without a name": (changed("default: deny", f"deny: [{{digest: 'sha256:{'a' * 64}', versions: '1'}}]"), "goes with name"),
    "revokedAt of a name": (changed("default: deny", "deny: [{name: web, revokedAt: 2026-01-01T00:00:00Z}]"), "goes with fingerprint, key or identity"),
    "a deny key that is none": (changed("default: deny", "deny: [{key: ci.pub}]"), "keys show"),
    "an empty when": (changed("    require:", "    when: {}\n    require:"), "must select"),
    "an unknown context key": (changed("    require:", "    when: {team: x}\n    require:"), "unknown field 'team'"),
    "an origin with a wildcard": (changed("    require:", '    origins: ["oci://reg.test/*"]\n    require:'), "one repository"),
    "duplicate keys": (changed("default: deny", "default: deny\ndefault: deny"), "duplicate key"),
    "keys that differ by case": (changed("default: deny", "default: deny\nDefault: deny"), "differs only by case"),
    "an anchor": (changed("{name: test}", "&a {name: test}"), "anchors are not allowed"),
    "an alias": (changed("{name: test}", "*a"), "alias"),
    "a tag": (changed("{name: test}", "!!map {name: test}"), "tags are not allowed"),
    "a merge": (changed("{name: test}", "{<<: {name: test}}"), "merge"),
    "a byte order mark": ("\ufeff" + GOOD, "byte order mark"),
    "brackets without end": ("a: " + "[" * 60_000, "nested deeper"),
    "a number as a name": (changed("name: ours", "name: 5"), "put it in quotes"),
    "too large": (GOOD + "#" * 1_100_000, "larger than"),
}


@pytest.mark.parametrize("text, reason", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_named(text: str, reason: str) -> None:
    assert reason in mistake(text).reason


def test_a_mistake_has_its_place() -> None:
    error = mistake(changed("default: deny", "defaults: deny"))
    assert error.where == "p.yaml:11:1"
    assert mistake(changed(REQUIRE, "{signed: {by: nobody}}")).where == "p.yaml:10:28"


PATHS = {
    "an unknown field": "defaults: ",
    "no require": "rules[0]: ",
    "empty all": "rules[0].require.all: ",
    "an unknown name": "rules[0].require.signed.by: ",
    "until under all": "rules[0].require.all[0].until: ",
    "a kind that nobody knows": "trust.ci.notation: ",
    "clock without age": "baseline[0].chart: ",
    "an unknown context key": "rules[0].when.team: ",
}


@pytest.mark.parametrize("name", PATHS)
def test_a_mistake_has_its_path(name: str) -> None:
    assert mistake(MISTAKES[name][0]).reason.startswith(PATHS[name])


def test_every_mistake_has_its_place_and_most_their_path() -> None:
    """Those of the document as a whole, and of YAML itself, have none."""
    assert len(MISTAKES) >= 60
    found = [mistake(text) for text, _ in MISTAKES.values()]
    assert all(error.where.count(":") == 2 for error in found if "larger than" not in error.reason)
    with_path = [
        error
        for error in found
        if error.reason.partition(":")[0].partition("[")[0].partition(".")[0]
        in ("rules", "trust", "baseline", "deny", "default", "defaults", "apiVersion", "kind")
    ]
    assert len(with_path) > 80


@pytest.mark.parametrize(
    "text, meant",
    [
        (changed("default: deny", "deafult: deny"), "'default'"),
        (changed(REQUIRE, "{signed: {By: team}}"), "'by'"),
        (changed(REQUIRE, "{signed: {by: tean}}"), "'team'"),
        (changed(REQUIRE, "{signd: {by: team}}"), "'signed'"),
        (changed(REQUIRE, "{signed: {by: team, expiredKeys: alow}}"), "'allow'"),
        (changed("    require:", "    when: {enviroment: x}\n    require:"), "'environment'"),
    ],
)
def test_the_nearest_name_is_offered(text: str, meant: str) -> None:
    assert mistake(text).reason.endswith(f"did you mean {meant}?")


def test_what_is_near_nothing_gets_no_offer() -> None:
    assert "did you mean" not in mistake(changed(REQUIRE, "{signed: {by: zzzz}}")).reason
    assert "did you mean" not in mistake(changed("verifier/v1", "verifier/v2")).reason


def test_the_good_policy_loads_and_is_described() -> None:
    policy = load_policy(GOOD.encode(), where="p.yaml")
    assert policy.name == "test"
    assert "require   signed by team" in list(describe(policy, policy.rules[0]))


def test_rules_that_differ_in_context_do_not_tie() -> None:
    more = """  - name: more
    charts: ["oci://reg.test/acme/*"]
    when: {environment: prod}
    require: {signed: {by: team}}
  - name: others
    charts: ["oci://reg.test/acme/*"]
    when: {environment: dev}
    require: {any: [{signed: {by: team}}, {atLeast: {count: 1, of: [{signed: {by: ci}}]}}]}
    chart: {version: ">=1.0.0", maxAge: 30d}
"""
    policy = load_policy(changed("default: deny\n", more).encode(), where="p.yaml")
    assert len(policy.rules) == 3
    words = "\n".join(line for rule in policy.rules for line in describe(policy, rule))
    assert "at least 1 distinct signers of" in words
    assert "environment is prod" in words


# What each place allows, at its edges


def required(text: str) -> str:
    return changed(REQUIRE, text)


def nested(kind: str, times: int, inner: str = REQUIRE) -> str:
    return f"{{{kind}: [" * times + inner + "]}" * times


COUNTED = "{atLeast: {count: 1, of: [{signed: {by: team}}]}}"


@pytest.mark.parametrize("kind", ["all", "any"])
def test_requirements_nest_to_ten(kind: str) -> None:
    load_policy(required(nested(kind, 10)).encode(), where="p.yaml")
    load_policy(required(nested(kind, 9, COUNTED)).encode(), where="p.yaml")
    assert "nested deeper than 10" in mistake(required(nested(kind, 11))).reason
    assert "nested deeper than 10" in mistake(required(nested(kind, 10, COUNTED))).reason


def test_what_a_counted_branch_may_say() -> None:
    branch = COUNTED.replace("{by: team}}", "{by: team}, until: 2027-01-01T00:00:00Z}")
    load_policy(required(branch).encode(), where="p.yaml")
    for key in ("action: warn", "enforceFrom: 2027-01-01T00:00:00Z"):
        assert "is legal at a rule's top" in mistake(required(COUNTED.replace("{by: team}}", f"{{by: team}}, {key}}}"))).reason


def test_an_image_cannot_only_warn() -> None:
    images = "images: {from: values, repositories: ['oci://x/**'], require: {signed: {by: team}, action: warn}}"
    assert "is legal at a rule's top" in mistake(changed(f"    require: {REQUIRE}\n", f"    require: {REQUIRE}\n    {images}\n")).reason


def test_a_window_is_longer_than_nothing() -> None:
    same = "{any: [{signed: {by: team}, since: 2027-01-01T00:00:00Z, until: 2027-01-01T00:00:00Z}]}"
    assert "until must lie after since" in mistake(required(same)).reason
    load_policy(required(same.replace("until: 2027-01-01", "until: 2027-01-02")).encode(), where="p.yaml")
