"""Making one decision on a thread: with whose credentials, from the cache, a flight of somebody else, or anew; kept before anybody hears it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from verifier.model import codes
from verifier.model.artifact import OciChart, RepositoryChart
from verifier.model.context import Context, Request
from verifier.model.decision import Decision
from verifier.model.errors import FailedError, InconclusiveError
from verifier.model.reference import ChartRepositoryReference, Origin, PinnedReference, Reference
from verifier.net.deadline import Deadline
from verifier.operations.chart_repository import examine_chart
from verifier.operations.connections import Connections
from verifier.operations.namespaces import Namespace
from verifier.operations.records import fingerprint_for
from verifier.operations.resolve import resolve
from verifier.operations.verification import Examined, Options, examine_pinned, judge, speaks_of, under_rule, wanted, with_parts, without_chart
from verifier.report.codec import encode
from verifier.server.cache import Answered, DecisionCache, Key, cache_key, ending
from verifier.server.metrics import Metrics
from verifier.server.snapshot import Snapshot
from verifier.server.tracing import span, tell
from verifier.store.rows import Kept, Verified

if TYPE_CHECKING:
    from verifier.store.decisions import DecisionStore


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


class Asker(Struct, frozen=True, kw_only=True):
    """Under which policy a question is asked, and for which namespace."""

    held: Snapshot
    namespace: Namespace


class _Question(Struct, frozen=True, kw_only=True):
    """With the policy that knows the namespace's keys, and the connections that show its credentials."""

    request: Request
    held: Snapshot
    connections: Connections
    options: Options


class Decider:
    """Decides for the service; safe to share between threads."""

    def __init__(self, connections: Connections, settings: ServiceSettings, metrics: Metrics, store: DecisionStore | None = None) -> None:
        self._connections = connections
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._cache = DecisionCache()

    def decide(self, reference: Origin, context: Context, asker: Asker) -> Answered:
        """Resolve, then answer; under one snapshot from beginning to end. Raises InconclusiveError `not-recorded`."""
        with span("decide") as traced:
            traced.set_attribute("verifier.reference", str(reference))
            answered = self._decide(reference, context, asker)
            tell(traced, answered.decision)
            return answered

    def _decide(self, reference: Origin, context: Context, asker: Asker) -> Answered:
        started = time.monotonic()
        question = self._question(Request(reference=reference, context=context), asker)
        options, loaded = question.options, question.held.loaded
        if not speaks_of(loaded, question.request):
            return self._kept(None, judge(question.request, Examined(), loaded, options), asker.held)
        try:
            with span("resolve"):
                pinned, examine = _resolve(reference, question)
        except (FailedError, InconclusiveError) as error:
            told = asker.namespace.explained(error, question.request, loaded)
            return self._kept(None, judge(question.request, without_chart(told, str(reference)), loaded, options), asker.held)
        key = self._key(pinned, question)
        known = self._cache.get(key, self._settings.clock())
        if known is not None:
            self._metrics.cache_hits.inc()
            return known
        left = self._settings.seconds - (time.monotonic() - started)
        return self._cache.once(key, lambda: self._kept(key, self._made(examine, question), asker.held), left)

    def known(self, reference: Origin, context: Context, asker: Asker) -> Answered | None:
        """A cached answer to a question that names its digest; for a tag the registry is asked first, always. Raises NotHeldError."""
        if reference.digest is None or not isinstance(reference, Reference) or reference.tag is not None:
            return None
        pinned = PinnedReference(registry=reference.registry, repository=reference.repository, digest=reference.digest, tag=None, was_pinned=True)
        return self._cache.get(self._key(pinned, self._question(Request(reference=reference, context=context), asker)), self._settings.clock())

    def too_late(self, reference: Origin, context: Context, held: Snapshot) -> Answered:
        """The answer to who has waited in vain."""
        error = InconclusiveError(codes.TIMEOUT, f"no answer within {self._settings.seconds:g} s")
        request = Request(reference=reference, context=context)
        return self._kept(None, judge(request, without_chart(error, str(reference)), held.loaded, self._options()), held)

    def close(self) -> None:
        """Close what was opened."""
        self._connections.close()
        if self._store is not None:
            self._store.close()

    def _question(self, request: Request, asker: Asker) -> _Question:
        loaded = asker.namespace.with_keys(asker.held.loaded, request.context)
        held = asker.held if loaded is asker.held.loaded else replace(asker.held, loaded=loaded, wanted=wanted(loaded.trust))
        keychain = asker.namespace.keychain(request, loaded, self._connections.session.credentials)
        connections = under_rule(request, loaded, self._connections.under(keychain))
        return _Question(request=request, held=held, connections=connections, options=self._options())

    def _options(self) -> Options:
        return Options(seconds=self._settings.seconds, unsafe=self._settings.unsafe, helm=self._settings.helm, clock=self._settings.clock)

    def _key(self, reference: PinnedReference, question: _Question) -> Key:
        """Answers that were made before the policy on disk stopped loading do not say so: they are others. So are those that were not kept."""
        held = question.held
        host = reference.registry.rpartition("://")[2]
        identity = question.connections.session.credentials.identity(host, reference.repository)
        apart = filter(None, (held.problem, "dry run" if held.dry_run else None))
        return cache_key(reference, question.request.context, held.loaded, (*self._settings.unsafe, f"as {identity}", *apart))

    def _made(self, examine: Callable[[], Examined], question: _Question) -> Decision:
        held, options = question.held, question.options
        with span("gather"):
            examined = examine()
            examined = with_parts(question.request, examined, held.loaded, question.connections, options)
        with span("judge"):
            return judge(question.request, examined, held.loaded, options)

    def _kept(self, key: Key | None, decision: Decision, held: Snapshot) -> Answered:
        now = self._settings.clock()
        if held.problem is not None:
            decision = replace(decision, warnings=(*decision.warnings, f"the newest policy does not load, so the last good one decided: {held.problem}"))
        ends = ending(decision, now)
        compared = fingerprint_for(decision) if held.loaded.policy.sources or self._store is not None else None
        answered = Answered(_without_bytes(decision), json.dumps(encode(decision)).encode(), ends or now, compared)
        if self._store is not None and not held.dry_run:
            self._store.record(*kept_rows(answered))  # before anybody hears it
        if key is not None and ends is not None:
            self._cache.put(key, answered)
        return answered


def _resolve(reference: Origin, question: _Question) -> tuple[PinnedReference, Callable[[], Examined]]:
    """The digest now, and what else there is to look at if the answer is not known: of a chart repository's nothing, since its digest is the archive's."""
    options, connections, wanted = question.options, question.connections, question.held.wanted
    deadline = Deadline.after(options.seconds)
    if isinstance(reference, ChartRepositoryReference):
        chart, gathered = examine_chart(reference, connections, deadline, wanted)
        return chart.reference, lambda: Examined(artifact=chart, gathered=gathered)
    pinned = resolve(reference, connections.source(reference, deadline))
    return pinned.reference, lambda: examine_pinned(pinned, connections, options, wanted)


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
        case RepositoryChart():
            return replace(decision, artifact=replace(decision.artifact, archive=b""))
        case _:
            return decision
