"""The embedded registry's disk: what is collected and what never is, copies of one moment, and damage that is found."""

from __future__ import annotations

import os
import tarfile
import threading
import time
from pathlib import Path

import pytest

from tests.support.charts import archive
from tests.support.cli import run
from tests.support.signers import pair
from tests.support.world import connect, publish, sign
from verifier.model.artifact import Descriptor
from verifier.model.digest import Digest, sha256
from verifier.model.errors import MisuseError
from verifier.oci.layout import ImageLayout
from verifier.oci.manifest import INDEX, MANIFEST, write_index
from verifier.registry.app import RegistryApp
from verifier.registry.running import running
from verifier.registry.store import RegistryStore
from verifier.registry.upkeep import Collected, back_up, check, collect


@pytest.fixture
def store(tmp_path: Path) -> RegistryStore:
    """Two signed charts, one without its tag by now."""
    store = RegistryStore(tmp_path / "data")
    store.prepare()
    with running(RegistryApp(store)) as host:
        connections = connect()
        for version in ("1.0.0", "1.1.0"):
            sign(connections, host, publish(connections, host, archive(version=version), tag=version), pair("ci"))
        connections.close()
    layout(store).delete_manifest("1.0.0")
    layout(store).push_blob(b"an upload that nothing came of")
    return store


def layout(store: RegistryStore) -> ImageLayout:
    return store.repository("acme/web")


def collected(store: RegistryStore, *, untagged: bool = True, dry_run: bool = False, young: float = -1.0) -> Collected:
    (found,) = collect(store, untagged=untagged, dry_run=dry_run, young=young)
    return found


def test_blobs_that_nothing_names_go_and_nothing_else(store: RegistryStore) -> None:
    manifests = len(layout(store).entries())
    assert collected(store, untagged=False).blobs == (sha256(b"an upload that nothing came of"),)
    assert len(layout(store).entries()) == manifests
    assert list(check(store)) == []
    assert collected(store, untagged=False).blobs == ()


def test_signatures_stay_with_their_chart_and_go_with_it(store: RegistryStore) -> None:
    before = {item.digest for item in layout(store).entries()}
    planned = collected(store, dry_run=True)
    assert {item.digest for item in layout(store).entries()} == before, "a plan changes nothing"
    done = collected(store)
    assert (done.manifests, done.freed) == (planned.manifests, planned.freed)
    assert len(done.manifests) == 2, "the chart without a tag, and its signature"
    left = layout(store).entries()
    assert len(left) == 2
    assert list(check(store)) == []
    (tagged,) = (item for item in left if item.annotations)
    assert len(layout(store).referrers(tagged.digest).descriptors) == 1


def test_what_is_young_stays(store: RegistryStore) -> None:
    found = collected(store, young=3600)
    assert (found.manifests, found.blobs) == ((), ())


def test_what_an_index_names_lives(store: RegistryStore) -> None:
    place = layout(store)
    old = next(item for item in place.entries() if not item.annotations and len(place.referrers(item.digest).descriptors) == 1)
    index = write_index([Descriptor(media_type=MANIFEST, digest=old.digest, size=old.size)])
    place.push_manifest(index, INDEX, "all")
    assert collected(store).manifests == ()


def test_a_list_that_cannot_be_read_collects_nothing(store: RegistryStore) -> None:
    place = layout(store)
    broken = place.entries()[0]
    place.blob_path(broken.digest).write_bytes(b"other")
    blobs = sorted(path.name for path in (place.root / "blobs").glob("*/*"))
    with pytest.raises(MisuseError) as caught:
        collected(store)
    assert caught.value.code.name == "file-unreadable"
    assert sorted(path.name for path in (place.root / "blobs").glob("*/*")) == blobs


def test_a_manifest_that_got_a_tag_meanwhile_stays(store: RegistryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    place = layout(store)
    old = next(item.digest for item in place.entries() if not item.annotations and place.referrers(item.digest).descriptors)
    real = ImageLayout.forget_untagged

    def tagged(self: ImageLayout, digests: tuple[Digest, ...]) -> tuple[Digest, ...]:
        self.push_manifest(place.manifest(old).data, MANIFEST, "1.0.0")
        return real(self, digests)

    monkeypatch.setattr(ImageLayout, "forget_untagged", tagged)
    done = collected(store)
    assert old not in done.manifests
    assert place.resolve("1.0.0").digest == old
    assert [line for line in check(store) if str(old) in line] == []


def test_collecting_while_it_is_pushed_to_breaks_nothing(tmp_path: Path) -> None:
    store = RegistryStore(tmp_path / "data")
    store.prepare()
    failed: list[Exception] = []
    with running(RegistryApp(store)) as host:

        def push(number: int) -> None:
            connections = connect()
            try:
                for patch in range(5):
                    publish(connections, host, archive(version=f"1.{number}.{patch}"), tag=f"1.{number}.{patch}")
            except Exception as error:
                failed.append(error)
            connections.close()

        threads = [threading.Thread(target=push, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            list(collect(store, untagged=True, dry_run=False, young=5))
            time.sleep(0.01)
        for thread in threads:
            thread.join()
    assert not failed
    assert len(layout(store).tags()) == 20
    assert list(check(store)) == []


# Copies


def test_a_copy_is_a_storage_again(store: RegistryStore, tmp_path: Path) -> None:
    assert back_up(store, tmp_path / "copy.tar")[0] == 1
    with tarfile.open(tmp_path / "copy.tar") as tar:
        tar.extractall(tmp_path / "restored", filter="data")
    restored = RegistryStore(tmp_path / "restored")
    restored.prepare()
    assert list(check(restored)) == []
    assert layout(restored).entries() == layout(store).entries()


def test_a_copy_that_is_made_while_it_is_pushed_to_is_whole(tmp_path: Path) -> None:
    store = RegistryStore(tmp_path / "data")
    store.prepare()
    with running(RegistryApp(store)) as host:
        connections = connect()
        publish(connections, host, archive(version="0.0.1"), tag="0.0.1")
        stop = threading.Event()

        def push() -> None:
            number = 0
            while not stop.is_set():
                publish(connections, host, archive(version=f"1.0.{number}"), tag=f"1.0.{number}")
                number += 1

        thread = threading.Thread(target=push)
        thread.start()
        for number in range(5):
            back_up(store, tmp_path / f"{number}.tar")
        stop.set()
        thread.join()
        connections.close()
    for number in range(5):
        with tarfile.open(tmp_path / f"{number}.tar") as tar:
            tar.extractall(tmp_path / f"r{number}", filter="data")
        assert list(check(RegistryStore(tmp_path / f"r{number}"))) == []


def test_a_copy_that_fails_leaves_nothing(store: RegistryStore, tmp_path: Path) -> None:
    with pytest.raises(MisuseError) as caught:
        back_up(store, tmp_path / "missing" / "copy.tar")
    assert caught.value.code.name == "write-failed"
    assert not (tmp_path / "missing").exists()


# As a user does it


def test_the_commands(store: RegistryStore, tmp_path: Path) -> None:
    root, old = ("--root", str(store.root)), time.time() - 7200
    for path in (layout(store).root / "blobs").glob("*/*"):
        os.utime(path, (old, old))
    planned = run("registry", "collect", *root, "--untagged")
    assert (planned.status, "acme/web: 2 manifests" in planned.out, "would free" in planned.out) == (0, True, True)
    assert "freed" in run("registry", "collect", *root, "--untagged", "--yes").out
    target = tmp_path / "copy.tar"
    assert "1 repositories" in run("registry", "backup", *root, str(target)).out
    again = run("registry", "backup", *root, str(target))
    assert (again.status, "write-failed" in again.err) == (2, True)
    assert run("registry", "verify-storage", *root).status == 0
    next((layout(store).root / "blobs").glob("*/*")).write_bytes(b"damage")
    damaged = run("registry", "verify-storage", *root)
    assert (damaged.status, "holds other bytes" in damaged.out) == (1, True)
