"""Reading a policy's YAML with the place of every mistake: unknown fields, wrong types, bad dates."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import NoReturn, TypeVar

from verifier.formats.yaml import Mapping as YamlMapping
from verifier.formats.yaml import Node, Scalar, Sequence, YamlError
from verifier.policy.identity import Pattern, glob_or_exact

_T = TypeVar("_T")
_D = TypeVar("_D")
_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def fail(node: Node | Scalar, reason: str) -> NoReturn:
    """Raise with the node's place."""
    raise YamlError(reason, node.line, node.column, node)


def known(written: str, names: Iterable[str]) -> str:
    """What could have been meant by a name that is not known: all of them, and the nearest one."""
    names = tuple(names)
    return f"known are: {', '.join(names) or 'none'}{_nearest(written, names)}"


def _nearest(written: str, names: tuple[str, ...]) -> str:
    lowered = {name.casefold(): name for name in names}
    near = get_close_matches(written.casefold(), lowered, n=1)
    return f"; did you mean {lowered[near[0]]!r}?" if near else ""


class Fields:
    """A mapping whose fields are taken one by one; what is left over is unknown and refused."""

    def __init__(self, node: Node, what: str, names: tuple[str, ...]) -> None:
        if not isinstance(node, YamlMapping):
            fail(node, f"{what} must be a mapping")
        self.node: YamlMapping = node
        self.what = what
        for key, scalar in node.keys.items():
            if key not in names:
                fail(scalar, f"unknown field {key[:80]!r} in {what}; {known(key, names)}")

    def has(self, key: str) -> bool:
        """Whether the field is written."""
        return key in self.node.items

    def need(self, key: str) -> Node:
        """A field that must be there."""
        if key not in self.node.items:
            fail(self.node, f"{self.what} needs the field {key!r}")
        return self.node.items[key]

    def get(self, key: str, read: Callable[[Node], _T], default: _D) -> _T | _D:
        """A field that may be there."""
        return read(self.node.items[key]) if key in self.node.items else default

    def optional(self, key: str, read: Callable[[Node], _T]) -> _T | None:
        """A field that may be there, or None."""
        return read(self.node.items[key]) if key in self.node.items else None

    def items(self) -> Mapping[str, Node]:
        """All fields."""
        return self.node.items


def named(node: Node, what: str) -> Fields:
    """A mapping whose keys are names of the user's own."""
    return Fields(node, what, tuple(node.items) if isinstance(node, YamlMapping) else ())


def text(node: Node) -> str:
    """Text that is not empty."""
    if not isinstance(node, Scalar) or not isinstance(node.value, str) or not node.text.strip():
        fail(node, "must be a text that is not empty" + (" (put it in quotes)" if isinstance(node, Scalar) and node.text else ""))
    return node.text


def pattern(node: Node) -> Pattern:
    """A text that is compared exactly, or a glob where it holds a `*`; never of wildcards alone."""
    written = text(node)
    if not written.strip("*/@"):
        fail(node, "a pattern of wildcards alone names nobody")
    return glob_or_exact(written)


def boolean(node: Node) -> bool:
    """True or false."""
    if not isinstance(node, Scalar) or not isinstance(node.value, bool):
        fail(node, "must be true or false")
    return node.value


def true(node: Node) -> bool:
    """`true`, where only that demands something."""
    if not boolean(node):
        fail(node, "only `true` demands something; leave the field out otherwise")
    return True


def positive(node: Node) -> int:
    """A whole number from 1."""
    if not isinstance(node, Scalar) or type(node.value) is not int or node.value < 1:
        fail(node, "must be a whole number of at least 1")
    return node.value


def count(node: Node) -> int:
    """A whole number from 0 to 16."""
    if not isinstance(node, Scalar) or type(node.value) is not int or not 0 <= node.value <= 16:
        fail(node, "must be a whole number from 0 to 16")
    return node.value


def sequence(node: Node) -> tuple[Node, ...]:
    """A list that is not empty (semantics 13)."""
    if not isinstance(node, Sequence) or not node.items:
        fail(node, "must be a list that is not empty")
    return node.items


def texts(node: Node) -> tuple[str, ...]:
    """A list of texts, or one text; never empty."""
    if isinstance(node, Scalar):
        return (text(node),)
    return tuple(text(item) for item in sequence(node))


def moment(node: Node) -> datetime:
    """An RFC 3339 time with its zone."""
    written = text(node)
    try:
        value = datetime.fromisoformat(written)
    except ValueError:
        fail(node, f"{written[:40]!r} is not a time such as 2027-01-01T00:00:00Z")
    if value.tzinfo is None:
        fail(node, f"{written[:40]!r} names no time zone; end it with Z")
    return value.astimezone(UTC)


def duration(node: Node) -> timedelta:
    """`30d`, `12h`, `90m`, `45s`."""
    match = _DURATION.fullmatch(text(node))
    if match is None:
        fail(node, "must be a duration such as 365d, 12h or 30m")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def one_of(*allowed: str) -> Callable[[Node], str]:
    """One of these words."""

    def read(node: Node) -> str:
        value = text(node)
        if value not in allowed:
            meant = _nearest(value, allowed) if len(allowed) > 1 else ""
            fail(node, f"must be one of: {', '.join(allowed)}, not {value[:60]!r}{meant}")
        return value

    return read
