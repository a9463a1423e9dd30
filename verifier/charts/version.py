"""Semantic versions and ranges as Helm's users write them.

Helm reads versions with Masterminds/semver: a leading `v` and missing parts are allowed. Ranges:

    range      = and *( "||" and )           and = comparator *( ("," / blank) comparator )
    comparator = [op] partial / partial " - " partial       op = "=" "!=" ">" ">=" "<" "<=" "~" "^"
    partial    = "*" / major ["." minor ["." patch]] [-pre], with x, X or * for an open part

A pre-release satisfies a comparator only if that comparator names a pre-release itself, as with Masterminds/semver.
"""

from __future__ import annotations

import re
from functools import total_ordering

from msgspec import Struct

_NUMBER = r"(?:0|[1-9][0-9]*)"
_IDENTIFIER = r"[0-9A-Za-z-]+"
_VERSION = re.compile(rf"v?({_NUMBER})(?:\.({_NUMBER}))?(?:\.({_NUMBER}))?(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?(?:\+({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?")
_COMPARATOR = re.compile(r"(=|!=|>=|=>|<=|=<|>|<|~>?|\^)?\s*(v?[0-9xX*][0-9A-Za-z.*+-]*)")
_HYPHEN = re.compile(r"\s*(v?[0-9][0-9A-Za-z.+-]*)\s+-\s+(v?[0-9][0-9A-Za-z.+-]*)\s*")
_MAX_LENGTH = 256


@total_ordering
class Version(Struct, frozen=True, eq=False):
    """A version; build metadata is kept but does not order (semver.org 2.0.0, 10 and 11)."""

    numbers: tuple[int, int, int]
    pre: tuple[str, ...]
    build: str
    parts: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and (self.numbers, self.pre) == (other.numbers, other.pre)

    def __hash__(self) -> int:
        return hash((self.numbers, self.pre))

    def __lt__(self, other: Version) -> bool:
        return self._key < other._key

    @property
    def _key(self) -> tuple[tuple[int, int, int], bool, tuple[tuple[int, int, str], ...]]:
        pre = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.pre)
        return self.numbers, not self.pre, pre


def parse_version(text: str) -> Version | None:
    """Read a version; None when it is none."""
    if len(text) > _MAX_LENGTH or not (match := _VERSION.fullmatch(text)):
        return None
    numbers = (int(match[1]), int(match[2] or 0), int(match[3] or 0))
    parts = 1 + (match[2] is not None) + (match[3] is not None)
    return Version(numbers, tuple(match[4].split(".")) if match[4] else (), match[5] or "", parts)


def tag_fits(tag: str, version: str) -> bool:
    """Whether a tag names a version: equal, with `+` written as `_`, and `v` in front or not."""
    return tag.removeprefix("v") == version.replace("+", "_").removeprefix("v")


class _Bound(Struct, frozen=True):
    """`low <= v < high`, or its negation; None is open."""

    low: Version | None
    high: Version | None
    low_open: bool = False
    high_closed: bool = False
    negated: bool = False
    pre: bool = False

    def admits(self, version: Version) -> bool:
        if version.pre and not self.pre:
            return False
        inside = (self.low is None or version > self.low or (version == self.low and not self.low_open)) and (
            self.high is None or version < self.high or (version == self.high and self.high_closed)
        )
        return inside is not self.negated


class Range(Struct, frozen=True):
    """A set of versions; `text` as it was written."""

    text: str
    alternatives: tuple[tuple[_Bound, ...], ...]

    @property
    def has_floor(self) -> bool:
        """Whether versions below some version are never in the range."""
        return all(any(bound.low is not None and not bound.negated for bound in bounds) for bounds in self.alternatives)

    def admits(self, version: Version) -> bool:
        """Whether `version` lies in the range."""
        return any(all(bound.admits(version) for bound in bounds) for bounds in self.alternatives)


def parse_range(text: str) -> Range:
    """Read a range; raises ValueError that quotes the part that is none."""
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"a range of more than {_MAX_LENGTH} characters")
    return Range(text, tuple(_conjunction(part) for part in text.split("||")))


def _conjunction(text: str) -> tuple[_Bound, ...]:
    if match := _HYPHEN.fullmatch(text):
        return (_bound(">=", match[1]), _bound("<=", match[2]))
    bounds, position = [], 0
    stripped = text.strip()
    while position < len(stripped):
        if not (match := _COMPARATOR.match(stripped, position)):
            raise ValueError(f"not a version range: {text.strip()[:100]!r}")
        bounds.append(_bound(match[1] or "", match[2]))
        position = match.end()
        while position < len(stripped) and stripped[position] in ", ":
            position += 1
    if not bounds:
        raise ValueError("an empty version range")
    return tuple(bounds)


def _partial(text: str) -> tuple[Version, int]:
    """The lowest version that a partial covers, and how many of its parts are fixed."""
    cut = re.sub(r"(^|\.)[xX*].*", "", text.removeprefix("v"))
    if not cut:
        return Version((0, 0, 0), (), "", 0), 0
    version = parse_version(cut)
    if version is None:
        raise ValueError(f"not a version: {text[:100]!r}")
    return version, version.parts


def _above(version: Version, fixed: int) -> Version | None:
    """The first version after all that share the `fixed` leading parts."""
    if fixed == 0:
        return None
    numbers = [*version.numbers[:fixed], 0, 0, 0][:3]
    numbers[fixed - 1] += 1
    return Version((numbers[0], numbers[1], numbers[2]), ("0",), "", 3)


def _bound(operator: str, text: str) -> _Bound:
    version, fixed = _partial(text)
    pre = bool(version.pre)
    match operator:
        case "" | "=" if fixed == 3:
            return _Bound(version, version, high_closed=True, pre=pre)
        case "" | "=":
            return _Bound(version, _above(version, fixed), pre=pre)
        case "!=":
            high = version if fixed == 3 else _above(version, fixed)
            return _Bound(version, high, high_closed=fixed == 3, negated=True, pre=True)
        case ">=" | "=>":
            return _Bound(version, None, pre=pre)
        case ">":
            return _Bound(version, None, low_open=True, pre=pre) if fixed == 3 else _Bound(_above(version, fixed), None, pre=pre)
        case "<":
            return _Bound(None, version, pre=pre)
        case "<=" | "=<":
            return _Bound(None, version, high_closed=True, pre=pre) if fixed == 3 else _Bound(None, _above(version, fixed), pre=pre)
        case "~" | "~>":
            return _Bound(version, _above(version, min(fixed, 2)), pre=pre)
        case _:
            return _Bound(version, _above(version, _caret(version, fixed)), pre=pre)


def _caret(version: Version, fixed: int) -> int:
    """`^` fixes everything up to the first number that is not zero."""
    for index, number in enumerate(version.numbers):
        if number:
            return min(index + 1, fixed)
    return fixed
