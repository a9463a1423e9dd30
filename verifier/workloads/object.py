"""Objects of Kubernetes: what names one, and how a kind's reader is written.

Reading has two phases, so that readers stay pure: `needs` says which other objects must be looked up (asked again until nothing new is needed),
`uses` says which charts the object names, given what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from verifier.formats.loose import get, mapping, text
from verifier.workloads.use import ChartUse


class Name(Struct, frozen=True):
    """One object to be looked up; without a namespace, one of the whole cluster."""

    group: str
    kind: str
    namespace: str
    name: str


class Every(Struct, frozen=True):
    """All objects of a kind, in a namespace or everywhere."""

    group: str
    kind: str
    namespace: str | None = None


Need = Name | Every


class Object(Struct, frozen=True, kw_only=True):
    """An object with what names it; `place` is where it stands, for people."""

    place: str
    group: str
    version: str
    kind: str
    namespace: str
    name: str
    value: Mapping[str, Any]

    @property
    def key(self) -> Name:
        """By which others refer to it."""
        return Name(self.group, self.kind, self.namespace, self.name)

    @property
    def spec(self) -> dict[str, Any]:
        """Its spec, empty where there is none."""
        return mapping(self.value, "spec")

    @property
    def what(self) -> str:
        """Kind, namespace and name, for people."""
        return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{self.name}"

    def at(self, path: str) -> str:
        """A field of it, for people."""
        return f"{self.place}: {path}" if self.place else path


Found = Mapping[Need, tuple[Object, ...]]
Uses = Callable[[Object, Found], Iterator[ChartUse]]
Needs = Callable[[Object, Found], Iterator[Need]]


class Takers(Struct, frozen=True, kw_only=True):
    """Objects, perhaps of other namespaces, that install what a source names: among `all`, those of which `takes(other, source)` holds."""

    all: Every
    takes: Callable[[Object, Object], bool]


def _nothing(_: Object, __: Found) -> Iterator[Need]:
    return iter(())


class Reader(Struct, frozen=True, kw_only=True):
    """How one kind is read. `versions` are those of its API that are in use and have these fields; another one is not guessed at.

    `checked` and `pin` are the kind's row in the published table: what is looked at, and what can be pinned, or why not. `pins`: we can write it.
    `takers`: what installs the chart that it names; a policy that tells namespaces apart is asked for theirs, too.
    """

    group: str
    kind: str
    versions: tuple[str, ...]
    uses: Uses
    needs: Needs = _nothing
    checked: str
    pin: str
    pins: bool = False
    takers: Takers | None = None

    @property
    def plural(self) -> str:
        """The resource's name in the API: HelmChartProxy is helmchartproxies."""
        name = self.kind.lower()
        return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


def read_object(place: str, value: Any) -> Object | None:
    """An object out of what may be one."""
    kind = text(get(value, "kind"))
    if not kind or not isinstance(value, dict):
        return None
    group, slash, version = text(value.get("apiVersion")).rpartition("/")
    named = mapping(value, "metadata")
    return Object(
        place=place,
        group=group if slash else "",
        version=version,
        kind=kind,
        namespace=text(get(named, "namespace")),
        name=text(get(named, "name")),
        value=value,
    )


def one(found: Found, need: Name) -> Object | None:
    """The object that was looked up; None if there is none of this name."""
    listed = found.get(need, ())
    return listed[0] if listed else None
