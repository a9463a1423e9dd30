"""What of a chart Helm keeps in a release record, so that a record can be compared with the archive that was verified.

A record names no source and no digest. Of the chart it holds templates, other files and the schema byte for byte, metadata and values as they were
parsed, and nothing of the charts inside. Source: helm/helm pkg/chart/loader load.go (v3 and v4), pkg/chart/chart.go.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from verifier.charts.archive import ChartArchive
from verifier.formats.go_yaml import as_json, load_go_values
from verifier.formats.yaml import YamlError
from verifier.model.digest import sha256

_BOM = b"\xef\xbb\xbf"
_PARSED = ("Chart.yaml", "Chart.lock", "values.yaml", "values.schema.json", "requirements.yaml", "requirements.lock")
_KEPT_IN_V1 = ("Chart.lock", "requirements.yaml", "requirements.lock")  # the loader puts them among the files, too


class Fingerprint(Struct, frozen=True, kw_only=True):
    """The comparable parts. `files` maps `templates/...` and other paths to the SHA-256 of their bytes; `values` is None where they cannot be compared.

    `partial`: the chart holds other charts, of which a record says nothing, and whose values are merged into its own.
    """

    name: str
    version: str
    metadata: Mapping[str, Any]
    files: Mapping[str, str]
    schema: str | None
    values: str | None
    partial: bool

    @property
    def digest(self) -> str:
        """SHA-256 over what is compared byte for byte, with name and version: by which a verified chart is found again."""
        parts = [self.name, self.version, self.schema or "", *(f"{path}\0{digest}" for path, digest in sorted(self.files.items()))]
        return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def fingerprint_of(chart: ChartArchive) -> Fingerprint:
    """Of an archive that was read."""
    schema = chart.files.get("values.schema.json")
    return Fingerprint(
        name=chart.facts.name,
        version=chart.facts.version,
        metadata=comparable_metadata(chart.facts.metadata),
        files={path: sha256(data).hex for path, data in _loaded(chart)},
        schema=sha256(_without_bom(schema)).hex if schema is not None else None,
        values=_values(chart.files.get("values.yaml")),
        partial=chart.facts.composed,
    )


def comparable_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Without the dependencies, which Helm changes while it installs."""
    return {key: value for key, value in metadata.items() if key != "dependencies"}


def comparable_values(value: Any) -> str:
    """Of values as Go's JSON holds them: all numbers are doubles, and what is not there is empty. Raises TypeError or ValueError."""
    return sha256(json.dumps(as_json(value if value is not None else {}), sort_keys=True).encode()).hex


def _loaded(chart: ChartArchive) -> Iterator[tuple[str, bytes]]:
    """The files that Helm keeps as they are."""
    old = chart.facts.metadata.get("apiVersion") == "v1"
    for path, data in chart.files.items():
        if path in _PARSED and not (old and path in _KEPT_IN_V1):
            continue
        if path.startswith("charts/") and not path.endswith(".prov"):
            continue
        yield path, _without_bom(data)


def _without_bom(data: bytes) -> bytes:
    return data.removeprefix(_BOM)


def _values(data: bytes | None) -> str | None:
    """None where the readers of Helm 3 and 4 differ (several documents), or what is there is no mapping."""
    if data is None:
        return comparable_values(None)
    try:
        documents = load_go_values(data)
        if len(documents) > 1 or (documents and not isinstance(documents[0] or {}, dict)):
            return None
        return comparable_values(documents[0] if documents else None)
    except YamlError:
        return None
