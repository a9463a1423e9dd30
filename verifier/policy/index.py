"""Finding a chart's rules among many: a tree over the segments of their scopes, so that a thousand rules cost little more than ten.

Scopes go down the tree segment by segment, per host, and end where they end; from a `**` on, and for files, they are kept whole
and matched one by one. What the tree finds is exactly what `Scope.matches` and `Scope.overlaps` say: tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct, field

from verifier.policy.scopes import Rank, Scope, is_wild, segment_matches


class Entry(Struct, frozen=True):
    """One scope of one rule, by the rule's place in the policy."""

    rank: Rank
    scope: Scope
    rule: int


class _Node(Struct):
    literal: dict[str, _Node] = field(default_factory=dict)
    wild: dict[str, _Node] = field(default_factory=dict)
    ends: list[Entry] = field(default_factory=list)
    whole: list[Entry] = field(default_factory=list)


class ScopeIndex:
    """The scopes of a policy's rules."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Node] = {}

    def add(self, scope: Scope, rule: int) -> None:
        """Put a scope of rule number `rule` in."""
        node, entry = self._hosts.setdefault(scope.host, _Node()), Entry(scope.rank, scope, rule)
        if not scope.host:
            node.whole.append(entry)
            return
        for segment in scope.segments:
            if segment == "**":
                node.whole.append(entry)
                return
            node = (node.wild if is_wild(segment) else node.literal).setdefault(segment, _Node())
        node.ends.append(entry)

    def matching(self, host: str, path: str) -> dict[int, Rank]:
        """The rules that speak of `host/path`, each with the rank of its most specific scope that does."""
        found: dict[int, Rank] = {}
        if (root := self._hosts.get(host)) is None:
            return found
        for entry in _walk(root, path.strip("/").split("/") if host else (), host, path):
            if (known := found.get(entry.rule)) is None or entry.rank > known:
                found[entry.rule] = entry.rank
        return found

    def tied(self, scope: Scope) -> Iterator[Entry]:
        """The scopes of the same rank that could match a chart that `scope` matches, too."""
        if (root := self._hosts.get(scope.host)) is not None:
            rank = scope.rank
            yield from (entry for entry in _beside(root, scope.segments) if entry.rank == rank and entry.scope.overlaps(scope))


def _walk(node: _Node, segments: Sequence[str], host: str, path: str) -> Iterator[Entry]:
    yield from (entry for entry in node.whole if entry.scope.matches(host, path))
    if not segments:
        yield from node.ends
        return
    here, rest = segments[0], segments[1:]
    if (child := node.literal.get(here)) is not None:
        yield from _walk(child, rest, host, path)
    for pattern, child in node.wild.items():
        if segment_matches(pattern, here):
            yield from _walk(child, rest, host, path)


def _beside(node: _Node, segments: Sequence[str]) -> Iterator[Entry]:
    """Everything that a scope could overlap with, and little else."""
    yield from node.whole
    if not segments:
        yield from node.ends
        return
    here, rest = segments[0], segments[1:]
    if here == "**":
        yield from _below(node)
    elif is_wild(here):
        for child in (*node.literal.values(), *node.wild.values()):
            yield from _beside(child, rest)
    else:
        if (same := node.literal.get(here)) is not None:
            yield from _beside(same, rest)
        for child in node.wild.values():
            yield from _beside(child, rest)


def _below(node: _Node) -> Iterator[Entry]:
    yield from node.ends
    for child in (*node.literal.values(), *node.wild.values()):
        yield from child.whole
        yield from _below(child)
