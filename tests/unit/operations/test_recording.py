"""Recordings: the whole decision again from what was kept, under other policies and at other times; a spoilt one is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.simulators.registry import simulated
from tests.support.charts import archive
from tests.support.cli import Ran, run
from tests.support.signers import pair, pgp
from tests.support.world import connect, publish, sign
from verifier.model.errors import MisuseError
from verifier.operations.recording import read_recording
from verifier.operations.replay import replay
from verifier.signers.public import public_pem

POLICY = """apiVersion: verifier/v1
kind: ChartPolicy
metadata: {{name: p}}
trust:
  ci: {{key: {{file: ci.pub}}}}
  team: {{openpgp: {{keyring: team.asc, anyKey: true}}}}
rules:
  - name: ours
    charts: ["oci://{host}/acme/*", "file:*.tgz"]
    require: {require}
{rule}
"""
SIGNED = "{signed: {by: ci}}"


def write_policy(host: str, require: str = SIGNED, rule: str = "", name: str = "p.yaml") -> None:
    Path(name).write_text(POLICY.format(host=host, require=require, rule=rule))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: str) -> str:
    monkeypatch.chdir(tmp_path)
    Path("ci.pub").write_bytes(public_pem(pair().public))
    Path("team.asc").write_bytes(pgp().public)
    write_policy(registry)
    return registry


def published(host: str, data: bytes | None = None, *, signed: bool = True) -> str:
    connections = connect()
    digest = publish(connections, host, data or archive())
    if signed:
        sign(connections, host, digest, pair())
    return f"oci://{host}/acme/web:1.4.2"


def record(reference: str, *more: str, directory: str = "kept") -> Ran:
    return run("record", reference, "--policy", "p.yaml", "-d", directory, *more)


def replayed(*arguments: str, directory: str = "kept") -> Ran:
    return run("policy", "replay", directory, *arguments)


def test_the_same_answer_without_the_registry(here: str) -> None:
    ran = record(published(here))
    assert (ran.status, ran.out.splitlines()[-1].startswith("  kept    kept sha256:")) == (0, True), ran.text
    for name in ("p.yaml", "ci.pub", "team.asc"):
        Path(name).unlink()
    ran = replayed()
    assert (ran.status, "allowed, unchanged" in ran.out) == (0, True), ran.text


def test_a_denial_is_kept_as_well(here: str) -> None:
    ran = record(published(here, signed=False))
    assert (ran.status, "[unsigned]" in ran.out) == (1, True)
    assert replayed().status == 0
    assert "denied, unchanged" in replayed().out


def test_a_chart_that_could_not_be_had(here: str) -> None:
    with simulated() as elsewhere:
        write_policy(elsewhere.host)
        assert record(f"oci://{elsewhere.host}/acme/web:1.4.2").status == 3
    assert "inconclusive, unchanged" in replayed().out


def test_what_the_policy_does_not_speak_of_is_not_looked_at(here: str) -> None:
    assert record("oci://elsewhere.example.test/a:1.0.0").status == 1
    assert "denied, unchanged" in replayed().out


def test_another_policy(here: str) -> None:
    record(published(here))
    write_policy(here, "{signed: {by: team}}", name="other.yaml")
    ran = replayed("--policy", "other.yaml")
    assert ran.status == 1
    assert ran.out.splitlines()[:3] == [
        "kept: denied: expected a signature by team; what is attached (1) proves none",
        "  outcome: allowed -> denied",
        "  code: none -> signer-not-allowed",
    ]
    assert "  - require: passed" in ran.out
    assert "  + require: failed [signer-not-allowed]" in ran.out


def test_evidence_that_the_recorded_policy_had_no_use_for(here: str) -> None:
    """Everything is kept, so that a migration can be tried on yesterday's charts."""
    write_policy(here, "{signed: {by: team}}")
    assert record(published(here)).status == 1
    write_policy(here, name="other.yaml")
    assert "denied -> allowed" in replayed("--policy", "other.yaml").out


def test_another_time(here: str) -> None:
    write_policy(here, "{any: [{signed: {by: ci}, until: 2099-01-01T00:00:00Z}, {signed: {by: team}}]}")
    record(published(here))
    assert replayed("--at", "now").status == 0
    ran = replayed("--at", "2099-06-01T00:00:00Z")
    assert (ran.status, "outcome: allowed -> denied" in ran.out) == (1, True)


@pytest.mark.parametrize("at, reason", [("noon", "is not a time"), ("2027-01-01T00:00:00", "names no time zone")])
def test_times_that_are_none(here: str, at: str, reason: str) -> None:
    record(published(here))
    ran = replayed("--at", at)
    assert (ran.status, reason in ran.err) == (2, True)


def test_a_file_with_what_it_stands_for(here: str) -> None:
    Path("web-1.4.2.tgz").write_bytes(archive())
    assert run("sign", "web-1.4.2.tgz", "--openpgp-key", _secret_key()).status == 0
    write_policy(here, "{signed: {by: team}}")
    ran = record("web-1.4.2.tgz", "--as", f"oci://{here}/acme/web:1.4.2", "--environment", "dev")
    assert ran.status == 0, ran.text
    recording = read_recording(Path("kept"))
    assert (str(recording.request.reference), recording.request.context.environment) == ("file:web-1.4.2.tgz", "dev")
    assert "allowed, unchanged" in replayed().out


def _secret_key() -> str:
    Path("secret.asc").write_bytes(pgp().secret)
    return "secret.asc"


def test_trust_flags_are_no_document(here: str) -> None:
    ran = run("record", published(here), "--key", "ci.pub", "-d", "kept")
    assert ran.status == 0, ran.text
    ran = replayed()
    assert (ran.status, "[no-policy]" in ran.err) == (2, True)
    assert replayed("--policy", "p.yaml").status in (0, 1)


def test_parts_are_kept(here: str) -> None:
    connections = connect()
    db = archive("db", "1.0.0")
    sign(connections, here, publish(connections, here, db, name="acme/db", tag="1.0.0"), pair(), name="acme/db")
    image = f"{here}/acme/db:1.0.0"
    extra = "dependencies: " + json.dumps([{"name": "db", "version": "1.0.0", "repository": f"oci://{here}/acme"}]) + "\n"
    data = archive(files={"charts/db-1.0.0.tgz": db, "values.yaml": f"image: {image}\n".encode()}, extra=extra)
    write_policy(
        here,
        rule="    subcharts: {packed: judged}\n    images: {from: values, repositories: ['oci://HOST/**'], require: {signed: {by: ci}}}".replace("HOST", here),
    )
    assert record(published(here, data)).status == 0
    assert "allowed, unchanged" in replayed().out


def test_parts_that_were_not_recorded_are_unknown(here: str) -> None:
    """A policy that asks for more than was looked at gets no answer, never an allow."""
    extra = "dependencies: " + json.dumps([{"name": "db", "version": "1.0.0", "repository": f"oci://{here}/acme"}]) + "\n"
    record(published(here, archive(files={"charts/db-1.0.0.tgz": archive("db", "1.0.0")}, extra=extra)))
    for rule, code in (("    subcharts: {packed: judged, partial: accept}", "evidence-limit"), ("    images: {from: values, pinned: true}", "images-unknown")):
        write_policy(here, rule=rule, name="other.yaml")
        ran = replayed("--policy", "other.yaml")
        assert f"code: none -> {code}" in ran.out, ran.out
        assert "outcome: allowed -> inconclusive" in ran.out


def test_a_case_with_a_recording(here: str) -> None:
    record(published(here))
    Path("p.test.yaml").write_text(
        "cases:\n  - {name: real, recording: kept, expect: allowed}\n  - {name: later, recording: kept, at: '2099-01-01T00:00:00Z', expect: allowed}\n"
    )
    assert run("policy", "test", "p.yaml").status == 0
    (Path("kept") / "blobs" / "sha256" / _largest()).write_bytes(b"other")
    ran = run("policy", "test", "p.yaml")
    assert (ran.status, "case 'real'" in ran.err) == (2, True)


def _largest() -> str:
    return max((Path("kept") / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size).name


def test_a_recording_is_never_mixed_with_anything(here: str) -> None:
    reference = published(here)
    assert record(reference).status == 0
    ran = record(reference)
    assert (ran.status, "not empty" in ran.err, "[write-failed]" in ran.err) == (2, True, True)


def _edit(change: Callable[[dict[str, object]], object]) -> None:
    """Write the recording's document anew, with digests that hold."""
    from verifier.formats.json import dump_json
    from verifier.model.digest import parse_digest
    from verifier.oci.layout import ImageLayout

    layout = ImageLayout(Path("kept"))
    manifest = json.loads(layout.resolve("recording").data)
    document = json.loads(layout.blob_path(parse_digest(manifest["layers"][0]["digest"])).read_bytes())
    document = change(document) or document
    data = dump_json(document)
    manifest["layers"][0].update(digest=str(layout.push_blob(data)), size=len(data))
    layout.push_manifest(dump_json(manifest), "application/vnd.oci.image.manifest.v1+json", "recording")


def _in(value: object, *path: str) -> dict[str, object]:
    for key in path:
        value = value[key]  # type: ignore[index]
    return value  # type: ignore[return-value]


SPOILT: list[Callable[[dict[str, object]], object]] = [
    lambda document: document.update(kind="Decision"),
    lambda document: document.update(apiVersion="verifier/v9"),
    lambda document: document.pop("request"),
    lambda document: document.pop("examined"),
    lambda document: document.update(time="noon"),
    lambda document: document.update(examined=[]),
    lambda document: _in(document, "request").update(reference="nonsense"),
    lambda document: _in(document, "examined", "artifact").update(kind="thing"),
    lambda document: _in(document, "examined", "artifact", "reference").update(digest="sha256:" + "0" * 64),
    lambda document: _in(document, "examined").update(gaps=[{"code": "nonsense"}]),
    lambda document: _in(document, "examined").update(evidence=[{"location": {"kind": "nowhere"}}]),
    lambda document: _in(document, "policy").update(documents=[]),
    lambda document: _in(document, "policy").update(anchors=[{"name": "ci"}]),
]


@pytest.mark.parametrize("change", SPOILT)
def test_a_recording_that_makes_no_sense(here: str, change: Callable[[dict[str, object]], object]) -> None:
    record(published(here))
    _edit(change)
    ran = replayed()
    assert (ran.status, "[recording-invalid]" in ran.err) == (2, True), ran.text


def test_what_is_no_recording(here: str, tmp_path: Path) -> None:
    with pytest.raises(MisuseError) as caught:
        read_recording(tmp_path / "nowhere")
    assert caught.value.code.name == "recording-invalid"
    assert run("push", _packaged(), f"oci-layout://{tmp_path}/l:1.4.2").status in (0, 2)


def _packaged() -> str:
    Path("web-1.4.2.tgz").write_bytes(archive())
    return "web-1.4.2.tgz"


def test_evidence_is_verified_again(here: str) -> None:
    """A recording that says more than its bytes prove convinces nobody."""
    record(published(here, signed=False))
    _edit(lambda document: _in(document, "decision").update(outcome="allowed", code=None))
    assert "outcome: allowed -> denied" in replayed().out
    assert not replay(read_recording(Path("kept")), at=datetime.now(UTC)).allowed
