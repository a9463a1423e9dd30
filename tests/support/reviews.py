"""AdmissionReviews as the API server sends them, release records as Helm writes them, and a cluster that is a list."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

from verifier.charts.archive import read_archive
from verifier.formats.go_yaml import load_go_values
from verifier.kube.cluster import EVERYTHING, Cluster, Selector
from verifier.model import codes
from verifier.model.errors import InconclusiveError

SELECTOR = {"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip"}


def an_object(api: str, kind: str, *, name: str = "x", namespace: str = "apps", **fields: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace}, **fields}


def oci_repository(url: str, **ref: str) -> dict[str, Any]:
    return an_object("source.toolkit.fluxcd.io/v1", "OCIRepository", spec={"url": url, "ref": ref, "layerSelector": SELECTOR})


def review(new: Mapping[str, Any] | None, *, old: Mapping[str, Any] | None = None, operation: str = "", **request: Any) -> dict[str, Any]:
    """A review of an object; `old` makes it an update."""
    item = new or old or {}
    group, _, version = str(item.get("apiVersion", "")).rpartition("/")
    asked = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": group, "version": version, "kind": item.get("kind", "")},
        "operation": operation or ("UPDATE" if old is not None else "CREATE"),
        "namespace": item.get("metadata", {}).get("namespace", ""),
        "name": item.get("metadata", {}).get("name", ""),
        "userInfo": {"username": "alice"},
        "object": new,
        "oldObject": old,
        **request,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}


def release_value(data: bytes, **changed: Any) -> dict[str, Any]:
    """What Helm keeps of a chart that it installs, as JSON."""
    chart = read_archive(data, where="chart")
    files = {path: base64.b64encode(content).decode() for path, content in chart.files.items()}
    kept = [(path, content) for path, content in files.items() if path not in ("Chart.yaml", "values.yaml") and not path.startswith("charts/")]
    value = {
        "name": "r",
        "namespace": "apps",
        "version": 1,
        "info": {"status": "pending-install"},
        "manifest": "---\n",
        "config": {"a": 1},
        "chart": {
            "metadata": dict(chart.facts.metadata),
            "lock": None,
            "templates": [{"name": path, "data": content} for path, content in kept if path.startswith("templates/")],
            "files": [{"name": path, "data": content} for path, content in kept if not path.startswith("templates/")],
            "values": load_go_values(chart.files["values.yaml"])[0] if "values.yaml" in chart.files else {},
            "schema": None,
        },
    }
    return {**value, **changed}


def packed(value: Any) -> str:
    """As it stands under `data.release` of a Secret."""
    return base64.b64encode(base64.b64encode(gzip.compress(json.dumps(value).encode(), mtime=0))).decode()


def record(data: str, *, name: str = "sh.helm.release.v1.r.v1", kind: str = "helm.sh/release.v1", labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    secret = an_object("v1", "Secret", name=name, type=kind, data={"release": data})
    secret["metadata"]["labels"] = dict(labels if labels is not None else {"owner": "helm", "name": "r"})
    return secret


class ListedCluster(Cluster):
    """Objects by kind; one that is down says so."""

    def __init__(self, *values: dict[str, Any], down: bool = False) -> None:
        super().__init__(lambda: None, 1.0, {})
        self.values = values
        self.down = down
        self.told: list[tuple[str, dict[str, str], str, str]] = []

    def get(self, group: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        listed = [item for item in self._of(group, kind) if (item["metadata"]["namespace"], item["metadata"]["name"]) == (namespace, name)]
        return listed[0] if listed else None

    def every(self, group: str, kind: str, namespace: str | None, most: int, which: Selector = EVERYTHING) -> list[dict[str, Any]]:
        listed = [item for item in self._of(group, kind) if namespace in (None, item["metadata"]["namespace"])]
        return [item for item in listed if _is_selected(item, which)][:most]

    def tell(self, namespace: str, about: Mapping[str, str], reason: str, message: str) -> None:
        if self.down:
            raise InconclusiveError(codes.LOOKUP_FAILED, "the Kubernetes API says 500: no", where="Event")
        self.told.append((namespace, dict(about), reason, message))

    def _of(self, group: str, kind: str) -> list[dict[str, Any]]:
        if self.down:
            raise InconclusiveError(codes.LOOKUP_FAILED, "the Kubernetes API says 500: no", where=kind)
        return [item for item in self.values if item["kind"] == kind and item["apiVersion"].rpartition("/")[0] == group]


def _is_selected(item: Mapping[str, Any], which: Selector) -> bool:
    return which.labels.items() <= item["metadata"].get("labels", {}).items() and all(item.get(key) == value for key, value in which.fields.items())
