"""Writing the verified digest into an object, so that its controller can take nothing else (semantics 31).

1. What we wrote before is taken back first: an object whose author has changed the tag since is pinned anew, and not to the old digest.
2. Each chart that is named without a digest, and has a place for one, is decided on; what is allowed gets its digest, what is not stays as it is,
   and is denied by the validating webhook.
3. What stood there is kept in an annotation, with the reference that the digest was found by. A tag that moves later does not move the pin.

Pure but for the decisions: the result is a JSON patch (RFC 6902), and the same object gives no second one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any

from msgspec import Struct

from verifier.formats.json import parse_object
from verifier.formats.loose import get, mapping, text
from verifier.model.errors import FailedError, InconclusiveError, MisuseError
from verifier.model.reference import parse_oci
from verifier.operations.admission import as_object, named_charts
from verifier.operations.review import Review
from verifier.operations.verdict import World
from verifier.workloads.kinds import reader_of
from verifier.workloads.object import Object
from verifier.workloads.use import Named, Pin

ANNOTATION = "helm-verifier.internal/pinned-from"
_Path = tuple[str | int, ...]


class Pinned(Struct, frozen=True, kw_only=True):
    """What was written at a place: for which reference, which value, and what stood there and beside it, by JSON pointer."""

    reference: str
    value: str
    before: Mapping[str, Any]


def pin(review: Review, world: World) -> tuple[dict[str, Any], ...]:
    """The patch; empty where nothing is to be written. Raises MisuseError for what is no review of an object."""
    if review.operation not in ("CREATE", "UPDATE") or review.new is None or review.subresource:
        return ()
    item = as_object(review)
    reader = reader_of(item)
    if reader is None or not reader.pins:
        return ()
    known = _recorded(item)
    restored = _restored(item, known)
    try:
        found = {_pointer(place.path): (place, made) for place, made in _pins(restored, review.namespace, world, known)}
    except (FailedError, InconclusiveError):
        return ()  # the validating webhook says why
    return tuple(_patch(item, restored, found))


def _pins(restored: Object, namespace: str, world: World, known: Mapping[str, Pinned]) -> Iterator[tuple[Pin, Pinned]]:
    for use in named_charts(restored, world):
        if not isinstance(use, Named) or use.pin is None:
            continue
        kept = known.get(_pointer(use.pin.path))
        if kept is not None and kept.reference == use.reference:  # 3
            yield use.pin, kept
            continue
        value = _value(use, use.pin, namespace, world)
        if value is not None:
            yield use.pin, Pinned(reference=use.reference, value=value, before=_before(restored.value, use.pin))


def _value(use: Named, place: Pin, namespace: str, world: World) -> str | None:  # 2
    try:
        reference = parse_oci(use.reference)
    except MisuseError:
        return None
    if reference.digest is not None:
        return None
    decision = world.decide(reference, world.within(namespace)).decision
    if not decision.allowed or decision.artifact is None:
        return None
    digest = str(decision.artifact.digests[0])
    return f"oci://{reference.registry}/{reference.repository}@{digest}" if place.whole else digest


def _before(value: Mapping[str, Any], place: Pin) -> dict[str, Any]:
    return {_pointer(path): _at(value, path) for path in (place.path, *(path for path, _ in place.beside))}


def _recorded(item: Object) -> dict[str, Pinned]:
    """What we wrote before, as far as it still stands there; an annotation that is not ours says nothing."""
    written = text(get(mapping(mapping(item.value, "metadata"), "annotations"), ANNOTATION))
    if not written:
        return {}
    try:
        value = parse_object(written.encode(), where=ANNOTATION)
    except FailedError:
        return {}
    found = {}
    for pointer, entry in value.items():
        made = Pinned(reference=text(get(entry, "reference")), value=text(get(entry, "value")), before=mapping(entry, "before"))
        if made.value and _at(item.value, _path(pointer)) == made.value:
            found[pointer] = made
    return found


def _restored(item: Object, known: Mapping[str, Pinned]) -> Object:  # 1
    if not known:
        return item
    value = deepcopy(dict(item.value))
    for made in known.values():
        for pointer, before in made.before.items():
            if isinstance(before, str | None):
                _put(value, _path(pointer), before)
    return Object(place=item.place, group=item.group, version=item.version, kind=item.kind, namespace=item.namespace, name=item.name, value=value)


def _patch(item: Object, restored: Object, found: Mapping[str, tuple[Pin, Pinned]]) -> Iterator[dict[str, Any]]:
    """From the object as it came to the object as it shall be."""
    wanted = deepcopy(dict(restored.value))
    for place, made in found.values():
        _put(wanted, place.path, made.value)
        for path, value in place.beside:
            _put(wanted, path, value)
    annotations = dict(mapping(mapping(wanted, "metadata"), "annotations"))
    annotations.pop(ANNOTATION, None)
    if found:
        told = {pointer: {"reference": made.reference, "value": made.value, "before": dict(made.before)} for pointer, (_, made) in found.items()}
        annotations[ANNOTATION] = json.dumps(told, separators=(",", ":"), sort_keys=True)
    before = mapping(mapping(item.value, "metadata"), "annotations")
    if annotations != before:
        yield {"op": "add", "path": "/metadata/annotations", "value": annotations}
    for key in ("spec", "helm", "operation"):  # where pins are
        if wanted.get(key) != item.value.get(key):
            yield {"op": "add", "path": f"/{key}", "value": wanted[key]}


def _at(value: Any, path: _Path) -> Any:
    for part in path:
        if isinstance(part, int):
            value = value[part] if isinstance(value, list) and part < len(value) else None
        else:
            value = get(value, part)
    return value


def _put(value: Any, path: _Path, wanted: str | None) -> None:
    """Write or remove a field; objects on the way are made, lists are not."""
    for part, following in pairwise(path):
        if isinstance(part, int):
            if not isinstance(value, list) or part >= len(value):
                return
            value = value[part]
        else:
            if not isinstance(value, dict):
                return
            value = value.setdefault(part, [] if isinstance(following, int) else {})
    last = path[-1]
    if isinstance(value, list) and isinstance(last, int) and last < len(value) and wanted is not None:
        value[last] = wanted
    elif isinstance(value, dict) and wanted is None:
        value.pop(last, None)
    elif isinstance(value, dict):
        value[str(last)] = wanted


def _pointer(path: Sequence[str | int]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _path(pointer: str) -> _Path:
    parts = (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
    return tuple(int(part) if part.isdigit() else part for part in parts)
