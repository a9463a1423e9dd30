"""Admission: what passes, and each reason for which it does not (semantics 31, 32; threats T-17 to T-20)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.simulators.registry import Switches, simulated
from tests.support.admission import FILES, SOURCES, codes_of, judged, release, world
from tests.support.charts import archive
from tests.support.reviews import ListedCluster, an_object, oci_repository, packed, record, release_value, review
from tests.support.signers import pair
from tests.support.world import connect, key_policy, publish, sign
from verifier.charts.packaging import package_directory
from verifier.model.decision import Outcome
from verifier.model.errors import MisuseError
from verifier.operations.policies import LoadedPolicy
from verifier.operations.review import read_review


def with_sources(registry: str, rule: str = "") -> LoadedPolicy:
    return key_policy(registry, pair(), extra=SOURCES % registry, rule=rule)


# Objects that name their chart


def test_a_digest_that_was_verified_passes(registry: str) -> None:
    digest, _ = release(registry)
    verdict = judged(review(oci_repository(f"oci://{registry}/acme/web", digest=digest)), world(key_policy(registry, pair())))
    assert (verdict.allowed, codes_of(verdict)) == (True, [])
    decision = verdict.findings[0].decision
    assert decision is not None
    assert (decision.request.context.namespace, decision.request.context.cluster, decision.request.context.asserted_by) == ("apps", "test", "admission")


@pytest.mark.parametrize(
    ("ref", "code", "outcome"),
    [
        ({"tag": "1.4.2"}, "unpinned", Outcome.DENIED),
        ({"semver": ">=1"}, "chart-unverifiable", Outcome.DENIED),
        ({"tag": "9.9.9"}, "not-found", Outcome.INCONCLUSIVE),
        ({"digest": "sha256:" + "0" * 64}, "not-found", Outcome.INCONCLUSIVE),
        ({"digest": "sha256:x"}, "chart-unverifiable", Outcome.DENIED),
    ],
)
def test_what_is_not_named_by_a_verified_digest_does_not(registry: str, ref: dict[str, str], code: str, outcome: Outcome) -> None:
    release(registry)
    verdict = judged(review(oci_repository(f"oci://{registry}/acme/web", **ref)), world(key_policy(registry, pair())))
    assert (verdict.outcome, codes_of(verdict)) == (outcome, [code])


def test_a_rule_may_let_a_tag_pass_and_the_server_may_forbid_it(registry: str) -> None:
    release(registry)
    loaded = key_policy(registry, pair(), rule="    unsafe_allow_unpinned: true\n")
    asked = review(oci_repository(f"oci://{registry}/acme/web", tag="1.4.2"))
    verdict = judged(asked, world(loaded))
    assert (verdict.allowed, "another chart tomorrow" in verdict.findings[0].reason) == (True, True)
    assert codes_of(judged(asked, world(loaded, always_pinned=True))) == ["unpinned"]


def test_unsigned_and_unknown_charts(registry: str) -> None:
    digest, _ = release(registry, by=None)
    place = world(key_policy(registry, pair()))
    assert codes_of(judged(review(oci_repository(f"oci://{registry}/acme/web", digest=digest)), place)) == ["unsigned"]
    assert codes_of(judged(review(oci_repository("oci://evil.test/acme/web", digest=digest)), place)) == ["no-rule"]
    assert codes_of(judged(review(oci_repository("oci://user:pass@evil.test/web", tag="1.0.0")), place)) == ["chart-unverifiable"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"apiVersion": "source.toolkit.fluxcd.io/v9"}, "kind-unknown"),
        ({"apiVersion": "apps/v1", "kind": "Deployment"}, "kind-unknown"),
        ({"apiVersion": "autoscaling/v1", "kind": "Scale"}, "kind-unknown"),
    ],
)
def test_what_is_not_known_does_not_pass(registry: str, changes: dict[str, str], code: str) -> None:
    value = {**oci_repository(f"oci://{registry}/acme/web", tag="1.4.2"), **changes}
    assert codes_of(judged(review(value), world(key_policy(registry, pair())))) == [code]


@pytest.mark.parametrize("operation", ["CONNECT", "PATCH", ""])
def test_other_operations_do_not_pass(registry: str, operation: str) -> None:
    asked = review(oci_repository(f"oci://{registry}/acme/web", tag="1.4.2"))
    asked["request"]["operation"] = operation
    assert codes_of(judged(asked, world(key_policy(registry, pair())))) == ["kind-unknown"]


def test_a_deletion_installs_nothing(registry: str) -> None:
    value = oci_repository(f"oci://{registry}/acme/web", tag="1.4.2")
    assert judged(review(None, old=value, operation="DELETE"), world(key_policy(registry, pair()))).findings == ()


@pytest.mark.parametrize("subresource", ["", "status", "scale"])
@pytest.mark.parametrize("dry_run", [True, False])
def test_what_was_there_before_is_judged_as_if_it_were_new(registry: str, subresource: str, dry_run: bool) -> None:
    digest, _ = release(registry, by=None)
    value = oci_repository(f"oci://{registry}/acme/web", digest=digest)
    labelled = {**value, "metadata": {**value["metadata"], "labels": {"a": "b"}}}
    asked = review(labelled, old=value, subResource=subresource, dryRun=dry_run)
    assert codes_of(judged(asked, world(key_policy(registry, pair())))) == ["unsigned"]


def test_an_object_that_is_being_deleted_loses_finalizers_and_nothing_else(registry: str) -> None:
    digest, _ = release(registry, by=None)
    place = world(key_policy(registry, pair()))
    value = oci_repository(f"oci://{registry}/acme/web", digest=digest)
    value["metadata"] |= {"deletionTimestamp": "2026-11-24T12:00:00Z", "finalizers": ["a", "b"], "resourceVersion": "1"}
    freed = {**value, "metadata": {**value["metadata"], "finalizers": ["a"], "resourceVersion": "2"}}
    assert judged(review(freed, old=value), place).allowed
    for changed in (
        {**freed, "spec": {**value["spec"], "url": f"oci://{registry}/acme/web2"}},
        {**freed, "metadata": {**freed["metadata"], "labels": {"a": "b"}}},
    ):
        assert not judged(review(changed, old=value), place).allowed
    assert not judged(review({**value, "metadata": {**value["metadata"], "finalizers": ["a", "c"]}}, old=value), place).allowed
    fresh = {**value, "metadata": {key: inner for key, inner in value["metadata"].items() if key != "deletionTimestamp"}}
    assert codes_of(judged(review(value, old=fresh), place)) == ["unsigned"], "a timestamp that is only new exempts nothing"


def test_what_an_object_leaves_to_others_is_looked_up(registry: str) -> None:
    digest, _ = release(registry)
    source = oci_repository(f"oci://{registry}/acme/web", digest=digest)
    value = an_object("helm.toolkit.fluxcd.io/v2", "HelmRelease", spec={"chartRef": {"kind": "OCIRepository", "name": "x"}})
    loaded = key_policy(registry, pair())
    assert judged(review(value), world(loaded, ListedCluster(source))).allowed
    assert codes_of(judged(review(value), world(loaded, ListedCluster()))) == ["origin-missing"]
    for cluster in (None, ListedCluster(down=True)):
        verdict = judged(review(value), world(loaded, cluster))
        assert (codes_of(verdict), verdict.outcome) == (["lookup-failed"], Outcome.INCONCLUSIVE)


@pytest.mark.parametrize("kind", ["OCIRepository", "HelmChart"])
def test_a_source_is_judged_for_each_namespace_that_takes_from_it(registry: str, kind: str) -> None:
    """Its edit changes what others install, and their namespaces' rules may ask for more than its own."""
    digest, _ = release(registry)
    strict = (
        f"  - {{name: strict, charts: ['oci://{registry}/acme/*'], require: {{signed: {{by: ci}}}}, when: {{namespace: [shop]}}, chart: {{version: '>=2'}}}}\n"
    )
    loaded = key_policy(registry, pair(), rule="    unsafe_allow_unpinned: true\n" + strict)
    if kind == "OCIRepository":
        source, others = oci_repository(f"oci://{registry}/acme/web", digest=digest), []
    else:
        reference = {"kind": "HelmRepository", "name": "acme"}
        source = an_object("source.toolkit.fluxcd.io/v1", "HelmChart", spec={"chart": "web", "version": "1.4.2", "sourceRef": reference})
        others = [an_object("source.toolkit.fluxcd.io/v1", "HelmRepository", name="acme", spec={"url": f"oci://{registry}/acme", "type": "oci"})]

    def taker(namespace: str, name: str = "x") -> dict[str, Any]:
        return an_object("helm.toolkit.fluxcd.io/v2", "HelmRelease", namespace=namespace, spec={"chartRef": {"kind": kind, "name": name, "namespace": "apps"}})

    for takers, found in (([], []), ([taker("apps"), taker("till"), taker("shop", "another")], []), ([taker("shop")], ["version-refused"])):
        verdict = judged(review(source), world(loaded, ListedCluster(*others, *takers)))
        assert (codes_of(verdict), verdict.allowed) == (found, not found)
    assert "(for shop)" in verdict.findings[-1].place
    down = judged(review(source), world(loaded, ListedCluster(*others, down=True)))
    assert (codes_of(down), down.allowed) == (["lookup-failed"], False)


def test_dependents_are_judged_in_their_own_namespace(registry: str) -> None:
    release(registry)
    rule = "    unsafe_allow_unpinned: true\n    when: {namespace: [shop]}\n"
    repository = an_object("source.toolkit.fluxcd.io/v1", "HelmRepository", spec={"type": "oci", "url": f"oci://{registry}/acme"})
    source = {"kind": "HelmRepository", "name": "x", "namespace": "apps"}
    chart = {"spec": {"chart": "web", "version": "1.4.2", "sourceRef": source}}
    dependents = {space: an_object("helm.toolkit.fluxcd.io/v2", "HelmRelease", namespace=space, spec={"chart": chart}) for space in ("shop", "other")}
    loaded = key_policy(registry, pair(), rule=rule)
    assert judged(review(repository), world(loaded, ListedCluster())).allowed
    assert judged(review(repository), world(loaded, ListedCluster(dependents["shop"]))).allowed
    assert codes_of(judged(review(repository), world(loaded, ListedCluster(*dependents.values())))) == ["no-rule"]


def test_git_is_refused_unless_a_source_lets_it_pass(registry: str) -> None:
    value = an_object("argoproj.io/v1alpha1", "Application", spec={"source": {"repoURL": "https://git.test/x", "path": "y"}})
    assert codes_of(judged(review(value), world(key_policy(registry, pair())))) == ["chart-unverifiable"]
    for namespace, allowed in (("apps", True), ("other", False)):
        loaded = key_policy(registry, pair(), extra=f"sources: [{{unsafe_allow_git: true, when: {{namespace: [{namespace}]}}}}]\n")
        verdict = judged(review(value), world(loaded))
        assert verdict.allowed is allowed
    assert "UNSEEN" in judged(review(value), world(key_policy(registry, pair(), extra="sources: [{unsafe_allow_git: true}]\n"))).findings[0].reason


def test_too_many_charts_in_one_object(registry: str) -> None:
    charts = [{"repositoryURL": "oci://reg.test/c", "chartName": f"c{number}", "chartVersion": "1.0.0"} for number in range(101)]
    value = an_object("config.projectsveltos.io/v1beta1", "Profile", spec={"helmCharts": charts})
    assert codes_of(judged(review(value), world(key_policy(registry, pair())))) == ["chart-unverifiable"]


def test_an_archive_inside_of_an_object(registry: str) -> None:
    _, data = release(registry)
    _, bad = release(registry, by=None, version="1.4.3")

    def chart(content: bytes) -> dict[str, Any]:
        return review(an_object("helm.cattle.io/v1", "HelmChart", spec={"chartContent": base64.b64encode(content).decode()}))

    place = world(with_sources(registry))
    assert judged(chart(data), place).allowed
    assert codes_of(judged(chart(bad), place)) == ["unsigned"]
    assert codes_of(judged(chart(archive("web", "1.4.2", {**FILES, "extra": b"x"})), place)) == ["record-mismatch"]
    assert codes_of(judged(chart(archive("gone", "1.0.0")), place)) == ["no-source"]
    assert codes_of(judged(chart(b"no chart"), place)) == ["archive-invalid"]
    assert codes_of(judged(chart(data), world(key_policy(registry, pair())))) == ["no-source"]


# Helm's release records


def test_a_record_that_matches_a_verified_chart(registry: str) -> None:
    _, data = release(registry)
    verdict = judged(review(record(packed(release_value(data)))), world(with_sources(registry)))
    assert (verdict.allowed, "matches" in verdict.findings[0].reason) == (True, True)
    plain = base64.b64encode(base64.b64encode(json.dumps(release_value(data)).encode())).decode()
    assert judged(review(record(plain)), world(with_sources(registry))).allowed, "Helm reads JSON that was not packed, too"
    once = base64.b64decode(packed(release_value(data))).decode()
    configmap = an_object("v1", "ConfigMap", name="sh.helm.release.v1.r.v1", data={"release": once})
    assert judged(review(configmap), world(with_sources(registry))).allowed


def test_a_version_that_flux_has_marked_with_the_digest(registry: str) -> None:
    digest, data = release(registry)
    place = world(with_sources(registry))
    metadata = release_value(data)["chart"]["metadata"]
    for mark, code in ((digest[7:19], []), ("0" * 12, ["record-mismatch"]), ("x" * 12, ["no-source"]), (digest[7:18], ["no-source"])):
        marked = changed_chart(data, metadata={**metadata, "version": f"1.4.2+{mark}"})
        assert codes_of(judged(review(record(packed(marked))), place)) == code
    other = changed_chart(data, metadata={**metadata, "version": f"1.4.2+{digest[7:19]}"}, templates=[])
    assert codes_of(judged(review(record(packed(other))), place)) == ["record-mismatch"]


def changed_chart(data: bytes, **parts: Any) -> dict[str, Any]:
    value = release_value(data)
    return {**value, "chart": {**value["chart"], **parts}}


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"templates": []}, "record-mismatch"),
        ({"files": []}, "record-mismatch"),
        ({"templates": [{"name": "templates/c.yaml", "data": "eA=="}]}, "record-mismatch"),
        ({"schema": "e30="}, "record-mismatch"),
        ({"metadata": {"name": "web", "version": "1.4.2", "apiVersion": "v2", "description": "another"}}, "record-mismatch"),
        ({"metadata": {"name": "web", "version": "9.9.9"}}, "no-source"),
        ({"metadata": {"name": "gone", "version": "1.0.0"}}, "no-source"),
        ({"metadata": {"name": "../web", "version": "1.4.2"}}, "record-invalid"),
        ({"metadata": {"name": "", "version": "1.4.2"}}, "record-invalid"),
        ({"values": {"a": 2}}, "record-values"),
        ({"values": None}, "record-values"),
        ({"metadata": {"name": "web", "version": "1.4.2", "apiVersion": "v2", "dependencies": [{"name": "x"}]}}, "record-partial"),
        ({"Templates": []}, "record-invalid"),
        ({"templates": [{"name": "templates/c.yaml", "Data": "eA=="}]}, "record-invalid"),
        ({"templates": [{"name": "templates/c.yaml", "data": "*"}]}, "record-invalid"),
        ({"templates": [{"name": "c.yaml", "data": "eA=="}]}, "record-invalid"),
        ({"templates": [1]}, "record-invalid"),
    ],
)
def test_a_record_of_another_chart(registry: str, parts: dict[str, Any], code: str) -> None:
    _, data = release(registry)
    assert codes_of(judged(review(record(packed(changed_chart(data, **parts)))), world(with_sources(registry)))) == [code]


@pytest.mark.parametrize(
    "data",
    [
        "",
        "x",
        "*",
        base64.b64encode(b"*").decode(),
        packed([]),
        packed({"Chart": {}}),
        packed({"chart": {}}),
        base64.b64encode(base64.b64encode(b"\x1f\x8b\x08x")).decode(),
    ],
)
def test_what_is_no_record_but_looks_like_one(registry: str, data: str) -> None:
    place = world(with_sources(registry))
    for value in (record(data), record(data, kind="Opaque", labels={}), record(data, name="x", labels={}), record(data, name="x", kind="Opaque")):
        assert codes_of(judged(review(value), place)) == ["record-invalid"]
    assert judged(review(record(data, name="x", kind="Opaque", labels={"owner": "me"})), place).findings == ()


def test_a_bomb_and_what_follows_a_record(registry: str) -> None:
    import gzip

    _, data = release(registry)
    place = world(with_sources(registry))
    good = gzip.compress(json.dumps(release_value(data)).encode())
    for inner in (gzip.compress(b" " * (40 * 1024 * 1024)), good + good, good[:-5]):
        assert codes_of(judged(review(record(base64.b64encode(base64.b64encode(inner)).decode())), place)) == ["record-invalid"]


def test_who_signed_and_where_it_may_come_from(registry: str) -> None:
    _, data = release(registry, by=None)
    asked = review(record(packed(release_value(data))))
    assert codes_of(judged(asked, world(with_sources(registry)))) == ["unsigned"]
    assert codes_of(judged(asked, world(key_policy(registry, pair())))) == ["no-source"]
    elsewhere = key_policy(registry, pair(), extra=f"sources: [{{repositories: ['oci://{registry}/acme'], when: {{namespace: [other]}}}}]\n")
    assert codes_of(judged(asked, world(elsewhere))) == ["no-source"]


def test_all_sources_that_hold_the_version_must_allow_it(registry: str) -> None:
    _, data = release(registry)
    with simulated() as second:
        both = f"sources: [{{repositories: ['oci://{registry}/acme', 'oci://{second.host}/acme']}}]\n"
        rule = f"  - name: second\n    charts: ['oci://{second.host}/acme/*']\n    require: {{signed: {{by: ci}}}}\n"
        loaded = key_policy(registry, pair(), extra=both, rule=rule)
        asked = review(record(packed(release_value(data))))
        assert judged(asked, world(loaded)).allowed, "the second does not hold it"
        digest = publish(connect(), second.host, archive("web", "1.4.2", {**FILES, "other": b"x"}))
        assert codes_of(judged(asked, world(loaded))) == ["unsigned"]
        sign(connect(), second.host, digest, pair())
        assert judged(asked, world(loaded)).allowed, "it is the chart of the first"
        second.switches.status = {"/manifests/1.4.2": 500}
        verdict = judged(asked, world(loaded))
        assert (codes_of(verdict), verdict.outcome) == (["registry-error"], Outcome.INCONCLUSIVE)


def test_charts_inside_and_other_values_where_the_rule_lets_them(registry: str, tmp_path: Any) -> None:
    inner = tmp_path / "web" / "charts" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "web" / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 2.0.0\ndependencies: [{name: inner, version: 1.0.0, repository: ''}]\n")
    (inner / "Chart.yaml").write_text("apiVersion: v2\nname: inner\nversion: 1.0.0\n")
    _, data = package_directory(tmp_path / "web")
    digest = publish(connect(), registry, data, tag="2.0.0")
    sign(connect(), registry, digest, pair())
    asked = review(record(packed(release_value(data))))
    assert codes_of(judged(asked, world(with_sources(registry)))) == ["record-partial"]
    assert judged(asked, world(with_sources(registry, "    unsafe_allow_partial_records: true\n"))).allowed
    _, plain = release(registry)
    other = review(record(packed(changed_chart(plain, values={"a": 2}))))
    assert judged(other, world(with_sources(registry, "    unsafe_allow_other_values: true\n"))).allowed


def test_a_record_is_frozen(registry: str) -> None:
    _, data = release(registry)
    place = world(with_sources(registry))
    value = release_value(data, hooks=[{"name": "h", "manifest": "x", "last_run": {"phase": "Unknown"}}])
    old = record(packed(value))
    assert judged(review(record(packed({**value, "info": {"status": "deployed"}})), old=old), place).findings == ()
    ran = [{"name": "h", "manifest": "x", "last_run": {"phase": "Succeeded"}}]
    assert judged(review(record(packed({**value, "hooks": ran})), old=old), place).findings == ()
    changes: tuple[dict[str, Any], ...] = ({"manifest": "evil"}, {"config": {}}, {"name": "s"}, {"version": 2}, {"namespace": "x"}, {"hooks": []})
    for change in changes:
        assert codes_of(judged(review(record(packed({**value, **change})), old=old), place)) == ["record-frozen"]
    assert codes_of(judged(review(record(packed(changed_chart(data, templates=[]))), old=old), place)) == ["record-frozen"]
    hidden = record("eA==", name="sh.helm.release.v1.r.v1", kind="Opaque", labels={})
    assert codes_of(judged(review({**hidden, "metadata": {**hidden["metadata"], "name": "x"}}, old=old), place)) == ["record-invalid"]


def test_an_unsigned_chart_that_becomes_a_record_by_an_update(registry: str) -> None:
    _, data = release(registry, by=None)
    plain = record(packed(release_value(data)), name="x", kind="Opaque", labels={})
    labelled = record(packed(release_value(data)), name="x", kind="Opaque")
    assert codes_of(judged(review(labelled, old=plain), world(with_sources(registry)))) == ["unsigned"]


# What is no review


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "request": {"uid": "x", "kind": {"kind": "Secret"}}}',
        b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}',
        b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "x", "kind": {"kind": "Secret"}, "object": 1}}',
        b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "x", "uid": "y"}}',
    ],
)
def test_what_is_no_review_is_misuse(data: bytes) -> None:
    with pytest.raises(MisuseError) as refused:
        read_review(data)
    assert refused.value.code.name == "review-invalid"


def test_an_object_of_another_kind_than_the_review_says(registry: str) -> None:
    asked = review(oci_repository(f"oci://{registry}/acme/web", tag="1.4.2"))
    asked["request"]["object"]["kind"] = "Other"
    with pytest.raises(MisuseError) as refused:
        judged(asked, world(key_policy(registry, pair())))
    assert refused.value.code.name == "review-invalid"


@pytest.mark.parametrize("value", [1, "x", [], {}, None, {"a": [1]}])
def test_odd_records_never_end_in_a_traceback(registry: str, value: Any) -> None:
    place = world(with_sources(registry))
    for field in ("name", "chart", "config", "hooks", "version", "namespace", "info"):
        _, data = release(registry) if field == "name" else ("", archive("web", "1.4.2", FILES))
        judged(review(record(packed(release_value(data, **{field: value})))), place)
        for part in ("metadata", "templates", "files", "values", "schema", "lock"):
            judged(review(record(packed(changed_chart(data, **{part: value})))), place)


def test_a_registry_that_is_down_is_no_answer(registry: str) -> None:
    _, data = release(registry)
    with simulated(Switches(status={"/manifests/": 503})) as down:
        loaded = key_policy(down.host, pair(), extra=SOURCES % down.host)
        verdict = judged(review(record(packed(release_value(data)))), world(loaded))
        assert (codes_of(verdict), verdict.outcome) == (["registry-error"], Outcome.INCONCLUSIVE)
