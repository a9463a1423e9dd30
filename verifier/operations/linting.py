"""Linting a policy with its trust files: findings by file, line and column, for people and for machines that read SARIF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from verifier.formats.yaml import Mapping as YamlMapping
from verifier.formats.yaml import Node, Scalar, Sequence, parse_yaml
from verifier.operations.policies import LoadedPolicy
from verifier.policy.lint import Expiry, Finding, lint
from verifier.trust.anchors import OPENPGP


class Located(Struct, frozen=True):
    """A finding with its place; line and column count from 1."""

    finding: Finding
    file: str
    line: int
    column: int

    def __str__(self) -> str:
        finding = self.finding
        return f"{self.file}:{self.line}:{self.column}: {finding.level}: {'.'.join(finding.path[:2])}: {finding.why} [{finding.name}]; {finding.fix}"


def lint_policy(loaded: LoadedPolicy, where: Path, now: datetime | None = None) -> list[Located]:
    """Findings about a policy that was loaded from `where`, the worst first."""
    tops = {str(where / name) if where.is_dir() else str(where): parse_yaml(data) for name, data in loaded.documents.items()}
    found = lint(loaded.policy, now or datetime.now(UTC), tuple(_expiries(loaded)))
    return [_located(finding, tops) for finding in found]


def _expiries(loaded: LoadedPolicy) -> Iterator[Expiry]:
    """When the certificates that count end; a keyring lives as long as one of its certificates."""
    for anchor in loaded.trust.of_kind(OPENPGP):
        from verifier.schemes.openpgp.certificates import read_keyring

        ends = [item.expires for item in read_keyring(anchor.data) if anchor.any_key or item.fingerprint in anchor.fingerprints]
        if ends and all(end is not None for end in ends):
            yield Expiry(path=("trust", anchor.name), what="the last of its OpenPGP certificates", at=max(end for end in ends if end is not None))


def _located(finding: Finding, tops: Mapping[str, Node]) -> Located:
    """At the deepest field of the finding's path that is written."""
    best: tuple[int, str, Node | Scalar] | None = None
    for file, top in tops.items():
        depth, node = _follow(top, finding.path)
        if best is None or depth > best[0]:
            best = (depth, file, node)
    assert best is not None
    return Located(finding, best[1], best[2].line, best[2].column)


def _follow(top: Node, path: tuple[str, ...]) -> tuple[int, Node | Scalar]:
    node: Node = top
    place: Node | Scalar = top
    for depth, step in enumerate(path):
        match node:
            case YamlMapping(items=items, keys=keys) if step in items:
                node, place = items[step], keys[step]
            case Sequence(items=several):
                found = next((item for item in several if isinstance(item, YamlMapping) and _name(item) == step), None)
                if found is None:
                    return depth, place
                node = place = found
            case _:
                return depth, place
    return len(path), place


def _name(item: YamlMapping) -> str | None:
    name = item.items.get("name")
    return name.text if isinstance(name, Scalar) else None
