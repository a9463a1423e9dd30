"""Finding one version of one chart in a chart repository's `index.yaml`. Source: helm/helm pkg/repo/index.go, helm.sh docs/topics/chart_repository.

    entries:
      web:                        a chart's versions, as a list
      - version: 1.4.2
        urls: [web-1.4.2.tgz]     the first is where the archive lies: a URL, or a path below the repository's own
        digest: 5ab3...           of the archive, as a hint: it is whoever serves the archive that says so (semantics 17)

1. The lines of the one chart are cut out of the text before anything is parsed: an index may have tens of megabytes, of which a chart has a few
   thousandths. Nothing rests on that cut, nor on anything else that an index says: what the archive is, its own bytes and signatures tell.
2. An index that is not laid out like that (JSON, flow style, by hand) is read as a whole, if it is small.
3. The version is the one that is written like what was asked for; else the same one with or without `v`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from verifier.charts.version import tag_fits
from verifier.formats.json import parse_json
from verifier.formats.loose import get, items, mapping, text
from verifier.formats.yaml import YamlError, parse_yaml, plain
from verifier.model import codes, limits
from verifier.model.digest import Digest
from verifier.model.errors import FailedError, InconclusiveError

_ENTRIES = re.compile(rb"^entries:[ \t]*(?:#[^\n]*)?\r?\n", re.MULTILINE)
_FIRST = re.compile(rb"^( +)[^ \t\r\n#-]", re.MULTILINE)
_NEXT_FIELD = re.compile(rb"^[^ \t\r\n#-]", re.MULTILINE)
_HEX = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


class Listed(Struct, frozen=True, kw_only=True):
    """A version as an index lists it: where its archive is said to lie, and what digest it is said to have."""

    version: str
    url: str
    digest: Digest | None


def find_version(index: bytes, name: str, version: str, *, where: str) -> Listed:
    """The version in the index; raises InconclusiveError `not-found`, or `registry-nonsense` for what is no index."""
    try:
        listed = list(_versions(index, name, where))
    except (YamlError, FailedError) as error:
        raise InconclusiveError(codes.REGISTRY_NONSENSE, f"it is no index: {error}", where=where) from error
    if not listed:
        raise InconclusiveError(codes.NOT_FOUND, f"the index lists no chart {name!r}", where=where)
    exact = [item for item in listed if item["version"] == version]  # 3
    found = next(iter(exact or [item for item in listed if tag_fits(version.replace("+", "_"), item["version"])]), None)
    if found is None:
        raise InconclusiveError(
            codes.NOT_FOUND, f"the index lists {len(listed)} version{'s' if len(listed) != 1 else ''} of {name!r}, and not {version}", where=where
        )
    url = next(map(text, items(get(found, "urls"))), "")
    if not url:
        raise InconclusiveError(codes.REGISTRY_NONSENSE, f"the index says nowhere where {name} {version} lies", where=where)
    return Listed(version=found["version"], url=url, digest=_digest(text(get(found, "digest"))))


def _versions(index: bytes, name: str, where: str) -> Iterator[dict[str, Any]]:
    for item in items(mapping(_read(index, name, where), "entries").get(name)):
        if text(get(item, "version")):
            yield item


def _read(index: bytes, name: str, where: str) -> Any:
    lines = _cut(index, name)
    if lines is not None:
        _check_size(len(lines), f"what the index says of {name}", where)
        return {"entries": plain(parse_yaml(lines)) if lines else {}}
    if index.lstrip()[:1] == b"<":
        raise InconclusiveError(codes.REGISTRY_NONSENSE, "a web page instead of an index", where=where)
    _check_size(len(index), "an index that is not laid out as Helm lays it out", where)
    whole = parse_json(index, where=where) if index.lstrip()[:1] == b"{" else plain(parse_yaml(index, allow_bom=True))
    if not isinstance(whole, dict) or "entries" not in whole:
        raise InconclusiveError(codes.REGISTRY_NONSENSE, "it is no index: it has no entries", where=where)
    return whole


def _check_size(size: int, what: str, where: str) -> None:
    if size > limits.INDEX_ENTRY_BYTES:
        raise InconclusiveError(codes.RESPONSE_LIMIT, f"{what} has {size} bytes, the limit here is {limits.INDEX_ENTRY_BYTES}", where=where)


def _cut(index: bytes, name: str) -> bytes | None:
    """1: the lines of one chart, none where it is not listed; None where the layout is another."""
    start = _ENTRIES.search(index)
    if start is None:
        return None
    after = _NEXT_FIELD.search(index, start.end())
    stop = after.start() if after is not None else len(index)
    first = _FIRST.search(index, start.end(), stop)
    if first is None:
        return b""
    indent = len(first[1])
    quoted = re.escape(name.encode())
    key = re.compile(rb"^ {%d}(?:%b|\"%b\"|'%b'):[ \t]*\r?$" % (indent, quoted, quoted, quoted), re.MULTILINE)
    found = key.search(index, start.end(), stop)
    if found is None:
        return b"" if _lists_by_lines(index, indent, start.end(), stop) else None
    end = re.compile(rb"^(?: {0,%d}[^ \t\r\n#]| {%d}[^ \t\r\n#-])" % (indent - 1, indent), re.MULTILINE).search(index, found.end(), stop)
    return index[found.start() : end.start() if end is not None else stop]


def _lists_by_lines(index: bytes, indent: int, start: int, stop: int) -> bool:
    """Whether every line that could be a chart's begins a list of its own: then a chart that was not found is not there."""
    line = re.compile(rb"^ {%d}[^ \t\r\n#-][^\n]*$" % indent, re.MULTILINE)
    return all(match[0].rstrip().endswith(b":") for match in line.finditer(index, start, stop))


def _digest(written: str) -> Digest | None:
    match = _HEX.fullmatch(written)
    return Digest("sha256", match[1]) if match is not None else None
