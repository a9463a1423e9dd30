"""Promotion and air gap: the chart with all its evidence, byte for byte, verified on both sides; nothing half, nothing moved."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.simulators.registry import SimulatedRegistry, Switches, simulated
from tests.support.charts import archive
from tests.support.cli import Ran, run
from tests.support.killed import killed_at_each_write
from tests.support.signers import pair, pgp
from tests.support.world import connect, publish, repository, sign
from verifier.model.errors import MisuseError
from verifier.oci.layout import ImageLayout
from verifier.oci.manifest import MANIFEST
from verifier.operations.copying import copy
from verifier.signers.key import private_pem
from verifier.signers.public import public_pem

CHART = archive()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERIFIER_PASSWORD", "choose-one")
    Path("ci.pub").write_bytes(public_pem(pair().public))
    Path("ci.key").write_bytes(private_pem(pair(), b"choose-one"))
    Path("team.key").write_bytes(pgp().secret)


@pytest.fixture(params=["referrers API", "fallback tag"])
def other(request: pytest.FixtureRequest) -> Iterator[str]:
    """The destination."""
    with simulated(Switches(referrers=request.param == "referrers API")) as registry:
        yield registry.host


def write_policy(host: str, name: str = "policy.yaml", *, origins: str = "", path: str = "acme", more: str = "") -> str:
    rule = f'  - name: ours\n    charts: ["oci://{host}/{path}/*", "oci-layout://**"]\n    require: {{signed: {{by: ci}}}}\n'.replace(', "oci-layout://**"', "")
    rule += f"    origins: ['{origins}']\n" if origins else ""
    Path(name).write_text(
        f"apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {{name: {name}}}\ntrust:\n  ci: {{key: {{file: ci.pub}}}}\nrules:\n{rule}{more}"
    )
    return name


def released(host: str) -> str:
    """A chart with a signature, a `.prov`, an SBOM with a signature of its own, and cosign's old form."""
    digest = publish(connect(), host, CHART)
    target = f"oci://{host}/acme/web@{digest}"
    Path("sbom.json").write_text(json.dumps({"bomFormat": "CycloneDX"}))
    for words in (
        ("sign", target, "--key", "ci.key", "--legacy-signature"),
        ("sign", target, "--openpgp-key", "team.key"),
        ("attest", target, "--type", "cyclonedx", "--predicate", "sbom.json", "--key", "ci.key"),
    ):
        ran = run(*words)
        assert ran.status == 0, ran.text
    attached = repository(host).referrers(digest).descriptors[0].digest
    sign(connect(), host, attached, pair())
    return f"oci://{host}/acme/web:1.4.2"


def refused(ran: Ran, status: int, code: str) -> None:
    assert ran.status == status, ran.text
    assert f"[{code}]" in ran.text, ran.text


def evidence(host: str, name: str) -> dict[str, bytes]:
    """Everything that is attached, by digest, what is attached to that, and cosign's tag."""
    place, found = repository(host, name), {}
    waiting = [place.resolve("1.4.2").digest]
    while waiting:
        for item in place.referrers(waiting.pop()).descriptors:
            found[str(item.digest)] = place.manifest(item.digest).data
            waiting.append(item.digest)
    tag = next(tag for tag in place.tags() if tag.endswith(".sig"))
    return {**found, tag: place.resolve(tag).data}


# copy


def test_everything_is_carried_byte_for_byte_and_verified_on_both_sides(registry: str, other: str) -> None:
    source, destination = released(registry), f"oci://{other}/promoted/web"
    policy = write_policy(registry)
    there = write_policy(other, "there.yaml", origins=f"oci://{registry}/acme/web", path="promoted")
    ran = run("copy", source, destination, "--policy", policy, "--destination-policy", there)
    assert ran.status == 0, ran.text
    assert f"copied     {destination}:1.4.2" in ran.out
    assert "verified   under the policy there.yaml" in ran.out
    assert evidence(other, "promoted/web") == evidence(registry, "acme/web")
    assert len(evidence(other, "promoted/web")) == 5
    assert repository(other, "promoted/web").resolve("1.4.2").data == repository(registry).resolve("1.4.2").data
    assert run("verify", f"{destination}:1.4.2", "--policy", there).status == 0
    again = run("copy", source, destination, "--policy", policy, "--destination-policy", there)
    assert (again.status, "unchanged" in again.out, "0 manifests pushed" in again.out) == (0, True, True)


def test_a_signature_that_came_later_is_carried_by_a_second_run(registry: str, other: str) -> None:
    digest = publish(connect(), registry, CHART)
    sign(connect(), registry, digest, pair())
    words = ("copy", f"oci://{registry}/acme/web:1.4.2", f"oci://{other}/acme/web", "--policy", write_policy(registry))
    assert run(*words).status == 0
    run("sign", f"oci://{registry}/acme/web@{digest}", "--openpgp-key", "team.key")
    ran = run(*words)
    assert (ran.status, "2 attached, 1 manifests pushed" in ran.out) == (0, True), ran.text


def test_what_is_denied_at_the_source_is_not_copied(registry: str) -> None:
    publish(connect(), registry, CHART)
    with simulated() as untouched:
        ran = run("copy", f"oci://{registry}/acme/web:1.4.2", f"oci://{untouched.host}/acme/web", "--policy", write_policy(registry))
        refused(ran, 1, "unsigned")
        assert untouched.requests == []


def test_a_copy_that_its_side_does_not_allow_gets_no_tag(registry: str, other: str) -> None:
    source = released(registry)
    there = write_policy(other, "there.yaml", path="promoted")
    ran = run("copy", source, f"oci://{other}/promoted/web", "--policy", write_policy(registry), "--destination-policy", there)
    refused(ran, 1, "origin-mismatch")
    assert ("has no tag" in ran.err, [tag for tag in repository(other, "promoted/web").tags() if tag == "1.4.2"]) == (True, [])


def test_a_tag_is_never_moved(registry: str, other: str) -> None:
    source = released(registry)
    publish(connect(), other, archive("web", "1.4.2", {"templates/other.yaml": b"{}"}))
    before = repository(other).resolve("1.4.2").digest
    refused(run("copy", source, f"oci://{other}/acme/web", "--policy", write_policy(registry)), 2, "tag-exists")
    assert repository(other).resolve("1.4.2").digest == before


def test_a_tag_that_somebody_else_writes_meanwhile(registry: str, other: str) -> None:
    """Between the first look and the last: the copy is not named, and nobody is told that it was."""
    publish(connect(), registry, CHART)
    source, target = repository(registry), repository(other)

    def decide(_: object) -> None:
        publish(connect(), other, archive("web", "1.4.2", {"templates/other.yaml": b"{}"}))

    with pytest.raises(MisuseError) as refusal:
        copy(source, source.resolve("1.4.2"), target, "1.4.2", decide)
    assert refusal.value.code.name == "tag-exists"


def test_other_signatures_in_cosign_s_form_are_not_replaced(registry: str, other: str) -> None:
    source = released(registry)
    digest = publish(connect(), other, CHART)
    repository(other).push_manifest(
        b'{"schemaVersion":2,"config":{"mediaType":"a","digest":"sha256:%s","size":2},"layers":[]}' % (b"0" * 64), MANIFEST, f"sha256-{digest.hex}.sig"
    )
    ran = run("copy", source, f"oci://{other}/acme/web", "--policy", write_policy(registry))
    refused(ran, 2, "tag-exists")


def test_what_cannot_be_listed_or_read_ends_the_copy(other: str) -> None:
    with simulated() as source:
        released(source.host)
        policy = write_policy(source.host)
        words = ("copy", f"oci://{source.host}/acme/web:1.4.2", f"oci://{other}/acme/web", "--policy", policy)
        attached = next(digest for (_, digest), (data, _) in source.manifests.items() if b"cyclonedx" in data.lower() or b"CycloneDX" in data)
        source.switches.status = {f"/referrers/{attached}": 503}
        refused(run(*words), 3, "registry-error")
        source.switches.status = {}
        source.switches.body = {f"/manifests/{attached}": b"{}"}
        refused(run(*words), 1, "digest-mismatch")
        assert "1.4.2" not in _tags(other)
        source.switches.body = {}
        assert run(*words).status == 0


def test_killed_at_any_write_and_completed_by_a_repeat(registry: str) -> None:
    """kill -9 before each write at the destination: a version that is there is whole, and the same command again ends well."""
    source, policy, killed = released(registry), write_policy(registry), 0

    def words(there: SimulatedRegistry) -> list[str]:
        return ["copy", source, f"oci://{there.host}/acme/web", "--policy", policy]

    for there, ended in killed_at_each_write(words):
        if ("acme/web", "1.4.2") in there.tags:
            assert evidence(there.host, "acme/web") == evidence(registry, "acme/web")
        if not ended:
            again = run(*words(there))
            assert again.status == 0, again.text
            assert evidence(there.host, "acme/web") == evidence(registry, "acme/web")
            killed += 1
    assert killed > 13


def _tags(host: str) -> tuple[str, ...]:
    from verifier.model.errors import InconclusiveError

    try:
        return repository(host).tags()
    except InconclusiveError:
        return ()


def test_through_an_image_layout(registry: str, other: str) -> None:
    source, policy = released(registry), write_policy(registry)
    ran = run("copy", source, "oci-layout://kept", "--policy", policy)
    assert (ran.status, "NOT at the destination" in ran.out) == (0, True), ran.text
    ran = run("copy", "oci-layout://kept:1.4.2", f"oci://{other}/acme/web", "--key", "ci.pub")
    assert ran.status == 0, ran.text
    assert evidence(other, "acme/web") == evidence(registry, "acme/web")


@pytest.mark.parametrize(
    ("source", "destination", "code"),
    [
        ("web-1.4.2.tgz", "oci://reg.test/acme/web", "reference-invalid"),
        ("oci://reg.test/acme/web:1", "web.tgz", "reference-invalid"),
        ("oci://reg.test/acme/web:1", "oci://reg.test/acme/web@sha256:" + "a" * 64, "reference-invalid"),
    ],
)
def test_places_that_are_none(source: str, destination: str, code: str, registry: str) -> None:
    refused(
        run("copy", source.replace("reg.test", registry), destination, "--policy", write_policy(registry)),
        2 if "tgz" in source + destination else 3,
        code if "tgz" in source + destination else "not-found",
    )
    refused(run("copy", "oci://reg.test/a/web:1", "oci://reg.test/b/web"), 2, "no-policy")


# bundles


@pytest.fixture
def made(registry: str) -> tuple[Path, str]:
    """A bundle and its policy's digest, on a machine that has lost everything else."""
    policy = write_policy(registry)
    ran = run("bundle", "create", released(registry), "-o", "chart.bundle", "--policy", policy)
    assert ran.status == 0, ran.text
    return Path("chart.bundle"), ran.out.split("policy     ")[1].strip()


def test_a_bundle_is_verified_without_a_network(made: tuple[Path, str], registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path, digest = made
    monkeypatch.setattr("socket.socket.connect", _no_network)
    ran = run("bundle", "verify", str(path), "--policy", "policy.yaml")
    assert (ran.status, f"ALLOWED  oci-layout://{path}" in ran.out) == (0, True), ran.text
    Path("policy.yaml").unlink()
    Path("ci.pub").unlink()
    assert run("bundle", "verify", str(path), "--own-policy", digest).status == 0
    Path("stranger.pub").write_bytes(public_pem(pair("stranger").public))
    refused(run("bundle", "verify", str(path), "--key", "stranger.pub"), 1, "signer-not-allowed")


def _no_network(*_: object) -> None:
    raise AssertionError("a bundle asked the network")


def test_a_bundle_does_not_vouch_for_itself(made: tuple[Path, str]) -> None:
    path, digest = made
    ran = run("bundle", "verify", str(path))
    refused(ran, 2, "bundle-policy")
    assert digest in ran.err
    refused(run("bundle", "verify", str(path), "--own-policy", "sha256:" + "0" * 64), 2, "bundle-policy")
    refused(run("bundle", "verify", str(path), "--own-policy", digest, "--policy", "policy.yaml"), 2, "usage")


def test_a_bundle_is_loaded_with_all_evidence(made: tuple[Path, str], registry: str, other: str) -> None:
    path, digest = made
    there = write_policy(other, "there.yaml", origins=f"oci://{registry}/acme/web", path="mirror")
    ran = run("bundle", "load", str(path), f"oci://{other}/mirror/web", "--own-policy", digest, "--destination-policy", there)
    assert ran.status == 0, ran.text
    assert evidence(other, "mirror/web") == evidence(registry, "acme/web")
    assert run("verify", f"oci://{other}/mirror/web:1.4.2", "--policy", there).status == 0
    strict = write_policy(other, "strict.yaml", path="mirror")
    refused(run("bundle", "load", str(path), f"oci://{other}/mirror/web:1.4.2", "--own-policy", digest, "--destination-policy", strict), 1, "origin-mismatch")


def test_a_denied_bundle_is_not_loaded(made: tuple[Path, str]) -> None:
    path, _ = made
    Path("stranger.pub").write_bytes(public_pem(pair("stranger").public))
    with simulated() as untouched:
        refused(run("bundle", "load", str(path), f"oci://{untouched.host}/acme/web", "--key", "stranger.pub"), 1, "signer-not-allowed")
        assert untouched.requests == []


def test_the_same_bundle_every_time(made: tuple[Path, str], registry: str) -> None:
    path, _ = made
    assert run("bundle", "create", f"oci://{registry}/acme/web:1.4.2", "-o", "again.bundle", "--policy", "policy.yaml").status == 0
    assert Path("again.bundle").read_bytes() == path.read_bytes()


def test_trust_flags_are_not_kept(registry: str) -> None:
    ran = run("bundle", "create", released(registry), "-o", "chart.bundle", "--key", "ci.pub")
    assert (ran.status, "trust flags are not kept" in ran.out) == (0, True), ran.text
    refused(run("bundle", "verify", "chart.bundle", "--own-policy", "sha256:" + "0" * 64), 2, "bundle-policy")
    assert run("bundle", "verify", "chart.bundle", "--key", "ci.pub").status == 0


def test_a_denied_chart_is_not_bundled(registry: str) -> None:
    publish(connect(), registry, CHART)
    refused(run("bundle", "create", f"oci://{registry}/acme/web:1.4.2", "-o", "x.bundle", "--policy", write_policy(registry)), 1, "unsigned")
    refused(run("bundle", "create", f"oci://{registry}/acme/web", "-o", "x.bundle", "--policy", "policy.yaml"), 2, "reference-invalid")
    assert not Path("x.bundle").exists()


def rewritten(path: Path, change: Callable[[dict[str, bytes]], object], kind: bytes = tarfile.REGTYPE, extra: str = "") -> str:
    with tarfile.open(path) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    change(files)
    with tarfile.open("changed.bundle", "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        if extra:
            member = tarfile.TarInfo(extra)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    return "changed.bundle"


@pytest.mark.parametrize(
    ("extra", "kind"),
    [
        ("../evil", tarfile.REGTYPE),
        ("/etc/evil", tarfile.REGTYPE),
        ("blobs/sha256/" + "a" * 64, tarfile.SYMTYPE),
        ("x", tarfile.FIFOTYPE),
        ("index.json", tarfile.REGTYPE),
    ],
)
def test_nothing_else_comes_out_of_a_bundle(extra: str, kind: bytes, made: tuple[Path, str]) -> None:
    refused(run("bundle", "verify", rewritten(made[0], lambda files: None, kind, extra), "--policy", "policy.yaml"), 2, "bundle-invalid")


def test_a_bundle_that_was_changed(made: tuple[Path, str]) -> None:
    path, digest = made
    index = json.loads(_member(path, "index.json"))
    chart = next(item for item in index["manifests"] if item.get("annotations", {}).get("org.opencontainers.image.ref.name") == "1.4.2")
    layer = json.loads(_member(path, f"blobs/sha256/{chart['digest'][7:]}"))["layers"][0]["digest"][7:]
    changed = rewritten(path, lambda files: files.update({f"blobs/sha256/{layer}": files[f"blobs/sha256/{layer}"][:-1] + b"x"}))
    refused(run("bundle", "verify", changed, "--policy", "policy.yaml"), 1, "digest-mismatch")
    without = rewritten(path, lambda files: files.pop(f"blobs/sha256/{layer}"))
    assert run("bundle", "verify", without, "--policy", "policy.yaml").status == 3
    own = next(item for item in index["manifests"] if item.get("annotations", {}).get("org.opencontainers.image.ref.name") == "bundle")
    nobody = rewritten(path, lambda files: files.pop(f"blobs/sha256/{own['digest'][7:]}"))
    refused(run("bundle", "verify", nobody, "--own-policy", digest), 2, "bundle-invalid")


def _member(path: Path, name: str) -> bytes:
    with tarfile.open(path) as tar:
        content = tar.extractfile(name)
        assert content is not None
        return content.read()


def test_files_that_are_no_bundle(made: tuple[Path, str], registry: str) -> None:
    Path("text").write_text("no tar")
    refused(run("bundle", "verify", "text", "--policy", "policy.yaml"), 2, "bundle-invalid")
    refused(run("bundle", "verify", "missing", "--policy", "policy.yaml"), 2, "file-unreadable")
    with tarfile.open("empty.bundle", "w"):
        pass
    refused(run("bundle", "verify", "empty.bundle", "--policy", "policy.yaml"), 2, "bundle-invalid")
    run("record", f"oci://{registry}/acme/web:1.4.2", "--policy", "policy.yaml", "-d", "kept")
    ImageLayout(Path("kept")).push_manifest(ImageLayout(Path("kept")).resolve("recording").data, MANIFEST, "bundle")
    with tarfile.open("recording.bundle", "w") as tar:
        for file in sorted(Path("kept").rglob("*")):
            if file.is_file() and file.name != ".lock":
                tar.add(file, file.relative_to("kept").as_posix())
    refused(run("bundle", "verify", "recording.bundle", "--policy", "policy.yaml"), 2, "bundle-invalid")


def test_a_bundle_says_where_it_comes_from_and_a_rule_for_elsewhere_does_not_match(made: tuple[Path, str]) -> None:
    refused(run("bundle", "verify", str(made[0]), "--policy", write_policy("elsewhere.test", "elsewhere.yaml")), 1, "no-rule")
