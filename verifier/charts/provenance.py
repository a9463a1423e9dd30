"""Helm's provenance text: the chart's metadata, `...`, and the hash of the archive.

Source: helm/helm pkg/provenance/sign.go messageBlock. Helm checks only that the file's base name is listed with the right
hash; we also bind name and version (semantics 4), for otherwise a signed `.prov` can be carried over to another chart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from verifier.charts.metadata import read_metadata_yaml
from verifier.formats.yaml import Mapping as YamlMapping
from verifier.formats.yaml import YamlError, dump_yaml, parse_yaml, plain
from verifier.model import codes
from verifier.model.artifact import ChartFacts
from verifier.model.digest import Digest
from verifier.model.errors import FailedError

_SEPARATOR = "\n...\n"


class Provenance(Struct, frozen=True):
    """What the signed text says: the chart's normalised metadata and `files` as written (name to `sha256:HEX`)."""

    metadata: Mapping[str, Any]
    files: Mapping[str, str]


def write_provenance(facts: ChartFacts, digest: Digest) -> str:
    """The text to clear-sign for an archive of `digest`; ends with a newline as Helm's does."""
    files = {"files": {f"{facts.label}.tgz": str(digest)}}
    return f"{dump_yaml(dict(facts.metadata))}{_SEPARATOR}{dump_yaml(files)}"


def read_provenance(text: str, *, where: str) -> Provenance:
    """Read signed text; raises FailedError `provenance-malformed` or `metadata-invalid`."""
    head, separator, tail = text.replace("\r\n", "\n").partition(_SEPARATOR)
    if not separator:
        raise FailedError(codes.PROVENANCE_MALFORMED, "no '...' line between metadata and files", where=where)
    if _SEPARATOR in tail:
        raise FailedError(codes.PROVENANCE_MALFORMED, "more than two parts", where=where)
    return Provenance(read_metadata_yaml(head.encode(), where=where), _read_files(tail.encode(), where))


def check_provenance(provenance: Provenance, facts: ChartFacts, digest: Digest, *, where: str) -> None:
    """Bind the text to the archive: name, version, and the hash under the archive's own file name.

    The entry is found by its hash; its name must be the one that metadata dictates, `NAME-VERSION.tgz`.
    Raises FailedError `provenance-mismatch`.
    """
    for key, expected in (("name", facts.name), ("version", facts.version)):
        if provenance.metadata.get(key) != expected:
            found = str(provenance.metadata.get(key))[:100]
            raise _mismatch(f"it says {key} {found!r}, the archive says {expected!r}", where)
    names = [name for name, value in provenance.files.items() if value == str(digest)]
    if not names:
        raise _mismatch(f"it does not list the archive's hash {digest.short}...", where)
    if f"{facts.label}.tgz" not in names:
        raise _mismatch(f"it lists the archive as {names[0][:100]!r}, expected '{facts.label}.tgz'", where)


def _read_files(data: bytes, where: str) -> dict[str, str]:
    try:
        node = parse_yaml(data)
    except YamlError as error:
        raise FailedError(codes.METADATA_INVALID, f"files: {error}", where=where) from error
    files = node.items.get("files") if isinstance(node, YamlMapping) else None
    if not isinstance(files, YamlMapping):
        raise FailedError(codes.PROVENANCE_MALFORMED, "no 'files' mapping", where=where)
    return {name: str(value) for name, value in plain(files).items()}


def _mismatch(reason: str, where: str) -> FailedError:
    return FailedError(codes.PROVENANCE_MISMATCH, reason, where=where)
