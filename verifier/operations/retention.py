"""Which charts of a repository stay: pure rules over what was read of it, by digest and never by tag alone.

1. Rules of keeping are joined: the newest N of each minor version (pre-releases apart), what is newer than an age, tags that match, digests and tags that
   files pin. What no rule keeps is to go. Without any rule nothing would stay, so that is refused.
2. A tag that is no version, as channels are, stays. So does what does not say when it was made, where an age is asked for.
3. A digest that any tag that stays resolves to, or an index among them names, or a pin names, stays, whatever other tags it has.
4. What is attached goes with its chart, unless it stays by 3. What is attached to nothing that is there goes, too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from msgspec import Struct, field

from verifier.charts.version import Version
from verifier.model import codes
from verifier.model.digest import Digest
from verifier.model.errors import MisuseError
from verifier.operations.listing import version_of

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


class Held(Struct, frozen=True, kw_only=True):
    """A tag of the repository as it was read; `children` are what an index names."""

    tag: str
    digest: Digest
    created: datetime | None = None
    children: tuple[Digest, ...] = ()


class Pins(Struct, frozen=True):
    """What files pin: digests, and tags of this repository."""

    digests: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()


class Keep(Struct, frozen=True, kw_only=True):
    """The rules."""

    last: int | None = None
    newer_than: timedelta | None = None
    tags: tuple[str, ...] = ()
    pins: Pins = field(default_factory=Pins)


class Plan(Struct, frozen=True, kw_only=True):
    """What stays, with the reason for each tag, and what goes: digests with their tags."""

    kept: Mapping[str, str]
    kept_digests: frozenset[Digest]
    doomed: Mapping[Digest, tuple[str, ...]]


def plan(held: Iterable[Held], keep: Keep, now: datetime) -> Plan:
    """Decide; raises MisuseError `usage` without a rule (1)."""
    if keep == Keep():
        raise MisuseError(codes.USAGE, "say what to keep: without a rule, or with files that pin nothing of it, nothing would stay")
    everything = tuple(held)
    newest = _newest(everything, keep.last)
    kept = {item.tag: why for item in everything if (why := _reason(item, keep, newest, now)) is not None}
    digests = {item.digest for item in everything if item.tag in kept}
    digests |= {child for item in everything if item.tag in kept for child in item.children}
    for item in everything:  # 3
        if item.digest in digests:
            kept.setdefault(item.tag, "the same digest is kept under another tag")
    doomed: dict[Digest, list[str]] = defaultdict(list)
    for item in everything:
        if item.digest not in digests:
            doomed[item.digest].append(item.tag)
    return Plan(kept=kept, kept_digests=frozenset(digests), doomed={digest: tuple(tags) for digest, tags in doomed.items()})


def find_pins(text: str, name: str) -> Pins:
    """Digests anywhere in a text, and the tags of references to `HOST/PATH/NAME` in it."""
    tags = re.findall(rf"{re.escape(name)}:([A-Za-z0-9_][A-Za-z0-9._+-]{{0,127}})", text)
    return Pins(frozenset(_DIGEST.findall(text)), frozenset(tag.replace("+", "_").rstrip(".") for tag in tags))


def _reason(item: Held, keep: Keep, newest: frozenset[str], now: datetime) -> str | None:
    if version_of(item.tag) is None:  # 2
        return "no version, so that it may be a channel"
    if str(item.digest) in keep.pins.digests or item.tag in keep.pins.tags:
        return "pinned by a file"
    if any(str(child) in keep.pins.digests for child in item.children):
        return "an index of what is pinned by a file"
    if any(fnmatchcase(item.tag, pattern) for pattern in keep.tags):
        return "the tag matches"
    if item.tag in newest:
        return f"among the newest {keep.last} of its minor version"
    if keep.newer_than is not None and (item.created is None or now - item.created < keep.newer_than):
        return "newer than the age" if item.created is not None else "it does not say when it was made"
    return None


def _newest(held: tuple[Held, ...], last: int | None) -> frozenset[str]:
    if last is None:
        return frozenset()
    groups: dict[tuple[int, int, bool], list[tuple[Version, str]]] = defaultdict(list)
    for item in held:
        if (version := version_of(item.tag)) is not None:
            groups[version.numbers[0], version.numbers[1], bool(version.pre)].append((version, item.tag))
    found: set[str] = set()
    for group in groups.values():
        newest = sorted({version for version, _ in group}, reverse=True)[:last]
        found |= {tag for version, tag in group if version in newest}
    return frozenset(found)
