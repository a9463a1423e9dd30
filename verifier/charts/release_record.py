"""Helm's release records: the Secret or ConfigMap that Helm writes before it installs anything.

Source: helm/helm pkg/storage/driver util.go, secrets.go and cfgmaps.go (v3 and v4).
1. The record is base64 of gzip of JSON, or of JSON alone where the first bytes are not gzip's, as Helm's reader has it.
2. It is bounded before and after it is unpacked.
3. Go's decoder takes `Chart` for `chart` and the last of duplicate keys; whoever reads both ways the same refuses both.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from verifier.charts.fingerprint import Fingerprint, comparable_metadata, comparable_values
from verifier.formats.gzip import GzipError, inflate
from verifier.formats.json import parse_object
from verifier.formats.loose import get, items, mapping, text
from verifier.model import codes, limits
from verifier.model.digest import sha256
from verifier.model.errors import FailedError

_GZIP = b"\x1f\x8b\x08"
_RELEASE = ("name", "info", "chart", "config", "manifest", "hooks", "version", "namespace", "apply_method", "labels")
_CHART = ("metadata", "lock", "templates", "values", "schema", "files", "modtime", "schemamodtime")
_FILE = ("name", "data", "modtime")
_FROZEN = ("name", "chart", "config", "manifest", "version", "namespace")


class ReleaseRecord(Struct, frozen=True, kw_only=True):
    """A record that was read; `value` is all of it."""

    name: str
    namespace: str
    revision: int
    fingerprint: Fingerprint
    value: Mapping[str, Any]


def read_release(data: bytes, *, where: str) -> ReleaseRecord:
    """A record out of what stands under `data.release`, the object's own base64 taken off; raises FailedError `record-invalid`."""
    try:
        value = parse_object(_unpack(data, where), where=where, doubles=True)
        _check_names(value, _RELEASE, "the record", where)
        chart = mapping(value, "chart")
        _check_names(chart, _CHART, "its chart", where)
        return ReleaseRecord(
            name=text(get(value, "name")),
            namespace=text(get(value, "namespace")),
            revision=_revision(value, where),
            fingerprint=_fingerprint(chart, where),
            value=value,
        )
    except FailedError as error:
        raise _invalid(error.reason, where) from error


def changed_parts(old: ReleaseRecord, new: ReleaseRecord) -> tuple[str, ...]:
    """What an update of a record must never change, and does."""
    changed = [part for part in _FROZEN if old.value.get(part) != new.value.get(part)]
    return (*changed, *(["hooks"] if _hooks(old) != _hooks(new) else []))


def _hooks(record: ReleaseRecord) -> list[Any]:
    """What hooks are, without how they went the last time."""
    return [{key: value for key, value in hook.items() if key != "last_run"} if isinstance(hook, dict) else hook for hook in items(record.value.get("hooks"))]


def differences(record: Fingerprint, verified: Fingerprint) -> tuple[str, ...]:
    """In which parts a record's chart is another than the verified one, for people; the values are told apart by `values_differ`."""
    found = [f"{path} is {_state(record.files, verified.files, path)}" for path in sorted({*record.files, *verified.files}) if _other(record, verified, path)]
    if record.schema != verified.schema:
        found.append("values.schema.json is another")
    for key in sorted({*record.metadata, *verified.metadata}):
        if record.metadata.get(key) != verified.metadata.get(key):
            found.append(f"{key} in Chart.yaml is another")
    return tuple(found)


def values_differ(record: Fingerprint, verified: Fingerprint) -> bool:
    """Whether the chart's own values are others, or cannot be compared."""
    return verified.values is None or record.values != verified.values


def _other(record: Fingerprint, verified: Fingerprint, path: str) -> bool:
    return record.files.get(path) != verified.files.get(path)


def _state(record: Mapping[str, str], verified: Mapping[str, str], path: str) -> str:
    return "missing" if path not in record else "added" if path not in verified else "another"


def _unpack(data: bytes, where: str) -> bytes:  # 1, 2
    if len(data) > limits.RECORD_BYTES:
        raise _invalid(f"more than {limits.RECORD_BYTES} bytes", where)
    try:
        packed = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid("no base64", where) from error
    if not packed.startswith(_GZIP):
        return packed
    try:
        return inflate(packed, limits.RECORD_UNPACKED_BYTES)
    except GzipError as error:
        raise _invalid(str(error), where) from error


def _check_names(value: Mapping[str, Any], known: tuple[str, ...], what: str, where: str) -> None:  # 3
    for key in value:
        if key not in known and key.lower() in known:
            raise _invalid(f"{what} has {key[:40]!r}, which Go reads as {key.lower()!r}", where)


def _revision(value: Mapping[str, Any], where: str) -> int:
    revision = value.get("version")
    if not isinstance(revision, float) or not revision.is_integer():
        raise _invalid("version is no whole number", where)
    return int(revision)


def _fingerprint(chart: Mapping[str, Any], where: str) -> Fingerprint:
    metadata = mapping(chart, "metadata")
    name, version = text(get(metadata, "name")), text(get(metadata, "version"))
    if not name or not version:
        raise _invalid("its chart has no name or version", where)
    schema = get(chart, "schema")
    return Fingerprint(
        name=name,
        version=version,
        metadata=comparable_metadata(metadata),
        files=_files(chart, where),
        schema=sha256(_data(schema, where)).hex if schema else None,
        values=_comparable(get(chart, "values")),
        partial=bool(get(metadata, "dependencies")),
    )


def _comparable(values: Any) -> str | None:
    try:
        return comparable_values(values)
    except (TypeError, ValueError, RecursionError):
        return None


def _files(chart: Mapping[str, Any], where: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in ("templates", "files"):
        for item in items(get(chart, part)):
            if not isinstance(item, dict):
                raise _invalid(f"{part} holds something that is no file", where)
            _check_names(item, _FILE, f"a file of {part}", where)
            path = text(get(item, "name"))
            if path in found or path.startswith("templates/") is not (part == "templates"):
                raise _invalid(f"{path[:100]!r} is there twice, or where it does not belong", where)
            found[path] = sha256(_data(get(item, "data"), where)).hex
    return found


def _data(value: Any, where: str) -> bytes:
    if value is None:
        return b""
    try:
        return base64.b64decode(text(value), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid("a file's data is no base64", where) from error


def _invalid(reason: str, where: str) -> FailedError:
    return FailedError(codes.RECORD_INVALID, reason, where=where)
