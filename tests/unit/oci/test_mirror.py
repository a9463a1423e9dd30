"""Mirrors (semantics 26): what they may answer, what only the origin may, and whose credentials go where."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.simulators.registry import SimulatedRegistry, Switches, simulated
from tests.support.charts import archive
from tests.support.cli import run
from tests.support.signers import pair
from tests.support.world import ask, code_names, connect, key_policy, publish, sign
from verifier.model import codes
from verifier.model.artifact import OciChart
from verifier.model.decision import Decision, Outcome
from verifier.model.errors import InconclusiveError, MisuseError
from verifier.net.deadline import Deadline
from verifier.net.transport import HttpTransport, Request, Response
from verifier.oci.cache import ContentCache
from verifier.oci.mirror import read_mirrors
from verifier.operations.connections import Connections
from verifier.settings import load_settings, parse_mirror
from verifier.signers.public import public_pem


@dataclass
class Stage:
    """An origin with a signed chart, and a mirror with the same chart, without the signature."""

    origin: SimulatedRegistry
    mirror: SimulatedRegistry
    connections: Connections
    digest: str

    def ask(self, reference: str = ":1.4.2") -> Decision:
        return ask(f"oci://{self.origin.host}/acme/web{reference}", key_policy(self.origin.host, pair("ci")), self.connections)


@pytest.fixture(params=["uncached", "cached"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with simulated() as origin, simulated() as mirror:
        connections = connect()
        digest = publish(connections, origin.host, archive())
        sign(connections, origin.host, digest, pair("ci"))
        publish(connections, mirror.host, archive(), name="copies/acme/web")
        mirrors = read_mirrors({f"oci://{origin.host}/acme": f"oci://{mirror.host}/copies/acme"})
        cache = ContentCache(1 << 24) if request.param == "cached" else None
        origin.requests.clear()
        mirror.requests.clear()
        yield Stage(origin, mirror, replace(connections, mirrors=mirrors, cache=cache), str(digest))
        connections.close()


def read_from(decision: Decision) -> str | None:
    assert isinstance(decision.artifact, OciChart)
    return decision.artifact.reference.read_from


def test_the_tag_is_the_origins_and_the_bytes_are_the_mirrors(stage: Stage) -> None:
    for _ in range(2):
        decision = stage.ask()
        assert decision.outcome is Outcome.ALLOWED
        assert read_from(decision) == f"oci://{stage.mirror.host}/copies/acme/web"
    assert stage.origin.paths("HEAD") == ["/v2/acme/web/manifests/1.4.2"] * 2, "a tag is resolved each time"
    assert not [path for path in stage.origin.paths() if path.startswith("/v2/acme/web/blobs/") and path.rpartition("/")[2] in stage.mirror.blobs]
    assert not [path for path in stage.mirror.paths() if "/tags/" in path or path.endswith("/1.4.2")]


def test_an_old_version_that_a_mirror_serves_under_the_tag_counts_for_nothing(stage: Stage) -> None:
    other = publish(connect(), stage.mirror.host, archive(extra="description: old\n"), name="copies/acme/web", tag="old")
    stage.mirror.tags["copies/acme/web", "1.4.2"] = str(other)
    decision = stage.ask()
    assert decision.outcome is Outcome.ALLOWED
    assert stage.digest in str(decision.artifact.reference)  # type: ignore[union-attr]


def test_what_a_mirror_does_not_have_comes_from_the_origin(stage: Stage) -> None:
    stage.mirror.manifests.clear()
    stage.mirror.blobs.clear()
    decision = stage.ask()
    assert (decision.outcome, read_from(decision)) == (Outcome.ALLOWED, None)


@pytest.mark.parametrize("fault", [{"status": {"/manifests/": 503, "/blobs/": 503}}, {"reset": "/manifests/"}])
def test_a_mirror_that_fails_is_passed_by(fault: dict[str, object], stage: Stage) -> None:
    for name, value in fault.items():
        setattr(stage.mirror.switches, name, value)
    assert stage.ask().outcome is Outcome.ALLOWED


def test_a_mirror_that_serves_other_bytes_is_denied(stage: Stage) -> None:
    stage.mirror.switches.body = {"/blobs/": b"other bytes"}
    decision = stage.ask()
    assert (decision.outcome, "digest-mismatch" in code_names(decision)) == (Outcome.DENIED, True)


def test_without_the_origin_a_tag_cannot_be_told_and_a_digest_can(stage: Stage) -> None:
    sign(
        connect(),
        stage.mirror.host,
        publish(connect(), stage.mirror.host, archive(), name="copies/acme/web"),
        pair("ci"),
        name="copies/acme/web",
        said=f"oci://{stage.origin.host}/acme/web",
    )
    stage.origin.switches.status = {"/v2/": 503}
    by_tag = stage.ask()
    assert (by_tag.outcome, "registry-error" in code_names(by_tag)) == (Outcome.INCONCLUSIVE, True)
    by_digest = stage.ask(f"@{stage.digest}")
    assert by_digest.outcome is Outcome.ALLOWED
    assert read_from(by_digest) == f"oci://{stage.mirror.host}/copies/acme/web"


FLOOR = '    chart: {version: ">=1.0.0"}'


def away(stage: Stage, monkeypatch: pytest.MonkeyPatch, why: str = "unreachable") -> None:
    """The origin cannot be reached; the mirror has the chart with its signature."""
    digest = publish(connect(), stage.mirror.host, archive(), name="copies/acme/web")
    sign(connect(), stage.mirror.host, digest, pair("ci"), name="copies/acme/web", said=f"oci://{stage.origin.host}/acme/web")
    real = HttpTransport.send

    def send(transport: HttpTransport, request: Request, deadline: Deadline, limit: int) -> Response:
        if stage.origin.host in request.url:
            raise InconclusiveError(codes.ALL[why], "no way there", where=request.origin)
        return real(transport, request, deadline, limit)

    monkeypatch.setattr(HttpTransport, "send", send)


def under(stage: Stage, rule: str = FLOOR, extra: str = "", tag: str = "1.4.2") -> Decision:
    return ask(f"oci://{stage.origin.host}/acme/web:{tag}", key_policy(stage.origin.host, pair("ci"), extra, rule), stage.connections)


@pytest.mark.parametrize("why", ["unreachable", "timeout", "proxy-failed"])
def test_with_a_version_floor_a_mirror_alone_may_say_what_a_tag_names(why: str, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    away(stage, monkeypatch, why)
    decision = under(stage)
    assert (decision.outcome, read_from(decision)) == (Outcome.ALLOWED, f"oci://{stage.mirror.host}/copies/acme/web"), decision.check.reason
    assert any(gap.kind == "tag" and "the mirror says what 1.4.2 names: no way there" in gap.reason for gap in decision.gaps), "and it is told"
    assert under(stage, "", f"baseline: [{FLOOR.strip()}]").outcome is Outcome.ALLOWED, "the organisation's floor is one, too"


@pytest.mark.parametrize(
    ("rule", "extra"),
    [
        ("", ""),
        ('    chart: {version: "<2.0.0"}', ""),
        ('    chart: {version: ">=1.0.0 || <0.5.0"}', ""),
        ('    chart: {version: "!=1.0.0"}', ""),
        ("    chart: {name: web}", ""),
        ("", 'baseline: [{chart: {version: ">=1.0.0"}, action: warn}]'),
        ("", 'baseline: [{chart: {version: ">=1.0.0"}, enforceFrom: 2020-01-01T00:00:00Z}]'),
    ],
)
def test_what_is_no_floor_leaves_the_tag_to_the_origin(rule: str, extra: str, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    away(stage, monkeypatch)
    decision = under(stage, rule, extra)
    assert (decision.outcome, code_names(decision)) == (Outcome.INCONCLUSIVE, {"unreachable"})


@pytest.mark.parametrize("why", ["tls-failed", "unauthorized", "forbidden", "not-found", "registry-error", "rate-limited", "egress-denied"])
def test_an_answer_of_the_origins_is_an_answer(why: str, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can make it refuse must not be able to choose the version."""
    away(stage, monkeypatch, why)
    decision = under(stage)
    assert (decision.outcome, why in code_names(decision)) == (Outcome.INCONCLUSIVE, True)


def test_below_the_floor_a_mirror_alone_gets_nowhere(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    away(stage, monkeypatch)
    old = publish(connect(), stage.mirror.host, archive(version="0.9.0"), name="copies/acme/web", tag="0.9.0")
    sign(connect(), stage.mirror.host, old, pair("ci"), name="copies/acme/web", said=f"oci://{stage.origin.host}/acme/web")
    stage.mirror.tags["copies/acme/web", "stable"] = str(old)
    decision = under(stage, f"{FLOOR}\n    channels: [stable]", tag="stable")
    assert (decision.outcome, "version-refused" in str(decision.check.code)) == (Outcome.DENIED, True)
    decision = under(stage, tag="9.9.9")
    assert (decision.outcome, "the mirror, asked in its place" in decision.check.reason) == (Outcome.INCONCLUSIVE, True)


def test_what_is_attached_is_listed_by_both_and_trouble_is_a_gap(stage: Stage) -> None:
    stage.origin.switches.referrers_status = 503
    decision = stage.ask()
    assert (decision.outcome, "registry-error" in code_names(decision)) == (Outcome.INCONCLUSIVE, True), "nobody could say that it is unsigned"


def test_the_origins_credentials_never_go_to_the_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated(Switches(basic=("me", "origin-secret"))) as origin, simulated() as mirror:
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"auths": {origin.host: {"auth": base64.b64encode(b"me:origin-secret").decode()}}}))
        (tmp_path / "web-1.4.2.tgz").write_bytes(archive())
        (tmp_path / "ci.pub").write_bytes(public_pem(pair("ci").public))
        files = ("--registry-config", str(config))
        assert run("push", str(tmp_path / "web-1.4.2.tgz"), f"oci://{origin.host}/acme", *files).status == 0
        options = ("--mirror", f"oci://{origin.host}=oci://{mirror.host}/hub", "--key", str(tmp_path / "ci.pub"), *files)
        assert run("verify", f"oci://{origin.host}/acme/web:1.4.2", *options).status == 1
        assert mirror.paths(), "it was asked"
        mirror.switches.basic = ("me", "another")  # it asks for credentials, and there are none for it
        assert run("verify", f"oci://{origin.host}/acme/web:1.4.2", *options).status == 3
        assert not [headers for _, _, headers in mirror.requests if "Authorization" in headers]
        monkeypatch.setenv("VERIFIER_MIRRORS", f"oci://{origin.host}=oci://{mirror.host}/other")
        run("verify", f"oci://{origin.host}/acme/web:1.4.2", "--key", str(tmp_path / "ci.pub"), *files)
        assert any(path.startswith("/v2/other/acme/web/") for path in mirror.paths())


@pytest.mark.parametrize(
    "registry, repository, expected",
    [
        ("docker.io", "acme/web", ("mirror.test", "hub/web")),
        ("docker.io", "acme/deep/web", ("mirror.test", "hub/deep/web")),
        ("docker.io", "acme/special/web", ("special.test", "web")),
        ("docker.io", "acmecorp/web", None),
        ("docker.io", "other/web", None),
        ("ghcr.io", "x/web", ("mirror.test", "ghcr/x/web")),
        ("ghcr.io.evil.test", "x/web", None),
    ],
)
def test_whole_segments_and_the_longest_that_fits(registry: str, repository: str, expected: tuple[str, str] | None) -> None:
    mirrors = read_mirrors(
        {"oci://index.docker.io/acme": "oci://mirror.test/hub", "oci://docker.io/acme/special": "oci://special.test", "oci://ghcr.io": "oci://mirror.test/ghcr"}
    )
    assert mirrors.find(registry, repository) == expected


@pytest.mark.parametrize(
    "text", ["oci://a.test", "a.test=oci://b.test", "oci://a.test=https://b.test", "oci://a.test/Bad=oci://b.test", "oci://a b=oci://b.test"]
)
def test_what_is_no_mirror_is_refused(text: str) -> None:
    with pytest.raises(MisuseError):
        read_mirrors([parse_mirror(text)])
    assert run("verify", "oci://a.test/x:1", "--mirror", text, "--key", "x.pub").status == 2


def test_mirrors_in_the_users_file(tmp_path: Path) -> None:
    path = tmp_path / "verifier.yaml"
    path.write_text("mirrors:\n  oci://docker.io: oci://mirror.test/hub\n")
    assert load_settings({}, (path,)).mirrors == (("oci://docker.io", "oci://mirror.test/hub"),)
    assert load_settings({"VERIFIER_MIRRORS": "oci://a.test=oci://b.test, oci://c.test=oci://d.test"}, (path,)).mirrors == (
        ("oci://a.test", "oci://b.test"),
        ("oci://c.test", "oci://d.test"),
    )
    for broken in ("mirrors: [a]\n", "mirrors:\n  oci://a.test: [b]\n"):
        path.write_text(broken)
        with pytest.raises(MisuseError) as caught:
            load_settings({}, (path,))
        assert caught.value.code.name == "config-invalid"
