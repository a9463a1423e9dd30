"""Lists of what is attached: eight writers at once, what is lost and who sees it, and what `registry repair` restores (semantics 30)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.registry import INDEX, MANIFEST, SimulatedRegistry, Switches, simulated
from tests.simulators.registry.state import digest_of
from tests.support.charts import archive
from tests.support.cli import Ran, run
from tests.support.signers import pair, private_pem
from tests.support.world import repository
from verifier.model.artifact import Descriptor
from verifier.model.digest import parse_digest, sha256
from verifier.model.errors import InconclusiveError
from verifier.oci.journal import FileJournal
from verifier.oci.manifest import EMPTY_BYTES, write_referrer
from verifier.oci.referrers import fallback_tag
from verifier.signers.public import public_pem

SUBJECT = b'{"schemaVersion": 2, "config": {"mediaType": "c", "digest": "sha256:' + b"0" * 64 + b'", "size": 1}, "layers": []}'
CHART = Descriptor(media_type=MANIFEST, digest=sha256(SUBJECT), size=len(SUBJECT))
PAYLOAD = Descriptor(media_type="application/x.test", digest=sha256(EMPTY_BYTES), size=2)
NAME = "acme/web"


def referrer(number: int, subject: Descriptor = CHART) -> bytes:
    return write_referrer(subject, PAYLOAD, {"number": str(number)})


@pytest.fixture
def registry() -> Iterator[SimulatedRegistry]:
    with simulated(Switches(referrers=False)) as registry:
        registry.put(NAME, SUBJECT, "1.0.0")
        yield registry


def listed(registry: SimulatedRegistry) -> set[str]:
    digest = registry.tags.get((NAME, fallback_tag(CHART.digest)))
    return {item["digest"] for item in json.loads(registry.manifests[NAME, digest][0])["manifests"]} if digest else set()


@pytest.mark.settling
def test_of_eight_writers_none_is_lost_silently(registry: SimulatedRegistry) -> None:
    said: dict[int, str] = {}

    def write(number: int) -> None:
        try:
            repository(registry.host, seconds=60).attach([referrer(number)], CHART)
            said[number] = "attached"
        except InconclusiveError as error:
            said[number] = error.code.name

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    there = listed(registry)
    for number, word in said.items():
        assert word in ("attached", "attachment-lost")
        assert word == "attachment-lost" or digest_of(referrer(number)) in there, f"{number} was said to be attached and is not listed"
    assert len(said) == 8
    assert len(there) >= 1


def test_a_writer_that_is_always_overrun_says_so() -> None:
    with simulated(Switches(referrers=False, swallow_fallback=1000)) as registry:
        with pytest.raises(InconclusiveError) as caught:
            repository(registry.host).attach([referrer(1)], CHART)
        assert caught.value.code.name == "attachment-lost"


# The journal


def test_the_journal_keeps_what_was_attached_and_survives_half_a_line(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "deep" / "attached.jsonl")
    one, two = Descriptor(media_type=MANIFEST, digest=sha256(b"1"), size=1), Descriptor(media_type=MANIFEST, digest=sha256(b"2"), size=1)
    journal.note("reg.test/acme/web", CHART.digest, [one])
    journal.note("reg.test/acme/web", CHART.digest, [two, one])
    journal.note("other.test/acme/web", CHART.digest, [two])
    journal.note("reg.test/acme/web", sha256(b"another chart"), [two])
    with (tmp_path / "deep" / "attached.jsonl").open("ab") as file:
        file.write(b'{"repository": "reg.test/acme/web", "subject": "' + str(CHART.digest).encode() + b'", "attached": [{"dig')
    assert {item.digest for item in journal.known("reg.test/acme/web", CHART.digest)} == {one.digest, two.digest}
    assert journal.known("nothing.test/acme/web", CHART.digest) == ()
    assert FileJournal(tmp_path / "missing").known("reg.test/acme/web", CHART.digest) == ()


@pytest.mark.parametrize("line", [b"[]", b'{"attached": 5}', b'{"attached": [5]}', b'{"attached": [{"digest": "../../x"}]}'])
def test_a_line_of_nonsense_is_left_out(line: bytes, tmp_path: Path) -> None:
    value = {**(json.loads(line) if line != b"[]" else {}), "repository": "reg.test/acme/web", "subject": str(CHART.digest)}
    (tmp_path / "j").write_text((json.dumps(value) if line != b"[]" else f'["{CHART.digest}"]') + "\n")
    assert FileJournal(tmp_path / "j").known("reg.test/acme/web", CHART.digest) == ()


def test_the_journal_drops_its_older_half_and_keeps_nobody_from_signing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.oci.journal._MOST_BYTES", 4000)
    journal = FileJournal(tmp_path / "j")
    for number in range(40):
        journal.note("reg.test/acme/web", CHART.digest, [Descriptor(media_type=MANIFEST, digest=sha256(str(number).encode()), size=1)])
    found = {item.digest for item in journal.known("reg.test/acme/web", CHART.digest)}
    assert (tmp_path / "j").stat().st_size <= 4000
    assert sha256(b"39") in found
    assert sha256(b"0") not in found
    FileJournal(Path("/proc/nothing/here")).note("reg.test/acme/web", CHART.digest, [])


# Repair, as a user does it


def repair(registry: SimulatedRegistry, *more: str) -> Ran:
    return run("registry", "repair", f"oci://{registry.host}/{NAME}:1.0.0", *more)


def lose(registry: SimulatedRegistry) -> None:
    registry.put(NAME, b'{"schemaVersion": 2, "manifests": []}', fallback_tag(CHART.digest), INDEX)


def test_what_was_given_is_listed_again_if_it_says_so_itself(registry: SimulatedRegistry) -> None:
    ours, strange = registry.put(NAME, referrer(1)), registry.put(NAME, referrer(2, Descriptor(media_type=MANIFEST, digest=sha256(b"x"), size=1)))
    gone = str(sha256(b"gone"))
    arguments = [part for digest in (ours, strange, gone) for part in ("--referrer", digest)]
    dry = repair(registry, *arguments, "--dry-run")
    assert f"to add    {ours} application/x.test (by what was given)" in dry.out
    assert not listed(registry)
    ran = repair(registry, *arguments)
    assert ran.status == 3
    assert f"added     {ours} application/x.test (by what was given)" in ran.out
    assert f"foreign   {strange} (by what was given): it does not refer to this chart" in ran.out
    assert f"gone      {gone} (by what was given): the registry does not have it any more" in ran.out
    assert listed(registry) == {ours}
    again = repair(registry, "--referrer", ours)
    assert (again.status, f"listed    {ours}" in again.out) == (0, True)


def test_what_was_attached_from_here_is_known(registry: SimulatedRegistry, tmp_path: Path) -> None:
    (tmp_path / "ci.key").write_bytes(private_pem(pair("ci")))
    (tmp_path / "ci.pub").write_bytes(public_pem(pair("ci").public))
    (tmp_path / "web-1.4.2.tgz").write_bytes(archive())
    assert run("push", str(tmp_path / "web-1.4.2.tgz"), f"oci://{registry.host}/acme").status == 0
    digest = registry.tags[NAME, "1.4.2"]
    reference = f"oci://{registry.host}/{NAME}@{digest}"
    assert run("sign", reference, "--key", str(tmp_path / "ci.key")).status == 0
    registry.put(NAME, b'{"schemaVersion": 2, "manifests": []}', fallback_tag(parse_digest(digest)), INDEX)
    assert run("verify", reference, "--key", str(tmp_path / "ci.pub")).status == 1
    ran = run("registry", "repair", reference)
    assert ran.status == 0, ran.text
    assert "(by what was attached from here)" in ran.out
    assert run("verify", reference, "--key", str(tmp_path / "ci.pub")).status == 0


def test_what_another_place_has_is_brought(registry: SimulatedRegistry) -> None:
    with simulated() as copy:
        copy.put(NAME, SUBJECT, "1.0.0")
        copy.put_blob(EMPTY_BYTES)
        here, there = copy.put(NAME, referrer(1)), copy.put(NAME, referrer(2))
        registry.put(NAME, referrer(1))
        ran = repair(registry, "--from", f"oci://{copy.host}/{NAME}")
        assert ran.status == 0, ran.text
        assert f"added     {here}" in ran.out
        assert f"restored  {there}" in ran.out
        assert listed(registry) == {here, there}
        copy.switches.status = {"/referrers/": 503}
        failing = repair(registry, "--from", f"oci://{copy.host}/{NAME}")
        assert (failing.status, "registry-error" in failing.err) == (3, True)


@pytest.mark.parametrize("damaged", [b'{"schemaVersion": 2, "manifests": [{"digest": 5}]}', b"not json", SUBJECT])
def test_a_list_that_cannot_be_read_is_replaced_and_named(damaged: bytes, registry: SimulatedRegistry) -> None:
    ours = registry.put(NAME, referrer(1))
    old = registry.put(NAME, damaged + b" ", fallback_tag(CHART.digest), INDEX)
    ran = repair(registry, "--referrer", ours)
    assert ran.status == 0, ran.text
    assert f"replaced  {old}: it could not be read as a list" in ran.out
    assert listed(registry) == {ours}
    assert (NAME, old) in registry.manifests


def test_entries_without_a_type_are_completed_and_nothing_is_taken_out(registry: SimulatedRegistry) -> None:
    """sigstore/cosign#4641: lists that older clients wrote."""
    ours, unknown = registry.put(NAME, referrer(1)), str(sha256(b"who knows"))
    items = [{"mediaType": MANIFEST, "digest": ours, "size": len(referrer(1))}, {"mediaType": MANIFEST, "digest": unknown, "size": 1}]
    registry.put(NAME, json.dumps({"schemaVersion": 2, "manifests": items}).encode(), fallback_tag(CHART.digest), INDEX)
    ran = repair(registry)
    assert (ran.status, f"completed {ours} application/x.test" in ran.out, f"gone      {unknown}" in ran.out) == (3, True, True)
    assert listed(registry) == {ours, unknown}


def test_where_the_api_is_offered_the_registry_makes_the_list() -> None:
    with simulated(Switches(referrers_lose=True)) as registry:
        registry.put(NAME, SUBJECT, "1.0.0")
        ours = registry.put(NAME, referrer(1))
        ran = repair(registry, "--referrer", ours)
        assert (ran.status, f"unlisted  {ours}" in ran.out) == (3, True)
        registry.switches.referrers_lose = False
        ran = repair(registry)
        assert (ran.status, f"listed    {ours}" in ran.out) == (0, True)
        assert not registry.paths("PUT")


def test_nothing_known_is_said(registry: SimulatedRegistry) -> None:
    ran = repair(registry)
    assert (ran.status, "nothing is known" in ran.out) == (0, True)
    assert not registry.paths("PUT")


def test_a_registry_that_fails_is_not_taken_for_an_empty_one(registry: SimulatedRegistry) -> None:
    registry.put(NAME, referrer(1))
    registry.switches.status = {f"/manifests/{fallback_tag(CHART.digest)}": 503}
    ran = repair(registry, "--referrer", digest_of(referrer(1)))
    assert (ran.status, "registry-error" in ran.err) == (3, True)
    assert not registry.paths("PUT")


@pytest.mark.parametrize(
    "arguments", [("oci://HOST/acme/web",), ("oci://HOST/acme/web:1.0.0", "--referrer", "md5:1"), ("oci://HOST/acme/web:1.0.0", "--from", "web.tgz")]
)
def test_misuse(arguments: tuple[str, ...], registry: SimulatedRegistry) -> None:
    ran = run("registry", "repair", *(text.replace("HOST", registry.host) for text in arguments))
    assert (ran.status, "reference-invalid" in ran.err) == (2, True)
