"""Deciding for many callers: slots and deadlines.

A decision runs on a thread; there are as many threads as slots. A caller whose deadline passes gets an inconclusive answer in
time, while the thread goes on and keeps its slot until it ends: a slow registry cannot pile up work without end. When no
slot is free soon enough, the caller hears `overloaded`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from verifier.kube.cluster import EVERYTHING, Cluster, Selector
from verifier.model import codes
from verifier.model.context import Context
from verifier.model.errors import InconclusiveError
from verifier.model.reference import Origin
from verifier.operations.admission import admit
from verifier.operations.connections import Connections
from verifier.operations.namespaces import Namespace, NamespaceSecrets, NotHeldError
from verifier.operations.pinning import pin
from verifier.operations.review import Review
from verifier.operations.verdict import Judged, Verdict, World
from verifier.operations.verification import scheme_for
from verifier.server import snapshot
from verifier.server.cache import Answered
from verifier.server.decider import Asker, Decider, ServiceSettings
from verifier.server.log import Log
from verifier.server.metrics import Metrics
from verifier.server.snapshot import Snapshots
from verifier.server.tracing import carried

if TYPE_CHECKING:
    from verifier.store.decisions import DecisionStore

_FORGET_EVERY_SECONDS = 3_600.0
T = TypeVar("T")


class _Unasked(Cluster):
    """A cluster that nobody asks."""

    def __init__(self) -> None:
        super().__init__(lambda: None, 0.0, {})

    def get(self, group: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        raise NotHeldError

    def every(self, group: str, kind: str, namespace: str | None, most: int, which: Selector = EVERYTHING) -> list[dict[str, Any]]:
        raise NotHeldError


class Surroundings(Struct, frozen=True, kw_only=True):
    """What a service has beside registries and its policy: where decisions are kept and told, and the Secrets of namespaces."""

    store: DecisionStore | None = None
    log: Log = field(default_factory=lambda: Log(quiet=True))
    secrets: NamespaceSecrets = field(default_factory=NamespaceSecrets)


class DecisionService:
    """Answers questions about charts in registries and chart repositories under one policy snapshot."""

    def __init__(self, snapshots: Snapshots, connections: Connections, settings: ServiceSettings, around: Surroundings | None = None) -> None:
        around = around or Surroundings()
        self.snapshots = snapshots
        self.store = around.store
        self.log = around.log
        self.metrics = Metrics()
        self._forgot = time.monotonic()
        self._settings = settings
        self._secrets = around.secrets
        self._decider = Decider(connections, settings, self.metrics, around.store)
        for media_type in snapshots.current.wanted:
            scheme_for(media_type)  # imported now, not by the first caller
        self._tell()
        self._threads = ThreadPoolExecutor(settings.slots, thread_name_prefix="decision")
        self._slots = asyncio.Semaphore(settings.slots)

    async def answer(self, reference: Origin, context: Context) -> Answered:
        """The answer in time; raises InconclusiveError `overloaded` when no slot is free.

        Who may ask has been listed by an administrator, so that the server's own credentials are used, after those of the namespace that is granted.
        """
        held = self.snapshots.current
        namespace = Namespace(name=context.namespace or "", secrets=self._secrets, trusted=True)
        with contextlib.suppress(NotHeldError):
            known = self._decider.known(reference, context, Asker(held=held, namespace=replace(namespace, held=True)))
            if known is not None:
                self.metrics.cache_hits.inc()
                return known
        try:
            return await self.in_slot(lambda: self._decider.decide(reference, context, Asker(held=held, namespace=namespace)), self._settings.seconds)
        except TimeoutError:
            return await asyncio.to_thread(self._decider.too_late, reference, context, held)

    async def admit(self, review: Review, cluster: Cluster | None, context: Context, within: float) -> Verdict:
        """The verdict in time, `within` so many seconds; raises MisuseError, or InconclusiveError `overloaded` or `timeout`."""
        at_once = self._admit_at_once(review, context)
        if at_once is not None:
            self.metrics.cache_hits.inc()
            return at_once
        world = self._world(review, cluster, context)
        return await self._in_time(lambda: admit(review, world), within)

    def _admit_at_once(self, review: Review, context: Context) -> Verdict | None:
        """The verdict if all that it takes is known: then it is not worth a thread. A release record takes too long to read for that."""
        if not review.group:
            return None
        asker = Asker(held=self.snapshots.current, namespace=Namespace(name=review.namespace, secrets=self._secrets, held=True))

        def decide(reference: Origin, context: Context) -> Judged:
            answered = self._decider.known(reference, context, asker)
            if answered is None:
                raise NotHeldError
            return Judged(decision=answered.decision)

        policy = asker.held.loaded.policy
        world = World(decide=decide, policy=policy, context=context, cluster=_Unasked(), always_pinned=self._settings.always_pinned)
        try:
            return admit(review, world)
        except NotHeldError:
            return None

    async def pin(self, review: Review, cluster: Cluster | None, context: Context, within: float) -> tuple[dict[str, Any], ...]:
        """The patch that writes digests; raises as `admit` does."""
        world = self._world(review, cluster, context)
        return await self._in_time(lambda: pin(review, world), within)

    def _world(self, review: Review, cluster: Cluster | None, context: Context) -> World:
        """For an object: with what its namespace has, and no other (semantics 33)."""
        held = replace(self.snapshots.current, dry_run=review.dry_run)
        asker = Asker(held=held, namespace=Namespace(name=review.namespace, secrets=self._secrets))

        def decide(reference: Origin, context: Context) -> Judged:
            answered = self._decider.decide(reference, context, asker)
            return Judged(decision=answered.decision, fingerprint=answered.fingerprint)

        verified = self.store.verified if self.store is not None else None
        pinned = self._settings.always_pinned
        return World(decide=decide, policy=held.loaded.policy, context=context, cluster=cluster, verified=verified, always_pinned=pinned)

    async def _in_time(self, work: Callable[[], T], within: float) -> T:
        try:
            return await self.in_slot(work, within)
        except TimeoutError as error:
            raise InconclusiveError(codes.TIMEOUT, f"no answer within {within:g} s") from error

    async def in_slot(self, work: Callable[[], T], seconds: float) -> T:
        """What `work` returns, on a thread of ours; raises InconclusiveError `overloaded`, and TimeoutError while the thread goes on."""
        started = time.monotonic()
        try:
            await asyncio.wait_for(self._slots.acquire(), min(self._settings.patience, seconds / 2))
        except TimeoutError as error:
            raise InconclusiveError(codes.OVERLOADED, f"all {self._settings.slots} slots are taken", retry_after=self._settings.patience) from error
        running = asyncio.get_running_loop().run_in_executor(self._threads, carried(work))
        running.add_done_callback(lambda done: self._ended(done))
        self.metrics.in_hand.inc()
        return await asyncio.wait_for(asyncio.shield(running), seconds - (time.monotonic() - started))

    async def follow(self) -> None:
        """Look for changed policy and trust files until cancelled."""
        while True:
            await asyncio.sleep(snapshot.PERIOD)
            if await asyncio.to_thread(self.snapshots.refresh):
                self.log.event("policy-changed", policy=self.snapshots.current.loaded.policy.name, digest=self.snapshots.current.loaded.policy.digest)
            self._tell()
            if self.store is not None and time.monotonic() - self._forgot > _FORGET_EVERY_SECONDS:
                self._forgot = time.monotonic()
                await asyncio.to_thread(self._forget, self.store)

    def _forget(self, store: DecisionStore) -> None:
        """What is older than it must be; trouble with the store is met by the next decision."""
        with contextlib.suppress(InconclusiveError):
            store.forget(self._settings.clock() - self._settings.keep)

    def _tell(self) -> None:
        """What metrics say of the snapshot."""
        self.metrics.policy_stale.set(0 if self.snapshots.problem is None else 1)
        for root in self.snapshots.current.loaded.policy.roots:
            if root.as_of is not None:
                self.metrics.root_time.labels(root.name).set(root.as_of.timestamp())

    def close(self) -> None:
        """Stop taking work, and let what runs end."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._decider.close()
        self._secrets.close()

    def _ended(self, done: asyncio.Future[Any]) -> None:
        self._slots.release()
        self.metrics.in_hand.dec()
        if not done.cancelled():
            done.exception()  # one that nobody waits for any more is not a warning
