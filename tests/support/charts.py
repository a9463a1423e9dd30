"""Charts for tests, sound and evil."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping

from verifier.charts.archive import read_archive
from verifier.charts.packaging import write_archive
from verifier.model.artifact import ChartFile
from verifier.model.digest import sha256

EPOCH = 315532800


def chart_yaml(name: str = "web", version: str = "1.4.2", extra: str = "") -> bytes:
    return f"apiVersion: v2\nname: {name}\nversion: {version}\n{extra}".encode()


def archive(name: str = "web", version: str = "1.4.2", files: Mapping[str, bytes] | None = None, extra: str = "") -> bytes:
    content = {"Chart.yaml": chart_yaml(name, version, extra), "values.yaml": b"replicas: 1\n", **(files or {})}
    return write_archive(name, content, epoch=EPOCH)


def chart_file(data: bytes | None = None, path: str = "web-1.4.2.tgz") -> ChartFile:
    data = data if data is not None else archive()
    return ChartFile(path=path, digest=sha256(data), facts=read_archive(data, where=path).facts, archive=data)


def raw_tar(members: list[tuple[tarfile.TarInfo, bytes]], fmt: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=fmt) as tar:
        for member, data in members:
            member.size = len(data) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def evil_archive(*entries: tuple[str, bytes], kind: bytes = tarfile.REGTYPE, link: str = "", tail: bytes = b"") -> bytes:
    """The sound chart's files, then these entries of this kind."""
    members = [(member("web/Chart.yaml"), chart_yaml()), (member("web/values.yaml"), b"{}\n")]
    members += [(member(name, kind, link), data) for name, data in entries]
    return gzip.compress(raw_tar(members) + tail, mtime=0)
