"""The kinds of objects that name charts: one row each, from the module of its installer.

An API version of a known kind that has no row here is not read: it may name a chart in a field that we do not know.
"""

from __future__ import annotations

from collections.abc import Iterator

from verifier.model import codes
from verifier.workloads import argo, carvel, cluster_api, config_sync, crossplane, fleet, flux, gardener, k0s, k3s, kubevela, open_cluster_management, sveltos
from verifier.workloads.object import Found, Need, Object, Reader
from verifier.workloads.use import ChartUse, Unverifiable

_MODULES = (flux, argo, k3s, crossplane, sveltos, cluster_api, fleet, carvel, kubevela, k0s, open_cluster_management, config_sync, gardener)
READERS: tuple[Reader, ...] = tuple(reader for module in _MODULES for reader in module.READERS)
_BY_KIND = {(reader.group, reader.kind): reader for reader in READERS}
GROUPS = frozenset(reader.group for reader in READERS)


def reader_of(item: Object) -> Reader | None:
    """The reader of an object's kind; None for a kind that names no chart as far as we know."""
    return _BY_KIND.get((item.group, item.kind))


def new_needs(item: Object, found: Found) -> Iterator[Need]:
    """What must be looked up before the object can be read, and was not yet."""
    reader = reader_of(item)
    if reader is not None:
        yield from dict.fromkeys(need for need in reader.needs(item, found) if need not in found)


def uses_of(item: Object, found: Found) -> tuple[ChartUse, ...]:
    """The charts that an object names; none for a kind that names none."""
    reader = reader_of(item)
    if reader is None:
        return ()
    if item.version not in reader.versions:
        problem = f"{item.kind} of {item.group}/{item.version[:40]} is not known, only {', '.join(reader.versions)}: it may name a chart elsewhere"
        return (Unverifiable(place=item.at("apiVersion"), problem=problem, code=codes.KIND_UNKNOWN),)
    return tuple(reader.uses(item, found))
