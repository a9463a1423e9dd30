"""Reading a chart archive so that everybody who reads it reads the same.

Helm merges duplicate Chart.yaml files, drops the first path component without looking, loads links as empty files and
ignores what follows the end. Each of these lets one archive be two charts; here each is refused (docs/concepts.md,
"Archives"). Nothing is ever extracted to disk.

1. One gzip member, bounded, nothing after it.
2. One tar, regular files and directories only, nothing but zeros after its end, no PAX record that moves bytes.
3. Clean relative paths under one top directory, unique also when case is folded.
4. One top-level Chart.yaml; the top directory is the chart's name; no `requirements.*` in an apiVersion v2 chart.
5. Nested `charts/*.tgz` obey the same rules, to a bounded depth, out of one budget.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from verifier.charts.dependencies import lock_problem
from verifier.charts.metadata import read_chart_yaml
from verifier.charts.subcharts import find_subcharts, is_packed
from verifier.formats.gzip import GzipError, Problem, inflate
from verifier.model import codes, limits
from verifier.model.artifact import ChartFacts
from verifier.model.digest import Digest, sha256
from verifier.model.errors import FailedError

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# These PAX records say where or how long a file is; two tar readers may resolve them differently.
_REFUSED_PAX = ("size", "linkpath", "hdrcharset", "GNU.sparse")


class ChartArchive(Struct, frozen=True, kw_only=True):
    """A chart that was read: its digest, its facts, and its files by path below the top directory, in archive order."""

    digest: Digest
    facts: ChartFacts
    files: Mapping[str, bytes]


class _Budget(Struct):
    """What may still be unpacked, shared by an archive and all that is nested in it."""

    unpacked: int = limits.ARCHIVE_UNPACKED_BYTES
    entries: int = limits.ARCHIVE_ENTRIES


def read_archive(data: bytes, *, where: str) -> ChartArchive:
    """Read a .tgz; raises FailedError with an `archive-*` or `metadata-invalid` code that names the entry."""
    if len(data) > limits.ARCHIVE_BYTES:
        raise _refuse(codes.ARCHIVE_LIMIT, f"more than {limits.ARCHIVE_BYTES} bytes compressed", where)
    return _read(data, where, _Budget(), depth=0)


def _read(data: bytes, where: str, budget: _Budget, *, depth: int) -> ChartArchive:
    if depth > limits.ARCHIVE_DEPTH:
        raise _refuse(codes.ARCHIVE_LIMIT, f"charts nested deeper than {limits.ARCHIVE_DEPTH}", where)
    top, files = _read_files(_gunzip(data, where, budget), where, budget)  # 1, 2, 3
    facts = read_chart_yaml(files, where=where)  # 4
    if facts.name != top:
        raise _refuse(codes.ARCHIVE_AMBIGUOUS, f"the top directory is {top!r} but Chart.yaml says name {facts.name!r}", where)
    nested = {path: _read(content, f"{where}!{path}", budget, depth=depth + 1) for path, content in files.items() if is_packed(path)}  # 5
    subcharts = find_subcharts(facts.metadata, files, {path: (inner.digest, inner.facts) for path, inner in nested.items()})
    facts = replace(facts, lock_problem=lock_problem(facts.metadata, files, where=where), subcharts=subcharts)
    return ChartArchive(digest=sha256(data), facts=facts, files=files)


def _gunzip(data: bytes, where: str, budget: _Budget) -> bytes:
    try:
        raw = inflate(data, budget.unpacked)
    except GzipError as error:
        match error.problem:
            case Problem.LARGE:
                raise _refuse(codes.ARCHIVE_LIMIT, f"unpacks to more than {limits.ARCHIVE_UNPACKED_BYTES} bytes", where) from error
            case Problem.TRAILING:
                raise _refuse(codes.ARCHIVE_TRAILING, str(error), where) from error
            case Problem.INVALID | Problem.CUT:
                raise _refuse(codes.ARCHIVE_INVALID, str(error), where) from error
    budget.unpacked -= len(raw)
    return raw


def _read_files(raw: bytes, where: str, budget: _Budget) -> tuple[str, dict[str, bytes]]:
    files: dict[str, bytes] = {}
    seen: dict[str, str] = {}
    tops: set[str] = set()
    end = 0
    for member in _members(raw, where, budget):
        end = max(end, member.offset_data + -(-member.size // 512) * 512)
        if member.isdir():
            _clean(member.name, where)
            continue
        top, path = _split(_clean(member.name, where), where)
        tops.add(top)
        folded = path.casefold()
        if (other := seen.get(folded)) is not None:
            raise _refuse(codes.ARCHIVE_AMBIGUOUS, f"{path!r} is there twice (as {other!r})", where)
        seen[folded] = path
        files[path] = _content(raw, member, where)
    if len(tops) > 1:
        raise _refuse(codes.ARCHIVE_AMBIGUOUS, f"more than one top directory: {', '.join(sorted(tops)[:3])}", where)
    if raw[end:].strip(b"\0"):
        raise _refuse(codes.ARCHIVE_TRAILING, "data after the end of the tar archive", where)
    if not tops:
        raise _refuse(codes.ARCHIVE_INVALID, "the archive holds no files", where)
    return tops.pop(), files


def _members(raw: bytes, where: str, budget: _Budget) -> list[tarfile.TarInfo]:
    members = []
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as tar:
            for member in tar:
                budget.entries -= 1
                if budget.entries < 0:
                    raise _refuse(codes.ARCHIVE_LIMIT, f"more than {limits.ARCHIVE_ENTRIES} entries", where)
                _check_member(member, where)
                members.append(member)
    except (tarfile.TarError, ValueError, EOFError, OverflowError) as error:
        raise _refuse(codes.ARCHIVE_INVALID, f"not a tar archive: {error}", where) from error
    return members


def _check_member(member: tarfile.TarInfo, where: str) -> None:
    if member.issparse() or not (member.isreg() or member.isdir()):
        raise _refuse(codes.ARCHIVE_ENTRY, f"{member.name!r} is neither a file nor a directory", where)
    for key in member.pax_headers:
        if key.startswith(_REFUSED_PAX):
            raise _refuse(codes.ARCHIVE_ENTRY, f"{member.name!r} carries the PAX record {key!r}", where)


def _clean(name: str, where: str) -> str:
    """The name itself, if there is only one way to read it."""
    if len(name) > limits.ARCHIVE_PATH:
        raise _refuse(codes.ARCHIVE_LIMIT, f"a path of more than {limits.ARCHIVE_PATH} characters", where)
    if "\\" in name:
        raise _refuse(codes.ARCHIVE_AMBIGUOUS, f"a backslash in {name!r}", where)
    if _CONTROL.search(name):
        raise _refuse(codes.ARCHIVE_AMBIGUOUS, f"a control character in {name!r}", where)
    parts = name.removesuffix("/").split("/")
    if name.startswith("/") or ".." in parts or ":" in parts[0]:
        raise _refuse(codes.ARCHIVE_TRAVERSAL, f"{name!r} leaves the chart", where)
    if "" in parts or "." in parts or name.startswith(".."):
        raise _refuse(codes.ARCHIVE_AMBIGUOUS, f"{name!r} is not a clean path", where)
    return name


def _split(name: str, where: str) -> tuple[str, str]:
    top, slash, path = name.partition("/")
    if not slash or not path:
        raise _refuse(codes.ARCHIVE_INVALID, f"{name!r} lies outside the chart's directory", where)
    return top, path


def _content(raw: bytes, member: tarfile.TarInfo, where: str) -> bytes:
    content = raw[member.offset_data : member.offset_data + member.size]
    if len(content) != member.size:
        raise _refuse(codes.ARCHIVE_INVALID, f"{member.name!r} is cut off", where)
    return content


def _refuse(code: codes.Code, reason: str, where: str) -> FailedError:
    return FailedError(code, reason, where=where)
