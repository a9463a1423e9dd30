"""Subcharts and images under the policy (semantics 25): each is what its origin holds, or the answer says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.simulators.chart_repository import chart_repository, entry, index_of
from tests.simulators.registry import simulated
from tests.support.charts import archive, chart_yaml
from tests.support.signers import pair
from tests.support.world import ask, connect, key_policy, publish, sign
from verifier.model import limits
from verifier.model.context import PartKind
from verifier.model.decision import Decision, Outcome, PartState
from verifier.model.digest import Digest, sha256
from verifier.operations.parts import list_images
from verifier.operations.verification import Options
from verifier.policy.document import ImageSource
from verifier.schemes.sigstore.sign import sign_digest
from verifier.signers.key import LocalKey

JUDGED = "    subcharts: {packed: judged}"


def dependency(host: str, name: str = "db", version: str = "1.0.0", path: str = "acme") -> str:
    return json.dumps([{"name": name, "version": version, "repository": f"oci://{host}/{path}"}])


def parent(host: str, files: dict[str, bytes], declared: str | None = None) -> bytes:
    return archive("web", files=files, extra=f"dependencies: {declared if declared is not None else dependency(host)}\n")


def signed_parent(host: str, data: bytes) -> Digest:
    connections = connect()
    digest = publish(connections, host, data)
    sign(connections, host, digest, pair())
    return digest


def signed_db(host: str, data: bytes, *, signer: LocalKey | None = None) -> None:
    connections = connect()
    digest = publish(connections, host, data, name="acme/db", tag="1.0.0")
    sign(connections, host, digest, signer or pair(), name="acme/db")


def asked(host: str, rule: str = JUDGED, extra: str = "", **options: str) -> Decision:
    return ask(f"oci://{host}/acme/web:1.4.2", key_policy(host, pair(), extra, rule), connect(), Options(seconds=20, **options))  # type: ignore[arg-type]


def states(decision: Decision) -> dict[str, PartState]:
    return {part.path: part.state for part in decision.parts}


def denied(decision: Decision, code: str, outcome: Outcome = Outcome.DENIED) -> Decision:
    assert decision.outcome is outcome, decision.check.reason
    assert decision.check.code is not None
    assert decision.check.code.name == code, decision.check.reason
    return decision


DB = archive("db", "1.0.0")
PACKED = "charts/db-1.0.0.tgz"


def test_a_subchart_that_its_origin_holds_and_whose_rule_allows_it(registry: str) -> None:
    signed_db(registry, DB)
    signed_parent(registry, parent(registry, {PACKED: DB}))
    decision = asked(registry)
    assert decision.allowed, decision.check.reason
    assert (states(decision), decision.subcharts) == ({PACKED: PartState.VERIFIED}, "judged")
    assert not [warning for warning in decision.warnings if "subchart" in warning]


def test_other_bytes_than_the_origin_holds(registry: str) -> None:
    signed_db(registry, DB)
    signed_parent(registry, parent(registry, {PACKED: archive("db", "1.0.0", {"templates/evil.yaml": b"{}"})}))
    assert states(denied(asked(registry), "subchart-differs")) == {PACKED: PartState.DENIED}


def test_a_subchart_that_its_own_rule_denies(registry: str) -> None:
    signed_parent(registry, parent(registry, {PACKED: DB}))
    publish(connect(), registry, DB, name="acme/db", tag="1.0.0")
    denied(asked(registry), "unsigned")


def test_a_subchart_signed_by_a_stranger(registry: str) -> None:
    signed_db(registry, DB, signer=pair("other"))
    signed_parent(registry, parent(registry, {PACKED: DB}))
    denied(asked(registry), "signer-not-allowed")


def test_an_origin_that_has_no_such_version_is_unknown(registry: str) -> None:
    signed_parent(registry, parent(registry, {PACKED: DB}))
    assert states(denied(asked(registry), "not-found", Outcome.INCONCLUSIVE)) == {PACKED: PartState.UNKNOWN}


def test_an_origin_that_fails_is_unknown_and_never_partial(registry: str) -> None:
    with simulated() as broken:
        signed_parent(registry, parent(registry, {PACKED: DB}, dependency(broken.host)))
        rule = f'{JUDGED[:-1]}, partial: accept}}\n  - name: theirs\n    charts: ["oci://{broken.host}/**"]\n    require: {{signed: {{by: ci}}}}'
        denied(asked(registry, rule), "not-found", Outcome.INCONCLUSIVE)


NOBODY = [
    pytest.param("oci://elsewhere.example.test/charts", "no rule", id="no rule for its origin"),
    pytest.param("https://charts.example.test", "no rule", id="no rule for its chart repository"),
    pytest.param("file://../db", "nobody else can find", id="a folder"),
    pytest.param("@acme", "nobody else can find", id="a name of one machine"),
]


@pytest.mark.parametrize("repository, why", NOBODY)
def test_a_subchart_that_nobody_can_judge(registry: str, repository: str, why: str) -> None:
    """No packet goes to the origin that the policy does not name: the guard of the tests would end it."""
    signed_parent(registry, parent(registry, {PACKED: DB}, json.dumps([{"name": "db", "version": "1.0.0", "repository": repository}])))
    decision = denied(asked(registry), "subchart-unjudged")
    assert (states(decision), decision.subcharts) == ({PACKED: PartState.UNJUDGED}, "partial")
    assert why in decision.check.reason
    accepted = asked(registry, f"{JUDGED[:-1]}, partial: accept}}")
    assert accepted.allowed
    assert accepted.subcharts == "partial"
    assert accepted.check.children[-1].reason == "partial: 1 of 1 are judged by nobody, which the rule accepts"
    assert any("not judged" in warning for warning in accepted.warnings)


def test_an_archive_that_nobody_declared(registry: str) -> None:
    signed_parent(registry, parent(registry, {PACKED: DB}, "[]"))
    assert "not declared" in denied(asked(registry), "subchart-unjudged").check.reason


def test_unpacked_ones_have_no_origin(registry: str) -> None:
    signed_parent(registry, parent(registry, {"charts/db/Chart.yaml": chart_yaml("db", "1.0.0")}))
    denied(asked(registry), "subchart-unpacked")
    denied(asked(registry, f"{JUDGED[:-1]}, partial: accept}}"), "subchart-unpacked")
    decision = asked(registry, f"{JUDGED[:-1]}, unpacked: parent}}")
    assert decision.allowed
    assert states(decision) == {"charts/db": PartState.PARENT}


def test_what_an_unpacked_one_carries_is_judged_too(registry: str) -> None:
    signed_db(registry, DB)
    inner = f"dependencies: {dependency(registry)}\n"
    files = {"charts/mid/Chart.yaml": chart_yaml("mid", "1.0.0", inner), f"charts/mid/{PACKED}": archive("db", "1.0.0", {"x": b"other"})}
    signed_parent(registry, parent(registry, files, json.dumps([{"name": "mid", "version": "1.0.0", "repository": "file://mid"}])))
    decision = denied(asked(registry, f"{JUDGED[:-1]}, unpacked: parent}}"), "subchart-differs")
    assert states(decision)[f"charts/mid/{PACKED}"] is PartState.DENIED


def test_the_whole_may_stand_for_all(registry: str) -> None:
    signed_parent(registry, parent(registry, {PACKED: DB}))
    decision = asked(registry, "    subcharts: {packed: parent}")
    assert decision.allowed
    assert states(decision) == {PACKED: PartState.PARENT}


def test_subcharts_of_subcharts_are_judged_by_the_rules_of_theirs(registry: str) -> None:
    leaf = archive("leaf", "1.0.0")
    db = archive("db", "1.0.0", {"charts/leaf-1.0.0.tgz": leaf}, f"dependencies: {dependency(registry, 'leaf')}\n")
    signed_db(registry, db)
    signed_parent(registry, parent(registry, {PACKED: db}))
    denied(asked(registry), "not-found", Outcome.INCONCLUSIVE)
    publish(connect(), registry, leaf, name="acme/leaf", tag="1.0.0")
    denied(asked(registry), "unsigned")


def test_what_is_on_the_deny_list_is_denied_inside_of_others_too(registry: str) -> None:
    signed_parent(registry, parent(registry, {PACKED: DB}))
    denied(asked(registry, "", "deny: [{name: db, versions: '<2.0.0', reason: CVE-2026-1}]"), "deny-listed")
    assert asked(registry, "", "deny: [{name: db, versions: '<1.0.0'}]").allowed


def test_a_chart_without_subcharts_has_nothing_to_judge(registry: str) -> None:
    signed_parent(registry, archive())
    decision = asked(registry)
    assert decision.allowed
    assert decision.subcharts == "none"


# Images


def values(text: str) -> dict[str, bytes]:
    return {"values.yaml": text.encode()}


def images(registry: str, text: str, wanted: str, **options: str) -> Decision:
    signed_parent(registry, archive(files=values(text)))
    return asked(registry, f"    images: {{{wanted}}}", **options)


APP = "sha256:" + "a" * 64
REQUIRED = 'from: values, repositories: ["oci://{0}/**"], require: {{signed: {{by: ci}}}}'


@pytest.mark.parametrize(
    "text, wanted, reason",
    [
        ("image: ghcr.io/acme/app:1", "from: values, pinned: true", "expected a digest"),
        ("image: {repository: nginx, tag: '1'}", 'from: values, repositories: ["oci://ghcr.io/acme/*"]', "docker.io/library/nginx is not among"),
        ("image: 'Not An Image'", "from: values, pinned: true", "is not a repository"),
        (f"a: {{image: ghcr.io/acme/app@{APP}}}\nb: {{image: x/y}}", "from: values, pinned: true", "expected a digest"),
    ],
)
def test_an_image_that_is_refused(registry: str, text: str, wanted: str, reason: str) -> None:
    decision = denied(images(registry, text, wanted), "image-refused")
    assert reason in decision.check.reason
    assert PartState.DENIED in states(decision).values()


def test_images_that_are_pinned_and_listed(registry: str) -> None:
    decision = images(
        registry, f"image: {{repository: ghcr.io/acme/app, digest: '{APP}'}}", 'from: values, pinned: true, repositories: ["oci://ghcr.io/acme/*"]'
    )
    assert decision.allowed, decision.check.reason
    assert decision.check.children[-1].reason == "all 1 hold"
    assert [(part.kind, part.path, part.digest) for part in decision.parts] == [(PartKind.IMAGE, f"ghcr.io/acme/app@{APP}", APP)]


def pushed_image(registry: str, *, signed: bool) -> str:
    """Any manifest will do: what an image is made of is not looked at."""
    connections = connect()
    digest = publish(connections, registry, archive("app", "1.0.0"), name="acme/app", tag="1.0.0")
    if signed:
        sign(connections, registry, digest, pair(), name="acme/app")
    return f"{registry}/acme/app:1.0.0@{digest}"


def test_signed_images(registry: str) -> None:
    decision = images(registry, f"image: {pushed_image(registry, signed=True)}", REQUIRED.format(registry))
    assert decision.allowed, decision.check.reason
    assert list(states(decision).values()) == [PartState.VERIFIED]


def test_an_image_that_nobody_signed(registry: str) -> None:
    denied(images(registry, f"image: {pushed_image(registry, signed=False)}", REQUIRED.format(registry)), "unsigned")


def test_an_image_that_is_not_there(registry: str) -> None:
    decision = denied(images(registry, f"image: {registry}/acme/none:1", REQUIRED.format(registry)), "not-found", Outcome.INCONCLUSIVE)
    assert list(states(decision).values()) == [PartState.UNKNOWN]


def test_a_chart_does_not_choose_who_is_asked(registry: str) -> None:
    """No packet goes to a registry that the rule does not list: the guard of the tests would end it."""
    decision = denied(images(registry, "image: elsewhere.example.test/acme/app:1", REQUIRED.format(registry)), "image-refused")
    assert "not among the repositories" in decision.check.reason


def test_a_denied_digest_is_denied_as_an_image_too(registry: str) -> None:
    written = pushed_image(registry, signed=True)
    signed_parent(registry, archive(files=values(f"image: {written}")))
    deny = f"deny: [{{digest: '{written.rpartition('@')[2]}'}}]"
    denied(asked(registry, "    images: {" + REQUIRED.format(registry) + "}", deny), "deny-listed")


def test_values_that_cannot_be_read_leave_it_open(registry: str) -> None:
    denied(images(registry, "a: [", "from: values, pinned: true"), "images-unknown", Outcome.INCONCLUSIVE)


def test_images_of_subcharts_count(registry: str) -> None:
    files = {
        **values("image: ghcr.io/a/b:1"),
        PACKED: archive("db", "1.0.0", values("image: {repository: c/d, tag: 2}")),
        "charts/e/Chart.yaml": chart_yaml("e", "1.0.0"),
    }
    files["charts/e/values.yaml"] = b"sidecarImage: quay.io/f/g@" + APP.encode()
    signed_parent(registry, archive(files=files))
    decision = denied(asked(registry, "    images: {from: values, pinned: true}"), "image-refused")
    assert list(states(decision)) == ["c/d:2", f"quay.io/f/g@{APP}", "ghcr.io/a/b:1"] or set(states(decision)) == {
        "c/d:2",
        f"quay.io/f/g@{APP}",
        "ghcr.io/a/b:1",
    }


def test_too_many_parts(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PARTS", 2)
    text = "\n".join(f"image{number}: {{image: x/y{number}@{APP}}}" for number in range(3))
    denied(images(registry, text, "from: values, pinned: true"), "evidence-limit", Outcome.INCONCLUSIVE)


def test_aliases_that_unfold_without_end(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = "a0: &a0 [x, x]\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 12))
    denied(images(registry, bomb, "from: values, pinned: true"), "images-unknown", Outcome.INCONCLUSIVE)


# Rendered


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


POD = f"""apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  containers: [{{name: c, image: ghcr.io/acme/app@{APP}}}]
  initContainers: [{{name: i, image: busybox}}]
  volumes: [{{name: v, image: {{reference: quay.io/x/y@{APP}}}}}]
---
kind: Empty
"""


def test_rendered_images(registry: str, tmp_path: Path) -> None:
    helm = program(tmp_path / "helm", f"cat <<'EOF'\n{POD}EOF")
    decision = denied(images(registry, "{}", "from: rendered, pinned: true", helm=helm), "image-refused")
    assert set(states(decision)) == {f"ghcr.io/acme/app@{APP}", "busybox", f"quay.io/x/y@{APP}"}


@pytest.mark.parametrize(
    "script, reason", [("echo no such value >&2; exit 1", "no such value"), ("echo 'a: ['", "cannot be read"), ("yes", "more than is read")]
)
def test_rendering_that_fails_is_inconclusive(registry: str, tmp_path: Path, script: str, reason: str) -> None:
    bounded = script if script != "yes" else "head -c 5000000 /dev/zero"
    decision = denied(images(registry, "{}", "from: rendered, pinned: true", helm=program(tmp_path / "helm", bounded)), "images-unknown", Outcome.INCONCLUSIVE)
    assert reason in decision.check.reason


def test_without_helm_it_is_inconclusive_and_never_the_values_instead(registry: str, tmp_path: Path) -> None:
    decision = denied(
        images(registry, f"image: a/b@{APP}", "from: rendered, pinned: true", helm=str(tmp_path / "none")), "images-unknown", Outcome.INCONCLUSIVE
    )
    assert "is not installed" in decision.check.reason


def test_listing_gives_each_image_once(registry: str) -> None:
    from tests.support.charts import chart_file

    found = list_images(chart_file(archive(files=values("a: {image: x/y:1}\nb: {image: x/y:1}"))), ImageSource.VALUES, "helm")
    assert [item.written for item in found] == ["x/y:1"]


# Chart repositories


def test_a_subchart_of_a_chart_repository_is_compared_and_judged_there(registry: str) -> None:
    with chart_repository() as (repository, host):
        name = repository.add(DB, bundle=sign_digest(sha256(DB), pair(), name="db-1.0.0.tgz"))
        repository.files["/charts/index.yaml"] = index_of([entry(DB, name)])
        url = f"http://{host}/charts"
        signed_parent(registry, parent(registry, {PACKED: DB}, json.dumps([{"name": "db", "version": "1.0.0", "repository": url}])))
        rule = f'{JUDGED}\n  - name: theirs\n    charts: ["{url}/*"]\n    require: {{signed: {{by: ci}}}}\n    chart: {{pinned: true}}'
        decision = asked(registry, rule)
        assert (decision.allowed, states(decision)) == (True, {PACKED: PartState.VERIFIED}), decision.check.reason
        assert [part.reference for part in decision.parts] == [f"{url}/db:1.0.0"]
        repository.add(archive("db", "1.0.0", {"templates/x.yaml": b"other: 1\n"}), bundle=b"{}")
        assert states(denied(asked(registry, rule), "subchart-differs")) == {PACKED: PartState.DENIED}
        repository.add(DB, bundle=sign_digest(sha256(DB), pair("other"), name="db-1.0.0.tgz"))
        denied(asked(registry, rule), "signer-not-allowed")
        repository.files.pop("/charts/index.yaml")
        denied(asked(registry, rule), "not-found", Outcome.INCONCLUSIVE)
