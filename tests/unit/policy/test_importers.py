"""Policies of other programs become ours: what is carried over means the same or less, and the rest is said."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cli import Ran, run
from tests.support.signers import pair, pgp
from verifier.policy.importers.draft import literal
from verifier.policy.loader import load_policy
from verifier.signers.public import public_pem

KEY, OTHER = (public_pem(pair(name).public).decode() for name in ("ci", "other"))
GITHUB = "https://token.actions.githubusercontent.com"
WORKFLOW = "https://github.com/acme/charts/.github/workflows/release.yml@refs/tags/v1"
TYPES = {"apiVersion": "verifier/v1", "kind": "ChartPolicy"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def imported(*objects: dict[str, Any], arguments: tuple[str, ...] = ()) -> Ran:
    Path("in.yaml").write_text("---\n".join(yaml.safe_dump(item) for item in objects))
    return run("policy", "import", "in.yaml", *arguments)


def document(ran: Ran) -> dict[str, Any]:
    """What was printed, which loads as it stands."""
    assert ran.status == 0, ran.err
    load_policy(ran.out.encode(), where="out")
    value: dict[str, Any] = yaml.safe_load(ran.out)
    assert {key: value[key] for key in TYPES} == TYPES
    return value


def requires(ran: Ran) -> list[tuple[list[str], Any]]:
    return [(rule["charts"], rule["require"]) for rule in document(ran)["rules"]]


def notes(ran: Ran) -> str:
    """The same on stderr and at the head of the document."""
    lines = [line.removeprefix("verifier: to be looked at: ") for line in ran.err.splitlines()]
    assert [f"# To be looked at: {line}" for line in lines] == [line for line in ran.out.splitlines() if line.startswith("#")]
    return "\n".join(lines)


# cosign's policy-controller


def image_policy(*authorities: dict[str, Any], glob: str = "ghcr.io/acme/**", name: str = "acme", **more: Any) -> dict[str, Any]:
    spec = {"images": [{"glob": glob}], "authorities": list(authorities), **more}
    return {"apiVersion": "policy.sigstore.dev/v1beta1", "kind": "ClusterImagePolicy", "metadata": {"name": name}, "spec": spec}


def test_authorities_are_alternatives() -> None:
    keyless = {"name": "gh", "keyless": {"url": "https://fulcio.sigstore.dev", "identities": [{"issuer": GITHUB, "subject": WORKFLOW}]}}
    ran = imported(image_policy({"name": "ci", "key": {"data": KEY}}, keyless))
    assert requires(ran) == [(["oci://ghcr.io/acme/**"], {"any": [{"signed": {"by": "ci"}}, {"signed": {"by": "gh"}}]})]
    trust = document(ran)["trust"]
    assert trust["ci"] == {"key": {"pem": KEY}}
    assert trust["gh"] == {"keyless": {"issuer": GITHUB, "identity": WORKFLOW, "sourceRepository": "acme/charts"}}
    assert not notes(ran)


def test_several_policies_for_the_same_images_must_all_hold() -> None:
    ran = imported(image_policy({"key": {"data": KEY}}, name="one"), image_policy({"key": {"data": OTHER}}, name="two"))
    assert requires(ran) == [(["oci://ghcr.io/acme/**"], {"all": [{"signed": {"by": "one-0"}}, {"signed": {"by": "two-0"}}]})]


def test_what_a_wider_policy_demands_is_not_lost() -> None:
    wide, narrow = (
        image_policy({"key": {"data": KEY}}, glob="ghcr.io/**", name="wide"),
        image_policy({"key": {"data": OTHER}}, glob="ghcr.io/acme/app", name="narrow"),
    )
    assert requires(imported(narrow, wide)) == [
        (["oci://ghcr.io/acme/app"], {"all": [{"signed": {"by": "narrow-0"}}, {"signed": {"by": "wide-0"}}]}),
        (["oci://ghcr.io/**"], {"signed": {"by": "wide-0"}}),
    ]


def test_attestations_stand_for_signatures() -> None:
    authority = {"name": "a", "key": {"data": KEY}, "attestations": [{"name": "p", "predicateType": "slsaprovenance", "policy": {"type": "cue", "data": "x"}}]}
    ran = imported(image_policy(authority))
    assert requires(ran)[0][1] == {"attested": {"type": "slsaprovenance", "by": "a"}}
    assert "in CUE or Rego is not carried over" in notes(ran)


def test_a_policy_that_warns() -> None:
    assert requires(imported(image_policy({"key": {"data": KEY}}, mode="warn")))[0][1] == {"signed": {"by": "acme-0"}, "action": "warn"}


def test_a_key_in_a_secret() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "k"}, "data": {"cosign.pub": base64.b64encode(KEY.encode()).decode()}}
    authority = {"name": "a", "key": {"secretRef": {"name": "k"}}}
    assert document(imported(image_policy(authority), secret))["trust"] == {"a": {"key": {"pem": KEY}}}
    ran = imported(image_policy(authority))
    assert document(ran)["trust"] == {"a": {"key": {"file": "a.pub"}}}
    assert "write its public half to a.pub" in notes(ran)
    assert "awskms:///alias/x" in notes(imported(image_policy({"name": "a", "key": {"kms": "awskms:///alias/x"}})))


LEFT_OUT = [
    ({"static": {"action": "pass"}}, "approves without evidence"),
    ({"static": {"action": "fail"}}, "denies always"),
    ({"keyless": {"url": "https://fulcio.sigstore.dev"}}, "trusts whoever has an account"),
    ({"keyless": {"identities": [{"issuerRegExp": ".*", "subjectRegExp": ".*"}]}}, "without one issuer"),
    ({"keyless": {"identities": [{"issuer": GITHUB, "subjectRegExp": ".*"}]}}, "that anybody has"),
    ({"keyless": {"identities": [{"issuer": GITHUB, "subjectRegExp": "release@.*"}]}}, "a reusable workflow is everybody's"),
    ({"key": {"data": KEY}, "attestations": [{"predicateType": "mystery"}]}, "no predicate type"),
]


@pytest.mark.parametrize("authority, note", LEFT_OUT)
def test_what_is_left_out(authority: dict[str, Any], note: str) -> None:
    ran = imported(image_policy(authority, {"name": "kept", "key": {"data": OTHER}}))
    assert requires(ran)[0][1] == {"signed": {"by": "kept"}}
    assert note in notes(ran)
    alone = imported(image_policy(authority))
    assert (alone.status, "nothing could be carried over" in alone.err, note in alone.err) == (2, True, True)


def test_a_regular_expression_must_match_the_whole() -> None:
    ran = imported(image_policy({"name": "a", "keyless": {"identities": [{"issuer": GITHUB, "subjectRegExp": "https://github\\.com/acme/charts/.+"}]}}))
    entry = document(ran)["trust"]["a"]["keyless"]
    assert entry == {"issuer": GITHUB, "identityRegexp": "https://github\\.com/acme/charts/.+", "identityType": "uri", "sourceRepository": "acme/charts"}
    assert "was not anchored" in notes(ran)


@pytest.mark.parametrize("glob", ["**", "*", "*.io/x"])
def test_globs_over_hosts(glob: str) -> None:
    ran = imported(image_policy({"key": {"data": KEY}}, glob=glob))
    assert (ran.status, "a pattern where the host stands" in ran.err) == (2, True)


def test_the_rest_of_a_policy() -> None:
    more: dict[str, Any] = {"policy": {"type": "rego", "data": "x"}, "match": [{"group": "apps"}]}
    said = notes(imported(image_policy({"key": {"data": KEY}, "ctlog": {"url": "https://rekor.sigstore.dev"}, "source": [{"oci": "x"}]}, **more)))
    for part in ("in rego is not carried over", "match by kinds", "tlog: required", "source is not carried over"):
        assert part in said


# Kyverno


def kyverno(check: dict[str, Any], **spec: Any) -> dict[str, Any]:
    inner = {"rules": [{"name": "r", "verifyImages": [{"imageReferences": ["ghcr.io/acme/*"], **check}]}], **spec}
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "k"}, "spec": inner}


def entries(*keys: str, count: int | None = None) -> dict[str, Any]:
    return {"entries": [{"keys": {"publicKeys": key}} for key in keys], **({"count": count} if count else {})}


SIGNED = [{"signed": {"by": "k-r"}}, {"signed": {"by": "k-r-2"}}]


@pytest.mark.parametrize(
    "check, require",
    [
        ({"attestors": [entries(KEY)]}, {"all": [SIGNED[0], {"chart": {"pinned": True}}]}),
        ({"attestors": [entries(KEY, OTHER)]}, {"all": [*SIGNED, {"chart": {"pinned": True}}]}),
        ({"attestors": [entries(KEY + OTHER)]}, {"all": [*SIGNED, {"chart": {"pinned": True}}]}),
        ({"attestors": [entries(KEY, OTHER, count=1)], "verifyDigest": False}, {"any": SIGNED}),
        (
            {"attestors": [entries(KEY, OTHER, public_pem(pair("third").public).decode(), count=2)], "verifyDigest": False},
            {"atLeast": {"count": 2, "of": [*SIGNED, {"signed": {"by": "k-r-3"}}]}},
        ),
        ({"attestors": [entries(KEY), entries(OTHER)], "verifyDigest": False}, {"all": SIGNED}),
        ({"attestors": [entries(KEY)], "failureAction": "Audit"}, {"signed": {"by": "k-r"}, "action": "warn"}),
        (
            {"attestations": [{"type": "https://slsa.dev/provenance/v1", "attestors": [entries(KEY)]}], "verifyDigest": False},
            {"attested": {"type": "https://slsa.dev/provenance/v1", "by": "k-r"}},
        ),
        ({"attestors": [{"entries": [{"attestor": entries(KEY)}]}], "verifyDigest": False}, SIGNED[0]),
    ],
)
def test_attestors_must_all_hold(check: dict[str, Any], require: Any) -> None:
    assert requires(imported(kyverno(check))) == [(["oci://ghcr.io/acme/**"], require)]


def test_kyverno_keyless() -> None:
    check = {"attestors": [{"entries": [{"keyless": {"issuer": GITHUB, "subject": WORKFLOW, "rekor": {"url": "x"}}}]}]}
    assert document(imported(kyverno(check)))["trust"] == {"k-r": {"keyless": {"issuer": GITHUB, "identity": WORKFLOW, "sourceRepository": "acme/charts"}}}


def test_what_kyverno_says_beside() -> None:
    check = {
        "attestors": [entries(KEY), {"entries": [{"certificates": {"cert": "x"}}]}],
        "skipImageReferences": ["x"],
        "attestations": [{"type": "spdx", "attestors": [entries(KEY)], "conditions": [{}]}],
    }
    said = notes(imported(kyverno(check)))
    assert all(part in said for part in ("skipImageReferences", "certificates are not carried over", "the conditions on spdx"))
    assert "notation's signatures are not read" in imported(kyverno({"type": "Notary", "attestors": [entries(KEY)]})).err


def test_an_image_validating_policy() -> None:
    spec = {
        "matchImageReferences": [{"glob": "ghcr.io/acme/*"}],
        "attestors": [
            {"name": "a", "cosign": {"key": {"data": KEY}}},
            {"name": "b", "cosign": {"keyless": {"identities": [{"issuer": GITHUB, "subject": WORKFLOW}]}}},
        ],
        "validations": [{"expression": "x"}],
    }
    ran = imported({"apiVersion": "policies.kyverno.io/v1", "kind": "ImageValidatingPolicy", "metadata": {"name": "i"}, "spec": spec})
    assert requires(ran) == [(["oci://ghcr.io/acme/**"], {"signed": {"by": ["i-a", "i-b"]}})]
    assert "validations in CEL are not carried over" in notes(ran)


# Flux and Sveltos


def flux(verify: dict[str, Any], url: str = "oci://ghcr.io/acme/charts/web") -> dict[str, Any]:
    return {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository", "metadata": {"name": "web"}, "spec": {"url": url, "verify": verify}}


SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"a.pub": KEY, "b.pub": OTHER}}


def test_flux_with_keys() -> None:
    ran = imported(flux({"provider": "cosign", "secretRef": {"name": "keys"}}), SECRET)
    assert requires(ran) == [(["oci://ghcr.io/acme/charts/web"], {"signed": {"by": ["web", "web-2"]}})]


def test_flux_with_identities() -> None:
    identity = {"issuer": "^https://token.actions.githubusercontent.com$", "subject": f"^{WORKFLOW.replace('.', chr(92) + '.')}$"}
    assert document(imported(flux({"provider": "cosign", "matchOIDCIdentity": [identity]})))["trust"] == {
        "web": {"keyless": {"issuer": GITHUB, "identity": WORKFLOW, "sourceRepository": "acme/charts"}}
    }


@pytest.mark.parametrize("kind", ["HelmChart", "HelmRelease"])
def test_flux_charts_are_joined_with_their_repository(kind: str) -> None:
    chart = {"chart": "web", "sourceRef": {"kind": "HelmRepository", "name": "acme"}, "verify": {"provider": "cosign", "secretRef": {"name": "keys"}}}
    group = "source.toolkit.fluxcd.io/v1" if kind == "HelmChart" else "helm.toolkit.fluxcd.io/v2"
    item = {"apiVersion": group, "kind": kind, "metadata": {"name": "web"}, "spec": chart if kind == "HelmChart" else {"chart": {"spec": chart}}}
    repository = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "HelmRepository",
        "metadata": {"name": "acme"},
        "spec": {"url": "oci://ghcr.io/acme/charts/", "type": "oci"},
    }
    assert requires(imported(item, repository, SECRET))[0][0] == ["oci://ghcr.io/acme/charts/web"]
    assert "its HelmRepository is not in the input" in imported(item, SECRET).err


@pytest.mark.parametrize(
    "verify, url, note",
    [
        ({"provider": "cosign"}, "oci://ghcr.io/a/b", "any keyless signature"),
        ({"provider": "notation", "secretRef": {"name": "x"}}, "oci://ghcr.io/a/b", "notation's signatures"),
        ({"provider": "cosign", "secretRef": {"name": "x"}}, "https://charts.example", "a chart repository over https"),
    ],
)
def test_what_flux_says_that_is_left_out(verify: dict[str, Any], url: str, note: str) -> None:
    ran = imported(flux(verify, url))
    assert (ran.status, note in ran.err) == (2, True)


def test_sveltos() -> None:
    charts = [
        {"repositoryURL": "oci://ghcr.io/acme", "chartName": "acme/web", "signatureVerification": {"provider": "cosign", "secretRef": {"name": "keys"}}},
        {"repositoryURL": "https://charts.example", "chartName": "x/y", "signatureVerification": {"secretRef": {"name": "keys"}}},
        {"repositoryURL": "https://charts.example", "chartName": "x/z", "provenanceVerification": {"secretRef": {"name": "ring"}}},
    ]
    ran = imported(
        {"apiVersion": "config.projectsveltos.io/v1beta1", "kind": "ClusterProfile", "metadata": {"name": "s"}, "spec": {"helmCharts": charts}}, SECRET
    )
    assert [scopes for scopes, _ in requires(ran)] == [["oci://ghcr.io/acme/web"]]
    assert "ignored by Sveltos" in notes(ran)
    assert "import its keyring" in notes(ran)


# notation and Helm


def test_notation() -> None:
    policies = [
        {
            "name": "acme",
            "registryScopes": ["ghcr.io/acme/web"],
            "signatureVerification": {"level": "strict"},
            "trustedIdentities": ["x509.subject: C=US, ST=WA, O=acme"],
        },
        {"name": "watched", "registryScopes": ["ghcr.io/acme/api"], "signatureVerification": {"level": "audit"}, "trustedIdentities": ["*"]},
        {"name": "open", "registryScopes": ["ghcr.io/acme/open"], "signatureVerification": {"level": "skip"}},
        {"name": "all", "registryScopes": ["*"], "signatureVerification": {"level": "strict"}},
    ]
    Path("trustpolicy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": policies}))
    ran = run("policy", "import", "trustpolicy.json", "--name", "from notation")
    assert requires(ran) == [
        (["oci://ghcr.io/acme/web"], {"signed": {"by": "acme"}}),
        (["oci://ghcr.io/acme/api"], {"signed": {"by": "watched"}, "action": "warn"}),
    ]
    assert document(ran)["metadata"] == {"name": "from-notation"}
    assert all(part in notes(ran) for part in ("sign these charts anew", "level skip", "a pattern where the host stands", "O=acme"))


def test_a_keyring() -> None:
    Path("pubring.asc").write_bytes(pgp().public)
    ran = run("policy", "import", "pubring.asc", "--charts", "oci://ghcr.io/acme/*")
    assert requires(ran) == [(["oci://ghcr.io/acme/*"], {"signed": {"by": "pubring"}})]
    assert document(ran)["trust"] == {"pubring": {"openpgp": {"keyring": "pubring.asc", "fingerprints": [pgp().fingerprint]}}}
    Path("p.yaml").write_text(ran.out)
    assert run("policy", "lint", "p.yaml").status == 0
    assert requires(run("policy", "import", "pubring.asc"))[0][0] == ["file:*.tgz"]


@pytest.mark.parametrize("data", [b"a: [", b"apiVersion: v1\nkind: Pod\n", b"[]", b"text", b"\xff\xfe", b"", b"trustPolicies: []"])
def test_what_is_none_of_them(data: bytes) -> None:
    Path("in.yaml").write_bytes(data)
    ran = run("policy", "import", "in.yaml")
    assert ran.status == 2, ran.text


NONSENSE: list[Any] = [None, 7, "x", [], [7], {}, {"a": 7}]


@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_inside_is_never_a_traceback(value: Any) -> None:
    for item in (
        image_policy({"key": {"data": KEY}}),
        kyverno({"attestors": [entries(KEY)]}),
        flux({"provider": "cosign", "matchOIDCIdentity": [{"issuer": "x", "subject": "y"}]}),
    ):
        for path in _paths(item):
            assert imported(_with(item, path, value)).status in (0, 2), path


def _paths(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, item in inner for path in ((*above, key), *_paths(item, (*above, key)))]


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _with(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("pattern, text", [("^a\\.b$", "a.b"), ("a.b", "a.b"), ("a.*", None), ("^(a|b)$", None), ("", None), ("a\\+b", "a+b")])
def test_literal(pattern: str, text: str | None) -> None:
    assert literal(pattern) == text
