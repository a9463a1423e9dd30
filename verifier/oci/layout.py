"""An OCI image layout on disk as source and target. Source: opencontainers/image-spec image-layout.md.

    DIR/oci-layout            {"imageLayoutVersion":"1.0.0"}
    DIR/index.json            every manifest; a tag is the annotation org.opencontainers.image.ref.name
    DIR/blobs/sha256/HEX      manifests and blobs

The layout has no referrers section: relations are found by reading `subject` of what index.json lists, so each attached
manifest is listed there too (as `oras` does). Writes go to a temporary file, are synced and renamed: after a crash a file
is there whole or not at all, and index.json is the old or the new one. One writer at a time, by a lock file.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from verifier.formats.json import dump_json, parse_object
from verifier.model import codes, limits
from verifier.model.artifact import Descriptor
from verifier.model.digest import Digest, sha256
from verifier.model.errors import FailedError, InconclusiveError, MisuseError
from verifier.model.evidence import Gap, Kind
from verifier.oci.manifest import MANIFEST, Manifest, descriptor_value, read_descriptor, read_manifest
from verifier.oci.source import Fetched, Referrers

REF_NAME = "org.opencontainers.image.ref.name"
_MARKER = b'{"imageLayoutVersion":"1.0.0"}'
_INDEX_BYTES = 32 * limits.MIB
_LOCKS: dict[str, threading.Lock] = {}
_LOCKS_GUARD = threading.Lock()


class StoreRules(Struct, frozen=True):
    """What must hold at the very moment when a manifest is listed: `check` raises where it does not; without `move` a tag stays what it is."""

    check: Callable[[], None] = lambda: None
    move: bool = True


class ImageLayout(Struct, frozen=True):
    """The layout in one directory; `create` makes it when something is first written."""

    root: Path

    @property
    def where(self) -> str:
        """`oci-layout://DIR`."""
        return f"oci-layout://{self.root}"

    @property
    def exists(self) -> bool:
        """Whether the directory holds a layout."""
        return (self.root / "oci-layout").is_file()

    # Reading

    def resolve(self, tag: str) -> Fetched:
        """The manifest with this ref.name."""
        for descriptor in self.entries():
            if descriptor.annotations.get(REF_NAME) == tag:
                return self._fetch(descriptor)
        raise InconclusiveError(codes.NOT_FOUND, f"no tag {tag!r}", where=self.where)

    def manifest(self, digest: Digest) -> Fetched:
        """The manifest of this digest, if index.json lists it."""
        for descriptor in self.entries():
            if descriptor.digest == digest:
                return self._fetch(descriptor)
        raise InconclusiveError(codes.NOT_FOUND, f"no manifest {digest.short}", where=self.where)

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """The blob, compared with size and digest."""
        if descriptor.size > limit:
            raise InconclusiveError(codes.RESPONSE_LIMIT, f"announced with {descriptor.size} bytes, the limit here is {limit}", where=self.where)
        data = self._read(self.blob_path(descriptor.digest), descriptor.digest, descriptor.size + 1)
        if len(data) != descriptor.size or not descriptor.digest.matches(data):
            raise FailedError(codes.DIGEST_MISMATCH, f"expected {descriptor.digest.short}, found {sha256(data).short}", where=self.where)
        return data

    def referrers(self, digest: Digest) -> Referrers:
        """All listed manifests whose subject is `digest`, in the order of index.json."""
        found, gaps = [], []
        for descriptor in {item.digest: item for item in self.entries()}.values():
            if descriptor.media_type != MANIFEST or descriptor.digest == digest:
                continue
            try:
                parsed = read_manifest(self._fetch(descriptor).data, where=self.where)
            except (FailedError, InconclusiveError) as error:
                gaps.append(Gap(kind="referrers", where=f"{self.where}@{descriptor.digest.short}", code=error.code, reason=error.reason))
                continue
            if isinstance(parsed, Manifest) and parsed.subject is not None and parsed.subject.digest == digest:
                found.append(
                    Descriptor(
                        media_type=descriptor.media_type,
                        digest=descriptor.digest,
                        size=descriptor.size,
                        annotations=parsed.annotations,
                        artifact_type=parsed.kind,
                    )
                )
        return Referrers(descriptors=tuple(found), kind=Kind.REFERRER, gaps=tuple(gaps))

    def tags(self) -> tuple[str, ...]:
        """All ref.names, sorted."""
        return tuple(sorted({name for item in self.entries() if (name := item.annotations.get(REF_NAME))}))

    def entries(self) -> tuple[Descriptor, ...]:
        """The descriptors of index.json."""
        if not self.exists:
            raise InconclusiveError(codes.NOT_FOUND, "not an OCI image layout", where=self.where)
        try:
            value = parse_object((self.root / "index.json").read_bytes(), where=f"{self.where}/index.json")
            manifests = value.get("manifests", [])
            return tuple(read_descriptor(item, where="index.json") for item in manifests if isinstance(item, dict))
        except OSError as error:
            raise InconclusiveError(codes.REGISTRY_ERROR, f"index.json: {error.strerror}", where=self.where) from error
        except FailedError as error:
            raise InconclusiveError(codes.REGISTRY_NONSENSE, error.reason, where=self.where) from error

    def blob_path(self, digest: Digest) -> Path:
        """Where a blob lies; a Digest has only lower-case hex, so the path cannot leave the layout."""
        return self.root / "blobs" / digest.algorithm / digest.hex

    # Writing

    def push_blob(self, data: bytes, *, fresh: bool = False) -> Digest:
        """Store a blob unless it is there."""
        digest = sha256(data)
        if not self.blob_path(digest).is_file():
            self._write(self.blob_path(digest), data)
        return digest

    def push_manifest(self, data: bytes, media_type: str, tag: str | None = None) -> Digest:
        """Store a manifest and list it, under `tag` if given; a tag that named another manifest moves."""
        return self.store_manifest(data, media_type, sha256(data), tag)

    def store_manifest(self, data: bytes, media_type: str, digest: Digest, tag: str | None = None, rules: StoreRules | None = None) -> Digest:
        """The same under a digest of any algorithm, which the caller has compared; raises what the rules raise."""
        rules = rules or StoreRules()
        if not self.blob_path(digest).is_file():
            self._write(self.blob_path(digest), data)
        entry: dict[str, Any] = descriptor_value(Descriptor(media_type=media_type, digest=digest, size=len(data)))
        if tag is not None:
            entry["annotations"] = {REF_NAME: tag}

        def change(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
            rules.check()
            if not rules.move and any(_tag(item) == tag and item["digest"] != str(digest) for item in entries):
                raise MisuseError(codes.TAG_EXISTS, f"the tag {tag} names something else", where=self.where)
            return [_untagged(item) if tag is not None and _tag(item) == tag else item for item in entries] + [entry]

        self._change_index(change)
        return digest

    def attach(self, manifests: Sequence[bytes], subject: Descriptor) -> None:
        """Store and list the manifests; reading `subject` back finds them."""
        attached = {self.push_manifest(manifest, MANIFEST) for manifest in manifests}
        if not attached <= {item.digest for item in self.referrers(subject.digest).descriptors}:
            raise InconclusiveError(codes.ATTACHMENT_LOST, "what was attached is not listed", where=self.where)

    def delete_manifest(self, reference: str) -> None:
        """Remove a tag, or a manifest with all its tags; blobs stay."""
        gone = 0

        def change(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
            nonlocal gone
            if ":" in reference:
                kept = [item for item in entries if item["digest"] != reference]
            else:
                kept = [_untagged(item) if _tag(item) == reference else item for item in entries]
            gone = sum(1 for before in entries if before not in kept)
            return kept

        self._change_index(change)
        if not gone:
            raise InconclusiveError(codes.NOT_FOUND, f"no manifest or tag {reference[:80]!r}", where=self.where)

    def forget_untagged(self, digests: Collection[Digest]) -> tuple[Digest, ...]:
        """Take manifests out of the list, but for those that have a tag by now; returns those that are gone."""
        gone: list[str] = []

        def change(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
            tagged = {item["digest"] for item in entries if _tag(item)}
            gone.extend(str(digest) for digest in digests if str(digest) not in tagged)
            return [item for item in entries if item["digest"] not in gone]

        self._change_index(change)
        return tuple(digest for digest in digests if str(digest) in gone)

    def create(self) -> None:
        """Make the directory a layout, if it is not."""
        if not self.exists:
            if not (self.root / "index.json").exists():
                self._write(self.root / "index.json", dump_json({"schemaVersion": 2, "manifests": []}))
            self._write(self.root / "oci-layout", _MARKER)

    def _fetch(self, descriptor: Descriptor) -> Fetched:
        data = self.blob(descriptor, limits.MANIFEST_BYTES)
        return Fetched(digest=descriptor.digest, media_type=descriptor.media_type, data=data)

    def _read(self, path: Path, digest: Digest, most: int) -> bytes:
        try:
            with path.open("rb") as file:
                return file.read(most)
        except FileNotFoundError as error:
            raise InconclusiveError(codes.NOT_FOUND, f"no blob {digest.short}", where=self.where) from error
        except OSError as error:
            raise InconclusiveError(codes.REGISTRY_ERROR, f"blob {digest.short}: {error.strerror}", where=self.where) from error

    def _write(self, path: Path, data: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, data)
        except OSError as error:
            raise MisuseError(codes.WRITE_FAILED, error.strerror or str(error), where=str(path)) from error

    def _change_index(self, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        with self.locked():
            self.create()
            value = parse_object((self.root / "index.json").read_bytes(), where=f"{self.where}/index.json")
            entries = [item for item in value.get("manifests", []) if isinstance(item, dict)]
            data = dump_json({**value, "manifests": _distinct(change(entries))})
            if len(data) > _INDEX_BYTES:
                raise MisuseError(codes.WRITE_FAILED, "index.json would be too large", where=self.where)
            self._write(self.root / "index.json", data)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Between threads by a lock, between processes by the lock file (where the platform has flock)."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with _LOCKS_GUARD:
                lock = _LOCKS.setdefault(str(self.root.resolve()), threading.Lock())
            with lock, locked_file(self.root / ".lock"):
                yield
        except OSError as error:
            raise MisuseError(codes.WRITE_FAILED, error.strerror or str(error), where=str(self.root)) from error


@contextlib.contextmanager
def locked_file(path: Path) -> Iterator[None]:
    """Nobody else's process is in such a block (where the platform has flock); raises OSError."""
    with path.open("wb") as file:
        _flock(file.fileno())
        yield


def replace_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file whole or not at all; raises OSError, and then leaves nothing behind."""
    handle, name = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _flock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # a platform without flock: threads are still kept apart
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def _tag(entry: dict[str, Any]) -> str | None:
    annotations = entry.get("annotations")
    return annotations.get(REF_NAME) if isinstance(annotations, dict) else None


def _untagged(entry: dict[str, Any]) -> dict[str, Any]:
    annotations = {key: value for key, value in entry.get("annotations", {}).items() if key != REF_NAME}
    return {key: value for key, value in {**entry, "annotations": annotations}.items() if key != "annotations" or annotations}


def _distinct(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each (digest, tag) once; an untagged entry vanishes beside a tagged one of the same digest."""
    tagged = {item["digest"] for item in entries if _tag(item)}
    seen: set[tuple[str, str | None]] = set()
    kept = []
    for item in entries:
        key = (str(item["digest"]), _tag(item))
        if key in seen or (key[1] is None and key[0] in tagged):
            continue
        seen.add(key)
        kept.append(item)
    return kept
