"""What a repository holds: its versions, newest first, each with its digest and the state of its signatures.

Without trust material nothing is called verified (semantics 37). Tags that hold evidence (`sha256-HEX`, with and without cosign's endings) are no versions
and are left out; other tags that are no versions, as channels are, come last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct
from msgspec.structs import replace

from verifier.charts.version import Version, parse_version
from verifier.model.artifact import OciChart
from verifier.model.digest import Digest
from verifier.model.evidence import Gap
from verifier.model.reference import Reference, is_evidence_tag
from verifier.operations.connections import Connections
from verifier.operations.inspect import inspect
from verifier.operations.verification import Options
from verifier.trust.anchors import TrustMaterial

_AT_ONCE = 8  # each look at a chart waits for look-ups of its own


class Listed(Struct, frozen=True, kw_only=True):
    """One tag. `state` is verified, present, absent or unknown; `gaps` say why it is unknown."""

    tag: str
    digest: Digest | None
    state: str
    verified: int = 0
    present: int = 0
    gaps: tuple[Gap, ...] = ()


def version_of(tag: str) -> Version | None:
    """The version that a tag names: all three numbers, `_` for `+`, `v` in front or not. None for channels."""
    version = parse_version(tag.removeprefix("v").replace("_", "+"))
    return version if version is not None and version.parts == 3 else None


def newest_first(tags: Iterable[str]) -> tuple[str, ...]:
    """Versions from the newest on, then the others; tags of evidence are left out."""
    named = [tag for tag in tags if not is_evidence_tag(tag)]
    versions = [(version, tag) for tag in named if (version := version_of(tag)) is not None]
    return (*(tag for _, tag in sorted(versions, key=lambda item: (item[0], item[1]), reverse=True)), *sorted(tag for tag in named if version_of(tag) is None))


def look_at(tags: Sequence[str], repository: Reference, trust: TrustMaterial, connections: Connections) -> tuple[Listed, ...]:
    """Each tag, looked at side by side; what cannot be looked at is `unknown`, never `absent`."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="list") as pool:
        return tuple(pool.map(lambda tag: _look(replace(repository, tag=tag), trust, connections), tags))


def _look(reference: Reference, trust: TrustMaterial, connections: Connections) -> Listed:
    found = inspect(reference, trust, connections, Options())
    verified = sum(1 for claim in found.verified if claim.anchors)
    present = len(found.present) + len(found.verified) - verified
    state = "verified" if verified else "unknown" if found.unknown else "present" if present else "absent"
    digest = found.artifact.reference.digest if isinstance(found.artifact, OciChart) else None
    return Listed(tag=reference.tag or "", digest=digest, state=state, verified=verified, present=present, gaps=found.unknown)
