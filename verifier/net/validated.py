"""Answers that are asked for again only if they changed (RFC 9110 section 13): each time the server is asked, and says whether what we hold is current.

So nothing is ever taken for current that the server did not confirm just now. Kept by URL and by whom the server takes us for; bounded in bytes, and what
was not asked for longest goes first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from verifier.net.transport import Response

_VALIDATORS = (("etag", "If-None-Match"), ("last-modified", "If-Modified-Since"))


class Validated:
    """Safe to share between threads."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._kept: OrderedDict[tuple[str, str], Response] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def condition(self, url: str, identity: str) -> dict[str, str]:
        """The header that asks for the answer only if it is another one than the kept one; empty where none is kept."""
        with self._lock:
            kept = self._kept.get((url, identity))
        return next(({header: kept.headers[name]} for name, header in _VALIDATORS if name in kept.headers), {}) if kept is not None else {}

    def current(self, url: str, identity: str, response: Response) -> Response:
        """The kept answer where the server says that it is current, else this one, which is kept if it can be asked about again."""
        with self._lock:
            kept = self._kept.get((url, identity))
            if response.status == 304 and kept is not None:
                self._kept.move_to_end((url, identity))
                return kept
            self._drop((url, identity))
            if response.status == 200 and any(name in response.headers for name, _ in _VALIDATORS) and len(response.body) <= self._most:
                self._kept[url, identity] = response
                self._size += len(response.body)
            while self._size > self._most:
                self._drop(next(iter(self._kept)))
            return response

    def _drop(self, key: tuple[str, str]) -> None:
        gone = self._kept.pop(key, None)
        self._size -= len(gone.body) if gone is not None else 0
