"""Reading from a mirror what belongs to an origin (semantics 26).

1. Mirrors are configured, mapped on whole path segments; the longest that fits counts.
2. What a tag names is asked of the origin: a mirror may lag behind, or be made to, and would serve an old version under its name. With a digest
   that is given the origin need not be there; nor where the rule has a version floor, below which nothing passes: then the mirror says what the tag
   names if the origin cannot be reached, and that it could not is a gap. Any answer of the origin's is an answer.
3. Manifests and blobs come from the mirror, compared with their digests; what it does not have, or cannot give, comes from the origin.
4. What is attached is listed by both, since mirrors seldom carry it; trouble with either is a gap.
5. Each is asked with its own credentials, found by its own name; the origin's never go to the mirror.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from verifier.model import codes
from verifier.model.artifact import Descriptor
from verifier.model.digest import Digest
from verifier.model.errors import InconclusiveError, MisuseError
from verifier.model.evidence import Gap
from verifier.model.reference import SCHEME, canonical_host, is_repository
from verifier.oci.repository import Repository
from verifier.oci.source import Fetched, Referrers

_AWAY = (codes.UNREACHABLE, codes.TIMEOUT, codes.PROXY_FAILED)
_Place = tuple[str, tuple[str, ...]]  # host, segments


class Mirrors(Struct, frozen=True):
    """From places to places, each `(host, segments)`."""

    places: tuple[tuple[_Place, _Place], ...] = ()

    def find(self, registry: str, repository: str) -> tuple[str, str] | None:
        """1: registry and repository at the mirror, or None where there is none."""
        segments = tuple(repository.split("/"))
        for (host, prefix), (mirror, base) in self.places:
            if host == registry and segments[: len(prefix)] == prefix:
                return mirror, "/".join((*base, *segments[len(prefix) :]))
        return None


def read_mirrors(written: Mapping[str, str] | Iterable[tuple[str, str]]) -> Mirrors:
    """From `oci://HOST[/PATH]` to the same; raises MisuseError `config-invalid`."""
    pairs = [(_place(origin), _place(mirror)) for origin, mirror in (written.items() if isinstance(written, Mapping) else written)]
    return Mirrors(tuple(sorted(pairs, key=lambda pair: len(pair[0][1]), reverse=True)))


def _place(text: str) -> _Place:
    host, _, path = text.removeprefix(SCHEME).partition("/")
    path = path.strip("/")
    if not text.startswith(SCHEME) or (path and not is_repository(path)):
        raise MisuseError(codes.CONFIG_INVALID, f"{text[:200]!r} is no place of a mirror, expected oci://HOST[/PATH]")
    return canonical_host(host, written=text), tuple(path.split("/")) if path else ()


class MirroredSource(Struct, frozen=True):
    """One repository of an origin, read through a mirror; `floored`: the rule has a version floor."""

    origin: Repository
    mirror: Repository
    floored: bool = False

    @property
    def where(self) -> str:
        """The origin: what is judged is what it names."""
        return self.origin.where

    def resolve(self, tag: str) -> Fetched:
        """2."""
        try:
            return self.manifest(self.origin.digest_of(tag))
        except InconclusiveError as error:
            if not self.floored or error.code not in _AWAY:
                raise
            return self._named_by_the_mirror(tag, error)

    def _named_by_the_mirror(self, tag: str, trouble: InconclusiveError) -> Fetched:
        gap = Gap(kind="tag", where=trouble.where or self.where, code=trouble.code, reason=f"the mirror says what {tag} names: {trouble.reason}")
        try:
            return replace(self.mirror.resolve(tag), read_from=f"{SCHEME}{self.mirror.where}", gaps=(gap,))
        except InconclusiveError as error:
            raise InconclusiveError(trouble.code, f"{trouble.reason}; the mirror, asked in its place: {error.reason}", where=trouble.where) from error

    def manifest(self, digest: Digest) -> Fetched:
        """3."""
        try:
            return replace(self.mirror.manifest(digest), read_from=f"{SCHEME}{self.mirror.where}")
        except InconclusiveError:
            return self.origin.manifest(digest)

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """3."""
        try:
            return self.mirror.blob(descriptor, limit)
        except InconclusiveError:
            return self.origin.blob(descriptor, limit)

    def referrers(self, digest: Digest) -> Referrers:
        """4."""
        here, there = self.mirror.referrers(digest), self.origin.referrers(digest)
        known = {item.digest for item in there.descriptors}
        more = tuple(item for item in here.descriptors if item.digest not in known)
        kind = there.kind if there.descriptors or not more else here.kind
        return Referrers(descriptors=there.descriptors + more, kind=kind, gaps=there.gaps + here.gaps)

    def tags(self) -> tuple[str, ...]:
        """The origin's."""
        return self.origin.tags()
