"""Strict JSON: what a hostile registry could make two readers read differently is refused.

RFC 8259 leaves duplicate keys, byte order marks and huge numbers open; the standard library takes the last of duplicate
keys. Here: UTF-8 without BOM, no duplicate keys, no NaN, integers of at most 64 bits, bounded depth.
"""

from __future__ import annotations

import json
from typing import Any

from verifier.model import codes, limits
from verifier.model.errors import FailedError, first_line

_MAX_INTEGER_DIGITS = 19


def parse_json(data: bytes, *, where: str, doubles: bool = False) -> Any:
    """Parse `data`; raises FailedError `json-invalid` on anything ambiguous, whatever it is. `doubles`: all numbers are, as Go writes them."""
    try:
        text = data.decode("utf-8")
        _check_depth(text)
        return (_DOUBLES if doubles else _STRICT).decode(text)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise FailedError(codes.JSON_INVALID, f"not strict JSON: {first_line(error)}", where=where) from error


def parse_object(data: bytes, *, where: str, doubles: bool = False) -> dict[str, Any]:
    """As `parse_json`, and the top must be an object."""
    value = parse_json(data, where=where, doubles=doubles)
    if not isinstance(value, dict):
        raise FailedError(codes.JSON_INVALID, f"expected an object, found {type(value).__name__}", where=where)
    return value


def dump_json(value: Any) -> bytes:
    """Compact JSON in the order given, as Go's encoder writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def dump_go_json(value: Any) -> bytes:
    """Compact JSON byte for byte as Go's `json.Marshal` writes strings: `<`, `>`, `&`, U+2028 and U+2029 escaped.

    Backspace and form feed have their short escapes, as Go writes them since 1.22 (Helm since 3.15).
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        duplicate = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"duplicate key {duplicate[:100]!r}")
    return result


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _bounded_int(text: str) -> int:
    if len(text.lstrip("-")) > _MAX_INTEGER_DIGITS:
        raise ValueError("an integer of more than 64 bits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number out of range")
    return value


# Made once: `json.loads` with hooks makes a decoder for every call. It refuses a byte order mark, as no value begins with one.
_STRICT = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_refuse_constant, parse_int=_bounded_int, parse_float=_finite)
_DOUBLES = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_refuse_constant, parse_int=_finite, parse_float=_finite)


def _check_depth(text: str) -> None:
    """Count brackets outside strings only where there are many, so that the common document pays nothing."""
    if text.count("[") + text.count("{") <= limits.JSON_DEPTH:
        return
    depth, deepest, in_string, escaped = 0, 0, False, False
    for character in text:
        if in_string:
            in_string, escaped = (escaped or character != '"'), (character == "\\" and not escaped)
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    if deepest > limits.JSON_DEPTH:
        raise ValueError(f"nested deeper than {limits.JSON_DEPTH}")
