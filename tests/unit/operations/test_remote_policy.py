"""Policies from a registry (semantics 27): signed by whom the trust file names, never an older one, and not for ever when nobody answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.simulators.registry import simulated
from tests.support.charts import archive
from tests.support.cli import Ran, run
from tests.support.signers import pair
from tests.support.world import connect, publish, sign
from verifier.model import codes
from verifier.model.errors import FailedError, InconclusiveError, MisuseError, VerifierError
from verifier.model.reference import parse_oci
from verifier.net.deadline import Deadline
from verifier.oci.manifest import MANIFEST
from verifier.operations.policies import LoadedPolicy
from verifier.operations.remote_policy import ARTIFACT, RemotePolicy, load_remote
from verifier.server.snapshot import Snapshots
from verifier.signers.key import private_pem
from verifier.signers.public import public_pem

NOW = datetime.now(UTC).replace(microsecond=0)
POLICY = """apiVersion: verifier/v1
kind: ChartPolicy
metadata: {{name: p, serial: {serial}, expires: "{expires}"}}
trust:
  ci: {{key: {{file: ../keys/ci.pub}}}}
rules:
  - name: {rule}
    charts: ["oci://{host}/acme/*"]
    require: {{signed: {{by: ci}}}}
"""
TRUST = "apiVersion: verifier/v1\nkind: PolicyTrust\ntrust: {boss: {key: {file: boss.pub}}}\nby: boss\nmaxStale: 24h\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: str) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERIFIER_PASSWORD", "")
    monkeypatch.setenv("VERIFIER_POLICY_TRUST", str(tmp_path / "bootstrap.yaml"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in ("keys", "policies"):
        Path(name).mkdir()
    Path("keys/ci.pub").write_bytes(public_pem(pair().public))
    Path("boss.pub").write_bytes(public_pem(pair("boss").public))
    for name in ("boss", "stranger"):
        Path(f"{name}.key").write_bytes(private_pem(pair(name), b""))
    Path("bootstrap.yaml").write_text(TRUST)
    write(registry)
    return registry


def write(host: str, serial: int = 1, *, rule: str = "ours", days: int = 30, head: str | None = None) -> None:
    text = POLICY.format(host=host, serial=serial, rule=rule, expires=(NOW + timedelta(days=days)).isoformat())
    Path("policies/p.yaml").write_text(text if head is None else text.replace(text.splitlines()[2], head))


def push(host: str, key: str = "boss.key", tag: str = "prod") -> Ran:
    return run("policy", "push", "policies/p.yaml", f"oci://{host}/acme/policy:{tag}", "--key", key)


def remote(host: str, tag: str = "prod") -> RemotePolicy:
    return RemotePolicy(reference=parse_oci(f"oci://{host}/acme/policy:{tag}"), trust=Path("bootstrap.yaml"), state=Path("data/verifier/policies"))


def loaded(host: str, now: datetime = NOW) -> LoadedPolicy:
    return load_remote(remote(host), connect(), now)


def refused(host: str, part: str, now: datetime = NOW) -> None:
    with pytest.raises(FailedError) as caught:
        loaded(host, now)
    assert caught.value.code is codes.POLICY_REFUSED
    assert part in caught.value.reason, caught.value.reason


def test_a_policy_with_its_keys(here: str) -> None:
    ran = push(here)
    assert ran.status == 0, ran.text
    connections = connect()
    sign(connections, here, publish(connections, here, archive()), pair())
    Path("policies/p.yaml").unlink()
    Path("keys/ci.pub").unlink()
    decided = run("verify", f"oci://{here}/acme/web:1.4.2", "--policy", f"oci://{here}/acme/policy:prod")
    assert decided.status == 0, decided.text
    assert "policy  p, rule 'ours'" in decided.out
    assert not any("fetched anew" in line for line in decided.out.splitlines())


def test_from_the_environment(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    push(here)
    monkeypatch.setenv("VERIFIER_POLICY", f"oci://{here}/acme/policy:prod")
    assert run("verify", f"oci://{here}/acme/none:1.4.2").status == 3


def test_by_somebody_else(here: str) -> None:
    push(here, "stranger.key")
    refused(here, "not signed as bootstrap.yaml demands")
    assert run("verify", f"oci://{here}/acme/web:1.4.2", "--policy", f"oci://{here}/acme/policy:prod").status == 1


def test_by_nobody(here: str) -> None:
    connections = connect()
    publish(connections, here, archive("policy", "1.0.0"), name="acme/policy", tag="prod")
    refused(here, "it is no policy")


def test_a_signature_over_another_policy_is_none(here: str) -> None:
    push(here)
    write(here, 2)
    push(here, "stranger.key")
    refused(here, "not signed")


def test_a_signature_that_could_not_be_read_leaves_it_open(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from verifier.model.evidence import Gap
    from verifier.operations import remote_policy
    from verifier.operations.gather import Gathered

    push(here)
    gap = Gap(kind="referrers", where="there", code=codes.REGISTRY_ERROR, reason="503")
    monkeypatch.setattr(remote_policy, "gather", lambda *_: Gathered(gaps=(gap,)))
    with pytest.raises(InconclusiveError) as caught:
        loaded(here)
    assert caught.value.code is codes.REGISTRY_ERROR


def test_a_lower_serial(here: str) -> None:
    write(here, 2)
    push(here)
    assert loaded(here).policy.serial == 2
    write(here, 1)
    push(here)
    refused(here, "its serial is 1, and 2 was seen already")
    write(here, 3)
    push(here)
    assert loaded(here).policy.serial == 3


def test_another_policy_under_the_same_serial(here: str) -> None:
    push(here)
    loaded(here)
    write(here, 1, rule="other")
    push(here)
    refused(here, "another policy was seen under the serial 1")


def test_a_state_that_cannot_be_read_is_not_forgotten(here: str) -> None:
    push(here)
    loaded(here)
    (state,) = Path("data/verifier/policies").glob("*/state.json")
    for text in ("", "{}", "[]", '{"digest": "x", "serial": -1, "at": "2026-01-01T00:00:00Z"}'):
        state.write_text(text)
        with pytest.raises(MisuseError) as caught:
            loaded(here)
        assert caught.value.code is codes.CONFIG_INVALID


def test_when_nobody_answers_the_kept_one_goes_on_for_a_while(here: str) -> None:
    push(here)
    first = loaded(here)
    assert first.policy.stale_at == NOW + timedelta(hours=24)
    _silence(here)
    kept = loaded(here, NOW + timedelta(hours=23))
    assert (kept.policy.digest, kept.policy.stale_at) == (first.policy.digest, NOW + timedelta(hours=24))
    with pytest.raises(InconclusiveError) as caught:
        loaded(here, NOW + timedelta(hours=24))
    assert caught.value.code is codes.POLICY_STALE


def test_without_max_stale_nothing_is_kept(here: str) -> None:
    push(here)
    Path("bootstrap.yaml").write_text(TRUST.replace("maxStale: 24h\n", ""))
    loaded(here)
    _silence(here)
    with pytest.raises(InconclusiveError) as caught:
        loaded(here, NOW + timedelta(minutes=1))
    assert caught.value.code is codes.POLICY_STALE


def test_nothing_was_ever_seen(here: str) -> None:
    with pytest.raises(InconclusiveError) as caught:
        loaded(here)
    assert caught.value.code is codes.NOT_FOUND


def _silence(host: str) -> None:
    """The tag is gone, as if nobody answered."""
    target = connect().target(parse_oci(f"oci://{host}/acme/policy"), Deadline.after(5))
    target.delete_manifest("prod")


def test_after_its_end_it_decides_nothing(here: str) -> None:
    write(here, days=-1)
    push(here)
    ran = run("verify", f"oci://{here}/acme/web:1.4.2", "--policy", f"oci://{here}/acme/policy:prod", "-o", "json")
    assert (ran.status, json.loads(ran.out)["code"]) == (3, "policy-expired")


def test_a_decision_ends_when_the_policy_must_be_fetched_anew(here: str) -> None:
    from verifier.model.context import Context, Facts, Request
    from verifier.policy.engine import decide

    push(here)
    held = loaded(here)
    facts = Facts(request=Request(reference=parse_oci(f"oci://{here}/acme/web:1.4.2"), context=Context()), artifact=None)
    late = decide(held.policy, facts, NOW + timedelta(hours=24))
    assert (late.outcome.value, late.check.code) == ("inconclusive", codes.POLICY_STALE)
    assert decide(held.policy, facts, NOW).valid_until == NOW + timedelta(hours=24)


def test_a_service_fetches_anew_and_keeps_the_last_good_one(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    push(here)
    snapshots = Snapshots(lambda: loaded(here), every=0.0)
    write(here, 2, rule="second")
    push(here)
    assert snapshots.refresh()
    assert snapshots.current.loaded.policy.rules[0].name == "second"
    write(here, 1)
    push(here)
    assert not snapshots.refresh()
    assert snapshots.current.loaded.policy.rules[0].name == "second"
    assert "was seen already" in str(snapshots.problem)


# What is pushed


@pytest.mark.parametrize("head", ["metadata: {name: p}", "metadata: {name: p, serial: 1}", 'metadata: {name: p, expires: "2030-01-01T00:00:00Z"}'])
def test_a_policy_without_serial_or_end_is_not_pushed(here: str, head: str) -> None:
    write(here, head=head)
    ran = push(here)
    assert (ran.status, "metadata.serial and metadata.expires" in ran.err) == (2, True)


def test_it_is_pushed_under_a_tag(here: str) -> None:
    assert run("policy", "push", "policies/p.yaml", f"oci://{here}/acme/policy", "--key", "boss.key").status == 2


@pytest.mark.parametrize("title", ["../evil", "/etc/passwd", "", "a/../../b", "a\\b", "a//b", "./a", "a\x00b"])
def test_files_that_leave_their_directory(here: str, title: str) -> None:
    _forged(here, {"org.opencontainers.image.title": title}, entry="p.yaml")
    refused(here, "it holds a file at")


def test_an_entry_that_leaves_it(here: str) -> None:
    _forged(here, {"org.opencontainers.image.title": "p.yaml"}, entry="../p.yaml")
    refused(here, "it holds a file at")


def test_one_without_a_serial_is_refused(here: str) -> None:
    write(here, head="metadata: {name: p}")
    _forged(
        here,
        {"org.opencontainers.image.title": "p.yaml"},
        entry="p.yaml",
        data=Path("policies/p.yaml").read_bytes().replace(b"file: ../keys/ci.pub", b"pem: " + json.dumps(Path("keys/ci.pub").read_text()).encode()),
    )
    refused(here, "carries no metadata.serial")


def _forged(host: str, annotations: dict[str, str], *, entry: str, data: bytes = b"x") -> None:
    """Signed by the right key, and malformed all the same."""
    connections = connect()
    target = connections.target(parse_oci(f"oci://{host}/acme/policy"), Deadline.after(5))
    target.push_blob(b"{}")
    layer = {"mediaType": "x", "digest": str(target.push_blob(data)), "size": len(data), "annotations": annotations}
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "size": 2}
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": ARTIFACT,
        "config": config,
        "layers": [layer],
        "annotations": {"verifier.policy.entry": entry},
    }
    digest = target.push_manifest(json.dumps(value).encode(), MANIFEST, "prod")
    sign(connections, host, digest, pair("boss"), name="acme/policy")


# The trust file


@pytest.mark.parametrize(
    "text, reason",
    [
        (TRUST.replace("PolicyTrust", "ChartPolicy"), "must be one of: PolicyTrust"),
        (TRUST.replace("by: boss", "by: nobody"), "not a name under trust"),
        (TRUST.replace("by: boss\n", ""), "needs the field 'by'"),
        (TRUST.replace("24h", "soon"), "must be a duration"),
        (TRUST + "rules: []\n", "unknown field 'rules'"),
        (TRUST.replace("{key: {file: boss.pub}}", "{openpgp: {keyring: x, anyKey: true}}"), "policies are signed with keys or keyless"),
    ],
)
def test_a_trust_file_that_makes_no_sense(here: str, text: str, reason: str) -> None:
    push(here)
    Path("bootstrap.yaml").write_text(text)
    with pytest.raises(MisuseError) as caught:
        loaded(here)
    assert reason in caught.value.reason


def test_who_may_sign_is_configured_and_never_in_the_policy(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    push(here)
    monkeypatch.delenv("VERIFIER_POLICY_TRUST")
    ran = run("verify", f"oci://{here}/acme/web:1.4.2", "--policy", f"oci://{here}/acme/policy:prod")
    assert (ran.status, "VERIFIER_POLICY_TRUST" in ran.err, "[config-invalid]" in ran.err) == (2, True, True)


def test_nothing_else_stands_for_it(here: str) -> None:
    """A registry without the tag, then one that answers nonsense: an error, never another policy."""
    with simulated() as elsewhere, pytest.raises(VerifierError):
        load_remote(remote(elsewhere.host), connect(), NOW)
