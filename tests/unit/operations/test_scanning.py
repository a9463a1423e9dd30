"""What is installed, judged: each kind, Helm's deployed releases, and what could not be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.admission import release, world
from tests.support.cli import run
from tests.support.reviews import ListedCluster, an_object, oci_repository, packed, record, release_value
from tests.support.signers import pair
from tests.support.world import key_policy
from verifier.model.context import Context
from verifier.model.decision import Outcome
from verifier.model.errors import InconclusiveError
from verifier.model.reference import Origin, parse_oci
from verifier.operations.policies import LoadedPolicy
from verifier.operations.scanning import Scanned, once, scan
from verifier.operations.verdict import Judged

SOURCES = "sources: [{repositories: ['oci://%s/acme']}]\n"


def scanned(cluster: ListedCluster, loaded: LoadedPolicy, *namespaces: str) -> dict[str, Scanned]:
    return {item.what: item for item in scan(cluster, world(loaded, cluster), frozenset(namespaces))}


def told(item: Scanned) -> tuple[Outcome, list[str]]:
    return item.verdict.outcome, [finding.code.name for finding in item.verdict.findings if finding.code is not None]


def test_objects_and_releases(registry: str) -> None:
    digest, data = release(registry)
    bad, unsigned = release(registry, by=None, version="2.0.0")
    good = oci_repository(f"oci://{registry}/acme/web", digest=digest)
    evil = {**oci_repository(f"oci://{registry}/acme/web", digest=bad), "metadata": {"name": "evil", "namespace": "other"}}
    manifests = an_object("source.toolkit.fluxcd.io/v1", "OCIRepository", name="m", spec={"url": "oci://x.test/m", "ref": {"tag": "1"}})
    old = record(packed(release_value(unsigned, info={"status": "superseded"})), name="sh.helm.release.v1.r.v1")
    new = record(packed(release_value(data, info={"status": "deployed"}, version=2)), name="sh.helm.release.v1.r.v2")
    wrong = record(packed(release_value(unsigned, info={"status": "deployed"}, name="s")), name="sh.helm.release.v1.s.v1")
    broken = record("x", name="sh.helm.release.v1.t.v1")
    loaded = key_policy(registry, pair(), extra=SOURCES % registry)
    found = scanned(ListedCluster(good, evil, manifests, old, new, wrong, broken), loaded)
    assert {what: told(item) for what, item in found.items()} == {
        "OCIRepository apps/x": (Outcome.ALLOWED, []),
        "OCIRepository other/evil": (Outcome.DENIED, ["unsigned"]),
        "release apps/r (revision 2, web 1.4.2)": (Outcome.ALLOWED, []),
        "release apps/s (revision 1, web 2.0.0)": (Outcome.DENIED, ["unsigned"]),
        "release in Secret apps/sh.helm.release.v1.t.v1": (Outcome.DENIED, ["record-invalid"]),
    }
    assert list(scanned(ListedCluster(good, evil), loaded, "other")) == ["OCIRepository other/evil"]


def test_what_could_not_be_looked_up(registry: str) -> None:
    loaded = key_policy(registry, pair())
    lost = an_object("helm.toolkit.fluxcd.io/v2", "HelmRelease", spec={"chartRef": {"kind": "OCIRepository", "name": "gone"}})
    assert told(scanned(ListedCluster(lost), loaded)["HelmRelease apps/x"]) == (Outcome.INCONCLUSIVE, ["origin-missing"])
    with pytest.raises(InconclusiveError) as refused:
        scanned(ListedCluster(down=True), loaded)
    assert refused.value.code.name == "lookup-failed"


def test_the_same_question_is_asked_once() -> None:
    asked: list[str] = []

    def decide(reference: Origin, context: Context) -> Judged:
        asked.append(str(reference))
        return None  # type: ignore[return-value]

    ask = once(decide)
    for namespace in ("a", "a", "b"):
        ask(parse_oci("oci://reg.test/web:1.0.0"), Context(namespace=namespace))
    assert len(asked) == 2


def test_without_a_policy_or_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: str) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    monkeypatch.delenv("VERIFIER_POLICY", raising=False)
    ran = run("scan")
    assert (ran.status, "[no-policy]" in ran.err) == (2, True), ran.text
    (tmp_path / "p.yaml").write_text(
        "apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {name: x}\nrules: [{name: a, charts: ['oci://x.test/*'], require: {chart: {pinned: true}}}]\n"
    )
    ran = run("scan", "--policy", str(tmp_path / "p.yaml"))
    assert (ran.status, "[config-invalid]" in ran.err) == (2, True), ran.text
