"""Scopes: which charts a rule speaks of, and which rule is the most specific (semantics 15, 17).

    scope   = "oci://" host "/" pattern  /  "https://" host "/" pattern  /  "file:" pattern
    pattern = segment *( "/" segment )       segment = "**" / "*" / text with "*" inside

`*` is any one segment, or any run of characters inside one; `**` is any number of segments. The host has no wildcard.
A `file:` pattern without a slash speaks of the file's base name, one with a slash of its whole path. An `https:` pattern is the
path of a chart repository with the chart's name at its end; where its archives are downloaded from does not matter.

Rank, highest first: exact; prefix (wildcards only in the last segment); other wildcards. Within a rank more literal
segments win, then more literal characters, then `*` over `**`; then the rule that selects on more context keys.
Two rules of equal rank that could both match some reference are a tie, which is an error at load.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from msgspec import Struct

from verifier.model.errors import MisuseError
from verifier.model.reference import SCHEME, WEB_SCHEMES, canonical_host, canonical_segment, canonical_web_host, is_repository

_FILE = "file:"
_SEGMENT = re.compile(r"[a-z0-9._*-]+")
_MAX_SEGMENTS = 32

Rank = tuple[int, int, int, int]


class Scope(Struct, frozen=True):
    """`host` is empty for files, and has its scheme for chart repositories; `segments` is the pattern."""

    host: str
    segments: tuple[str, ...]
    text: str

    @property
    def rank(self) -> Rank:
        """Comparable: the higher the more specific."""
        wild = [index for index, segment in enumerate(self.segments) if "*" in segment]
        kind = 2 if not wild else 1 if wild == [len(self.segments) - 1] else 0
        literal = len(self.segments) - len(wild)
        characters = sum(len(segment.replace("*", "")) for segment in self.segments)
        return kind, literal, characters, -sum(segment == "**" for segment in self.segments)

    def matches(self, host: str, path: str) -> bool:
        """Whether `host/path` is in the scope; for files `host` is empty and `path` the file's path."""
        if self.host != host:
            return False
        if not host and len(self.segments) == 1:
            path = path.rpartition("/")[2]
        return _match(self.segments, tuple(path.strip("/").split("/")))

    def overlaps(self, other: Scope) -> bool:
        """Whether some reference is in both."""
        return self.host == other.host and _overlap(self.segments, other.segments)


def parse_scope(text: str) -> Scope:
    """Read a scope; raises ValueError that says what is wrong."""
    if text.startswith(_FILE):
        pattern = text.removeprefix(_FILE).strip("/")
        if not pattern:
            raise ValueError("a pattern must follow 'file:', such as file:*.tgz")
        return Scope("", tuple(pattern.split("/")), text)
    scheme = next((scheme for scheme in (SCHEME, *WEB_SCHEMES) if text.startswith(scheme)), None)
    if scheme is None:
        raise ValueError(f"a scope begins with {SCHEME}, {WEB_SCHEMES[0]} or {_FILE}")
    host, _, pattern = text.removeprefix(scheme).partition("/")
    if "*" in host:
        raise ValueError("the host must not hold a wildcard")
    if not pattern:
        raise ValueError("a repository pattern must follow the host")
    segments = tuple(pattern.split("/"))
    if len(segments) > _MAX_SEGMENTS:
        raise ValueError(f"more than {_MAX_SEGMENTS} segments")
    for segment in segments:
        if "**" in segment and segment != "**":
            raise ValueError("'**' stands for whole segments only")
    try:
        return _scope(scheme, host, segments, text)
    except MisuseError as error:
        raise ValueError(error.reason) from error


def _scope(scheme: str, host: str, segments: tuple[str, ...], text: str) -> Scope:
    if scheme in WEB_SCHEMES:
        return Scope(f"{scheme}{canonical_web_host(host, scheme, written=text)}", tuple(_web_segment(segment, text) for segment in segments), text)
    for segment in segments:
        _check_segment(segment)
    return Scope(canonical_host(host, written=text), segments, text)


def _web_segment(segment: str, text: str) -> str:
    """As a reference's segments are, so that both are compared in one form; the chart's name, which comes last, needs no escape."""
    parts = [canonical_segment(f"-{part}", written=text)[1:] for part in segment.split("*")]  # a part may be empty or a dot beside a wildcard
    if parts in ([""], ["."], [".."]):
        raise ValueError(f"{segment[:80]!r} cannot stand in a path")
    return "*".join(parts)


def _check_segment(segment: str) -> None:
    if not _SEGMENT.fullmatch(segment):
        raise ValueError(f"{segment[:80]!r} cannot be part of a repository; a scope has no tag and no digest")
    if "*" not in segment and not is_repository(segment):
        raise ValueError(f"{segment[:80]!r} cannot be part of a repository")


def is_wild(segment: str) -> bool:
    """Whether a segment of a pattern stands for more than itself."""
    return "*" in segment


def segment_matches(pattern: str, segment: str) -> bool:
    """Whether one segment of a pattern, which is not `**`, matches one of a path."""
    return bool(segment) and _segment_pattern(pattern).fullmatch(segment) is not None


@lru_cache(maxsize=1024)
def _segment_pattern(segment: str) -> re.Pattern[str]:
    return re.compile("[^/]*".join(re.escape(part) for part in segment.split("*")), re.DOTALL)


def _match(pattern: Sequence[str], path: Sequence[str]) -> bool:
    """Segment by segment with a table, so that many `**` cost no more than the product of the lengths."""
    reachable = {0}
    for segment in pattern:
        if segment == "**":
            reachable = set(range(min(reachable), len(path) + 1)) if reachable else set()
        else:
            reachable = {index + 1 for index in reachable if index < len(path) and segment_matches(segment, path[index])}
    return len(path) in reachable


def _overlap(one: Sequence[str], two: Sequence[str]) -> bool:
    """Whether two patterns share a path."""
    return _meet(one, two, "**", _segments_overlap)


def _segments_overlap(one: str, two: str) -> bool:
    """Whether two segments with `*` inside share a text."""
    return _meet(one, two, "*", str.__eq__)


def _meet(one: Sequence[str], two: Sequence[str], run: str, agree: Callable[[str, str], bool]) -> bool:
    """Whether two sequences share a reading, where `run` stands for any number of items: a walk over pairs of positions."""
    open_pairs, seen = [(0, 0)], set()
    while open_pairs:
        pair = open_pairs.pop()
        if pair in seen:
            continue
        seen.add(pair)
        i, j = pair
        if i == len(one) and j == len(two):
            return True
        here, there = one[i : i + 1], two[j : j + 1]
        if here and here[0] == run:
            open_pairs += [(i + 1, j)] + ([(i, j + 1)] if there else [])
        if there and there[0] == run:
            open_pairs += [(i, j + 1)] + ([(i + 1, j)] if here else [])
        if here and there and run not in (here[0], there[0]) and agree(here[0], there[0]):
            open_pairs.append((i + 1, j + 1))
    return False
