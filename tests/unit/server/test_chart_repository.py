"""Charts of chart repositories where objects are judged and callers ask: Flux' HelmRepository, Helm's records, HTTP, whose credentials, the cache."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulators.chart_repository import SimulatedChartRepository, chart_repository, entry, index_of
from tests.support.admission import FILES, codes_of, judged, world
from tests.support.charts import archive
from tests.support.pull_secrets import auth, pull_secret
from tests.support.reviews import ListedCluster, an_object, packed, record, release_value, review
from tests.support.signers import pair
from tests.support.webhook import Server
from tests.support.world import connect
from tests.unit.operations.test_chart_repository import bundle_of, only, rules
from tests.unit.server.test_server import serving
from verifier.model.decision import Outcome
from verifier.model.digest import sha256
from verifier.operations.namespaces import NamespaceSecrets
from verifier.operations.policies import LoadedPolicy
from verifier.server.service import Surroundings

DATA = archive("web", "1.4.2", FILES)
LENIENT = "    unsafe_allow_unpinned: true\n"


@pytest.fixture
def served() -> Iterator[tuple[SimulatedChartRepository, str]]:
    with chart_repository() as (repository, host):
        name = repository.add(DATA, bundle=bundle_of(DATA))
        repository.files["/charts/index.yaml"] = index_of([entry(DATA, name)])
        yield repository, f"http://{host}/charts"


def helm_release(version: str = "1.4.2") -> dict[str, Any]:
    chart = {"spec": {"chart": "web", "version": version, "sourceRef": {"kind": "HelmRepository", "name": "acme"}}}
    return an_object("helm.toolkit.fluxcd.io/v2", "HelmRelease", spec={"chart": chart})


def source(url: str) -> ListedCluster:
    return ListedCluster(an_object("source.toolkit.fluxcd.io/v1", "HelmRepository", name="acme", spec={"url": url}))


def test_a_release_of_a_chart_repository_cannot_be_pinned(served: tuple[SimulatedChartRepository, str]) -> None:
    _, url = served
    verdict = judged(review(helm_release()), world(only(url), source(url)))
    assert (verdict.outcome, codes_of(verdict)) == (Outcome.DENIED, ["unpinned"])
    assert f"was verified as {sha256(DATA)}" in verdict.findings[0].reason
    assert "has no field for a digest; use an OCIRepository" in verdict.findings[0].reason
    lenient = world(only(url, extra=LENIENT), source(url))
    verdict = judged(review(helm_release()), lenient)
    assert (verdict.allowed, verdict.findings[0].unsafe) == (True, "unsafe_allow_unpinned")
    assert codes_of(judged(review(helm_release()), world(only(url, extra=LENIENT), source(url), always_pinned=True))) == ["unpinned"]


def test_what_is_wrong_there_is_what_is_told(served: tuple[SimulatedChartRepository, str]) -> None:
    repository, url = served
    place = world(only(url, extra=LENIENT), source(url))
    assert codes_of(judged(review(helm_release("1.4.3")), place)) == ["not-found"]
    assert codes_of(judged(review(helm_release(">=1.0.0")), place)) == ["chart-unverifiable"]
    assert codes_of(judged(review(helm_release()), world(only(f"{url}/other", extra=LENIENT), source(url)))) == ["no-rule"]
    repository.files.pop("/charts/web-1.4.2.tgz.sigstore.json")
    assert codes_of(judged(review(helm_release()), place)) == ["unsigned"]
    repository.status = {"index.yaml": 503}
    verdict = judged(review(helm_release()), place)
    assert (verdict.outcome, codes_of(verdict)) == (Outcome.INCONCLUSIVE, ["registry-error"])


def test_a_record_of_what_helm_installs_from_there(served: tuple[SimulatedChartRepository, str]) -> None:
    """A source of the policy may be a chart repository, at the root of its host or below."""
    repository, url = served
    loaded = with_source(url, url)
    asked = review(record(packed(release_value(DATA))))
    verdict = judged(asked, world(loaded))
    assert (verdict.allowed, f"matches {url}/web:1.4.2" in verdict.findings[0].reason) == (True, True), codes_of(verdict)
    other = release_value(archive("web", "1.4.2", {**FILES, "templates/c.yaml": b"kind: Evil\n"}))
    assert codes_of(judged(review(record(packed(other))), world(loaded))) == ["record-mismatch"]
    missing = release_value(archive("web", "1.4.3", FILES))
    assert codes_of(judged(review(record(packed(missing))), world(loaded))) == ["no-source"], "the index does not list it"
    repository.status = {"index.yaml": 503}
    assert codes_of(judged(asked, world(loaded))) == ["registry-error"], "trouble is not an answer"
    repository.status = {}
    for path in list(repository.files):
        repository.files[path.removeprefix("/charts")] = repository.files[path]
    root = url.removesuffix("/charts")
    assert judged(asked, world(with_source(f"{root}/", root))).allowed


def with_source(source_url: str, url: str) -> LoadedPolicy:
    return rules(f'- name: ours\n    charts: ["{url}/*"]\n    require: {{signed: {{by: ci}}}}\nsources: [{{repositories: ["{source_url}"]}}]\n')


def test_callers_ask_by_http(served: tuple[SimulatedChartRepository, str]) -> None:
    repository, url = served
    with serving(only(url)) as api:
        for _ in range(2):
            status, _, decision = api.ask(f"{url}/web:1.4.2")
            assert (status, decision["artifact"]["digest"]) == (200, str(sha256(DATA)))
        assert "verifier_cache_hits_total 1.0" in api("GET", "/metrics")[2].decode(), "judged once; looked up each time"
        assert [path for _, path in repository.asked].count("/charts/index.yaml") == 2
        assert api.ask(f"{url}/web:1.4.2@{sha256(DATA)}")[0] == 200
        moved = archive("web", "1.4.2", {**FILES, "x": b"y"})
        repository.add(moved)
        status, _, decision = api.ask(f"{url}/web:1.4.2")
        assert (status, decision["code"]) == (403, "signer-not-allowed")
        status, _, decision = api.ask(f"{url}/web:1.4.2@{sha256(DATA)}")
        assert (status, decision["code"]) == (403, "tag-moved")
        status, _, decision = api.ask(f"{url}/web:1.4.3")
        assert (status, decision["code"]) == (503, "not-found")
        assert api.ask("https://charts.acme.test/web:1.4.2")[2]["code"] == "no-rule", "and nobody is asked"
        for reference in (f"{url}/web", "https://charts.acme.test/web?x=y", "https://user:x@charts.acme.test/web:1"):
            assert api.ask(reference)[0] == 422


def test_a_namespace_reads_with_its_own(served: tuple[SimulatedChartRepository, str]) -> None:
    repository, url = served
    repository.login = "me:right"
    host = url.removeprefix("http://").partition("/")[0]
    cluster = ListedCluster(
        pull_secret("apps", "regcred", {host: auth("me", "right")}),
        an_object("source.toolkit.fluxcd.io/v1", "HelmRepository", name="acme", spec={"url": url}),
        an_object("source.toolkit.fluxcd.io/v1", "HelmRepository", name="acme", namespace="other", spec={"url": url}),
    )
    server = Server(
        loaded=only(url, extra=LENIENT), cluster=cluster, around=Surroundings(secrets=NamespaceSecrets(cluster, ("regcred",))), connections=connect()
    )
    with server.running() as webhook:
        for hides in (False, True):
            repository.hides = hides
            for _ in range(2):
                assert webhook.ask(review(helm_release()))["allowed"]
                release = helm_release()
                release["metadata"]["namespace"] = "other"
                answered = webhook.ask(review(release))
                assert (answered["allowed"], answered["auditAnnotations"]["codes"]) == (False, "not-found" if hides else "unauthorized")
                if not hides:
                    assert "the pull secrets of namespace 'other'" in json.dumps(answered)


def test_other_keys_do_not_open_it(served: tuple[SimulatedChartRepository, str]) -> None:
    repository, url = served
    repository.files["/charts/web-1.4.2.tgz.sigstore.json"] = bundle_of(DATA, "other")
    assert pair("other") is not pair("ci")
    verdict = judged(review(helm_release()), world(only(url, extra=LENIENT), source(url)))
    assert codes_of(verdict) == ["signer-not-allowed"]
