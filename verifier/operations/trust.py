"""Refreshing and showing sigstore's trusted roots. Nothing else ever refreshes one, and verification asks nobody."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from verifier.model import codes, limits
from verifier.model.digest import sha256
from verifier.model.errors import MisuseError
from verifier.net.deadline import Deadline
from verifier.net.transport import Request, Transport
from verifier.operations.resolve import read_local
from verifier.operations.roots import Root, newest_root, read_snapshot, snapshot_path, write_snapshot
from verifier.trust.anchors import PUBLIC_GOOD
from verifier.trust.built_in import PUBLIC_GOOD_TUF, public_good_tuf_root
from verifier.trust.trusted_root import read_trusted_root

_SECONDS = 120.0


class Repository(Struct, frozen=True, kw_only=True):
    """A TUF repository, the root that it is first trusted with, and the name under which policies speak of its trusted root."""

    name: str = PUBLIC_GOOD
    url: str = PUBLIC_GOOD_TUF
    root: Path | None = None


def update_root(repository: Repository, stored: Path, transport: Transport) -> Root:
    """Fetch a trusted root through TUF and store it; raises FailedError, InconclusiveError or MisuseError, and changes nothing then."""
    from verifier.schemes.sigstore.root import prepare_root
    from verifier.schemes.sigstore.tuf import TARGETS, fetch_targets

    if repository.root is None and repository.url != PUBLIC_GOOD_TUF:
        raise MisuseError(codes.USAGE, "another TUF repository needs --tuf-root FILE: the root.json that it is first trusted with")
    bootstrap = read_local(repository.root, limits.TRUSTED_ROOT_BYTES) if repository.root is not None else public_good_tuf_root()
    deadline = Deadline.after(_SECONDS)

    def fetch(url: str) -> tuple[int, bytes]:
        response = transport.send(Request(method="GET", url=url), deadline, limits.TRUSTED_ROOT_BYTES)
        return response.status, response.body

    targets = fetch_targets(repository.url, bootstrap, fetch)
    prepare_root(targets[TARGETS[0]])
    root = Root(name=repository.name, data=targets[TARGETS[0]], source=repository.url, as_of=datetime.now(UTC), signing_config=targets.get(TARGETS[1]))
    write_snapshot(snapshot_path(stored, repository.name), root)
    return root


def known_roots(stored: Path) -> list[Root]:
    """The public instance's root as it would be used now, then the others that were stored."""
    others = sorted(path for path in stored.glob("*.json") if path.stem != PUBLIC_GOOD) if stored.is_dir() else []
    return [newest_root(stored), *(root for path in others if (root := read_snapshot(path)) is not None)]


def describe_root(root: Root) -> Iterator[str]:
    """Lines for a person: name, digest, age, and whom it trusts."""
    age = f"{(datetime.now(UTC) - root.as_of).days} days old, of {root.as_of:%Y-%m-%d}" if root.as_of else "of an unknown day"
    yield f"{root.name}"
    yield f"  digest     {sha256(root.data)}"
    yield f"  age        {age}"
    yield f"  source     {root.source}"
    read = read_trusted_root(root.data, where=root.source)
    for kind, uris in (
        ("CA", [item.uri for item in read.certificate_authorities]),
        ("log", [item.base_url for item in read.logs]),
        ("CT log", [item.base_url for item in read.ct_logs]),
        ("timestamps", [item.uri for item in read.timestamp_authorities]),
    ):
        for uri in dict.fromkeys(uris):
            yield f"  {kind:<10} {uri}"
