"""How many questions a caller may ask: a bucket of tokens for each, filled steadily, so that one of them cannot starve the others."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_CALLERS = 10_000  # the one that asked longest ago is forgotten first


class RateLimit:
    """`rate` questions a second for each caller, and a burst of ten seconds' worth; 0 sets no limit. Called by one thread."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._most = max(rate * 10, 1.0)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str) -> float:
        """How many seconds the caller must wait; 0.0 lets it ask now."""
        if not self._rate:
            return 0.0
        now = self._clock()
        left, then = self._buckets.pop(caller, (self._most, now))
        left = min(self._most, left + (now - then) * self._rate)
        allowed = left >= 1.0
        self._buckets[caller] = (left - 1.0 if allowed else left, now)
        while len(self._buckets) > _CALLERS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - left) / self._rate
