"""Events in the cluster for what was denied, so that `kubectl get events` shows what a controller was told and keeps to itself.

Best effort: an Event that cannot be written changes no answer. The same denial of the same object is told once in five minutes; a dry run tells nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable

from verifier.kube.cluster import Cluster
from verifier.model.errors import VerifierError
from verifier.operations.review import Review
from verifier.operations.verdict import Verdict
from verifier.report.text import safe

_AGAIN_SECONDS = 300.0
_KNOWN = 5_000
_MESSAGE = 1_000  # Kubernetes takes 1,024 characters
_DEFAULT = "default"  # where events about objects of the whole cluster lie


class Events:
    """Writes Events in the background; called from the event loop."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._told: OrderedDict[tuple[str, ...], float] = OrderedDict()
        self._running: set[asyncio.Task[None]] = set()

    def tell(self, review: Review, verdict: Verdict) -> None:
        """An Event about what would be or was denied."""
        wrong = [finding for finding in verdict.findings if finding.code is not None]
        if review.dry_run or not wrong or not self._is_new(review, wrong[0].reason):
            return
        message = safe("; ".join(f"{finding.reason} [{finding.code.name if finding.code is not None else ''}]" for finding in wrong))[:_MESSAGE]
        task = asyncio.create_task(self._write(review, message, denied=not verdict.allowed))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _write(self, review: Review, message: str, *, denied: bool) -> None:
        kind = f"{review.group}/{review.version}" if review.group else review.version
        about = {"apiVersion": kind, "kind": review.kind, "namespace": review.namespace, "name": review.name}
        with contextlib.suppress(VerifierError):
            await asyncio.to_thread(self._cluster.tell, review.namespace or _DEFAULT, about, "ChartDenied" if denied else "ChartWouldBeDenied", message)

    def _is_new(self, review: Review, reason: str) -> bool:
        key, now = (review.kind, review.namespace, review.name, reason), self._clock()
        then = self._told.get(key)
        if then is not None and now - then < _AGAIN_SECONDS:
            return False
        self._told[key] = now
        self._told.move_to_end(key)
        while len(self._told) > _KNOWN:
            self._told.popitem(last=False)
        return True
