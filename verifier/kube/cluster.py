"""Looking objects up in a cluster. The only room that knows lightkube, an extra of the package.

What is not there is None; what could not be looked up is an error, never "not there" (threats: CVE-2025-46342).
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from verifier.model import codes
from verifier.model.errors import InconclusiveError, MisuseError, first_line

_RENEW_SECONDS = 600.0  # the token of a service account is renewed in its file; a client reads it once
_CONNECT_SECONDS = 3.0
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
# (group, kind): the plural, and the versions of the API that may be served, newest first.
Resources = Mapping[tuple[str, str], tuple[str, tuple[str, ...]]]
_Call = Callable[[Any, type], Any]


class Selector(Struct, frozen=True, kw_only=True):
    """Which objects of a kind are meant; all, if nothing is said."""

    labels: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)


EVERYTHING = Selector()


class Cluster:
    """One cluster's API; safe to share between threads."""

    def __init__(self, configuration: Callable[[], Any], seconds: float, resources: Resources) -> None:
        self._resources = resources
        self._configuration = configuration
        self._seconds = seconds
        self._lock = threading.Lock()
        self._client: Any = None
        self._opened = 0.0
        self._served: dict[tuple[str, str], str] = {}

    def get(self, group: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """An object, or None if there is none; raises InconclusiveError `lookup-failed`."""
        if not _may_be(name) or (namespace and not _may_be(namespace)):
            return None  # no object has such a name; as part of a path it could mean another
        found: dict[str, Any] | None = self._ask(group, kind, name, lambda client, resource: client.get(resource, name=name, namespace=namespace).to_dict())
        return found

    def every(self, group: str, kind: str, namespace: str | None, most: int, which: Selector = EVERYTHING) -> list[dict[str, Any]]:
        """All objects of a kind; raises InconclusiveError `lookup-failed`, also for more than `most`."""
        if namespace is not None and not _may_be(namespace):
            raise _failed(f"{namespace[:80]!r} is no namespace", kind)

        def call(client: Any, resource: type) -> list[dict[str, Any]]:
            listed = client.list(resource, namespace=namespace or "*", chunk_size=500, labels=dict(which.labels) or None, fields=dict(which.fields) or None)
            return [item.to_dict() for item in islice(listed, most + 1)]

        found: list[dict[str, Any]] = self._ask(group, kind, "", call) or []
        if len(found) > most:
            raise _failed(f"more than {most} objects of the kind {kind}", kind)
        return found

    def tell(self, namespace: str, about: Mapping[str, str], reason: str, message: str) -> None:
        """Write a Warning Event about an object; raises InconclusiveError `lookup-failed`."""
        from lightkube.models.core_v1 import EventSource, ObjectReference
        from lightkube.models.meta_v1 import ObjectMeta
        from lightkube.resources.core_v1 import Event

        now = datetime.now(UTC)
        event = Event(
            metadata=ObjectMeta(generateName="helm-verifier-", namespace=namespace),
            involvedObject=ObjectReference(**{key: value for key, value in about.items() if value}),
            reason=reason,
            message=message,
            type="Warning",
            firstTimestamp=now,
            lastTimestamp=now,
            count=1,
            source=EventSource(component="helm-verifier"),
        )
        self._once(Event, "Event", "", lambda client, _: client.create(event))

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _ask(self, group: str, kind: str, name: str, call: _Call) -> Any:
        """Ask under the version that is served; an API that is not served has no objects."""
        plural, versions = self._resources[group, kind]
        known = self._served.get((group, kind))
        for version in (known,) if known is not None else versions:
            answered, value = self._once(_resource(group, version, kind, plural), kind, name, call)
            if answered:
                self._served[group, kind] = version
                return value
        self._served.pop((group, kind), None)
        return None

    def _once(self, resource: type, kind: str, name: str, call: _Call) -> tuple[bool, Any]:
        """Whether this version is served, and what it said."""
        from httpx2 import HTTPStatusError
        from lightkube.core.exceptions import ApiError

        where = f"{kind} {name}".rstrip()
        try:
            return True, call(self._current(), resource)
        except ApiError as error:
            status = error.status
            if status.code != 404:
                raise _failed(f"the Kubernetes API says {status.code}: {str(status.message)[:200]}", where) from error
            # "There is no such object" names it; "there is no such path" does not.
            return bool(name) and status.details is not None and bool(status.details.name), None
        except HTTPStatusError as error:  # a path that is not served gets no Status, but a line of text
            if error.response.status_code != 404:
                raise _failed(f"the Kubernetes API says {error.response.status_code}", where) from error
            return False, None
        except MisuseError:
            raise
        except Exception as error:  # a connection fails in errors of three libraries
            raise _failed(f"{type(error).__name__}: {first_line(error)}", where) from error

    def _current(self) -> Any:
        with self._lock:
            if self._client is None or time.monotonic() - self._opened > _RENEW_SECONDS:
                self._client, self._opened = self._open(), time.monotonic()
            return self._client

    def _open(self) -> Any:
        from httpx2 import Timeout
        from lightkube import Client

        return Client(config=self._configuration(), timeout=Timeout(self._seconds, connect=_CONNECT_SECONDS), trust_env=False)


def _resource(group: str, version: str, kind: str, plural: str) -> type:
    """The library has classes of its own for the core's kinds, and wants no others."""
    if not group:
        from lightkube.resources import core_v1

        found: type = getattr(core_v1, kind)
        return found
    from lightkube.generic_resource import create_namespaced_resource

    return create_namespaced_resource(group, version, kind, plural)


def connect(environment: Mapping[str, str], seconds: float, resources: Resources) -> Cluster:
    """The cluster of a kubeconfig, or the one around us, asked for these kinds; raises MisuseError `extra-missing` or `config-invalid`."""
    try:
        import lightkube  # noqa: F401  # whether the extra is there
    except ImportError as error:
        raise MisuseError(codes.EXTRA_MISSING, "looking objects up in Kubernetes takes the extra 'kubernetes'") from error
    configuration = partial(read_configuration, environment)
    try:
        configuration()
    except Exception as error:  # malformed files are told in errors of three libraries
        raise MisuseError(codes.CONFIG_INVALID, f"no Kubernetes API is configured: {first_line(error)}") from error
    return Cluster(configuration, seconds, resources)


def read_configuration(environment: Mapping[str, str]) -> Any:
    """A kubeconfig wins over the cluster around us, as in kubectl; of several files in KUBECONFIG the first that is there."""
    from lightkube import KubeConfig
    from lightkube.config.models import User

    home = Path(environment.get("HOME") or "/") / ".kube" / "config"
    files = [Path(text) for text in (environment.get("KUBECONFIG") or str(home)).split(":") if text]
    named = next((path for path in files if path.is_file()), None)
    if named is None and not environment.get("KUBECONFIG"):
        return KubeConfig.from_service_account()
    found = KubeConfig.from_file(named or files[0]).get()
    assert found is not None
    # Without TLS no credential is sent, as in kubectl: only a proxy on this machine answers then.
    return found._replace(user=User()) if found.cluster.server.startswith("http://") else found


def _may_be(name: str) -> bool:
    """Whether an object can have this name (RFC 1123 subdomain)."""
    return len(name) <= 253 and _NAME.fullmatch(name) is not None


def _failed(reason: str, where: str) -> InconclusiveError:
    return InconclusiveError(codes.LOOKUP_FAILED, reason, where=where)
