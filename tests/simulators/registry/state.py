"""What a simulated registry stores, and what was asked of it."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.simulators.registry.switches import Switches

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


class Token(NamedTuple):
    """Whom it was given to, for which actions on which repositories, and until when (monotonic)."""

    user: str
    grants: dict[str, set[str]]
    ends: float


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    query: str
    body: bytes


@dataclass
class SimulatedRegistry:
    """`host` is where it listens; `name` is what its users call it, where it stands behind one (see `simulators.internet`)."""

    host: str = ""
    name: str = ""
    switches: Switches = field(default_factory=Switches)
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[bytes, str]] = field(default_factory=dict)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    writes: int = 0
    refused: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    @property
    def base(self) -> str:
        """`scheme://host`, as its users see it."""
        return f"https://{self.name}" if self.name else f"http://{self.host}"

    def paths(self, method: str = "GET") -> list[str]:
        """The paths asked with this method, in order."""
        return [path for verb, path, _ in self.requests if verb == method]

    def put(self, repository: str, data: bytes, tag: str | None = None, media_type: str = MANIFEST) -> str:
        """Store a manifest directly."""
        digest = digest_of(data)
        self.manifests[repository, digest] = (data, media_type)
        if tag:
            self.tags[repository, tag] = digest
        return digest

    def put_blob(self, data: bytes) -> str:
        """Store a blob directly."""
        digest = digest_of(data)
        self.blobs[digest] = data
        return digest


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
