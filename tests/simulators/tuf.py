"""A TUF repository on disk, made with python-tuf's own metadata API, whose every part can be wrong on purpose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp  # type: ignore[attr-defined]

EXPIRES = datetime(2099, 1, 1, tzinfo=UTC)


def repository(directory: Path, targets: dict[str, bytes], *, signer: CryptoSigner | None = None, expires: datetime = EXPIRES) -> bytes:
    """Write a repository with these targets; returns the root.json that it is first trusted with."""
    key = CryptoSigner.generate_ecdsa()
    root = Root(version=1, expires=EXPIRES, consistent_snapshot=True)
    for role in ("root", "timestamp", "snapshot", "targets"):
        root.add_key(key.public_key, role)
    files = {name: TargetFile.from_data(name, data) for name, data in targets.items()}
    parts: dict[str, Any] = {
        "1.root": Metadata(root),
        "1.targets": Metadata(Targets(version=1, expires=EXPIRES, targets=files)),
        "1.snapshot": Metadata(Snapshot(version=1, expires=EXPIRES, meta={"targets.json": MetaFile(1)})),
        "timestamp": Metadata(Timestamp(version=1, expires=expires, snapshot_meta=MetaFile(1))),
    }
    (directory / "targets").mkdir(parents=True)
    for name, metadata in parts.items():
        metadata.sign(signer if signer is not None and name != "1.root" else key)
        metadata.to_file(str(directory / f"{name}.json"))
    for name, data in targets.items():
        (directory / "targets" / f"{files[name].hashes['sha256']}.{name}").write_bytes(data)
    return (directory / "1.root.json").read_bytes()


def long_ago() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)


__all__ = ["EXPIRES", "CryptoSigner", "long_ago", "repository"]
