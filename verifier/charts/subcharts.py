"""The charts inside a chart: what lies in `charts/`, packed and unpacked, as Helm loads it.

1. `charts/X.tgz` and `charts/X/` are charts unless X begins with `_` or `.`; anything else there is none.
2. A packed one was read by the rules of archives; of an unpacked one the files below its directory are its files.
3. Each says where the parent declares it to come from, by name. Nobody has compared the two.

Source: helm/helm pkg/chart/v2/loader LoadFiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from verifier.charts.metadata import read_chart_yaml
from verifier.model import limits
from verifier.model.artifact import ChartFacts, Subchart
from verifier.model.digest import Digest
from verifier.model.errors import FailedError

_FOLDER = "charts/"
Packed = Mapping[str, tuple[Digest, ChartFacts]]


def find_subcharts(metadata: Mapping[str, Any], files: Mapping[str, bytes], packed: Packed, *, depth: int = 0) -> tuple[Subchart, ...]:
    """The tree below a chart; `packed` holds what was read of its archives, by path, those in unpacked charts included."""
    origins = {item["name"]: item["repository"] for item in metadata.get("dependencies") or ()}
    found = [_packed(path, digest, facts, origins) for path, (digest, facts) in packed.items() if path.count("/") == 1]
    for folder, inner in _folders(files):
        below = {path.removeprefix(f"{folder}/"): read for path, read in packed.items() if path.startswith(f"{folder}/")}
        found.append(_unpacked(folder, inner, below, origins, depth))
    return tuple(sorted(found, key=lambda item: item.path))


def is_packed(path: str) -> bool:
    """Whether a file is a packed chart that Helm loads: `charts/X.tgz`, and those of unpacked charts as well: `charts/a/charts/X.tgz`."""
    *folders, last = path.split("/")
    nested = len(folders) % 2 == 1 and all(folder == "charts" for folder in folders[0::2])
    return nested and last.endswith(".tgz") and all(_is_loaded(name) for name in (*folders[1::2], last))


def _is_loaded(name: str) -> bool:  # 1
    return name[0] not in "_."


def _packed(path: str, digest: Digest, facts: ChartFacts, origins: Mapping[str, str]) -> Subchart:
    return Subchart(path=path, name=facts.name, version=facts.version, digest=digest, repository=origins.get(facts.name), subcharts=facts.subcharts)


def _unpacked(folder: str, files: Mapping[str, bytes], packed: Packed, origins: Mapping[str, str], depth: int) -> Subchart:
    if depth >= limits.ARCHIVE_DEPTH:
        return Subchart(path=folder, problem=f"charts nested deeper than {limits.ARCHIVE_DEPTH}")
    try:
        facts = read_chart_yaml(files, where=folder)
    except FailedError as error:
        return Subchart(path=folder, problem=error.reason)
    below = find_subcharts(facts.metadata, files, packed, depth=depth + 1)
    return Subchart(path=folder, name=facts.name, version=facts.version, repository=origins.get(facts.name), subcharts=below)


def _folders(files: Mapping[str, bytes]) -> Iterator[tuple[str, dict[str, bytes]]]:
    folders: dict[str, dict[str, bytes]] = {}
    for path, content in files.items():
        name, slash, rest = path.removeprefix(_FOLDER).partition("/")
        if path.startswith(_FOLDER) and slash and _is_loaded(name):
            folders.setdefault(f"{_FOLDER}{name}", {})[rest] = content
    yield from folders.items()
