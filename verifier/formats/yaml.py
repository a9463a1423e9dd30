"""Guarded YAML: events are counted before anything is built, and what YAML readers disagree about is refused.

Why not a plain safe loader: a 60 KB document of nested brackets overflows the C loader's stack and kills the process, so
depth is checked on the event stream first, which is not recursive. Anchors, aliases, tags, merge keys, several documents,
duplicate keys and keys that differ only by case are refused (semantics 7): two readers could see two documents.
Every node keeps its line and column, so that an error can name its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml
from msgspec import Struct

from verifier.model import limits

_BOM = "\ufeff"
# YAML 1.2 core scalars; timestamps, octal, sexagesimal, yes/no and the like stay text.
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+")


class YamlError(Exception):
    """Malformed or ambiguous YAML; `line` and `column` count from 1 (0: unknown), `node` is what was read there, if anything was."""

    def __init__(self, reason: str, line: int = 0, column: int = 0, node: Node | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column
        self.node = node

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.reason}" if self.line else self.reason


class Scalar(Struct, frozen=True):
    """A scalar's text; `plain` when it stood without quotes, so that its type is to be resolved."""

    text: str
    plain: bool
    line: int
    column: int

    @property
    def value(self) -> str | int | float | bool | None:
        """The value under the YAML 1.2 core schema; quoted scalars are always text."""
        return _resolve(self.text) if self.plain else self.text


class Sequence(Struct, frozen=True):
    """A sequence of nodes."""

    items: tuple[Node, ...]
    line: int
    column: int


class Mapping(Struct, frozen=True):
    """A mapping with unique text keys; `keys` holds where each key stands."""

    items: dict[str, Node]
    keys: dict[str, Scalar]
    line: int
    column: int


Node = Scalar | Sequence | Mapping


def told(error: YamlError, top: Node | None, where: str) -> tuple[str, str]:
    """The error as people read it: the field's path with the reason, and `where:line:column`."""
    field = path_of(error.node, top) if error.node is not None and top is not None else None
    return f"{field}: {error.reason}" if field else error.reason, f"{where}:{error.line}:{error.column}" if error.line else where


def path_of(wanted: Node, top: Node) -> str | None:
    """Where a node, or a mapping's key, stands in a document: `rules[0].require.signed`; empty for the document itself."""
    if wanted is top:
        return ""
    for step, key, inner in _below(top):
        found = "" if wanted is key else path_of(wanted, inner)
        if found is not None:
            return f"{step}.{found}" if found and not found.startswith("[") else f"{step}{found}"
    return None


def _below(node: Node) -> Iterator[tuple[str, Scalar | None, Node]]:
    """What lies in a node: how a path names it, its key, and itself."""
    match node:
        case Mapping(items=items, keys=keys):
            yield from ((name, keys[name], inner) for name, inner in items.items())
        case Sequence(items=several):
            yield from ((f"[{index}]", None, inner) for index, inner in enumerate(several))
        case Scalar():
            return


def parse_yaml(data: bytes, *, allow_bom: bool = False) -> Node:
    """Parse one document; raises YamlError. `allow_bom` skips a UTF-8 byte order mark, as Helm does."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise YamlError(f"not UTF-8 at byte {error.start}") from error
    if text.startswith(_BOM):
        if not allow_bom:
            raise YamlError("begins with a byte order mark", 1, 1)
        text = text.removeprefix(_BOM)
    try:
        return _Composer(_guarded(text)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise YamlError(str(error.problem or error.context or "malformed"), line, column) from error
    except yaml.YAMLError as error:
        raise YamlError(str(error).splitlines()[0][:200]) from error


def plain(node: Node) -> Any:
    """The node as dicts, lists and scalars of the YAML 1.2 core schema."""
    match node:
        case Scalar():
            return node.value
        case Sequence():
            return [plain(item) for item in node.items]
        case Mapping():
            return {key: plain(item) for key, item in node.items.items()}


def load_values(data: bytes) -> Iterator[Any]:
    """The documents of a chart's values or of rendered manifests, with what YAML allows and charts use: anchors, merges, several documents.

    Only for looking at what a chart names, never for what is decided on. Aliases share what they name: whoever walks the result counts.
    Raises YamlError.
    """
    yield from load_with(data, _ValuesLoader)  # a safe loader, without dates


def load_with(data: bytes, loader: type[yaml.CSafeLoader]) -> Iterator[Any]:
    """The documents by a safe loader, as deep as a parser's stack bears; raises YamlError."""
    try:
        text = data.decode("utf-8").removeprefix(_BOM)
        _check_depth(text)
        yield from yaml.load_all(text, Loader=loader)
    except UnicodeDecodeError as error:
        raise YamlError(f"not UTF-8 at byte {error.start}") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise YamlError(str(error).splitlines()[0][:200]) from error


def _check_depth(text: str) -> None:
    depth = 0
    for event in iter(yaml.CSafeLoader(text).get_event, None):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > limits.YAML_DEPTH:
            _refuse(event, f"nested deeper than {limits.YAML_DEPTH}")


class BoundedLoader(yaml.CSafeLoader):
    """Merges no more than is looked at: a merge copies what it names, so that a kilobyte of merges of merges would take hours and gigabytes."""

    merged = 0

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Count what is merged, from the bottom up, before it is."""
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                for named in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    self._count(named, key)
        super().flatten_mapping(node)

    def _count(self, named: yaml.Node, key: yaml.Node) -> None:
        if isinstance(named, yaml.MappingNode):
            self.flatten_mapping(named)
            self.merged += len(named.value)
        if self.merged > limits.VALUES_NODES:
            raise YamlError("merges more than is looked at", key.start_mark.line + 1, key.start_mark.column + 1)


class _ValuesLoader(BoundedLoader):
    """Dates stay text: they are none in a chart's values."""


_ValuesLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def dump_yaml(value: Any) -> str:
    """Block YAML with sorted keys and lists at column 0, as Helm writes it; texts that any reader could take for a number,
    a date or a truth value are quoted.
    """
    return yaml.dump(value, Dumper=_Dumper, sort_keys=True, default_flow_style=False, allow_unicode=True, width=2**31)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_PLAIN_SAFE = re.compile(r"[A-Za-z/][^:#\n]*|[0-9]+\.[0-9]+\.[0-9][0-9A-Za-z.+-]*|https?://[^ #]+|sha256:[0-9a-f]{64}")


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if _PLAIN_SAFE.fullmatch(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _guarded(text: str) -> Iterator[yaml.Event]:
    depth = 0
    for count, event in enumerate(iter(yaml.CSafeLoader(text).get_event, None)):
        if count > limits.YAML_EVENTS:
            _refuse(event, "the document is too large")
        if isinstance(event, yaml.NodeEvent):
            _check_node(event)
            depth += isinstance(event, yaml.CollectionStartEvent)
            if depth > limits.YAML_DEPTH:
                _refuse(event, f"nested deeper than {limits.YAML_DEPTH}")
        else:
            depth -= isinstance(event, yaml.CollectionEndEvent)
        yield event


def _check_node(event: yaml.NodeEvent) -> None:
    if isinstance(event, yaml.AliasEvent):
        _refuse(event, "aliases are not allowed")
    if event.anchor is not None:
        _refuse(event, "anchors are not allowed")
    if event.tag is not None:  # type: ignore[attr-defined]  # every node but an alias has one
        _refuse(event, "tags are not allowed")


class _Composer:
    """Builds nodes from guarded events; recursion is bounded by the guard's depth."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events

    def document(self) -> Node:
        nodes: list[Node] = []
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if nodes:
                    _refuse(event, "more than one document")
                nodes.append(self._node(next(self._events)))
        if not nodes:
            raise YamlError("empty document", 1, 1)
        return nodes[0]

    def _node(self, event: yaml.Event) -> Node:
        line, column = _mark(event)
        match event:
            case yaml.ScalarEvent():
                return Scalar(event.value, event.style is None or event.style == "", line, column)
            case yaml.SequenceStartEvent():
                items = []
                while not isinstance(inner := next(self._events), yaml.SequenceEndEvent):
                    items.append(self._node(inner))
                return Sequence(tuple(items), line, column)
            case yaml.MappingStartEvent():
                return self._mapping(line, column)
            case _:
                _refuse(event, f"unexpected {type(event).__name__}")

    def _mapping(self, line: int, column: int) -> Mapping:
        items: dict[str, Node] = {}
        keys: dict[str, Scalar] = {}
        folded: dict[str, str] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event)
            if not isinstance(key, Scalar) or (key.plain and not isinstance(key.value, str)):
                _refuse(event, "a key must be text")
            if key.plain and key.text == "<<":
                _refuse(event, "merge keys are not allowed")
            if (other := folded.get(key.text.casefold())) is not None:
                how = "duplicate key" if other == key.text else f"key that differs only by case from {other!r}:"
                _refuse(event, f"{how} {key.text!r}")
            folded[key.text.casefold()] = key.text
            keys[key.text] = key
            items[key.text] = self._node(next(self._events))
        return Mapping(items, keys, line, column)


def _mark(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)


def _refuse(event: yaml.Event, reason: str) -> NoReturn:
    raise YamlError(reason, *_mark(event))


def _resolve(text: str) -> str | int | float | bool | None:
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if _INT.fullmatch(text) and len(text) < 19:
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
