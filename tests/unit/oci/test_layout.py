"""The image layout as source and target: whole or not at all, and never outside its directory."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from verifier.model.artifact import Descriptor
from verifier.model.digest import sha256
from verifier.model.errors import FailedError, MisuseError, VerifierError
from verifier.oci.layout import REF_NAME, ImageLayout, replace_file
from verifier.oci.manifest import INDEX, MANIFEST, write_index, write_referrer

CONFIG = b"{}"


def image(note: str = "1") -> bytes:
    config = {"mediaType": "c", "digest": str(sha256(CONFIG)), "size": 2}
    return json.dumps({"schemaVersion": 2, "config": config, "layers": [], "annotations": {"n": note}}).encode()


def fails(work) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(VerifierError) as caught:
        work()
    return caught.value.code.name


def test_tags_move_and_digests_stay(tmp_path: Path) -> None:
    layout = ImageLayout(tmp_path / "l")
    one = layout.push_manifest(image("1"), MANIFEST, "v")
    two = layout.push_manifest(image("2"), MANIFEST, "v")
    layout.push_manifest(image("2"), MANIFEST, "w")
    layout.push_manifest(image("2"), MANIFEST)
    assert layout.resolve("v").digest == two
    assert layout.manifest(one).data == image("1")
    assert layout.tags() == ("v", "w")
    assert len(layout.entries()) == 3
    assert json.loads((tmp_path / "l" / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


def test_what_is_not_there(tmp_path: Path) -> None:
    empty = ImageLayout(tmp_path / "none")
    assert fails(lambda: empty.resolve("v")) == "not-found"
    layout = ImageLayout(tmp_path / "l")
    layout.push_manifest(image(), MANIFEST, "v")
    assert fails(lambda: layout.resolve("w")) == "not-found"
    assert fails(lambda: layout.manifest(sha256(b"x"))) == "not-found"
    assert fails(lambda: layout.blob(Descriptor(media_type="x", digest=sha256(b"x"), size=1), 10)) == "not-found"
    assert fails(lambda: layout.delete_manifest("w")) == "not-found"
    assert fails(lambda: layout.delete_manifest(str(sha256(b"x")))) == "not-found"


def test_a_changed_blob_is_found_out(tmp_path: Path) -> None:
    layout = ImageLayout(tmp_path / "l")
    digest = layout.push_blob(b"data")
    descriptor = Descriptor(media_type="x", digest=digest, size=4)
    assert layout.blob(descriptor, 10) == b"data"
    assert fails(lambda: layout.blob(descriptor, 3)) == "response-limit"
    for changed in (b"date", b"dat", b"data and more"):
        layout.blob_path(digest).write_bytes(changed)
        assert fails(lambda: layout.blob(descriptor, 100)) == "digest-mismatch"
    layout.blob_path(digest).unlink()
    layout.blob_path(digest).mkdir()
    assert fails(lambda: layout.blob(descriptor, 100)) == "registry-error"


@pytest.mark.parametrize("text", ["{", "[]", '{"manifests": [{}]}', '{"manifests": [{"mediaType": "x", "digest": "sha256:../../x", "size": 1}]}'])
def test_a_broken_index(tmp_path: Path, text: str) -> None:
    layout = ImageLayout(tmp_path / "l")
    layout.create()
    (layout.root / "index.json").write_text(text)
    assert fails(lambda: layout.resolve("v")) == "registry-nonsense"


def test_referrers_are_found_by_their_subject(tmp_path: Path) -> None:
    layout = ImageLayout(tmp_path / "l")
    digest = layout.push_manifest(image(), MANIFEST, "v")
    subject = Descriptor(media_type=MANIFEST, digest=digest, size=len(image()))
    blob = Descriptor(media_type="application/x", digest=layout.push_blob(b"evidence"), size=8)
    manifest = write_referrer(subject, blob, {"a": "b"})
    layout.attach([manifest], subject)
    layout.push_manifest(write_index(()), INDEX)
    layout.push_manifest(image("unrelated"), MANIFEST)
    (found,) = layout.referrers(digest).descriptors
    assert (found.artifact_type, found.annotations) == ("application/x", {"a": "b"})
    layout.blob_path(sha256(image("unrelated"))).write_bytes(b"broken")
    assert [gap.code.name for gap in layout.referrers(digest).gaps] == ["digest-mismatch"]
    layout.delete_manifest(str(sha256(manifest)))
    assert layout.referrers(digest).descriptors == ()
    layout.delete_manifest("v")
    assert layout.tags() == ()
    assert layout.manifest(digest)


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    layout = ImageLayout(tmp_path / "l")
    threads = [threading.Thread(target=layout.push_manifest, args=(image(str(n)), MANIFEST, f"t{n}")) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(layout.tags()) == 12


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = ImageLayout(tmp_path / "l")
    layout.push_manifest(image(), MANIFEST, "v")
    before = (layout.root / "index.json").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MisuseError) as caught:
        layout.push_manifest(image("2"), MANIFEST, "w")
    assert caught.value.code.name == "write-failed"
    assert (layout.root / "index.json").read_bytes() == before
    assert not list(layout.root.glob("**/.tmp-*"))
    with pytest.raises(OSError, match="No space"):
        replace_file(tmp_path / "f", b"x")
    assert not (tmp_path / "f").exists()


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert fails(lambda: ImageLayout(tmp_path / "file").push_manifest(image(), MANIFEST)) == "write-failed"


def test_an_index_keeps_what_others_wrote(tmp_path: Path) -> None:
    layout = ImageLayout(tmp_path / "l")
    layout.create()
    foreign = {"mediaType": MANIFEST, "digest": f"sha256:{'1' * 64}", "size": 3, "annotations": {REF_NAME: "x", "other": "kept"}, "platform": {"os": "linux"}}
    (layout.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [foreign], "annotations": {"top": "kept"}}))
    layout.push_manifest(image(), MANIFEST, "x")
    value = json.loads((layout.root / "index.json").read_text())
    assert value["annotations"] == {"top": "kept"}
    assert value["manifests"][0] == {**foreign, "annotations": {"other": "kept"}}


def test_a_digest_mismatch_is_a_failure_not_a_doubt(tmp_path: Path) -> None:
    layout = ImageLayout(tmp_path / "l")
    digest = layout.push_blob(b"data")
    layout.blob_path(digest).write_bytes(b"evil")
    with pytest.raises(FailedError):
        layout.blob(Descriptor(media_type="x", digest=digest, size=4), 10)
