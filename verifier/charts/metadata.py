"""Chart.yaml as Helm reads it.

Helm unmarshals YAML into a Go struct: unknown keys vanish, keys match without regard to case, plain numbers in text fields
are reformatted, texts are sanitised. We produce the same value, in the struct's field order, so that the config blob that we
push is byte for byte what Helm pushes, and so that config, Chart.yaml and `.prov` can be compared as wholes.
Where Helm would guess (a key that matches only without case, a version that is a number) we refuse (semantics 7).

Source: helm/helm pkg/chart/v2/metadata.go, dependency.go; sigs.k8s.io/yaml convertToJSONableObject.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from verifier.charts.version import parse_version
from verifier.formats.json import parse_object
from verifier.formats.yaml import Mapping as YamlMapping
from verifier.formats.yaml import Node, Scalar, Sequence, YamlError, parse_yaml, plain
from verifier.model import codes
from verifier.model.artifact import ChartFacts
from verifier.model.errors import FailedError

_Reader = Callable[[Node, str], Any]
_GO_TRUE = {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"}
_GO_FALSE = {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"}
_GO_NULL = {"", "~", "null", "Null", "NULL"}
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_OTHER_NUMBER = re.compile(r"[-+]?(0[xob]?[0-9a-fA-F_]+|[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?|\.(inf|Inf|INF)|\.(nan|NaN|NAN))")
_ALIAS = re.compile(r"[a-zA-Z0-9_-]+")


def read_chart_yaml(files: Mapping[str, bytes], *, where: str) -> ChartFacts:
    """The facts of a chart's files; raises FailedError `archive-invalid`, `archive-ambiguous` or `metadata-invalid`."""
    if "Chart.yaml" not in files:
        raise FailedError(codes.ARCHIVE_INVALID, "no Chart.yaml at the top of the chart", where=where)
    place = f"{where}!Chart.yaml"
    metadata = read_metadata_yaml(files["Chart.yaml"], where=place)
    if metadata.get("apiVersion") == "v2":
        _refuse_requirements(files, where)
    elif "requirements.yaml" in files:
        metadata = _with_requirements(metadata, files["requirements.yaml"], f"{where}!requirements.yaml")
    return chart_facts(metadata, where=place)


def read_metadata_yaml(data: bytes, *, where: str) -> dict[str, Any]:
    """Normalised metadata of a YAML document; raises FailedError `metadata-invalid` with line and column."""
    return _normalise(_parse(data, where), where)


def read_metadata_json(data: bytes, *, where: str) -> dict[str, Any]:
    """Normalised metadata of a manifest's config; raises FailedError `json-invalid` or `metadata-invalid`."""
    return _normalise(_node(parse_object(data, where=where), where), where)


def read_lock_yaml(data: bytes, *, where: str) -> dict[str, Any]:
    """A Chart.lock as Helm reads it: digest, and the dependencies that were resolved; raises FailedError `metadata-invalid`."""
    try:
        lock: dict[str, Any] = _LOCK(_parse(data, where), "lock")
    except (ValueError, _Place) as error:
        raise _invalid(str(error), where) from error
    return lock


def chart_facts(metadata: Mapping[str, Any], *, where: str) -> ChartFacts:
    """Name and version under Helm's own rules; raises FailedError `metadata-invalid`."""
    name, version = metadata.get("name", ""), metadata.get("version", "")
    if not metadata.get("apiVersion"):
        raise _invalid("apiVersion is missing", where)
    if not name or name in (".", "..") or "/" in name or "\\" in name:
        raise _invalid(f"{name[:100]!r} is not a chart name", where)
    if parse_version(version) is None:
        raise _invalid(f"{version[:100]!r} is not a semantic version", where)
    if metadata.get("type", "") not in ("", "application", "library"):
        raise _invalid(f"type {metadata['type'][:50]!r} is neither application nor library", where)
    return ChartFacts(name=name, version=version, metadata=metadata)


def sanitise(text: str) -> str:
    """Helm's sanitizeString: white space becomes a blank, what cannot be printed vanishes."""
    return "".join(" " if _is_go_space(c) else c for c in text if _is_go_space(c) or _is_go_print(c))


def _is_go_space(character: str) -> bool:
    return character.isspace() and character not in "\x1c\x1d\x1e\x1f"


def _is_go_print(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMNPS"


def _parse(data: bytes, where: str) -> Node:
    try:
        return parse_yaml(data, allow_bom=True)
    except YamlError as error:
        raise _invalid(str(error), where) from error


def _refuse_requirements(files: Mapping[str, bytes], where: str) -> None:
    """Helm reads requirements.yaml over the metadata of a v2 chart as well, name and version included."""
    for path in files:
        if "/" not in path and path.casefold() in ("requirements.yaml", "requirements.lock"):
            raise FailedError(codes.ARCHIVE_AMBIGUOUS, f"{path} in an apiVersion v2 chart replaces its metadata", where=where)


def _with_requirements(metadata: dict[str, Any], data: bytes, where: str) -> dict[str, Any]:
    node = _parse(data, where)
    if not isinstance(node, YamlMapping) or set(node.items) - {"dependencies"}:
        raise _invalid("holds more than dependencies", where)
    return _ordered({**metadata, **_normalise(node, where)})


# Readers, one per Go type. Each returns None for what Go's `omitempty` leaves out.


def _text(node: Node, place: str) -> str | None:
    """A Go string field; a number or truth value becomes the text that Go would write."""
    if not isinstance(node, Scalar):
        raise _invalid("must be text", place, node)
    if not node.plain:
        return node.text or None
    text = node.text
    if text in _GO_NULL:
        return None
    if text in _GO_TRUE:
        return "true"
    if text in _GO_FALSE:
        return "false"
    if _DECIMAL.fullmatch(text):
        return str(int(text))
    if _OTHER_NUMBER.fullmatch(text):
        raise _invalid(f"{text[:50]!r} is a number in YAML; put it in quotes", place, node)
    if _FLOAT.fullmatch(text):
        return _go_float(float(text))
    return text


def _go_float(value: float) -> str:
    """strconv.FormatFloat(value, 'g', -1, 64) for what version numbers look like."""
    text = repr(value)
    if "e" in text or not 1e-4 <= abs(value) < 1e21:
        raise ValueError(f"{text} is a number; put it in quotes")
    return text.removesuffix(".0")


def _clean_text(node: Node, place: str) -> str | None:
    text = _text(node, place)
    return sanitise(text) or None if text is not None else None


def _strict_text(node: Node, place: str) -> str | None:
    """Name and version: text in YAML, or refused (semantics 7)."""
    text = _text(node, place)
    if isinstance(node, Scalar) and node.plain and text is not None and (text != node.text or _DECIMAL.fullmatch(text) or _FLOAT.fullmatch(text)):
        raise _invalid(f"{node.text[:50]!r} is not text in YAML; put it in quotes", place, node)
    return text


def _boolean(node: Node, place: str) -> bool | None:
    if not isinstance(node, Scalar) or not node.plain or node.text not in _GO_TRUE | _GO_FALSE | _GO_NULL:
        raise _invalid("must be true or false", place, node)
    return True if node.text in _GO_TRUE else None


def _list(item: _Reader) -> _Reader:
    def read(node: Node, place: str) -> list[Any] | None:
        if isinstance(node, Scalar) and node.plain and node.text in _GO_NULL:
            return None
        if not isinstance(node, Sequence):
            raise _invalid("must be a list", place, node)
        return [_or_empty(item(inner, f"{place}[{index}]")) for index, inner in enumerate(node.items)] or None

    return read


def _or_empty(value: Any) -> Any:
    return "" if value is None else value


def _text_map(node: Node, place: str) -> dict[str, str] | None:
    if isinstance(node, Scalar) and node.plain and node.text in _GO_NULL:
        return None
    if not isinstance(node, YamlMapping):
        raise _invalid("must be a mapping", place, node)
    return {key: _or_empty(_text(node.items[key], f"{place}.{key}")) for key in sorted(node.items)} or None


def _values(node: Node, _place: str) -> Any:
    return [plain(item) for item in node.items] or None if isinstance(node, Sequence) else None


def _struct(fields: Mapping[str, _Reader], always: tuple[str, ...] = ()) -> _Reader:
    """A Go struct: unknown keys vanish, a key in the wrong case is refused, `always` fields are never omitted."""
    lowered = {name.casefold(): name for name in fields}

    def read(node: Node, place: str) -> dict[str, Any]:
        if not isinstance(node, YamlMapping):
            raise _invalid("must be a mapping", place, node)
        for key, scalar in node.keys.items():
            if key not in fields and (meant := lowered.get(key.casefold())):
                raise _invalid(f"{key!r} is read as {meant!r} by Helm; write it so", place, scalar)
        result = {key: reader(node.items[key], f"{place}.{key}") for key, reader in fields.items() if key in node.items}
        return {key: _or_empty(result.get(key)) for key in fields if key in always or result.get(key) is not None}

    return read


_MAINTAINER = _struct({"name": _clean_text, "email": _clean_text, "url": _clean_text})


def _alias(node: Node, place: str) -> str | None:
    text = _text(node, place)
    if text is not None and not _ALIAS.fullmatch(text):
        raise _invalid(f"{text[:50]!r} is not an alias", place, node)
    return text


_DEPENDENCY = _struct(
    {
        "name": _clean_text,
        "version": _clean_text,
        "repository": _clean_text,
        "condition": _clean_text,
        "tags": _list(_clean_text),
        "enabled": _boolean,
        "import-values": _values,
        "alias": _alias,
    },
    always=("name", "repository"),
)
_LOCK = _struct({"generated": _text, "digest": _text, "dependencies": _list(_DEPENDENCY)})
_METADATA_FIELDS: dict[str, _Reader] = {
    "name": _strict_text,
    "home": _clean_text,
    "sources": _list(_clean_text),
    "version": _strict_text,
    "description": _clean_text,
    "keywords": _list(_clean_text),
    "maintainers": _list(_MAINTAINER),
    "icon": _clean_text,
    "apiVersion": _text,
    "condition": _clean_text,
    "tags": _clean_text,
    "appVersion": _clean_text,
    "deprecated": _boolean,
    "annotations": _text_map,
    "kubeVersion": _clean_text,
    "dependencies": _list(_DEPENDENCY),
    "type": _text,
}
_METADATA = _struct(_METADATA_FIELDS)


def _ordered(metadata: dict[str, Any]) -> dict[str, Any]:
    return {key: metadata[key] for key in _METADATA_FIELDS if key in metadata}


def _normalise(node: Node, where: str) -> dict[str, Any]:
    try:
        metadata: dict[str, Any] = _METADATA(node, "metadata")
    except ValueError as error:
        raise _invalid(str(error), where) from error
    except _Place as error:
        raise _invalid(str(error), where) from error
    return metadata


class _Place(Exception):
    """An error inside a document, before it is known where the document lies."""


def _invalid(reason: str, where: str, node: Node | None = None) -> Exception:
    """Inside a document: a `_Place` with path and line; for the whole document: the FailedError."""
    if node is None:
        return FailedError(codes.METADATA_INVALID, reason, where=where)
    line = f" (line {node.line})" if node.line else ""
    return _Place(f"{where}{line}: {reason}")


def _node(value: Any, where: str) -> Node:
    """JSON values as nodes, so that config and Chart.yaml go through the same readers."""
    match value:
        case dict():
            items = {key: _node(item, where) for key, item in value.items()}
            folded = {key.casefold() for key in items}
            if len(folded) != len(items):
                raise FailedError(codes.METADATA_INVALID, "keys that differ only by case", where=where)
            return YamlMapping(items, {key: Scalar(key, False, 0, 0) for key in items}, 0, 0)
        case list():
            return Sequence(tuple(_node(item, where) for item in value), 0, 0)
        case None:
            return Scalar("", True, 0, 0)
        case bool():
            return Scalar("true" if value else "false", True, 0, 0)
        case str():
            return Scalar(value, False, 0, 0)
        case _:
            return Scalar(repr(value), True, 0, 0)
