"""The watchdog ends exchanges whose server drips bytes.

A socket timeout starts anew with every byte, so a server that sends one byte a second keeps a thread for ever, above all
while headers are read, where no code of ours runs in between. One thread closes the connections whose deadline has passed.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_FOREVER = 3600.0


class Watchdog:
    """Shuts down the sockets that a thread uses past its deadline."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._wake = threading.Condition()
        self._queue: list[tuple[float, int, _Watch]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def until(self, at: float) -> Iterator[None]:
        """Within the block, connections that this thread uses are shut down at `at` (monotonic seconds)."""
        watch = _Watch()
        self._local.watch = watch
        with self._wake:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="verifier-watchdog", daemon=True)
                self._thread.start()
            earliest = not self._queue or at < self._queue[0][0]
            heapq.heappush(self._queue, (at, next(self._order), watch))
            if earliest:
                self._wake.notify()
        try:
            yield
        finally:
            watch.end()
            self._local.watch = None

    @property
    def is_watching(self) -> bool:
        """Whether this thread is in such a block."""
        return getattr(self._local, "watch", None) is not None

    def attach(self, sock: socket.socket | None) -> None:
        """Called by a connection when it has a socket and is about to be used."""
        watch = getattr(self._local, "watch", None)
        if watch is not None and sock is not None:
            watch.sock = sock

    def _run(self) -> None:
        while True:
            with self._wake:
                while self._queue and self._queue[0][2].ended:
                    heapq.heappop(self._queue)
                now = time.monotonic()
                if not self._queue or self._queue[0][0] > now:
                    self._wake.wait(self._queue[0][0] - now if self._queue else _FOREVER)
                    continue
                watch = heapq.heappop(self._queue)[2]
            watch.bite()


class _Watch:
    """One block of one thread."""

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.ended = False
        self._lock = threading.Lock()

    def end(self) -> None:
        with self._lock:
            self.ended, self.sock = True, None

    def bite(self) -> None:
        with self._lock:
            if self.sock is not None and not self.ended:
                with contextlib.suppress(OSError):
                    self.sock.shutdown(socket.SHUT_RDWR)


WATCHDOG = Watchdog()


class GuardedHTTPConnection(HTTPConnection):
    """A connection that reports its socket to the watchdog."""

    def connect(self) -> None:
        """As urllib3's, then under watch."""
        super().connect()
        WATCHDOG.attach(self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        """As urllib3's, under watch also when the connection is kept alive."""
        WATCHDOG.attach(self.sock)
        super().request(*args, **kwargs)


class GuardedHTTPSConnection(GuardedHTTPConnection, HTTPSConnection):
    """The same over TLS."""


class GuardedHTTPPool(HTTPConnectionPool):
    """A pool of guarded connections."""

    ConnectionCls = GuardedHTTPConnection


class GuardedHTTPSPool(HTTPSConnectionPool):
    """A pool of guarded TLS connections."""

    ConnectionCls = GuardedHTTPSConnection


GUARDED_POOLS = {"http": GuardedHTTPPool, "https": GuardedHTTPSPool}
