"""The decision cache, and one flight per question (semantics 22).

The key is everything that an answer rests on: canonical repository, tag, whether the caller pinned it, the manifest's digest,
the context with its source, the digests of policy and trust, unsafe switches, whom the registry takes us for, and our version. A tag is resolved before the
key can be built, so a moved tag is another key. An entry ends when the decision's `valid_until` or its longest life does.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta

from msgspec import Struct

from verifier import __version__
from verifier.charts.fingerprint import Fingerprint
from verifier.model.context import Context
from verifier.model.decision import Decision, Outcome
from verifier.model.reference import PinnedReference
from verifier.operations.policies import LoadedPolicy

_ALLOWED_LIFE = timedelta(minutes=5)
_DENIED_LIFE = timedelta(seconds=5)
_ENTRIES = 10_000


class Key(Struct, frozen=True):
    """See the module."""

    parts: tuple[object, ...]


class Answered(Struct, frozen=True):
    """A decision with its encoded form; `ends` is when it must be made anew. `fingerprint`: for comparing release records, where they are judged."""

    decision: Decision
    body: bytes
    ends: datetime
    fingerprint: Fingerprint | None = None


def cache_key(reference: PinnedReference, context: Context, loaded: LoadedPolicy, apart: tuple[str, ...]) -> Key:
    """The key of one question under one policy snapshot; `apart` is what else keeps answers apart."""
    name = (reference.registry, reference.repository, reference.tag, reference.was_pinned, reference.digest, reference.read_from)
    return Key((*name, context, loaded.policy.digest, loaded.trust_digest, loaded.policy.exceptions, apart, __version__))


def ending(decision: Decision, now: datetime) -> datetime | None:
    """When an answer must be made anew; None when it must not be kept at all: the key does not hold the tags of parts that were looked up."""
    if decision.outcome is Outcome.INCONCLUSIVE or any(part.reference is not None for part in decision.parts):
        return None
    longest = now + (_ALLOWED_LIFE if decision.outcome is Outcome.ALLOWED else _DENIED_LIFE)
    return min(longest, decision.valid_until) if decision.valid_until is not None else longest


class DecisionCache:
    """Bounded; safe to share between threads."""

    def __init__(self, entries: int = _ENTRIES) -> None:
        self._most = entries
        self._items: OrderedDict[Key, Answered] = OrderedDict()
        self._flights: dict[Key, Future[Answered]] = {}
        self._lock = threading.Lock()

    def get(self, key: Key, now: datetime) -> Answered | None:
        """A live answer, or None."""
        with self._lock:
            item = self._items.get(key)
            if item is None or item.ends <= now:
                self._items.pop(key, None)
                return None
            self._items.move_to_end(key)
            return item

    def put(self, key: Key, answered: Answered) -> None:
        """Keep an answer; the one that was not asked for longest goes."""
        with self._lock:
            self._items[key] = answered
            while len(self._items) > self._most:
                self._items.popitem(last=False)

    def once(self, key: Key, make: Callable[[], Answered], seconds: float) -> Answered:
        """Make the answer, or wait for who is making it; the maker has a deadline of its own, a waiter waits `seconds`.

        Raises TimeoutError for a waiter that waited in vain, and whatever `make` raises.
        """
        with self._lock:
            flight = self._flights.get(key)
            leads = flight is None
            if flight is None:
                flight = self._flights[key] = Future()
        if not leads:
            return flight.result(timeout=max(seconds, 0.0))
        try:
            flight.set_result(make())
        except BaseException as error:  # noqa: BLE001  # whoever waits must hear of it, whatever it is
            flight.set_exception(error)
        finally:
            with self._lock:
                self._flights.pop(key, None)
        return flight.result()
