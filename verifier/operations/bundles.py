"""Bundles: one file with a chart, all its evidence, the policy and its trust material, for a place without a network.

    FILE                 a tar of an OCI image layout, byte for byte the same every time; oras and skopeo read it
    index.json           the chart under its version, what is attached to it, and the bundle's own manifest, tagged `bundle`
    bundle's blobs       bundle.json, the documents of the policy, each key and root

A bundle does not vouch for itself: whoever wrote it chose its policy. It is verified under a policy that the place has already, or under its
own if the digest of that was learnt by another way. What comes out of the tar is only what a layout consists of.
"""

from __future__ import annotations

import io
import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from verifier.formats.json import dump_json
from verifier.model import codes, limits
from verifier.model.digest import Digest, parse_digest, sha256
from verifier.model.errors import FailedError, InconclusiveError, MisuseError
from verifier.model.reference import LayoutReference, Reference, parse_oci
from verifier.oci.layout import ImageLayout, replace_file
from verifier.oci.source import Fetched, Source
from verifier.operations.copying import copy
from verifier.operations.policies import LoadedPolicy
from verifier.operations.recording import Reader, Writer

ARTIFACT = "application/vnd.helm-verifier.bundle.v1"
TAG = "bundle"
_API = "verifier/v1"
_EPOCH = 315532800  # 1980: no time of a bundle's making is in it
_NAME = re.compile(r"oci-layout|index\.json|blobs/sha(?:256|512)/[0-9a-f]{64,128}")


class Bundle(Struct, frozen=True, kw_only=True):
    """An opened bundle: its layout, where the chart comes from, and the policy that it brought."""

    layout: ImageLayout
    origin: Reference
    digest: Digest
    policy: LoadedPolicy | None
    policy_digest: Digest | None

    @property
    def reference(self) -> LayoutReference:
        """The chart in the layout, standing for its origin."""
        written = f"{self.layout.where}:{self.origin.tag}@{self.digest}"
        return LayoutReference(path=str(self.layout.root), tag=self.origin.tag, digest=self.digest, written=written, asserted=self.origin)


def create_bundle(source: Source, chart: Fetched, origin: Reference, loaded: LoadedPolicy, path: Path) -> tuple[int, Digest | None]:
    """Write a bundle file, whole or not at all; returns how many manifests are attached, and the policy's digest where it is a document."""
    with tempfile.TemporaryDirectory(prefix="verifier-bundle-") as directory:
        layout = ImageLayout(Path(directory))
        layout.create()
        copied = copy(source, chart, layout, origin.tag or "", lambda _: None)
        writer = Writer(layout)
        policy = writer.policy(loaded) if loaded.documents else None
        value = {"apiVersion": _API, "kind": "Bundle", "origin": str(origin), "digest": str(chart.digest), "policy": policy}
        writer.finish(value, ARTIFACT, TAG)
        try:
            replace_file(path, _tar(layout.root))
        except OSError as error:
            raise MisuseError(codes.WRITE_FAILED, error.strerror or str(error), where=str(path)) from error
    return copied.evidence, _policy_digest(policy)


def _policy_digest(policy: Any) -> Digest | None:
    """Of all that the policy consists of: its value names each blob by its digest."""
    return sha256(dump_json(policy)) if policy is not None else None


@contextmanager
def opened(path: Path) -> Iterator[Bundle]:
    """A bundle, unpacked into a directory of its own; raises MisuseError `file-unreadable` or `bundle-invalid`."""
    with tempfile.TemporaryDirectory(prefix="verifier-bundle-") as directory:
        try:
            _unpack(path, Path(directory))
        except (tarfile.TarError, EOFError) as error:
            raise MisuseError(codes.BUNDLE_INVALID, f"not a tar file: {error}"[:200], where=str(path)) from error
        except OSError as error:
            raise MisuseError(codes.FILE_UNREADABLE, error.strerror or str(error), where=str(path)) from error
        yield _read(ImageLayout(Path(directory)), path)


def _read(layout: ImageLayout, path: Path) -> Bundle:
    try:
        reader = Reader(layout)
        value = reader.document("Bundle", ARTIFACT, TAG)
        policy = value.message("policy")
        return Bundle(
            layout=layout,
            origin=parse_oci(value.text("origin")),
            digest=parse_digest(value.text("digest")),
            policy=reader.policy(policy) if policy is not None else None,
            policy_digest=_policy_digest(value.get("policy")),
        )
    except (FailedError, InconclusiveError, MisuseError) as error:
        raise MisuseError(codes.BUNDLE_INVALID, error.reason, where=str(path)) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise MisuseError(codes.BUNDLE_INVALID, f"malformed: {error}"[:200], where=str(path)) from error


def _tar(root: Path) -> bytes:
    """The layout as a tar with sorted names and nothing of this machine in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(item for item in root.rglob("*") if item.is_file() and item.name != ".lock"):
            data = path.read_bytes()
            member = tarfile.TarInfo(path.relative_to(root).as_posix())
            member.size, member.mode, member.mtime = len(data), 0o644, _EPOCH
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _unpack(path: Path, root: Path) -> None:
    """Only what a layout consists of, each name once, within bounds; links, devices and other names are refused."""
    if path.stat().st_size > limits.BUNDLE_BYTES:
        raise MisuseError(codes.BUNDLE_INVALID, f"larger than {limits.BUNDLE_BYTES} bytes", where=str(path))
    seen: set[str] = set()
    with tarfile.open(path, mode="r:") as tar:
        for member in tar:
            if member.isdir() and member.name.rstrip("/") in (".", "blobs", "blobs/sha256", "blobs/sha512"):
                continue
            name = member.name.removeprefix("./")
            if not member.isreg() or not _NAME.fullmatch(name) or name in seen or len(seen) >= 10 * limits.COPY_MANIFESTS:
                raise MisuseError(codes.BUNDLE_INVALID, f"it holds {member.name[:100]!r}, which an image layout does not have (or not twice)", where=str(path))
            seen.add(name)
            content = tar.extractfile(member)
            assert content is not None
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content.read())
