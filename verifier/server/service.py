"""Deciding for many callers: slots, deadlines, cache.

A decision runs on a thread; there are as many threads as slots. A caller whose deadline passes gets an inconclusive answer in
time, while the thread goes on and keeps its slot until it ends: a slow registry cannot pile up work without end. When no
slot is free soon enough, the caller hears `overloaded`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from verifier.kube.cluster import Cluster
from verifier.model import codes
from verifier.model.artifact import OciChart
from verifier.model.context import Context, Request
from verifier.model.decision import Decision
from verifier.model.errors import FailedError, InconclusiveError
from verifier.model.reference import PinnedReference, Reference
from verifier.net.deadline import Deadline
from verifier.operations.admission import admit
from verifier.operations.connections import Connections
from verifier.operations.pinning import pin
from verifier.operations.records import fingerprint_for
from verifier.operations.resolve import Pinned, resolve
from verifier.operations.review import Review
from verifier.operations.verdict import Judged, Verdict, World
from verifier.operations.verification import Examined, Options, examine_pinned, judge, scheme_for, speaks_of, with_parts, without_chart
from verifier.report.codec import encode
from verifier.server import snapshot
from verifier.server.cache import Answered, DecisionCache, Key, cache_key, ending
from verifier.server.log import Log
from verifier.server.metrics import Metrics
from verifier.server.snapshot import Snapshot, Snapshots
from verifier.store.rows import Kept, Verified

if TYPE_CHECKING:
    from verifier.store.decisions import DecisionStore

_FORGET_EVERY_SECONDS = 3_600.0
T = TypeVar("T")


class ServiceSettings(Struct, frozen=True, kw_only=True):
    """Times in seconds. `slots`: decisions in hand at once; `patience`: how long a caller waits for a slot.

    `always_pinned`: in Kubernetes no rule may let a chart pass without its digest. `keep`: how long decisions stay in the store.
    """

    slots: int = 16
    seconds: float = 8.0
    patience: float = 2.0
    unsafe: tuple[str, ...] = ()
    always_pinned: bool = False
    keep: timedelta = timedelta(days=90)
    helm: str = "helm"
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


class _NotKnownError(Exception):
    """It takes a look-up."""


class _Unasked(Cluster):
    """A cluster that nobody asks."""

    def __init__(self) -> None:
        super().__init__(lambda: None, 0.0, {})

    def get(self, group: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        raise _NotKnownError

    def every(self, group: str, kind: str, namespace: str | None, most: int, labels: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        raise _NotKnownError


class DecisionService:
    """Answers questions about registry references under one policy snapshot."""

    def __init__(
        self, snapshots: Snapshots, connections: Connections, settings: ServiceSettings, store: DecisionStore | None = None, log: Log | None = None
    ) -> None:
        self.snapshots = snapshots
        self.store = store
        self.log = log or Log(quiet=True)
        self._forgot = time.monotonic()
        self.metrics = Metrics()
        self._connections = connections
        self._settings = settings
        self._cache = DecisionCache()
        for media_type in snapshots.current.wanted:
            scheme_for(media_type)  # imported now, not by the first caller
        self._tell()
        self._threads = ThreadPoolExecutor(settings.slots, thread_name_prefix="decision")
        self._slots = asyncio.Semaphore(settings.slots)

    async def answer(self, reference: Reference, context: Context) -> Answered:
        """The answer in time; raises InconclusiveError `overloaded` when no slot is free."""
        request = Request(reference=reference, context=context)
        known = self._known(reference, context)
        if known is not None:
            self.metrics.cache_hits.inc()
            return known
        try:
            return await self.in_slot(lambda: self._decide(request, self.snapshots.current), self._settings.seconds)
        except TimeoutError:
            return await asyncio.to_thread(self._too_late, request)

    async def admit(self, review: Review, cluster: Cluster | None, context: Context, within: float) -> Verdict:
        """The verdict in time, `within` so many seconds; raises MisuseError, or InconclusiveError `overloaded` or `timeout`."""
        at_once = self._admit_at_once(review, context)
        if at_once is not None:
            self.metrics.cache_hits.inc()
            return at_once
        world = self._world(cluster, context, dry_run=review.dry_run)
        return await self._in_time(lambda: admit(review, world), within)

    def _admit_at_once(self, review: Review, context: Context) -> Verdict | None:
        """The verdict if all that it takes is known: then it is not worth a thread. A release record takes too long to read for that."""
        if not review.group:
            return None

        def decide(reference: Reference, context: Context) -> Judged:
            answered = self._known(reference, context)
            if answered is None:
                raise _NotKnownError
            return Judged(decision=answered.decision)

        held = self.snapshots.current.loaded.policy
        world = World(decide=decide, policy=held, context=context, cluster=_Unasked(), always_pinned=self._settings.always_pinned)
        try:
            return admit(review, world)
        except _NotKnownError:
            return None

    async def pin(self, review: Review, cluster: Cluster | None, context: Context, within: float) -> tuple[dict[str, Any], ...]:
        """The patch that writes digests; raises as `admit` does."""
        world = self._world(cluster, context, dry_run=review.dry_run)
        return await self._in_time(lambda: pin(review, world), within)

    def _world(self, cluster: Cluster | None, context: Context, *, dry_run: bool) -> World:
        held = replace(self.snapshots.current, dry_run=dry_run)

        def decide(reference: Reference, context: Context) -> Judged:
            answered = self._decide(Request(reference=reference, context=context), held)
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
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
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
        self._connections.close()
        if self.store is not None:
            self.store.close()

    def _known(self, reference: Reference, context: Context) -> Answered | None:
        """A cached answer to a question that names its digest; for a tag the registry is asked first, always."""
        if reference.digest is None or reference.tag is not None:
            return None
        pinned = PinnedReference(registry=reference.registry, repository=reference.repository, digest=reference.digest, tag=None, was_pinned=True)
        return self._cache.get(self._key(pinned, context, self.snapshots.current), self._settings.clock())

    def _key(self, reference: PinnedReference, context: Context, held: Snapshot) -> Key:
        """Answers that were made before the policy on disk stopped loading do not say so: they are others. So are those that were not kept."""
        apart = (held.problem, "dry run" if held.dry_run else None)
        return cache_key(reference, context, held.loaded, (*self._settings.unsafe, *filter(None, apart)))

    def _ended(self, done: asyncio.Future[Any]) -> None:
        self._slots.release()
        self.metrics.in_hand.dec()
        if not done.cancelled():
            done.exception()  # one that nobody waits for any more is not a warning

    def _decide(self, request: Request, held: Snapshot) -> Answered:
        """On a thread: resolve, then answer from the cache, a flight, or anew; under one snapshot from beginning to end."""
        started = time.monotonic()
        reference = request.reference
        assert isinstance(reference, Reference)
        options = Options(seconds=self._settings.seconds, unsafe=self._settings.unsafe, helm=self._settings.helm, clock=self._settings.clock)
        if not speaks_of(held.loaded, request):
            return self._kept(None, judge(request, Examined(), held.loaded, options), held)
        try:
            pinned = resolve(reference, self._connections.source(reference, Deadline.after(options.seconds)))
        except (FailedError, InconclusiveError) as error:
            return self._kept(None, judge(request, without_chart(error, str(reference)), held.loaded, options), held)
        key = self._key(pinned.reference, request.context, held)
        known = self._cache.get(key, self._settings.clock())
        if known is not None:
            self.metrics.cache_hits.inc()
            return known
        left = self._settings.seconds - (time.monotonic() - started)
        return self._cache.once(key, lambda: self._make(request, pinned, key, options, held), left)

    def _make(self, request: Request, pinned: Pinned, key: Key, options: Options, held: Snapshot) -> Answered:
        return self._kept(key, judge(request, self._examine(request, pinned, options, held), held.loaded, options), held)

    def _examine(self, request: Request, pinned: Pinned, options: Options, held: Snapshot) -> Examined:
        examined = examine_pinned(pinned, self._connections, options, held.wanted)
        return with_parts(request, examined, held.loaded, self._connections, options)

    def _kept(self, key: Key | None, decision: Decision, held: Snapshot) -> Answered:
        now = self._settings.clock()
        if held.problem is not None:
            decision = replace(decision, warnings=(*decision.warnings, f"the newest policy does not load, so the last good one decided: {held.problem}"))
        ends = ending(decision, now)
        compared = fingerprint_for(decision) if held.loaded.policy.sources or self.store is not None else None
        answered = Answered(_without_bytes(decision), json.dumps(encode(decision)).encode(), ends or now, compared)
        if self.store is not None and not held.dry_run:
            self.store.record(*kept_rows(answered))  # before anybody hears it
        if key is not None and ends is not None:
            self._cache.put(key, answered)
        return answered

    def _too_late(self, request: Request) -> Answered:
        options = Options(unsafe=self._settings.unsafe, clock=self._settings.clock)
        error = InconclusiveError(codes.TIMEOUT, f"no answer within {self._settings.seconds:g} s")
        held = self.snapshots.current
        return self._kept(None, judge(request, without_chart(error, str(request.reference)), held.loaded, options), held)


def kept_rows(answered: Answered) -> tuple[Kept, Verified | None]:
    """A decision as the store keeps it, and the chart that it allowed."""
    decision = answered.decision
    artifact, context = decision.artifact, decision.request.context
    kept = Kept(
        id=decision.id,
        time=decision.time,
        outcome=decision.outcome.value,
        code=decision.check.code.name if decision.check.code is not None and not decision.allowed else None,
        reference=str(decision.request.reference),
        digest=str(artifact.digests[0]) if artifact is not None else None,
        namespace=context.namespace,
        rule=decision.policy.rule,
        policy=decision.policy.digest,
        body=answered.body,
    )
    if answered.fingerprint is None or not isinstance(artifact, OciChart):
        return kept, None
    where = f"{artifact.reference.registry}/{artifact.reference.repository}"
    return kept, Verified(answered.fingerprint.digest, where, str(artifact.reference.digest))


def _without_bytes(decision: Decision) -> Decision:
    """What is kept of a decision needs no archive: ten thousand of them would be gigabytes."""
    match decision.artifact:
        case OciChart():
            return replace(decision, artifact=replace(decision.artifact, archive=b"", config=b""))
        case _:
            return decision
