"""A bounded, content-addressed cache in front of a source, for long-lived processes.

Only what was fetched by digest, and so verified, is kept; keys hold the repository and the identity that read
it, too, since whoever may read one repository may not read another. Tags and referrer lists are never kept: they change.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from msgspec import Struct

from verifier.model.artifact import Descriptor
from verifier.model.digest import Digest
from verifier.oci.source import Fetched, Referrers, Source


class Kept(Struct, frozen=True):
    """Bytes with their media type, and the mirror that had them."""

    media_type: str
    data: bytes
    read_from: str | None = None


class ContentCache:
    """Least recently used content goes first; `most_bytes` bounds the sum of the contents."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._size = 0
        self._items: OrderedDict[tuple[str, Digest], Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, where: str, digest: Digest) -> Kept | None:
        """What is kept, or None."""
        with self._lock:
            item = self._items.get((where, digest))
            if item is not None:
                self._items.move_to_end((where, digest))
            return item

    def put(self, where: str, digest: Digest, kept: Kept) -> None:
        """Keep it, unless it alone would fill a quarter."""
        if len(kept.data) > self._most // 4:
            return
        with self._lock:
            old = self._items.pop((where, digest), None)
            self._size += len(kept.data) - (len(old.data) if old else 0)
            self._items[where, digest] = kept
            while self._size > self._most:
                self._size -= len(self._items.popitem(last=False)[1].data)


class CachedSource(Struct, frozen=True):
    """`source`, with what is immutable kept in `cache`."""

    source: Source
    cache: ContentCache
    identity: str = ""

    @property
    def where(self) -> str:
        """As the source's."""
        return self.source.where

    @property
    def _key(self) -> str:
        return f"{self.identity} {self.where}"

    def resolve(self, tag: str) -> Fetched:
        """Always asked; what it names is kept."""
        return self._kept(self.source.resolve(tag))

    def manifest(self, digest: Digest) -> Fetched:
        """From the cache if it is there."""
        known = self.cache.get(self._key, digest)
        if known is None:
            return self._kept(self.source.manifest(digest))
        return Fetched(digest=digest, media_type=known.media_type, data=known.data, read_from=known.read_from)

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """From the cache if it is there."""
        known = self.cache.get(self._key, descriptor.digest)
        if known is not None and len(known.data) == descriptor.size <= limit:
            return known.data
        data = self.source.blob(descriptor, limit)
        self.cache.put(self._key, descriptor.digest, Kept(descriptor.media_type, data))
        return data

    def referrers(self, digest: Digest) -> Referrers:
        """Always asked."""
        return self.source.referrers(digest)

    def tags(self) -> tuple[str, ...]:
        """Always asked."""
        return self.source.tags()

    def _kept(self, fetched: Fetched) -> Fetched:
        self.cache.put(self._key, fetched.digest, Kept(fetched.media_type, fetched.data, fetched.read_from))
        return fetched
