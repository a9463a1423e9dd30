"""What a chart's lock says of its dependencies, and whether it is the lock of these.

1. Chart.lock (requirements.lock in an apiVersion v1 chart) holds a digest over the declared and the resolved dependencies.
   It is no digest of any content: it tells that the two lists belong together.
2. Every declared dependency is resolved in it, under the same repository, at one exact version.

Source: helm/helm internal/resolver HashReq and, for locks of Helm 2, HashV2Req (https://github.com/helm/helm/issues/7233).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from verifier.charts.metadata import read_lock_yaml
from verifier.charts.version import parse_version
from verifier.formats.json import dump_go_json
from verifier.model.digest import sha256
from verifier.model.errors import FailedError


def lock_problem(metadata: Mapping[str, Any], files: Mapping[str, bytes], *, where: str) -> str | None:
    """Why the chart's dependencies are not locked; None if they are, or if it has none."""
    declared: list[Mapping[str, Any]] = metadata.get("dependencies") or []
    if not declared:
        return None
    name = "Chart.lock" if metadata.get("apiVersion") == "v2" else "requirements.lock"
    if name not in files:
        return f"it has dependencies and no {name}"
    try:
        lock = read_lock_yaml(files[name], where=f"{where}!{name}")
    except FailedError as error:
        return f"{name} cannot be read: {error.reason}"
    resolved: list[Mapping[str, Any]] = lock.get("dependencies") or []
    if lock.get("digest") not in (_digest([declared, resolved]), _digest({"dependencies": declared})):  # 1
        return f"{name} is of other dependencies than Chart.yaml: its digest does not match"
    return _unresolved(declared, resolved, name)  # 2


def _unresolved(declared: list[Mapping[str, Any]], resolved: list[Mapping[str, Any]], name: str) -> str | None:
    if [(item["name"], item["repository"]) for item in declared] != [(item["name"], item["repository"]) for item in resolved]:
        return f"{name} resolves other dependencies than Chart.yaml declares"
    for item in resolved:
        if parse_version(item.get("version", "")) is None:
            return f"{name} resolves {item['name']} to {item.get('version', '')!r}, which is no version"
    return None


def _digest(value: Any) -> str:
    return str(sha256(dump_go_json(value)))
