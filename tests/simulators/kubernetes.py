"""As much of a Kubernetes API as Helm asks for before it installs: its version, and what it offers.

Helm's memory driver (HELM_DRIVER=memory) keeps releases to itself and sends nothing, so that no objects are needed.

with cluster() as url:
    write_kubeconfig(path, url)
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.servers import serving

_CONFIG_MAPS = {"name": "configmaps", "singularName": "configmap", "namespaced": True, "kind": "ConfigMap", "verbs": ["create", "get", "list"]}
_KNOWN = {
    "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [_CONFIG_MAPS]},
}


@contextlib.contextmanager
def cluster() -> Iterator[str]:
    """The URL of a cluster on a free loopback port, until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    with serving(server) as port:
        yield f"http://127.0.0.1:{port}"


def write_kubeconfig(path: Path, url: str) -> Path:
    """A kubeconfig that names the cluster."""
    named = {"clusters": [{"name": "c", "cluster": {"server": url}}], "users": [{"name": "u", "user": {}}]}
    context = {"current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}]}
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **named, **context}))
    return path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        value = _KNOWN.get(urlsplit(self.path).path)
        missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        data = json.dumps(value or missing).encode()
        self.send_response(200 if value else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
