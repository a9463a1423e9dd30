"""Logins to the registries of clouds: when they are asked for, and how long what they give is kept.

1. A host belongs to a cloud by its whole name (`clouds`); for any other host nothing is ever asked.
2. A login happens when the registry has refused whoever came before, once for all who wait for it.
3. What it gave is kept until shortly before its end; a login that failed is not repeated at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from verifier.model.errors import InconclusiveError
from verifier.net.web import WebClient
from verifier.oci.credentials import Credential

if TYPE_CHECKING:
    from verifier.oci.clouds.table import Cloud

_SKEW = 60.0  # so that what is shown is still good when it arrives
_FAILED_SECONDS = 10.0


class _Kept(Struct, frozen=True):
    outcome: Credential | InconclusiveError
    since: float
    ends: float


class CloudLogins:
    """Safe to share between threads."""

    def __init__(self, environment: Mapping[str, str], web: Callable[[], WebClient], clouds: tuple[Cloud, ...] | None = None) -> None:
        self._environment = environment
        self._web = web
        self._clouds = clouds
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._kept: dict[str, _Kept] = {}

    def find(self, registry: str) -> Credential | None:
        """The credential for a cloud's registry, None for any other host; raises InconclusiveError `login-failed`."""
        cloud = next((cloud for cloud in self._known_clouds() if cloud.hosts.fullmatch(registry)), None)  # 1
        if cloud is None:
            return None
        with self._lock:
            lock = self._locks.setdefault(registry, threading.Lock())
        with lock:  # 2
            kept = self._kept.get(registry)
            if kept is None or kept.ends <= time.monotonic():
                kept = self._kept[registry] = self._log_in(cloud, registry)
        if isinstance(kept.outcome, InconclusiveError):
            raise kept.outcome
        return kept.outcome

    def _known_clouds(self) -> tuple[Cloud, ...]:
        if self._clouds is not None:
            return self._clouds
        from verifier.oci.clouds.table import CLOUDS  # most commands never get here

        return CLOUDS

    def forget(self, registry: str, before: float) -> bool:
        """Drop what was got before a time (monotonic), since the registry refused it; whether there was any."""
        kept = self._kept.get(registry)
        return kept is not None and kept.since < before and self._kept.pop(registry, None) is not None

    def _log_in(self, cloud: Cloud, registry: str) -> _Kept:  # 3
        from verifier.oci.clouds.lease import Asking

        try:
            lease = cloud.log_in(registry, Asking(self._environment, self._web))
        except InconclusiveError as error:
            now = time.monotonic()
            return _Kept(error, now, now + _FAILED_SECONDS)
        now = time.monotonic()
        return _Kept(lease.credential, now, now + max(lease.seconds - _SKEW, 1.0))
