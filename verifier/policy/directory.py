"""Several documents that are one policy: a directory, where each team keeps its own file.

1. Each is a document of its own: version, kind, the same `metadata.name`, and no field that is not known.
2. `trust` and `roots` share one set of names; a name that stands in two documents is an error.
3. `baseline`, `deny`, `rules` and `sources` are joined, in the order of the documents' names. The order means nothing: of the rules the most
   specific wins, and a tie is an error, across documents too.
4. `exceptions.granted` is joined likewise; `by` and `signed` stand in one document.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Sequences

from verifier.formats.yaml import Mapping as YamlMapping
from verifier.formats.yaml import Node, Scalar, Sequence
from verifier.policy.document import API_VERSION, KIND
from verifier.policy.fields import Fields, fail, one_of, sequence, text

TOP = ("apiVersion", "kind", "metadata", "trust", "roots", "baseline", "deny", "rules", "exceptions", "sources", "default")
METADATA = ("name", "serial", "expires")
_NAMED = ("trust", "roots")
_LISTS = ("baseline", "deny", "rules", "sources")


def join(tops: Mapping[str, Node]) -> Node:
    """One document of several, by their places; raises YamlError that holds the node which is wrong."""
    documents = {where: Fields(top, "the policy", TOP) for where, top in tops.items()}
    first = next(iter(documents.values()))
    _check_heads(documents)
    items: dict[str, Node] = {key: first.need(key) for key in ("apiVersion", "kind")}
    items["metadata"] = _metadata(list(documents.values()))
    for key in _NAMED:
        if any(fields.has(key) for fields in documents.values()):
            items[key] = _names(key, documents)
    for key in _LISTS:
        if found := tuple(item for fields in documents.values() if fields.has(key) for item in sequence(fields.need(key))):
            items[key] = Sequence(found, 0, 0)
    if holding := [fields for fields in documents.values() if fields.has("exceptions")]:
        items["exceptions"] = _exceptions(holding)
    return YamlMapping(items, {key: Scalar(key, True, 0, 0) for key in items}, 0, 0)


def _exceptions(documents: Sequences[Fields]) -> Node:
    """4: what is granted is joined; who may sign exceptions, and where they lie, one document says."""
    items: dict[str, Node] = {}
    granted: list[Node] = []
    for fields in documents:
        inner = Fields(fields.need("exceptions"), "exceptions", ("by", "signed", "granted"))
        for key, node in inner.items().items():
            if key == "granted":
                granted += sequence(node)
            elif key in items:
                fail(node, f"{key} of exceptions stands in another document as well")
            else:
                items[key] = node
    if granted:
        items["granted"] = Sequence(tuple(granted), 0, 0)
    return YamlMapping(items, {key: Scalar(key, True, 0, 0) for key in items}, 0, 0)


def _metadata(documents: Sequences[Fields]) -> Node:
    """The name, which all share; serial and end, which one document says, or several alike."""
    items: dict[str, Node] = {}
    for fields in documents:
        for key, node in Fields(fields.need("metadata"), "metadata", METADATA).items().items():
            known = items.setdefault(key, node)
            if not isinstance(node, Scalar) or not isinstance(known, Scalar) or known.text != node.text:
                fail(node, f"another document says another {key}")
    return YamlMapping(items, {key: Scalar(key, True, 0, 0) for key in items}, 0, 0)


def items_of(top: Node, key: str) -> tuple[Node, ...]:
    """The items of a document's list; none where it has no such list."""
    found = top.items.get(key) if isinstance(top, YamlMapping) else None
    return found.items if isinstance(found, Sequence) else ()


def _check_heads(documents: Mapping[str, Fields]) -> None:  # 1
    names: dict[str, str] = {}
    for where, fields in documents.items():
        one_of(API_VERSION)(fields.need("apiVersion"))
        one_of(KIND)(fields.need("kind"))
        fields.get("default", one_of("deny"), "deny")
        node = Fields(fields.need("metadata"), "metadata", METADATA).need("name")
        names.setdefault(text(node), where)
        if len(names) > 1:
            known, other = next(iter(names.items()))
            fail(node, f"the documents of a directory are one policy: {other} calls it {known!r}")


def _names(key: str, documents: Mapping[str, Fields]) -> Node:  # 2
    items: dict[str, Node] = {}
    keys: dict[str, Scalar] = {}
    origin: dict[str, str] = {}
    for where, fields in documents.items():
        if not fields.has(key):
            continue
        node = fields.need(key)
        if not isinstance(node, YamlMapping):
            fail(node, f"{key} must be a mapping")
        for name, inner in node.items.items():
            if name in items:
                fail(node.keys[name], f"the name {name!r} stands under {key} of {origin[name]} as well")
            items[name], keys[name], origin[name] = inner, node.keys[name], where
    return YamlMapping(items, keys, 0, 0)
