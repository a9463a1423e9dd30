"""Dependencies of a chart: each under the policy, what lies in charts/ against it, and digests that must not drift."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.chart_repository import chart_repository, entry, index_of
from tests.simulators.registry import SimulatedRegistry, simulated
from tests.support.charts import archive
from tests.support.cli import Ran, run
from tests.support.signers import pair
from tests.support.world import connect, publish, sign
from verifier.formats.json import dump_go_json
from verifier.model.digest import sha256
from verifier.operations.dependencies import LOCK
from verifier.schemes.sigstore.sign import sign_digest
from verifier.signers.public import public_pem

API, CACHE = archive("api", "2.0.0"), archive("cache", "1.1.0")


@pytest.fixture
def registry() -> Iterator[SimulatedRegistry]:
    with simulated() as registry:
        connections = connect()
        for name, version, data in (("api", "2.0.0", API), ("cache", "1.1.0", CACHE)):
            digest = publish(connections, registry.host, data, name=f"acme/{name}", tag=version)
            sign(connections, registry.host, digest, pair("ci"), name=f"acme/{name}")
        connections.close()
        yield registry


@pytest.fixture
def chart(registry: SimulatedRegistry, tmp_path: Path) -> Path:
    (tmp_path / "ci.pub").write_bytes(public_pem(pair("ci").public))
    directory = tmp_path / "web"
    (directory / "charts").mkdir(parents=True)
    write(directory, [("api", f"oci://{registry.host}/acme", "^2", "2.0.0"), ("cache", f"oci://{registry.host}/acme", "1.1.0", "1.1.0")])
    return directory


def write(directory: Path, items: list[tuple[str, str, str, str]]) -> None:
    """Chart.yaml and Chart.lock, as `helm dependency update` leaves them: name, repository, range, version."""
    declared = [{"name": name, "version": wanted, "repository": place} for name, place, wanted, _ in items]
    resolved = [{"name": name, "version": version, "repository": place} for name, place, _, version in items]
    lock = {"dependencies": resolved, "digest": str(sha256(dump_go_json([declared, resolved]))), "generated": "2026-11-27T00:00:00Z"}
    (directory / "Chart.yaml").write_text(json.dumps({"apiVersion": "v2", "name": "web", "version": "1.0.0", "dependencies": declared}))
    (directory / "Chart.lock").write_text(json.dumps(lock))


def verify(chart: Path, *more: str, key: str = "ci.pub") -> Ran:
    return run("dependencies", "verify", str(chart), "--key", str(chart.parent / key), *more)


def test_what_holds_is_recorded_and_holds_again(chart: Path, registry: SimulatedRegistry) -> None:
    (chart / "charts" / "api-2.0.0.tgz").write_bytes(API)
    ran = verify(chart)
    assert ran.status == 0, ran.text
    assert f"allowed   api 2.0.0  oci://{registry.host}/acme  {registry.tags['acme/api', '2.0.0']}  charts/ holds the same archive" in ran.out
    assert "not in charts/" in ran.out
    assert f"recorded  {chart / LOCK}" in ran.out
    recorded = (chart / LOCK).read_text()
    assert str(sha256(API)) in recorded
    again = verify(chart, "-o", "json")
    assert (again.status, json.loads(again.out)["recorded"]) == (0, False)
    assert (chart / LOCK).read_text() == recorded


def test_another_chart_under_a_recorded_version_is_drift(chart: Path, registry: SimulatedRegistry) -> None:
    assert verify(chart).status == 0
    connections = connect()
    digest = publish(connections, registry.host, archive("api", "2.0.0", extra="description: another\n"), name="acme/api", tag="2.0.0")
    sign(connections, registry.host, digest, pair("ci"), name="acme/api")
    connections.close()
    ran = verify(chart)
    assert (ran.status, "dependency-drift" in ran.out, "digest: Chart.verified.lock records sha256:" in ran.out) == (1, True, True)
    assert verify(chart, "--update").status == 0
    assert verify(chart).status == 0


def test_what_is_not_recorded_is_drift_too(chart: Path, registry: SimulatedRegistry) -> None:
    write(chart, [("api", f"oci://{registry.host}/acme", "^2", "2.0.0")])
    assert verify(chart).status == 0
    write(chart, [("api", f"oci://{registry.host}/acme", "^2", "2.0.0"), ("cache", f"oci://{registry.host}/acme", "1.1.0", "1.1.0")])
    ran = verify(chart)
    assert (ran.status, "does not record it" in ran.out) == (1, True)


def test_an_archive_that_differs_from_its_repositorys_is_denied(chart: Path) -> None:
    (chart / "charts" / "api-2.0.0.tgz").write_bytes(archive("api", "2.0.0", {"templates/x.yaml": b"evil: 1\n"}))
    ran = verify(chart)
    assert (ran.status, "subchart-differs" in ran.out) == (1, True)
    assert not (chart / LOCK).exists(), "nothing is recorded where something does not hold"


def test_what_cannot_be_compared_is_denied(chart: Path) -> None:
    (chart / "charts" / "api").mkdir()
    (chart / "charts" / "api" / "Chart.yaml").write_text("apiVersion: v2\nname: api\nversion: 2.0.0\n")
    ran = verify(chart)
    assert (ran.status, "subchart-unpacked" in ran.out) == (1, True)


def test_an_archive_that_nobody_declares_is_denied(chart: Path) -> None:
    (chart / "charts" / "stranger-1.0.0.tgz").write_bytes(archive("stranger", "1.0.0"))
    ran = verify(chart)
    assert (ran.status, "chart-unverifiable" in ran.out, "stranger-1.0.0.tgz" in ran.out) == (1, True, True)


def test_a_signature_of_somebody_else_is_denied_with_the_reason(chart: Path) -> None:
    (chart.parent / "other.pub").write_bytes(public_pem(pair("other").public))
    ran = verify(chart, key="other.pub")
    assert (ran.status, ran.out.count("DENIED"), "signer-not-allowed" in ran.out) == (1, 2, True)


def test_a_registry_that_fails_is_inconclusive(chart: Path, registry: SimulatedRegistry) -> None:
    registry.switches.status = {"/acme/api/": 503}
    ran = verify(chart)
    assert (ran.status, "registry-error" in ran.out) == (3, True)
    assert not (chart / LOCK).exists()


@pytest.mark.parametrize("place", ["s3://charts", "file://../api", "@acme", "alias:acme", ""])
def test_what_no_registry_holds_is_told(place: str, chart: Path) -> None:
    write(chart, [("api", place, "2.0.0", "2.0.0")])
    ran = verify(chart)
    assert (ran.status, "chart-unverifiable" in ran.out) == (1, True), ran.text


def test_a_chart_that_is_a_dependency_twice_is_judged_twice(chart: Path, registry: SimulatedRegistry) -> None:
    """Under two aliases, at two versions: each is one of its own, in the lock, too."""
    connections = connect()
    sign(connections, registry.host, publish(connections, registry.host, archive("api", "3.0.0"), name="acme/api", tag="3.0.0"), pair("ci"), name="acme/api")
    connections.close()
    place = f"oci://{registry.host}/acme"
    write(chart, [("api", place, "^2", "2.0.0"), ("api", place, "^3", "3.0.0")])
    for _ in range(2):
        ran = verify(chart)
        assert (ran.status, "allowed   api 2.0.0" in ran.out, "allowed   api 3.0.0" in ran.out) == (0, True, True), ran.text


def test_a_lock_of_other_dependencies_is_refused(chart: Path, registry: SimulatedRegistry) -> None:
    registry.requests.clear()
    lock = json.loads((chart / "Chart.lock").read_text())
    lock["dependencies"][0]["version"] = "2.0.1"
    (chart / "Chart.lock").write_text(json.dumps(lock))
    ran = verify(chart)
    assert (ran.status, "chart-invalid" in ran.err, "helm dependency update" in ran.err) == (2, True, True)
    (chart / "Chart.lock").unlink()
    assert verify(chart).status == 2
    assert not registry.requests


@pytest.mark.parametrize(
    "text", ["[", "apiVersion: verifier/v1\nkind: Other\ndependencies: []\n", "apiVersion: verifier/v1\nkind: DependencyLock\ndependencies: [{name: api}]\n"]
)
def test_a_record_that_cannot_be_read_is_no_record(text: str, chart: Path) -> None:
    (chart / LOCK).write_text(text)
    ran = verify(chart)
    assert (ran.status, "file-unreadable" in ran.err) == (2, True)
    assert verify(chart, "--update").status == 0


def test_a_chart_without_dependencies(chart: Path) -> None:
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.0.0\n")
    (chart / "Chart.lock").unlink()
    policy = chart.parent / "policy.yaml"
    policy.write_text(
        "apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {name: x}\ntrust: {ci: {key: {file: ci.pub}}}\nrules: [{name: a, charts: ['oci://a.test/*'], require: {signed: {by: ci}}}]\n"
    )
    ran = run("dependencies", "verify", str(chart), "--policy", str(policy))
    assert (ran.status, ran.out) == (0, "no dependencies\n")
    assert run("dependencies", "verify", str(chart / "charts"), "--policy", str(policy)).status == 2


def test_a_chart_repository_is_looked_up_too(chart: Path, registry: SimulatedRegistry) -> None:
    """Beside a registry's: judged by the policy, compared with what lies here, recorded by its archive's digest."""
    with chart_repository() as (repository, host):
        name = repository.add(API, below="/stable", bundle=sign_digest(sha256(API), pair("ci"), name="api-2.0.0.tgz"))
        repository.files["/stable/index.yaml"] = index_of([entry(API, name)])
        place = f"http://{host}/stable"
        write(chart, [("api", place, "^2", "2.0.0"), ("cache", f"oci://{registry.host}/acme", "1.1.0", "1.1.0")])
        (chart / "charts" / "api-2.0.0.tgz").write_bytes(API)
        ran = verify(chart)
        assert (ran.status, f"allowed   api 2.0.0  {place}  {sha256(API)}  charts/ holds the same archive" in ran.out) == (0, True), ran.text
        assert verify(chart).status == 0
        other = archive("api", "2.0.0", extra="description: another\n")
        repository.add(other, below="/stable", bundle=sign_digest(sha256(other), pair("ci"), name="api-2.0.0.tgz"))
        ran = verify(chart)
        assert (ran.status, "subchart-differs" in ran.out) == (1, True), "what lies here is another"
        (chart / "charts" / "api-2.0.0.tgz").write_bytes(other)
        ran = verify(chart)
        assert (ran.status, "dependency-drift" in ran.out) == (1, True), "what was recorded is another"
        repository.files.pop("/stable/api-2.0.0.tgz.sigstore.json")
        assert "unsigned" in verify(chart).out
        repository.files.pop("/stable/index.yaml")
        ran = verify(chart)
        assert (ran.status, "not-found" in ran.out) == (3, True)
