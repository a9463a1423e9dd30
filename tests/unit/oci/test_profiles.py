"""Every registry that users have, as `simulators.registry.profiles` draws it: what is pushed, signed, verified, inspected and copied there, as a user does it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.registry.profiles import PROFILES, Stage, standing
from tests.support.charts import archive
from tests.support.cli import Ran, run
from tests.support.clouds import no_identity
from tests.support.signers import pair, private_pem
from verifier.cli.options import Network
from verifier.model.reference import parse_oci
from verifier.net.deadline import Deadline
from verifier.signers.public import public_pem

ATTACHING = sorted(name for name, profile in PROFILES.items() if profile.can_attach)
IMMUTABLE_WITHOUT_API = sorted(set(PROFILES) - set(ATTACHING))


CLOUDS = ("amazonaws.com", "pkg.dev", "gcr.io", "azurecr.io")


@pytest.fixture(params=sorted(PROFILES))
def stage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with standing(PROFILES[request.param], tmp_path) as stage:
        no_identity(monkeypatch)
        for name, text in stage.net.environment.items():
            monkeypatch.setenv(name, text)
        yield stage


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("keys")
    for name in ("ci", "second", "stranger"):
        key = pair(name)
        (work / f"{name}.key").write_bytes(private_pem(key))
        (work / f"{name}.pub").write_bytes(public_pem(key.public))
    return work


def push(stage: Stage, work: Path, version: str = "1.4.2") -> str:
    chart = work / f"web-{version}.tgz"
    chart.write_bytes(archive(version=version))
    ran = run("push", str(chart), stage.base, *stage.options)
    assert ran.status == 0, ran.text
    return f"{stage.base}/web:{version}"


def pinned(stage: Stage, tag: str = "1.4.2") -> str:
    return f"{stage.base}/web@{stage.registry.tags[f'{stage.profile.path}/web', tag]}"


def sign(stage: Stage, keys: Path, name: str, tag: str = "1.4.2") -> Ran:
    return run("sign", pinned(stage, tag), "--key", str(keys / f"{name}.key"), *stage.options)


def verify(stage: Stage, keys: Path, reference: str, *names: str) -> dict[str, Any]:
    ran = run("verify", reference, *(part for name in names for part in ("--key", str(keys / f"{name}.pub"))), "-o", "json", *stage.options)
    found: dict[str, Any] = json.loads(ran.out)
    assert ran.status == {"allowed": 0, "denied": 1, "inconclusive": 3}[found["outcome"]]
    return found


def evidence_kinds(decision: dict[str, Any]) -> set[str]:
    return {claim["evidence"]["kind"] for claim in decision["claims"]}


def has_api(stage: Stage) -> bool:
    switches = stage.registry.switches
    return switches.referrers and not switches.referrers_html and not switches.referrers_login


@pytest.mark.parametrize("stage", ATTACHING, indirect=True)
def test_push_sign_verify_inspect_and_copy(stage: Stage, keys: Path, tmp_path: Path) -> None:
    reference = push(stage, tmp_path)
    unsigned = verify(stage, keys, reference, "ci")
    assert unsigned["outcome"] == "denied"
    assert "unsigned" in json.dumps(unsigned)
    for name in ("ci", "second"):
        ran = sign(stage, keys, name)
        assert ran.status == 0, ran.text
    for name in ("ci", "second"):
        signed = verify(stage, keys, reference, name)
        assert signed["outcome"] == "allowed"
        assert evidence_kinds(signed) == {"referrer" if has_api(stage) else "fallback-tag"}
        assert not signed["gaps"]
    strange = verify(stage, keys, reference, "stranger")
    assert strange["outcome"] == "denied"
    assert "signer-not-allowed" in json.dumps(strange)
    inspected = run("inspect", reference, "--key", str(keys / "ci.pub"), *stage.options)
    assert (inspected.status, inspected.out.count("  verified  ")) == (0, 1)
    assert not has_api(stage) or "fallback" not in inspected.out
    listed = run("registry", "list", f"{stage.base}/web", "--key", str(keys / "ci.pub"), *stage.options)
    assert (listed.status, "verified" in listed.out) == (0, True), listed.text
    goal = (
        f"oci://{stage.profile.host}/{stage.profile.path.removesuffix('charts')}stable/web"
        if stage.profile.host.endswith("amazonaws.com")
        else f"{stage.base}/stable/web"
    )
    policy = tmp_path / "policy.yaml"
    policy.write_text(copy_policy(stage, keys, goal))
    copied = run("copy", reference, goal, "--policy", str(policy), *stage.options)
    assert copied.status == 0, copied.text
    again = run("verify", f"{goal}:1.4.2", "--policy", str(policy), *stage.options)
    assert again.status == 0, again.text
    if stage.store is not None:
        assert stage.store.asked


def copy_policy(stage: Stage, keys: Path, goal: str) -> str:
    return f"""\
apiVersion: verifier/v1
kind: ChartPolicy
metadata: {{name: copies}}
trust: {{ci: {{key: {{file: {keys / "ci.pub"}}}}}, second: {{key: {{file: {keys / "second.pub"}}}}}}}
rules:
  - name: ours
    charts: ["{stage.base}/web"]
    require: {{all: [signed: {{by: ci}}, signed: {{by: second}}]}}
  - name: copies
    charts: ["{goal}"]
    origins: ["{stage.base}/web"]
    require: {{all: [signed: {{by: ci}}, signed: {{by: second}}]}}
"""


@pytest.mark.parametrize("stage", IMMUTABLE_WITHOUT_API, indirect=True)
def test_what_has_no_place_is_said_not_to_be_attached(stage: Stage, keys: Path, tmp_path: Path) -> None:
    """The first signature makes the fallback tag; a registry that keeps tags as they are takes no second one."""
    reference = push(stage, tmp_path)
    assert sign(stage, keys, "ci").status == 0
    second = sign(stage, keys, "second")
    assert second.status == 3
    assert "tag-immutable" in second.err
    assert verify(stage, keys, reference, "ci")["outcome"] == "allowed"
    assert verify(stage, keys, reference, "second")["outcome"] == "denied"


@pytest.mark.parametrize("stage", ["distribution-2.8", "ecr", "harbor-2.10"], indirect=True)
def test_a_version_is_never_replaced(stage: Stage, tmp_path: Path) -> None:
    push(stage, tmp_path)
    chart = tmp_path / "web-1.4.2.tgz"
    chart.write_bytes(archive(extra="description: another\n"))
    ran = run("push", str(chart), stage.base, *stage.options)
    assert ran.status == 2
    assert "tag-exists" in ran.err


def test_old_versions_go_where_anything_can_be_deleted(stage: Stage, tmp_path: Path) -> None:
    push(stage, tmp_path, "1.4.1")
    push(stage, tmp_path, "1.4.2")
    ran = run("registry", "prune", f"{stage.base}/web", "--keep-last", "1", "--yes", *stage.options)
    left = {tag for name, tag in stage.registry.tags if name.endswith("/web")}
    if stage.registry.switches.delete:
        assert (ran.status, left) == (0, {"1.4.2"}), ran.text
    else:
        assert (ran.status, "unsupported" in ran.err, left) == (3, True, {"1.4.1", "1.4.2"})


def test_without_credentials_the_reason_is_said(stage: Stage, keys: Path, tmp_path: Path) -> None:
    """Public packages are read by everybody; whoever pushes, and whoever reads private ones, is told to log in."""
    reference = push(stage, tmp_path)
    empty = tmp_path / "empty.json"
    empty.write_text("{}")
    options = ("--registry-config", str(empty), "--ca-file", str(stage.net.ca_file))
    read = run("verify", reference, "--key", str(keys / "ci.pub"), *options)
    assert read.status == (1 if stage.registry.switches.anonymous_pull else 3)
    refused = "login-failed" if stage.profile.host.endswith(CLOUDS) else "unauthorized"
    assert ("unsigned" if stage.registry.switches.anonymous_pull else refused) in read.out
    written = run("push", str(tmp_path / "web-1.4.2.tgz"), f"{stage.base}", *options)
    assert written.status in (0, 3)  # 0: it is there already, which whoever may read can see
    assert written.status == 0 or refused in written.err


def test_all_tags_are_listed(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    push(stage, tmp_path)
    name = f"{stage.profile.path}/web"
    digest = stage.registry.tags[name, "1.4.2"]
    expected = {"1.4.2", *(f"0.{number}.0" for number in range(120))}
    stage.registry.tags.update({(name, tag): digest for tag in expected})
    with network(stage).connected() as connections:
        target = connections.target(parse_oci(f"{stage.base}/web"), Deadline.after(20))
        assert set(target.tags()) == expected


def network(stage: Stage) -> Network:
    config, ca = str(stage.config), str(stage.net.ca_file)
    return Network(plain_http=False, ca_file=ca, cert_file=None, key_file=None, insecure_skip_tls_verify=False, registry_config=config, debug=False)
