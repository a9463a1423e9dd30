"""What operations share: the session with registries, a cache, and threads for independent look-ups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from verifier.model import limits
from verifier.model.reference import LayoutReference, Reference
from verifier.net.deadline import Deadline
from verifier.net.validated import Validated
from verifier.oci.credentials import Keychain
from verifier.oci.repository import Repository
from verifier.oci.repository_logins import RepositoryLogins
from verifier.oci.session import Session
from verifier.oci.source import Source, Target

if TYPE_CHECKING:
    from verifier.oci.cache import ContentCache
    from verifier.oci.layout import ImageLayout
    from verifier.oci.mirror import Mirrors

_T = TypeVar("_T")
_R = TypeVar("_R")
_THREADS = 16


class Connections(Struct, frozen=True):
    """One per process. `pool` runs leaf look-ups only, never something that waits for the pool itself.

    `floored`: as they are for a question whose rule has a version floor; then a mirror alone may say what a tag names.
    """

    session: Session
    cache: ContentCache | None = None
    mirrors: Mirrors | None = None
    floored: bool = False
    repository_logins: RepositoryLogins = field(default_factory=RepositoryLogins)
    indexes: Validated = field(default_factory=lambda: Validated(limits.INDEXES_KEPT_BYTES))
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_THREADS, thread_name_prefix="lookup"))

    def under(self, credentials: Keychain) -> Connections:
        """The same connections, with other credentials."""
        return replace(self, session=self.session.under(credentials))

    def with_floor(self, floored: bool) -> Connections:
        """The same connections, for a question whose rule has a version floor or none."""
        return self if floored is self.floored else replace(self, floored=floored)

    def source(self, reference: Reference | LayoutReference, deadline: Deadline) -> Source:
        """Where the reference is read from."""
        if not isinstance(reference, Reference):
            return _layout(reference)
        place = self._place(reference, deadline)
        if self.cache is None:
            return place
        from verifier.oci.cache import CachedSource

        return CachedSource(place, self.cache, self.session.credentials.identity(reference.registry, reference.repository))

    def _place(self, reference: Reference, deadline: Deadline) -> Source:
        origin = Repository(self.session, reference.registry, reference.repository, deadline)
        found = self.mirrors.find(reference.registry, reference.repository) if self.mirrors is not None else None
        if found is None:
            return origin
        from verifier.oci.mirror import MirroredSource

        return MirroredSource(origin, Repository(self.session, *found, deadline), self.floored)

    def target(self, reference: Reference | LayoutReference, deadline: Deadline) -> Target:
        """Where the reference is written to."""
        if isinstance(reference, Reference):
            return Repository(self.session.for_writing(), reference.registry, reference.repository, deadline)
        return _layout(reference)

    def start(self, work: Callable[[], _R]) -> Future[_R]:
        """Begin a look-up."""
        return self.pool.submit(work)

    def side_by_side(self, work: Callable[[_T], _R], items: Sequence[_T]) -> Iterable[_R]:
        """`work` for each item, in the order of the items; one item is done right here."""
        return [work(items[0])] if len(items) == 1 else list(self.pool.map(work, items))

    def close(self) -> None:
        """Drop look-ups that have not begun, and wait for none: after an interrupt nobody wants their answers."""
        self.pool.shutdown(wait=False, cancel_futures=True)


def _layout(reference: LayoutReference) -> ImageLayout:
    from verifier.oci.layout import ImageLayout

    return ImageLayout(Path(reference.path))
