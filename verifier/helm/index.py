"""A repository index for Helm, made of the tags that a registry lists. Source: helm/helm pkg/repo/index.go.

An entry has no digest on purpose: Helm 4 keeps archives under the digest that an index claims and takes them from there without
hashing them again, so that other bytes could slip in. Without one, every chart comes through the getter, and is judged.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from verifier.charts.version import parse_version
from verifier.formats.json import dump_json
from verifier.helm.asked import chart_url


class Listed(Struct, frozen=True, kw_only=True):
    """A chart's repository, and the tags in it."""

    registry: str
    repository: str
    tags: tuple[str, ...]

    @property
    def name(self) -> str:
        """The chart's name: the repository's last component."""
        return self.repository.rpartition("/")[2]


class Index(Struct, frozen=True, kw_only=True):
    """The document, and what did not fit into it."""

    data: bytes
    versions: int
    left_out: int


def write_index(charts: Iterable[Listed], most: int) -> Index:
    """An `index.yaml` with at most `most` versions of each chart, the newest first; tags that are no version are not listed."""
    entries, left_out = {}, 0
    for chart in charts:
        listed = sorted(_versions(chart.tags), reverse=True)
        left_out += len(listed[most:])
        if listed:
            entries[chart.name] = [_entry(chart, text, tag) for _, text, tag in listed[:most]]
    data = dump_json({"apiVersion": "v1", "entries": entries})
    return Index(data=data, versions=sum(map(len, entries.values())), left_out=left_out)


def _versions(tags: Iterable[str]) -> Iterable[tuple[object, str, str]]:
    """Version, its text and the tag; a registry cannot hold `+`, so that tags have `_` for it."""
    for tag in tags:
        text = tag.replace("_", "+", 1)
        version = parse_version(text)
        if version is not None:
            yield version, text, tag


def _entry(chart: Listed, version: str, tag: str) -> dict[str, object]:
    url = chart_url(chart.registry, chart.repository, tag, f"{chart.name}-{version}.tgz")
    return {"apiVersion": "v2", "name": chart.name, "version": version, "urls": [url]}
