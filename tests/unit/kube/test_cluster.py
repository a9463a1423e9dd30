"""Looking objects up: what is there, what is not, and what could not be told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.servers import serving
from verifier.kube.cluster import Cluster, connect
from verifier.model.errors import InconclusiveError, MisuseError, VerifierError
from verifier.operations.scanning import RESOURCES

GROUP = "source.toolkit.fluxcd.io"
PATH = f"/apis/{GROUP}/v1/namespaces/apps/helmrepositories"
FOUND = {"apiVersion": f"{GROUP}/v1", "kind": "HelmRepository", "metadata": {"name": "acme", "namespace": "apps"}, "spec": {"url": "oci://x"}}


class Api(ThreadingHTTPServer):
    """Answers by path."""

    answers: dict[str, tuple[int, object]]
    asked: list[str]


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(self.path)
        status, value = self.server.answers.get(path, (404, b"404 page not found\n"))
        data = json.dumps(value).encode() if not isinstance(value, bytes) else value
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if not isinstance(value, bytes) else "text/plain")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api(("127.0.0.1", 0), _Handler)
    server.answers, server.asked = {}, []
    with serving(server):
        yield server


def cluster(api: Api, work: Path) -> Cluster:
    named = {"name": "x", "cluster": {"server": f"http://127.0.0.1:{api.server_port}"}}
    value = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [named],
        "users": [],
        "contexts": [{"name": "x", "context": {"cluster": "x"}}],
    }
    (work / "kubeconfig").write_text(json.dumps(value))
    return connect({"KUBECONFIG": str(work / "kubeconfig")}, 2.0, RESOURCES)


def absent(name: str) -> tuple[int, object]:
    return 404, {"kind": "Status", "code": 404, "reason": "NotFound", "message": f"{name} not found", "details": {"name": name, "kind": "helmrepositories"}}


def fails(cluster: Cluster, name: str = "acme") -> VerifierError:
    with pytest.raises(InconclusiveError) as refused:
        cluster.get(GROUP, "HelmRepository", "apps", name)
    assert refused.value.code.name == "lookup-failed"
    return refused.value


def test_what_is_there_and_what_is_not(api: Api, tmp_path: Path) -> None:
    api.answers = {f"{PATH}/acme": (200, FOUND), f"{PATH}/other": absent("other")}
    found = cluster(api, tmp_path)
    assert found.get(GROUP, "HelmRepository", "apps", "acme") == FOUND
    assert found.get(GROUP, "HelmRepository", "apps", "other") is None
    found.close()


def test_an_api_that_is_served_in_an_older_version(api: Api, tmp_path: Path) -> None:
    api.answers = {f"{PATH.replace('/v1/', '/v1beta2/')}/acme": (200, FOUND)}
    found = cluster(api, tmp_path)
    assert found.get(GROUP, "HelmRepository", "apps", "acme") == FOUND
    api.asked.clear()
    assert found.get(GROUP, "HelmRepository", "apps", "acme") == FOUND
    assert len(api.asked) == 1, "which version is served was learnt"


def test_an_api_that_is_not_served_has_no_objects(api: Api, tmp_path: Path) -> None:
    found = cluster(api, tmp_path)
    assert (found.get(GROUP, "HelmRepository", "apps", "acme"), found.every(GROUP, "HelmRepository", None, 10)) == (None, [])


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        ("apps", "../acme"),
        ("apps", "a/b"),
        ("apps/secrets", "acme"),
        ("..", "acme"),
        ("apps", "acme?watch=1"),
        ("apps", "acme%2f.."),
        ("apps", "Acme"),
        ("apps", ""),
    ],
)
def test_a_name_is_no_path(api: Api, tmp_path: Path, namespace: str, name: str) -> None:
    """Names come out of objects that others write; what no object is called is not there, and nothing is asked."""
    found = cluster(api, tmp_path)
    assert found.get(GROUP, "HelmRepository", namespace, name) is None
    with pytest.raises(InconclusiveError):
        found.every(GROUP, "HelmRepository", namespace if namespace != "apps" else name, 10)
    assert api.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        (403, {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no"}),
        (500, {"kind": "Status", "code": 500, "message": "no"}),
        (401, {"kind": "Status", "code": 401, "message": "no"}),
        (200, b"<html>"),
        (503, b"x"),
    ],
)
def test_trouble_is_never_absence(api: Api, tmp_path: Path, answer: tuple[int, object]) -> None:
    api.answers = {f"{PATH}/acme": answer}
    fails(cluster(api, tmp_path))


def test_a_cluster_that_is_gone(api: Api, tmp_path: Path) -> None:
    found = cluster(api, tmp_path)
    api.server_close()
    fails(found)


def test_lists_are_bounded(api: Api, tmp_path: Path) -> None:
    path = f"/apis/{GROUP}/v1/helmrepositories"
    api.answers = {path: (200, {"kind": "HelmRepositoryList", "apiVersion": f"{GROUP}/v1", "metadata": {}, "items": [FOUND, FOUND, FOUND]})}
    found = cluster(api, tmp_path)
    assert len(found.every(GROUP, "HelmRepository", None, 3)) == 3
    with pytest.raises(InconclusiveError, match="more than 2") as refused:
        found.every(GROUP, "HelmRepository", None, 2)
    assert refused.value.code.name == "lookup-failed"


def test_an_event_that_the_api_does_not_take(api: Api, tmp_path: Path) -> None:
    about = {"apiVersion": f"{GROUP}/v1", "kind": "HelmRepository", "namespace": "apps", "name": "acme"}
    with pytest.raises(InconclusiveError) as refused:
        cluster(api, tmp_path).tell("apps", about, "ChartDenied", "why")
    assert refused.value.code.name == "lookup-failed"


def test_several_threads_share_it(api: Api, tmp_path: Path) -> None:
    api.answers = {f"{PATH}/acme": (200, FOUND)}
    found, got = cluster(api, tmp_path), []
    threads = [threading.Thread(target=lambda: got.append(found.get(GROUP, "HelmRepository", "apps", "acme"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [FOUND] * 8


@pytest.mark.parametrize("text", ["", "{", "a: 1\n"])
def test_a_kubeconfig_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "kubeconfig").write_text(text)
    with pytest.raises(MisuseError) as refused:
        connect({"KUBECONFIG": str(tmp_path / "kubeconfig")}, 1.0, RESOURCES)
    assert refused.value.code.name == "config-invalid"
