"""Sigstore roots: where each comes from, and how old it is. Only `verifier trust update` ever fetches one.

A root that the policy gives a file is that file, as old as its last change; one without is what `trust update --name` stored,
which says when it was fetched. The public instance's is the newest of what was stored and what is built in.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from verifier.formats.json import dump_json, parse_object
from verifier.formats.protojson import Message
from verifier.model import codes, limits
from verifier.model.errors import FailedError, MisuseError
from verifier.operations.resolve import read_local
from verifier.policy.document import RootEntry
from verifier.trust.anchors import PUBLIC_GOOD
from verifier.trust.built_in import AS_OF, public_good_root, public_good_signing_config
from verifier.trust.trusted_root import CLIENT_TRUST

_API_VERSION, _KIND = "verifier/v1", "TrustedRootSnapshot"


class Root(Struct, frozen=True, kw_only=True):
    """A trusted root's JSON, where it came from, and of when it is; and where its services are, if that is known."""

    name: str
    data: bytes
    source: str
    as_of: datetime | None
    signing_config: bytes | None = None

    @property
    def services(self) -> bytes:
        """The signing config; raises MisuseError `trust-invalid` where none is known."""
        if self.signing_config is None:
            raise MisuseError(codes.TRUST_INVALID, f"the root {self.name} comes without a signing config; give a --trust-config FILE")
        return self.signing_config

    @property
    def trust_config(self) -> bytes:
        """Root and services as a ClientTrustConfig; raises MisuseError `trust-invalid` where no services are known."""
        value = {"mediaType": CLIENT_TRUST, "trustedRoot": json.loads(self.data), "signingConfig": json.loads(self.services)}
        return dump_json(value)


def read_root(entry: RootEntry, base: Path, stored: Path | None) -> Root:
    """The root that an entry means; `stored` is the directory of `trust update`. Raises MisuseError."""
    if entry.path is not None:
        path = base / entry.path
        data = read_local(path, limits.TRUSTED_ROOT_BYTES)
        return Root(name=entry.name, data=data, source=str(path), as_of=datetime.fromtimestamp(path.stat().st_mtime, UTC))
    if entry.name == PUBLIC_GOOD:
        return newest_root(stored)
    found = read_snapshot(snapshot_path(stored, entry.name)) if stored is not None else None
    if found is None:
        advice = f"run `verifier trust update --name {entry.name} --tuf-url URL --tuf-root FILE`, or give it a `trustedRoot: FILE`"
        raise MisuseError(codes.TRUST_INVALID, f"the root {entry.name} is not stored: {advice}")
    return found


def newest_root(stored: Path | None) -> Root:
    """The public instance's root."""
    built_in = Root(name=PUBLIC_GOOD, data=public_good_root(), source="built in", as_of=AS_OF, signing_config=public_good_signing_config())
    snapshot = read_snapshot(snapshot_path(stored, PUBLIC_GOOD)) if stored is not None else None
    return snapshot if snapshot is not None and snapshot.as_of is not None and snapshot.as_of > AS_OF else built_in


def snapshot_path(stored: Path, name: str) -> Path:
    """Where a snapshot lies."""
    return stored / f"{name}.json"


def read_snapshot(path: Path) -> Root | None:
    """A stored snapshot, None if there is none; raises MisuseError `trust-invalid` for one that cannot be read."""
    if not path.is_file():
        return None
    data = read_local(path, limits.TRUSTED_ROOT_BYTES)
    try:
        value = Message(parse_object(data, where=str(path)), "the snapshot", codes.JSON_INVALID, str(path))
        if (value.text("apiVersion"), value.text("kind")) != (_API_VERSION, _KIND):
            value.refuse("is not one that `verifier trust update` wrote")
        fetched, root, services = value.time("fetched"), value.get("trustedRoot"), value.get("signingConfig")
    except FailedError as error:
        raise MisuseError(codes.TRUST_INVALID, f"{error.reason}; run `verifier trust update` again", where=str(path)) from error
    signing_config = dump_json(services) if services is not None else None
    return Root(name=path.stem, data=dump_json(root), source=value.text("source"), as_of=fetched, signing_config=signing_config)


def write_snapshot(path: Path, root: Root) -> None:
    """Store a root that was fetched; whole or not at all."""
    from verifier.operations.signing import write_new

    assert root.as_of is not None
    trusted: Any = json.loads(root.data)
    fetched = root.as_of.isoformat().replace("+00:00", "Z")
    path.parent.mkdir(parents=True, exist_ok=True)
    value = {"apiVersion": _API_VERSION, "kind": _KIND, "fetched": fetched, "source": root.source, "trustedRoot": trusted}
    if root.signing_config is not None:
        value["signingConfig"] = json.loads(root.signing_config)
    write_new(path, dump_json(value))


def read_trust_config(path: Path) -> Root:
    """A ClientTrustConfig file: a root with its services; raises MisuseError."""
    data = read_local(path, limits.TRUSTED_ROOT_BYTES)
    try:
        value = parse_object(data, where=str(path))
    except FailedError as error:
        raise MisuseError(codes.TRUST_INVALID, error.reason, where=str(path)) from error
    root, services = value.get("trustedRoot"), value.get("signingConfig")
    if value.get("mediaType") != CLIENT_TRUST or not isinstance(root, dict) or not isinstance(services, dict):
        raise MisuseError(codes.TRUST_INVALID, f"not a {CLIENT_TRUST} with trustedRoot and signingConfig", where=str(path))
    return Root(name=path.name, data=dump_json(root), source=str(path), as_of=None, signing_config=dump_json(services))
