"""A chart repository: files on a web server, with the ways of real ones.

with chart_repository() as (repository, host):
    name = repository.add(archive, prov=..., bundle=...)                         http://HOST/charts/web-1.4.2.tgz
    repository.files["/charts/index.yaml"] = index_of([entry(archive, name)])

Each switch is something that a real server does: GitLab and Artifactory hide what needs a login, object stores answer 403 for what is not there
(`status`), single-page sites answer 200 with a page, GitHub redirects to another host.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

import yaml

from tests.simulators.registry.answers import Answer, html
from tests.simulators.registry.serve import LineHandler, QuietServer, handler_of, write_body
from tests.support.servers import serving
from verifier.charts.archive import read_archive


@dataclass
class SimulatedChartRepository:
    """`asked` is method and path of each request, in order, `shown` its Authorization."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    login: str = ""  # user:password
    hides: bool = False  # 404 for whoever is not logged in, in place of 401
    etags: bool = False
    page: bool = False  # a web page for what is not there
    status: dict[str, int] = field(default_factory=dict)  # by a part of the path
    redirect: dict[str, str] = field(default_factory=dict)
    cut: str = ""  # a part of the path whose answer ends in the middle
    drip: str = ""  # ... whose answer takes for ever
    lock: Lock = field(default_factory=Lock)

    def add(self, data: bytes, *, below: str = "/charts", prov: bytes | None = None, bundle: bytes | None = None) -> str:
        """Put a chart with what belongs to it there; its file's name."""
        name = f"{read_archive(data, where='chart').facts.label}.tgz"
        self.files[f"{below}/{name}"] = data
        self.files |= {f"{below}/{name}{suffix}": extra for suffix, extra in ((".prov", prov), (".sigstore.json", bundle)) if extra is not None}
        return name

    def serve(self, handler: LineHandler) -> None:
        """Read one request and answer it."""
        asked = handler.asked()
        with self.lock:
            self.asked.append((asked.method, handler.path))
            self.shown.append(asked.headers.get("Authorization", ""))
        answer = self._answer(asked.path, asked.headers)
        handler.say(answer)
        write_body(handler, answer.body, drip=self.drip, cut=self.cut)

    def _answer(self, path: str, headers: Mapping[str, str]) -> Answer:
        for part, status in self.status.items():
            if part in path:
                return Answer(status, b"" if status == 304 else b"trouble")
        for part, location in self.redirect.items():
            if part in path:
                return Answer(302, b"", {"Location": location})
        expected = f"Basic {base64.b64encode(self.login.encode()).decode()}"
        if self.login and headers.get("Authorization") != expected:
            return Answer(404) if self.hides else Answer(401, b"", {"WWW-Authenticate": 'Basic realm="charts"'})
        data = self.files.get(path)
        if data is None:
            return html() if self.page else Answer(404, b"not here")
        etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        if self.etags and headers.get("If-None-Match") == etag:
            return Answer(304, b"", {"ETag": etag})
        return Answer(200, data, {"Content-Type": "application/octet-stream", **({"ETag": etag} if self.etags else {})})


def entry(data: bytes, url: str, digest: str | None = None) -> dict[str, object]:
    """A version as `helm repo index` writes it."""
    facts = read_archive(data, where="chart").facts
    said = digest if digest is not None else hashlib.sha256(data).hexdigest()
    return {**facts.metadata, "created": "2026-11-27T00:00:00.000000000Z", "digest": said, "urls": [url]}


def index_of(entries: Sequence[Mapping[str, object]]) -> bytes:
    """An index.yaml, laid out as Helm lays it out."""
    charts: dict[str, list[Mapping[str, object]]] = {}
    for item in entries:
        charts.setdefault(str(item["name"]), []).append(item)
    return yaml.safe_dump({"apiVersion": "v1", "entries": charts, "generated": "2026-11-27T00:00:00.000000000Z"}).encode()


@contextlib.contextmanager
def chart_repository() -> Iterator[tuple[SimulatedChartRepository, str]]:
    """A repository on loopback, and its host and port."""
    repository = SimulatedChartRepository()
    with serving(QuietServer(("127.0.0.1", 0), handler_of({"": repository}))) as port:
        yield repository, f"127.0.0.1:{port}"
