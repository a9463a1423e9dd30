"""Old versions go, with what is attached to them; what any rule, tag, index or pin keeps never does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.simulators.registry import INDEX, MANIFEST, SimulatedRegistry, Switches, simulated
from tests.support.charts import archive
from tests.support.cli import Ran, run
from tests.support.signers import pair
from tests.support.world import connect, publish, sign
from verifier.model.digest import Digest, sha256
from verifier.model.errors import MisuseError
from verifier.model.reference import is_evidence_tag
from verifier.operations.listing import newest_first, version_of
from verifier.operations.retention import Held, Keep, Pins, find_pins, plan
from verifier.signers.public import public_pem

NAME = "acme/web"
NOW = datetime(2026, 11, 27, tzinfo=UTC)


def held(tag: str, number: int | None = None, days: int | None = None, children: tuple[Digest, ...] = ()) -> Held:
    created = NOW - timedelta(days=days) if days is not None else None
    return Held(tag=tag, digest=sha256(str(number if number is not None else tag).encode()), created=created, children=children)


def doomed(items: list[Held], **keep: object) -> set[str]:
    made = plan(items, Keep(**keep), NOW)  # type: ignore[arg-type]
    assert not {item.digest for item in items if item.tag in made.kept} & set(made.doomed)
    assert {item.tag for item in items} == set(made.kept) | {tag for tags in made.doomed.values() for tag in tags}
    return {tag for tags in made.doomed.values() for tag in tags}


VERSIONS = [held(f"1.{minor}.{patch}") for minor in (0, 1) for patch in (0, 2, 10)]


def test_the_newest_of_each_minor_version_stay() -> None:
    assert doomed(VERSIONS, last=1) == {"1.0.0", "1.0.2", "1.1.0", "1.1.2"}
    assert doomed(VERSIONS, last=2) == {"1.0.0", "1.1.0"}
    assert doomed(VERSIONS, last=9) == set()


def test_pre_releases_are_counted_apart() -> None:
    items = [held("1.0.0"), held("1.0.1"), held("1.0.2-rc.1"), held("1.0.2-rc.2")]
    assert doomed(items, last=1) == {"1.0.0", "1.0.2-rc.1"}


def test_tags_with_v_and_build_metadata_are_versions_and_short_ones_are_channels() -> None:
    assert [version_of(tag) is not None for tag in ("1.0.0", "v1.0.0", "1.0.0_b1", "1.0", "1", "stable", "latest")] == [
        True,
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    assert doomed([held("v1.0.0"), held("v1.0.1"), held("1.0"), held("stable")], last=1) == {"v1.0.0"}


def test_age_and_what_does_not_say_when_it_was_made() -> None:
    items = [held("1.0.0", days=100), held("1.0.1", days=10), held("1.0.2")]
    assert doomed(items, newer_than=timedelta(days=90)) == {"1.0.0"}


def test_patterns_and_pins_keep() -> None:
    pins = Pins(frozenset({str(sha256(b"1.1.0"))}), frozenset({"1.1.2"}))
    assert doomed(VERSIONS, tags=("1.0.*",), pins=pins) == {"1.1.10"}


def test_rules_are_joined() -> None:
    items = [held("1.0.0", days=1), held("1.0.1", days=100), held("1.0.2", days=200)]
    assert doomed(items, last=1, newer_than=timedelta(days=30)) == {"1.0.1"}


def test_a_digest_under_a_kept_tag_stays_whatever_other_tags_it_has() -> None:
    items = [held("1.0.0", 1), held("1.0.1", 2), held("stable", 1)]
    assert doomed(items, last=1) == set()
    made = plan(items, Keep(last=1), NOW)
    assert made.kept["1.0.0"] == "the same digest is kept under another tag"


def test_what_a_kept_index_names_stays() -> None:
    items = [held("1.0.0", 1), held("1.0.1", 2), held("all", 3, children=(sha256(b"1"),))]
    assert doomed(items, last=1) == set()
    pinned = [held("1.0.0", 1), held("1.0.1", 2), held("1.0.2", 3, children=(sha256(b"1"),))]
    assert doomed(pinned, pins=Pins(frozenset({str(sha256(b"1"))}))) == {"1.0.1"}


def test_without_a_rule_nothing_is_planned() -> None:
    with pytest.raises(MisuseError) as caught:
        plan(VERSIONS, Keep(), NOW)
    assert caught.value.code.name == "usage"


def test_pins_are_found_in_any_text() -> None:
    digest = f"sha256:{'ab' * 32}"
    text = f"ref: oci://ghcr.io/acme/web:1.4.2+b1\nother: oci://ghcr.io/acme/webs:9.9.9\npin: ghcr.io/acme/web@{digest}, ghcr.io/acme/web:1.0.0."
    assert find_pins(text, "ghcr.io/acme/web") == Pins(frozenset({digest}), frozenset({"1.4.2_b1", "1.0.0"}))


def test_tags_of_evidence_are_no_versions() -> None:
    evidence = [f"sha256-{'0' * 64}", f"sha256-{'0' * 64}.sig", f"sha256-{'0' * 64}.att", f"sha512-{'0' * 64}"]
    assert all(is_evidence_tag(tag) for tag in evidence)
    assert not any(is_evidence_tag(tag) for tag in ("sha256-abc", "1.0.0", "sha256"))
    assert newest_first([*evidence, "stable", "1.9.0", "1.10.0", "1.10.0-rc.1"]) == ("1.10.0", "1.10.0-rc.1", "1.9.0", "stable")


# As a user does it


@pytest.fixture(params=["API", "fallback tag"])
def registry(request: pytest.FixtureRequest) -> Iterator[SimulatedRegistry]:
    with simulated(Switches(referrers=request.param == "API")) as registry:
        connections = connect()
        for version in ("1.0.0", "1.0.1", "1.1.0"):
            digest = publish(connections, registry.host, archive(version=version), tag=version)
            sign(connections, registry.host, digest, pair("ci"))
        connections.close()
        yield registry


def prune(registry: SimulatedRegistry, *more: str) -> Ran:
    return run("registry", "prune", f"{registry.host}/{NAME}", *more)


def digests(registry: SimulatedRegistry) -> set[str]:
    return {digest for _, digest in registry.manifests}


def test_the_plan_changes_nothing_and_yes_executes_it(registry: SimulatedRegistry) -> None:
    old, stored = registry.tags[NAME, "1.0.0"], digests(registry)
    ran = prune(registry, "--keep-last", "1")
    assert ran.status == 0
    assert f"delete   {old} 1.0.0 (attached: " in ran.out
    assert "keep     1.0.1: among the newest 1 of its minor version" in ran.out
    assert ran.out.endswith("nothing was deleted: this is the plan, --yes executes it\n")
    assert digests(registry) == stored
    assert not registry.paths("DELETE")
    ran = prune(registry, "--keep-last", "1", "--yes")
    assert (ran.status, f"deleted  {old} 1.0.0" in ran.out) == (0, True)
    assert {tag for _, tag in registry.tags if not is_evidence_tag(tag)} == {"1.0.1", "1.1.0"}
    left = [json.loads(data) for data, _ in registry.manifests.values()]
    assert not [value for value in left if (value.get("subject") or {}).get("digest") == old], "evidence goes with its chart"
    assert not [tag for _, tag in registry.tags if tag.endswith(old[7:])]
    assert len([value for value in left if value.get("subject")]) == 2
    again = prune(registry, "--keep-last", "1", "--yes")
    assert (again.status, "deleted" in again.out) == (0, False)


def test_what_stays_is_still_verified(registry: SimulatedRegistry, tmp_path: Path) -> None:
    (tmp_path / "ci.pub").write_bytes(public_pem(pair("ci").public))
    assert prune(registry, "--keep-last", "1", "--yes").status == 0
    assert run("verify", f"oci://{registry.host}/{NAME}:1.0.1", "--key", str(tmp_path / "ci.pub")).status == 0


def test_files_that_pin_keep(registry: SimulatedRegistry, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "values.yaml").write_text(f"digest: {registry.tags[NAME, '1.0.0']}\n")
    (tmp_path / "flux.yaml").write_text(f"url: oci://{registry.host}/{NAME}:1.1.0\n")
    ran = prune(registry, "--keep-pinned", str(tmp_path), "--yes")
    assert ran.status == 0, ran.text
    assert {tag for _, tag in registry.tags if not is_evidence_tag(tag)} == {"1.0.0", "1.1.0"}


def test_files_that_pin_nothing_are_no_rule(registry: SimulatedRegistry, tmp_path: Path) -> None:
    """A folder that is empty by mistake must not mean that everything goes."""
    (tmp_path / "values.yaml").write_text("replicas: 1\n")
    ran = prune(registry, "--keep-pinned", str(tmp_path), "--yes")
    assert (ran.status, "usage" in ran.err, registry.paths("DELETE")) == (2, True, [])


def test_an_interrupted_run_is_repeated(registry: SimulatedRegistry) -> None:
    for number in range(1, 20):
        registry.switches.fail_at = registry.writes + number  # what was deleted before is asked for again, and is gone
        ran = prune(registry, "--keep-last", "1", "--yes")
        if ran.status == 0:
            break
        assert "registry-error" in ran.err
        assert (NAME, "1.0.0") in registry.tags, "the chart goes last, so that the next run finds the rest"
    assert number > 2
    registry.switches.fail_at = 0
    assert prune(registry, "--keep-last", "1", "--yes").status == 0
    assert len([tag for _, tag in registry.tags if not is_evidence_tag(tag)]) == 2


def test_orphans_go_on_their_own() -> None:
    with simulated(Switches(referrers=False)) as registry:
        connections = connect()
        digest = publish(connections, registry.host, archive(version="1.0.0"), tag="1.0.0")
        other = publish(connections, registry.host, archive(version="1.0.1"), tag="1.0.1")
        sign(connections, registry.host, digest, pair("ci"))
        sign(connections, registry.host, other, pair("ci"))
        connections.close()
        del registry.manifests[NAME, str(digest)], registry.tags[NAME, "1.0.0"]  # by hand, or by a tool that knows no referrers
        plan = prune(registry, "--keep-last", "5")
        assert f"orphans  of {digest}, which is gone (2)" in plan.out
        assert prune(registry, "--keep-last", "5", "--yes").status == 0
        assert not [tag for _, tag in registry.tags if tag.endswith(digest.hex)]
        assert [tag for _, tag in registry.tags if tag.endswith(other.hex)]


def test_a_registry_that_deletes_nothing_says_so(registry: SimulatedRegistry) -> None:
    registry.switches.delete = False
    stored = digests(registry)
    ran = prune(registry, "--keep-last", "1", "--yes")
    assert (ran.status, "unsupported" in ran.err) == (3, True)
    assert len(registry.paths("DELETE")) == 1
    assert digests(registry) == stored


@pytest.mark.parametrize("path", ["/manifests/1.1.0", "/tags/list", "/manifests/sha256-"])
def test_half_a_picture_deletes_nothing(path: str, registry: SimulatedRegistry) -> None:
    registry.switches.status = {path: 503, "/referrers/": 503 if path.endswith("-") else 0} if path.endswith("-") else {path: 503}
    ran = prune(registry, "--keep-last", "1", "--yes")
    assert (ran.status, "registry-error" in ran.err) == (3, True)
    assert not registry.paths("DELETE")


def test_a_tag_that_came_meanwhile_keeps_its_chart(registry: SimulatedRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    from verifier.operations import prune as module

    planned = module.plan_pruning

    def promoted(*arguments: object) -> object:
        made = planned(*arguments)  # type: ignore[arg-type]
        registry.tags[NAME, "stable"] = registry.tags[NAME, "1.0.0"]
        return made

    monkeypatch.setattr(module, "plan_pruning", promoted)
    ran = prune(registry, "--keep-last", "1", "--yes")
    assert "kept     " in ran.out
    assert "a tag came meanwhile that names it" in ran.out
    assert (NAME, registry.tags[NAME, "stable"]) in registry.manifests


def test_an_index_keeps_what_it_names(registry: SimulatedRegistry) -> None:
    old = registry.tags[NAME, "1.0.0"]
    data = registry.manifests[NAME, old][0]
    index = {"schemaVersion": 2, "manifests": [{"mediaType": MANIFEST, "digest": old, "size": len(data)}]}
    registry.put(NAME, json.dumps(index).encode(), "bundle", INDEX)
    ran = prune(registry, "--keep-last", "1", "--yes")
    assert (ran.status, (NAME, old) in registry.manifests) == (0, True)


@pytest.mark.parametrize(
    "arguments",
    [(), ("--keep-last", "0"), ("--newer-than", "soon"), ("--newer-than", "0d"), ("--keep-pinned", "no-such-file")],
)
def test_misuse(arguments: tuple[str, ...], registry: SimulatedRegistry) -> None:
    assert prune(registry, *arguments).status == 2
    assert not registry.paths("DELETE")
    assert run("registry", "prune", registry.host, "--keep-last", "1").status == 2


# Listing


def test_versions_are_listed_with_the_state_of_their_signatures(registry: SimulatedRegistry, tmp_path: Path) -> None:
    (tmp_path / "ci.pub").write_bytes(public_pem(pair("ci").public))
    connections = connect()
    publish(connections, registry.host, archive(version="1.2.0"), tag="1.2.0")
    connections.close()
    bare = run("registry", "list", f"{registry.host}/{NAME}")
    assert bare.status == 0, bare.text
    assert [line.split()[0] for line in bare.out.splitlines()[1:]] == ["1.2.0", "1.1.0", "1.0.1", "1.0.0"]
    assert "verified" not in bare.out, "semantics 37"
    assert "absent" in bare.out.splitlines()[1]
    assert bare.out.count("present  1 signature") == 3
    trusted = json.loads(run("registry", "list", f"{registry.host}/{NAME}", "--key", str(tmp_path / "ci.pub"), "-o", "json").out)
    assert [item["state"] for item in trusted["tags"]] == ["absent", "verified", "verified", "verified"]
    assert trusted["tags"][1]["digest"] == registry.tags[NAME, "1.1.0"]
    (tmp_path / "other.pub").write_bytes(public_pem(pair("other").public))
    assert "verified" not in run("registry", "list", f"{registry.host}/{NAME}", "--key", str(tmp_path / "other.pub")).out


def test_what_cannot_be_told_is_unknown_and_what_is_left_out_is_said(registry: SimulatedRegistry) -> None:
    registry.tags.update({(NAME, f"0.{number}.0"): registry.tags[NAME, "1.0.0"] for number in range(60)})
    listed = run("registry", "list", f"{registry.host}/{NAME}")
    assert "and 13 older: --all" in listed.out
    registry.switches.status = {"/referrers/": 503, "/manifests/sha256-": 503}
    failing = run("registry", "list", f"{registry.host}/{NAME}")
    assert (failing.status, "unknown" in failing.out, "registry-error" in failing.out) == (3, True, True)
    registry.switches.status = {"/tags/": 403}
    assert run("registry", "list", f"{registry.host}/{NAME}").status == 3
    assert run("registry", "list", registry.host).status == 2
