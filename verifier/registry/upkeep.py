"""Keeping the embedded registry's disk in order while it serves: what nobody needs goes, and all of it is copied at one moment.

Collecting. 1. What has a tag lives, and what an index that lives names, and what refers to what lives, over any number of steps: signatures stay with
their chart. 2. The rest of the manifests go if asked for (`untagged`), and referrers of what is gone with them. 3. Blobs that no manifest names go.
4. What is younger than an hour stays: an upload stores its blobs before the manifest that names them.
Each repository is locked while its list is changed, so that what is pushed meanwhile is seen.

Backing up. Each repository's list is read once; it is replaced whole when it changes and what it names is never changed, so that the copy is of one moment. A
collection waits until the copy is done.
"""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from verifier.model import codes
from verifier.model.artifact import Descriptor
from verifier.model.digest import Digest, parse_digest
from verifier.model.errors import FailedError, InconclusiveError, MisuseError, VerifierError
from verifier.oci.layout import REF_NAME, ImageLayout, locked_file
from verifier.oci.manifest import Index, Manifest, read_manifest
from verifier.registry.store import RegistryStore

_YOUNG_SECONDS = 3600.0
_LOCK = ".upkeep"


class Collected(Struct, frozen=True, kw_only=True):
    """What went, or would go, of one repository."""

    repository: str
    manifests: tuple[Digest, ...]
    blobs: tuple[Digest, ...]
    freed: int


def collect(store: RegistryStore, *, untagged: bool, dry_run: bool, young: float = _YOUNG_SECONDS) -> Iterator[Collected]:
    """Raises VerifierError where a list or a manifest cannot be read: then nothing of that repository goes."""
    with _exclusive(store):
        for name in store.repositories():
            layout = store.repository(name)
            yield _collect(name, layout, untagged=untagged, dry_run=dry_run, before=time.time() - young)


def _collect(name: str, layout: ImageLayout, *, untagged: bool, dry_run: bool, before: float) -> Collected:
    parsed = _manifests(layout)
    gone = tuple(digest for digest in _dead(layout, parsed) if _age(layout, digest) < before) if untagged else ()
    if not dry_run and gone:
        gone = layout.forget_untagged(gone)
    with contextlib.nullcontext() if dry_run else layout.locked():
        needed = _needed({digest: item for digest, item in _manifests(layout).items() if not dry_run or digest not in gone})
        blobs = tuple(digest for digest in _blobs(layout) if digest not in needed and _age(layout, digest) < before)
        freed = sum(layout.blob_path(digest).stat().st_size for digest in blobs)
        for digest in blobs if not dry_run else ():
            layout.blob_path(digest).unlink(missing_ok=True)
    return Collected(repository=name, manifests=gone, blobs=blobs, freed=freed)


def _manifests(layout: ImageLayout) -> dict[Digest, Manifest | Index]:
    return {item.digest: _parse(layout, item) for item in layout.entries()}


def _needed(manifests: Mapping[Digest, Manifest | Index]) -> set[Digest]:
    return {item.digest for manifest in manifests.values() for item in _named(manifest)} | manifests.keys()


def _dead(layout: ImageLayout, parsed: Mapping[Digest, Manifest | Index]) -> Iterator[Digest]:
    alive = {item.digest for item in layout.entries() if item.annotations.get(REF_NAME)}
    while True:
        more = {child.digest for digest in alive for child in _children(parsed.get(digest))}
        more |= {
            digest
            for digest, manifest in parsed.items()
            if isinstance(manifest, Manifest) and manifest.subject is not None and manifest.subject.digest in alive
        }
        if more <= alive:
            break
        alive |= more
    yield from (digest for digest in parsed if digest not in alive)


def _subject(manifest: Manifest | Index) -> Digest | None:
    return manifest.subject.digest if isinstance(manifest, Manifest) and manifest.subject is not None else None


def _children(manifest: Manifest | Index | None) -> tuple[Descriptor, ...]:
    return manifest.manifests if isinstance(manifest, Index) else ()


def _named(manifest: Manifest | Index) -> tuple[Descriptor, ...]:
    return (manifest.config, *manifest.layers) if isinstance(manifest, Manifest) else manifest.manifests


def _parse(layout: ImageLayout, item: Descriptor) -> Manifest | Index:
    try:
        return read_manifest(layout.manifest(item.digest).data, where=layout.where)
    except (FailedError, InconclusiveError) as error:
        raise MisuseError(
            codes.FILE_UNREADABLE, f"the manifest {item.digest.short} is listed and cannot be read ({error.reason}): nothing is collected", where=layout.where
        ) from error


def _blobs(layout: ImageLayout) -> Iterator[Digest]:
    for path in sorted((layout.root / "blobs").glob("*/*")):
        with contextlib.suppress(ValueError):
            yield parse_digest(f"{path.parent.name}:{path.name}")


def _age(layout: ImageLayout, digest: Digest) -> float:
    """When it was stored; what is not there is as young as can be, so that it is left alone."""
    try:
        return layout.blob_path(digest).stat().st_mtime
    except OSError:
        return time.time()


# Backing up


def back_up(store: RegistryStore, target: Path) -> tuple[int, int]:
    """Write a tar of all repositories; returns how many, and how many blobs. Raises MisuseError `write-failed`, and then leaves nothing behind."""
    part = target.with_name(f".{target.name}.part")
    repositories = blobs = 0
    try:
        with _exclusive(store), tarfile.open(part, "w") as tar:
            for name in store.repositories():
                repositories += 1
                blobs += _add_repository(tar, name, store.repository(name))
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
    except OSError as error:
        raise MisuseError(codes.WRITE_FAILED, error.strerror or str(error), where=str(target)) from error
    finally:
        part.unlink(missing_ok=True)
    return repositories, blobs


def _add_repository(tar: tarfile.TarFile, name: str, layout: ImageLayout) -> int:
    """The list first; what it names can only be more on the disk by the time it is copied."""
    index = (layout.root / "index.json").read_bytes()
    base = f"{name}/_layout"
    for file, data in (("oci-layout", (layout.root / "oci-layout").read_bytes()), ("index.json", index)):
        about = tarfile.TarInfo(f"{base}/{file}")
        about.size = len(data)
        tar.addfile(about, io.BytesIO(data))
    digests = set(_blobs(layout))
    for digest in sorted(digests, key=str):
        tar.add(layout.blob_path(digest), arcname=f"{base}/blobs/{digest.algorithm}/{digest.hex}", recursive=False)
    return len(digests)


def check(store: RegistryStore) -> Iterator[str]:
    """What is wrong with the stored repositories, a line each: blobs with other bytes than their names say, and what is named and not there."""
    for name in store.repositories():
        layout = store.repository(name)
        for digest in _blobs(layout):
            if not digest.matches(layout.blob_path(digest).read_bytes()):
                yield f"{name}: {digest} holds other bytes"
        for item in layout.entries():
            try:
                parsed = read_manifest(layout.manifest(item.digest).data, where=layout.where)
            except VerifierError as error:
                yield f"{name}: {item.digest}: {error.reason}"
                continue
            for needed in _named(parsed):
                if not layout.blob_path(needed.digest).is_file():
                    yield f"{name}: {item.digest} names {needed.digest}, which is not there"


@contextlib.contextmanager
def _exclusive(store: RegistryStore) -> Iterator[None]:
    try:
        with locked_file(store.root / _LOCK):
            yield
    except OSError as error:
        raise MisuseError(codes.WRITE_FAILED, error.strerror or str(error), where=str(store.root)) from error
