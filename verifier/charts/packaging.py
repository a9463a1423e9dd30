"""Packaging a chart directory so that the same content gives the same bytes, whoever packages it, wherever and whenever.

Files in sorted order below `NAME/`, mode 0644, owner 0, one timestamp, a plain ustar header, and a gzip header without name
or time. The compressed bytes are zlib's at level 9; another implementation of zlib may compress differently. `helm package`
before 4.3 stamps the current time; ours takes SOURCE_DATE_EPOCH or 1980-01-01.
"""

from __future__ import annotations

import io
import os
import tarfile
import zlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

from verifier.charts.archive import ChartArchive, read_archive
from verifier.charts.ignore import IgnoreRules, parse_ignore
from verifier.charts.metadata import read_chart_yaml
from verifier.model import codes, limits
from verifier.model.errors import FailedError, MisuseError

DEFAULT_EPOCH = 315532800  # 1980-01-01, the earliest that zip-based tools accept as well
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"  # no name, no time, best compression, unknown system


def package_directory(directory: Path, *, epoch: int = DEFAULT_EPOCH) -> tuple[ChartArchive, bytes]:
    """Package `directory`; returns the archive as it will be read, and its bytes.

    Raises MisuseError `chart-invalid` or `file-unreadable`; what we write always passes our own reader.
    """
    files = read_directory(directory)
    try:
        facts = read_chart_yaml(files, where=str(directory))
        data = write_archive(facts.name, files, epoch=epoch)
        return read_archive(data, where=f"{facts.label}.tgz"), data
    except FailedError as error:
        raise MisuseError(codes.CHART_INVALID, f"{error.reason} ({error.code.name})", where=error.where) from error


def read_directory(directory: Path) -> dict[str, bytes]:
    """The chart's files by path, without what `.helmignore` names; links are refused, since they may leave the chart."""
    if not (directory / "Chart.yaml").is_file():
        raise MisuseError(codes.CHART_INVALID, "no Chart.yaml here", where=str(directory))
    try:
        rules = parse_ignore(_ignore_file(directory))
        paths = sorted(_walk(directory, directory, rules))
        files = {path: (directory / path).read_bytes() for path in paths}
    except (OSError, UnicodeDecodeError) as error:
        raise MisuseError(codes.FILE_UNREADABLE, str(error), where=str(directory)) from error
    if sum(map(len, files.values())) > limits.ARCHIVE_UNPACKED_BYTES:
        raise MisuseError(codes.CHART_INVALID, f"more than {limits.ARCHIVE_UNPACKED_BYTES} bytes", where=str(directory))
    return files


def write_archive(name: str, files: Mapping[str, bytes], *, epoch: int, plugin: Collection[str] = ()) -> bytes:
    """A .tgz with `files` below `name/`, Chart.yaml first so that a reader may stop there.

    Of a plugin, `plugin` are the files to run, and directories are entries too: Helm 3 does not make those that are missing. Without a
    name the files lie at the top, where Helm 3 wants those of a plugin.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in _directories(files, top=bool(name)) if plugin else ():
            folder = tarfile.TarInfo(f"{name}/{path}".strip("/"))
            folder.type, folder.mode, folder.mtime = tarfile.DIRTYPE, 0o755, epoch
            tar.addfile(folder)
        for path in sorted(files, key=lambda path: (path != "Chart.yaml", path)):
            member = tarfile.TarInfo(f"{name}/{path}".lstrip("/"))
            member.size, member.mode, member.mtime = len(files[path]), 0o755 if path in plugin else 0o644, epoch
            tar.addfile(member, io.BytesIO(files[path]))
    return _gzip(buffer.getvalue())


def _directories(paths: Iterable[str], *, top: bool) -> list[str]:
    """All that the paths lie in, the outer ones first; "" is the top."""
    parents = {parent.as_posix().removeprefix(".") for path in paths for parent in PurePosixPath(path).parents}
    return sorted(parent for parent in parents if parent or top)


def _gzip(data: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflater.compress(data) + deflater.flush()
    trailer = zlib.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")
    return _GZIP_HEADER + body + trailer


def _ignore_file(directory: Path) -> str:
    path = directory / ".helmignore"
    return path.read_text("utf-8") if path.is_file() else ""


def _walk(root: Path, directory: Path, rules: IgnoreRules) -> list[str]:
    found: list[str] = []
    with os.scandir(directory) as entries:
        listed = list(entries)
    for entry in listed:
        path = Path(entry.path).relative_to(root).as_posix()
        if rules.ignores(path, is_directory=entry.is_dir(follow_symlinks=False)):
            continue
        if entry.is_symlink():
            raise MisuseError(codes.CHART_INVALID, f"{path!r} is a link; put the file itself there", where=str(root))
        if entry.is_dir():
            found += _walk(root, Path(entry.path), rules)
        elif entry.is_file():
            found.append(path)
        else:
            raise MisuseError(codes.CHART_INVALID, f"{path!r} is neither a file nor a directory", where=str(root))
    return found
