"""Whose credentials and keys a question may use (semantics 33).

1. What is asked for an object may use the pull secrets of its namespace, and no other's. Keys that the policy looks for in a namespace are those of
   the one that the question is for: a source that changes is judged for the releases that take charts from it by their keys, not by its own.
2. The server's own credentials are used for repositories whose rule says `credentials: server`, after the namespace's. For a repository without a
   rule, such as that of an image, the rule of the chart counts.
3. Secrets are kept for some seconds, by namespace and name. What could not be looked up is not known, and never "not there".
"""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from verifier.formats.loose import get, mapping, text
from verifier.kube.cluster import Cluster, Selector
from verifier.model import codes
from verifier.model.context import Context, Request
from verifier.model.errors import FailedError, InconclusiveError, MisuseError
from verifier.model.reference import Reference
from verifier.oci.credentials import Keychain
from verifier.oci.pull_secrets import TYPES, PullSecrets, ScopedKeychain
from verifier.operations.policies import LoadedPolicy, anchor_of
from verifier.operations.verification import rule_of
from verifier.policy.cluster import Whose
from verifier.policy.document import Rule, TrustEntry
from verifier.trust.anchors import Anchor, TrustMaterial

EVERY = "*"
SECONDS = 5.0
_ENTRIES = 4_096
_AT_ONCE = 64  # look-ups
_MOST = 100  # pull secrets of one namespace
_PULL = ""  # no Secret's name: under it stand a namespace's pull secrets, read
T = TypeVar("T")


class NotHeldError(Exception):
    """It takes a look-up."""


class Namespace(Struct, frozen=True, kw_only=True):
    """A namespace as the one that asks; without a name it has nothing.

    `trusted`: an administrator has listed who asks, and the server's own credentials are used whatever the rule says. `held`: nothing is looked up,
    and what is not known already raises NotHeldError.
    """

    name: str
    secrets: NamespaceSecrets
    trusted: bool = False
    held: bool = False

    def keychain(self, request: Request, loaded: LoadedPolicy, own: Keychain) -> Keychain:
        """1 and 2, for the question `request`."""

        def allows_own(registry: str, repository: str) -> bool:
            asked = Reference(registry=registry, repository=repository, tag=None, digest=None, written="")
            return self._may_use_own(rule_of(loaded, replace(request, reference=asked)) or rule_of(loaded, request))

        return ScopedKeychain(self.secrets.pull_secrets(self), own, allows_own)

    def with_keys(self, loaded: LoadedPolicy, context: Context) -> LoadedPolicy:
        """1: the policy with the keys that it takes from the namespace that is asked for; why one is not known stands in the trust material."""
        entries = [entry for entry in loaded.policy.trust if entry.secret is not None]
        if not entries:
            return loaded
        found = [_key(entry, replace(self, name=context.namespace or "")) for entry in entries]
        anchors = tuple(item for item in found if isinstance(item, Anchor))
        unknown = tuple((entry.name, item) for entry, item in zip(entries, found, strict=True) if isinstance(item, str))
        trust = TrustMaterial((*loaded.trust.anchors, *anchors), unknown)
        return replace(loaded, trust=trust, trust_digest=trust.digest)

    def explained(self, error: FailedError | InconclusiveError, request: Request, loaded: LoadedPolicy) -> FailedError | InconclusiveError:
        """A refusal, with whose credentials the registry was shown."""
        if error.code not in (codes.UNAUTHORIZED, codes.FORBIDDEN):
            return error
        shown = [f"the pull secrets of namespace {self.name!r}"] if self.name and self.secrets.names else []
        own = self._may_use_own(rule_of(loaded, request))
        told = f"asked with {' and '.join([*shown, *(['the credentials of the server'] if own else [])]) or 'no credentials'}"
        unless = "" if own else "; those of the server are used where the rule says `credentials: server`"
        return InconclusiveError(error.code, f"{error.reason}; {told}{unless}", where=error.where, retry_after=error.retry_after)

    def _may_use_own(self, rule: Rule | None) -> bool:
        return self.trusted or (rule is not None and rule.credentials is Whose.SERVER)


def _key(entry: TrustEntry, of: Namespace) -> Anchor | str:
    """The key of a trust entry, or why it is not known."""
    assert entry.secret is not None
    try:
        return anchor_of(entry, of.secrets.value(of, entry.secret.name, entry.secret.key))
    except (InconclusiveError, MisuseError) as error:
        return f"Secret {of.name}/{entry.secret.name}: {error.reason}"


class NamespaceSecrets:
    """The Secrets of namespaces, as far as the server reads them; safe to share between threads.

    `names` are those of pull secrets, or EVERY for all Secrets of that type.
    """

    def __init__(self, cluster: Cluster | None = None, names: tuple[str, ...] = ()) -> None:
        self.names = names
        self._cluster = cluster
        self._known: OrderedDict[tuple[str, str], tuple[float, object]] = OrderedDict()
        self._lock = threading.Lock()
        self._asking = tuple(threading.Lock() for _ in range(_AT_ONCE))

    def pull_secrets(self, of: Namespace) -> PullSecrets:
        """Those of a namespace; what keeps us from looking is told where a registry wants them."""
        if not of.name or not self.names:
            return PullSecrets()
        try:
            return self._once(of, _PULL, lambda: PullSecrets([secret for name in self.names for secret in self._look_up(of.name, name)]))
        except InconclusiveError as error:
            return PullSecrets(problem=error)

    def value(self, of: Namespace, name: str, key: str) -> bytes:
        """What a Secret holds under a key; raises InconclusiveError `namespace-key` or `lookup-failed`."""
        found = self._once(of, name, lambda: tuple(self._look_up(of.name, name))) if of.name else ()
        if not found:
            raise InconclusiveError(codes.NAMESPACE_KEY, "it is not there")
        value = found[0]["data"].get(key)
        if value is None:
            raise InconclusiveError(codes.NAMESPACE_KEY, f"it holds no {key}")
        data: bytes = value
        return data

    def close(self) -> None:
        """Ask the cluster no more."""
        if self._cluster is not None:
            self._cluster.close()

    def _once(self, of: Namespace, name: str, look_up: Callable[[], T]) -> T:  # 3
        key = of.name, name
        known: T | None = self._held(key)
        if known is not None:
            return known
        if of.held:
            raise NotHeldError
        with self._asking[hash(key) % _AT_ONCE]:  # who asks for the same waits for one answer
            known = self._held(key)
            if known is None:
                known = look_up()
                self._keep(key, known)
        return known

    def _held(self, key: tuple[str, str]) -> Any:
        with self._lock:
            ends, found = self._known.get(key, (0.0, None))
        return found if ends > time.monotonic() else None

    def _keep(self, key: tuple[str, str], found: object) -> None:
        with self._lock:
            self._known[key] = (time.monotonic() + SECONDS, found)
            self._known.move_to_end(key)
            while len(self._known) > _ENTRIES:
                self._known.popitem(last=False)

    def _look_up(self, namespace: str, name: str) -> Iterator[Mapping[str, Any]]:
        if self._cluster is None:
            raise InconclusiveError(codes.LOOKUP_FAILED, "Secrets can only be found in the cluster, and no Kubernetes API is configured")
        if name != EVERY:
            one = self._cluster.get("", "Secret", namespace, name)
            if one is not None:
                yield _decoded(one)
            return
        for kind in TYPES:
            for one in self._cluster.every("", "Secret", namespace, _MOST, Selector(fields={"type": kind})):
                yield _decoded(one)


def _decoded(secret: Mapping[str, Any]) -> Mapping[str, Any]:
    """Name, type and data; a value that is no base64 is as good as none."""
    data = {}
    for key, value in mapping(secret, "data").items():
        try:
            data[key] = base64.b64decode(text(value), validate=True)
        except (binascii.Error, ValueError):
            continue
    return {"name": text(get(mapping(secret, "metadata"), "name")), "type": text(get(secret, "type")), "data": data}
