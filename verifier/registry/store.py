"""Repositories on disk: one OCI image layout each, below `ROOT/HOST-LESS-NAME/_layout`, which oras and skopeo can read.

`_layout` cannot be part of a repository name, so nested repositories never collide. Uploads grow in `ROOT/_uploads`, are
synced and renamed into the layout when their digest is right, and are gone otherwise.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from verifier.model import codes
from verifier.model.artifact import Descriptor
from verifier.model.digest import Digest
from verifier.model.errors import InconclusiveError, MisuseError
from verifier.model.reference import is_repository
from verifier.oci.layout import ImageLayout
from verifier.oci.manifest import Index, Manifest, read_manifest

_STALE_SECONDS = 24 * 3600.0


class Upload(Struct, frozen=True):
    """An upload in progress: `size` bytes are there."""

    path: Path
    size: int


class RegistryStore(Struct, frozen=True):
    """All repositories below `root`."""

    root: Path

    def prepare(self) -> None:
        """Make the root and drop uploads that a crash left behind; raises MisuseError `write-failed`."""
        uploads = self.root / "_uploads"
        try:
            uploads.mkdir(parents=True, exist_ok=True)
            for path in uploads.iterdir():
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()
        except OSError as error:
            raise MisuseError(codes.WRITE_FAILED, error.strerror or str(error), where=str(self.root)) from error

    def repository(self, name: str) -> ImageLayout:
        """The layout of a repository; the name was checked, so the path stays below the root."""
        if not is_repository(name):
            raise ValueError(f"not a repository name: {name[:100]!r}")
        return ImageLayout(self.root / name / "_layout")

    def repositories(self) -> Iterator[str]:
        """The names of all repositories."""
        for marker in sorted(self.root.glob("**/_layout/oci-layout")):
            yield marker.parent.parent.relative_to(self.root).as_posix()

    # Uploads

    def begin_upload(self) -> str:
        """A new upload's id."""
        name = uuid.uuid4().hex
        (self.root / "_uploads" / name).touch()
        return name

    def upload(self, name: str) -> Upload | None:
        """An upload, if the id is one of ours."""
        path = self.root / "_uploads" / name
        if len(name) != 32 or not name.isalnum() or not path.is_file():
            return None
        return Upload(path, path.stat().st_size)

    def finish_upload(self, upload: Upload, repository: ImageLayout, digest: Digest) -> bool:
        """Move it into the repository when its digest is right; False, and it is gone, when it is not."""
        with upload.path.open("rb+") as file:
            found = hashlib.file_digest(file, digest.algorithm).hexdigest()
            os.fsync(file.fileno())
        if found != digest.hex:
            upload.path.unlink()
            return False
        repository.create()
        target = repository.blob_path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(upload.path, target)
        return True

    def mount(self, digest: Digest, source: ImageLayout, target: ImageLayout) -> bool:
        """Share a blob between repositories; False when the source does not have it."""
        path = source.blob_path(digest)
        if not path.is_file():
            return False
        target.create()
        goal = target.blob_path(digest)
        goal.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(path, goal)
        return True


def missing_blob(layout: ImageLayout, data: bytes) -> Descriptor | None:
    """The first blob or manifest that a manifest names and the repository lacks; raises FailedError on a bad manifest."""
    parsed = read_manifest(data, where="manifest")
    match parsed:
        case Index(manifests=needed):
            pass
        case Manifest(config=config, layers=layers):
            needed = (config, *layers)
    return next((item for item in needed if not layout.blob_path(item.digest).is_file()), None)


def blob_size(layout: ImageLayout, digest: Digest) -> int:
    """The size of a blob; raises InconclusiveError `not-found`."""
    try:
        return layout.blob_path(digest).stat().st_size
    except OSError as error:
        raise InconclusiveError(codes.NOT_FOUND, f"no blob {digest.short}", where=layout.where) from error
