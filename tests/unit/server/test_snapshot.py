"""Policy, trust and roots change as one snapshot, without a restart; what does not load changes nothing (semantics 27)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.simulators import sigstore as sim
from tests.support.signers import pair
from tests.support.world import NOW
from verifier.operations.policies import LoadedPolicy, load
from verifier.operations.roots import Root, snapshot_path, write_snapshot
from verifier.server import snapshot
from verifier.server.build import ServerSettings, build_app
from verifier.server.snapshot import Snapshots
from verifier.signers.public import public_pem

POLICY = """\
apiVersion: verifier/v1
kind: ChartPolicy
metadata: {name: NAME}
trust:
  ci: {key: {file: ci.pub}}
  release: {keyless: {issuer: https://issuer.test, identity: a@b.c}}
rules:
  - {name: all, charts: ["oci://reg.example/acme/*"], require: {signed: {by: [ci, release]}}}
"""


def write(directory: Path, name: str = "one") -> Path:
    path = directory / "policy.yaml"
    path.write_text(POLICY.replace("NAME", name))
    return path


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "ci.pub").write_bytes(public_pem(pair().public))
    write(tmp_path)
    return tmp_path


def held(files: Path) -> Snapshots:
    return Snapshots(lambda: load(files / "policy.yaml", files / "roots"))


def test_nothing_changes_while_no_file_does(files: Path) -> None:
    snapshots = held(files)
    before = snapshots.current
    assert not snapshots.refresh()
    assert snapshots.current.loaded is before.loaded


def test_a_changed_policy_key_or_root_is_a_new_snapshot(files: Path) -> None:
    snapshots = held(files)
    digests = [snapshots.current.loaded.trust_digest]
    write(files, "two")
    assert snapshots.refresh()
    assert snapshots.current.loaded.policy.name == "two"
    (files / "ci.pub").write_bytes(public_pem(pair("other").public))
    assert snapshots.refresh()
    digests.append(snapshots.current.loaded.trust_digest)
    root = Root(name="public-good", data=json.dumps(sim.instance().trusted_root()).encode(), source="test", as_of=NOW)
    write_snapshot(snapshot_path(files / "roots", "public-good"), root)
    assert snapshots.refresh()
    digests.append(snapshots.current.loaded.trust_digest)
    assert len(set(digests)) == 3


@pytest.mark.parametrize("how", ["a broken policy", "a broken key", "a missing key"])
def test_the_last_good_one_is_kept_and_the_problem_told(files: Path, how: str) -> None:
    snapshots = held(files)
    before = snapshots.current
    if how == "a broken policy":
        (files / "policy.yaml").write_text("rules: [")
    elif how == "a broken key":
        (files / "ci.pub").write_text("garbage")
    else:
        (files / "ci.pub").unlink()
    assert not snapshots.refresh()
    assert snapshots.current.loaded is before.loaded
    assert snapshots.problem is not None
    assert not snapshots.refresh()
    (files / "ci.pub").write_bytes(public_pem(pair().public))
    write(files, "mended")
    assert snapshots.refresh()
    assert snapshots.current.loaded.policy.name == "mended"
    assert held(files).problem is None


def test_a_file_that_changes_while_it_is_read_is_read_again(files: Path) -> None:
    """The snapshot before the change must not be taken for the one after it."""

    def slow() -> LoadedPolicy:
        loaded = load(files / "policy.yaml", files / "roots")
        if loaded.policy.name == "two":
            write(files, "three and longer")  # between the reading and the look afterwards
        return loaded

    snapshots = Snapshots(slow)
    write(files, "two")
    assert snapshots.refresh()
    assert snapshots.current.loaded.policy.name == "two"
    assert snapshots.refresh()
    assert snapshots.current.loaded.policy.name == "three and longer"


def test_a_directory_is_followed_new_files_too(files: Path) -> None:
    snapshots = Snapshots(lambda: load(files, files / "roots"))
    more = '- {name: more, charts: ["oci://reg.example/other/*"], require: {signed: {by: ci}}}\n'
    head = "apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {name: NAME}\n"
    (files / "more.yaml").write_text(f"{head}rules:\n  {more}")
    assert not snapshots.refresh()  # its name is another policy's
    assert "calls it" in str(snapshots.problem)
    (files / "more.yaml").write_text(f"{head.replace('NAME', 'one')}rules:\n  {more}")
    assert snapshots.refresh()
    assert len(snapshots.current.loaded.policy.rules) == 2
    (files / "more.yaml").unlink()
    assert snapshots.refresh()
    assert len(snapshots.current.loaded.policy.rules) == 1


def test_every_decision_says_that_an_older_policy_made_it(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "PERIOD", 0.02)
    monkeypatch.setenv("VERIFIER_ROOTS", str(files / "roots"))
    question = {"reference": "oci://reg.example/elsewhere/web:1.0.0"}  # no rule speaks of it, so nobody is asked
    with TestClient(build_app(ServerSettings(policy=files / "policy.yaml"))) as client:

        def warned() -> bool:
            return any("the last good one decided" in warning for warning in client.post("/v1/verify", json=question).json()["warnings"])

        assert not warned()
        (files / "policy.yaml").write_text("rules: [")
        eventually(warned)
        write(files, "mended")
        eventually(lambda: not warned())


def test_the_server_follows_and_says_so(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "PERIOD", 0.02)
    monkeypatch.setenv("VERIFIER_ROOTS", str(files / "roots"))
    with TestClient(build_app(ServerSettings(policy=files / "policy.yaml"))) as client:
        assert client.get("/readyz").json()["policy"]["name"] == "one"
        assert client.get("/readyz").json()["trust"]["roots"][0]["name"] == "public-good"
        assert 'verifier_trusted_root_timestamp_seconds{root="public-good"}' in client.get("/metrics").text
        write(files, "two")
        eventually(lambda: client.get("/readyz").json()["policy"]["name"] == "two")
        (files / "policy.yaml").write_text("rules: [")
        eventually(lambda: client.get("/readyz").json()["status"] != "ready")
        assert client.get("/readyz").json()["policy"]["name"] == "two"
        eventually(lambda: "verifier_policy_stale 1.0" in client.get("/metrics").text)
        write(files, "three")
        os.utime(files / "policy.yaml")
        eventually(lambda: client.get("/readyz").json().get("problem") is None)


def eventually(holds) -> None:  # type: ignore[no-untyped-def]
    import time

    for _ in range(200):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come to pass")
