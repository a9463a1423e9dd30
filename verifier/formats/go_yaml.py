"""A chart's values as Helm reads them: YAML through sigs.k8s.io/yaml into JSON, whose numbers are doubles.

PyYAML follows YAML 1.1, Go's reader its own mixture: `1e3`, `0o17` and `0777` are numbers, `1:30` and dates are text, `y` and `no` are truth values, keys
become text. Source: go-yaml/yaml v2 resolve.go, sigs.k8s.io/yaml yaml.go; the cases in the tests were read out of release records of real Helm.
"""

from __future__ import annotations

import math
import re
from typing import Any

from verifier.formats.yaml import BoundedLoader, YamlError, load_with
from verifier.model import limits

_TAG = "tag:helm-verifier,2026:go"
_MERGE = ("tag:yaml.org,2002:merge", re.compile(r"<<\Z"))
_TRUE = frozenset(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
_FALSE = frozenset(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"))
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INT = re.compile(r"([-+]?)(0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|0[0-7]*|[1-9][0-9]*)")


class _Loader(BoundedLoader):
    """Plain scalars as Go resolves them."""


_Loader.yaml_implicit_resolvers = {None: [_MERGE, (_TAG, re.compile(""))]}
_Loader.add_constructor(_TAG, lambda _, node: resolve(node.value))


def load_go_values(data: bytes) -> list[Any]:
    """The documents, as JSON would hold them; raises YamlError, also for what JSON cannot hold, and for aliases that would grow beyond all bounds."""
    try:
        return [as_json(_bounded(value)) for value in load_with(data, _Loader)]
    except (ValueError, TypeError, RecursionError) as error:
        raise YamlError(str(error).splitlines()[0][:200]) from error


def _bounded(value: Any) -> Any:
    """The value, known to be small enough when each alias is written out; Go's reader has a bound for that, too."""
    if _size(value, {}) > limits.VALUES_NODES:
        raise ValueError("aliases that stand for more than is looked at")
    return value


def _size(value: Any, known: dict[int, int]) -> int:
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = 1 + sum(_size(item, known) for item in (value.values() if isinstance(value, dict) else value))
    return known[id(value)]


def resolve(text: str) -> str | int | float | bool | None:
    """A plain scalar's value."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    plain = text.replace("_", "")
    if (found := _INT.fullmatch(plain)) is not None:
        return _integer(found[1], found[2])
    return float(plain) if _FLOAT.fullmatch(plain) else text


def _integer(sign: str, digits: str) -> int:
    octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    value = int(digits, 8) if octal else int(digits, 0)
    return -value if sign == "-" else value


def as_json(value: Any) -> Any:
    """A value as JSON holds it: doubles, and text for keys; raises TypeError or ValueError for what it cannot hold."""
    match value:
        case bool() | None | str():
            return value
        case int() | float():
            return _double(float(value))
        case dict():
            return {_key(key): as_json(inner) for key, inner in value.items()}
        case list() | tuple():
            return [as_json(item) for item in value]
        case bytes():
            return value.decode("utf-8", "replace")
        case _:
            raise TypeError(type(value).__name__)


def _double(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("a number that JSON does not have")
    return value or 0.0  # there is one zero


def _key(key: Any) -> str:
    match key:
        case str():
            return key
        case bool():
            return "true" if key else "false"
        case int():
            return str(key)
        case float() if f"{key:.6g}" == repr(key):
            return repr(key)
        case _:
            raise TypeError(f"a key of the type {type(key).__name__}")
