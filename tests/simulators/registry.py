"""A registry that can be made wrong on purpose. It shares nothing with verifier.oci, so that a misunderstanding shows.

with simulated(Switches(referrers=False)) as registry:
    registry.host, registry.requests, registry.switches
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.servers import serving

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass
class Switches:
    """How the registry behaves; each default is what the specification asks for."""

    referrers: bool = True
    referrers_html: bool = False
    referrers_status: int = 0
    referrers_code: str = "UNKNOWN"
    referrers_page: int = 1000
    referrers_lose: bool = False  # OCI-Subject is sent, the API answers, and lists nothing
    alias_tags: bool = False  # GitLab: sha256-HEX resolves to the subject itself
    basic: tuple[str, str] | None = None
    bearer: tuple[str, str] | None = None  # user and password that the token endpoint wants
    realm: str = ""  # another realm than our own /token
    token_life: int = 300
    status: dict[str, int] = field(default_factory=dict)  # path fragment -> status for every request that holds it
    headers: dict[str, str] = field(default_factory=dict)  # sent along with those statuses
    body: dict[str, bytes] = field(default_factory=dict)  # path fragment -> body instead of the right one
    redirect: dict[str, str] = field(default_factory=dict)  # path fragment -> Location
    upload_location: str = ""
    truncate: str = ""  # path fragment whose body is cut in half while its length is announced in full
    drip: str = ""  # path fragment that is sent byte by byte
    html: bool = False
    tags_page: int = 0
    next_page: str = ""
    stop_at: int = 0  # the number of the write, counted from 1, before which everything stands still until `go_on` is set
    refuse_write: dict[str, int] = field(default_factory=dict)  # path fragment -> status for every PUT that holds it
    swallow_fallback: int = 0  # how many writes of a fallback tag are lost


@dataclass
class SimulatedRegistry:
    """What is stored, what was asked."""

    host: str = ""
    switches: Switches = field(default_factory=Switches)
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[bytes, str]] = field(default_factory=dict)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    writes: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def paths(self, method: str = "GET") -> list[str]:
        """The paths asked with this method, in order."""
        return [path for verb, path, _ in self.requests if verb == method]

    def put(self, repository: str, data: bytes, tag: str | None = None, media_type: str = MANIFEST) -> str:
        """Store a manifest directly."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.manifests[repository, digest] = (data, media_type)
        if tag:
            self.tags[repository, tag] = digest
        return digest

    def put_blob(self, data: bytes) -> str:
        """Store a blob directly."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest


class _Server(ThreadingHTTPServer):
    """Does not print that a client went away: cutting off a slow registry is what several tests are about."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def simulated(switches: Switches | None = None) -> Iterator[SimulatedRegistry]:
    """A registry on a free loopback port."""
    registry = SimulatedRegistry(switches=switches or Switches())
    server = _Server(("127.0.0.1", 0), _handler(registry))
    server.daemon_threads = True
    with serving(server) as port:
        registry.host = f"127.0.0.1:{port}"
        yield registry


def _handler(registry: SimulatedRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def log_message(self, format: str, *args: Any) -> None:
            return

        def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
            switches = registry.switches
            cut = bool(switches.truncate) and switches.truncate in self.path
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            if switches.drip and switches.drip in self.path:
                with contextlib.suppress(OSError):
                    for byte in body:
                        self.wfile.write(bytes([byte]))
                        self.wfile.flush()
                        time.sleep(0.05)
                self.close_connection = True
                return
            self.wfile.write(body[: len(body) // 2] if cut else body)
            if cut:
                self.close_connection = True

        def error(self, status: int, code: str, message: str = "") -> None:
            body = json.dumps({"errors": [{"code": code, "message": message or code.lower()}]}).encode()
            self.answer(status, body, {"Content-Type": "application/json", **registry.switches.headers})

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.body = self.rfile.read(length)
            with registry.lock:
                registry.requests.append((self.command, self.path, dict(self.headers.items())))
            switches = registry.switches
            if self.command in ("POST", "PUT", "PATCH") and switches.stop_at:
                registry.writes += 1
                if registry.writes == switches.stop_at:
                    registry.stopped.set()
                    registry.go_on.wait(60)
                    return None  # whoever asked is dead by now
            for fragment, status in switches.refuse_write.items():
                if self.command == "PUT" and fragment in self.path:
                    return self.error(status, "DENIED")
            for fragment, status in switches.status.items():
                if fragment in self.path:
                    return self.error(status, {404: "MANIFEST_UNKNOWN", 429: "TOOMANYREQUESTS"}.get(status, "UNKNOWN"))
            for fragment, location in switches.redirect.items():
                if fragment in self.path:
                    return self.answer(307, b"", {"Location": location})
            if switches.html:
                return self.answer(200, b"<html>log in</html>", {"Content-Type": "text/html"})
            split = urlsplit(self.path)
            if split.path == "/token":
                return self.token(parse_qs(split.query))
            if not self.authorized():
                return None
            for fragment, body in switches.body.items():
                if fragment in self.path:
                    return self.answer(200, body, {"Content-Type": MANIFEST})
            return self.route(split.path, parse_qs(split.query, keep_blank_values=True))

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any

        def authorized(self) -> bool:
            switches, given = registry.switches, self.headers.get("Authorization", "")
            if switches.basic is not None:
                import base64

                expected = "Basic " + base64.b64encode(":".join(switches.basic).encode()).decode()
                if given != expected:
                    self.answer(401, b"{}", {"WWW-Authenticate": 'Basic realm="sim"'})
                    return False
            if switches.bearer is not None and given != "Bearer good-token":
                realm = switches.realm or f"http://{registry.host}/token"
                scope = f"repository:{self.path.split('/v2/')[-1].split('/manifests')[0].split('/blobs')[0]}:pull,push"
                self.answer(401, b"{}", {"WWW-Authenticate": f'Bearer realm="{realm}",service="sim",scope="{scope}"'})
                return False
            return True

        def token(self, query: dict[str, list[str]]) -> None:
            import base64

            switches = registry.switches
            expected = "Basic " + base64.b64encode(":".join(switches.bearer or ("", "")).encode()).decode()
            form = parse_qs(self.body.decode()) if self.command == "POST" else {}
            refreshed = form.get("refresh_token") == [switches.bearer[1]] if switches.bearer else False
            if switches.bearer == ("", "") or self.headers.get("Authorization") == expected or refreshed:
                self.answer(200, json.dumps({"token": "good-token", "expires_in": switches.token_life}).encode(), {"Content-Type": "application/json"})
            else:
                self.error(401, "UNAUTHORIZED")

        def route(self, path: str, query: dict[str, list[str]]) -> None:
            match = re.fullmatch(r"/v2/(.+)/(manifests|blobs/uploads|blobs|tags|referrers)/(.*)", path)
            if match is None:
                return self.answer(200, b"{}")
            name, kind, rest = match.groups()
            handler = getattr(self, f"{kind.replace('/', '_')}_{self.command.replace('HEAD', 'GET').lower()}", None)
            if handler is None:
                return self.error(405, "UNSUPPORTED")
            handler(name, rest, query)
            return None

        def manifests_get(self, name: str, rest: str, query: dict[str, list[str]]) -> None:
            digest = registry.tags.get((name, rest), rest)
            if registry.switches.alias_tags and rest.startswith("sha256-") and (name, rest) not in registry.tags:
                digest = rest.replace("sha256-", "sha256:")
            found = registry.manifests.get((name, digest))
            if found is None:
                return self.error(404, "MANIFEST_UNKNOWN")
            return self.answer(200, found[0], {"Content-Type": found[1], "Docker-Content-Digest": digest})

        def manifests_put(self, name: str, rest: str, query: dict[str, list[str]]) -> None:
            digest = "sha256:" + hashlib.sha256(self.body).hexdigest()
            registry.manifests[name, digest] = (self.body, self.headers.get("Content-Type", MANIFEST))
            if not rest.startswith("sha256:"):
                if rest.startswith("sha256-") and registry.switches.swallow_fallback > 0:
                    registry.switches.swallow_fallback -= 1
                else:
                    registry.tags[name, rest] = digest
            subject = json.loads(self.body).get("subject")
            headers = {"OCI-Subject": subject["digest"]} if subject and registry.switches.referrers else {}
            return self.answer(201, b"", {"Location": f"/v2/{name}/manifests/{digest}", **headers})

        def manifests_delete(self, name: str, rest: str, query: dict[str, list[str]]) -> None:
            known = registry.tags.pop((name, rest), None) or registry.manifests.pop((name, rest), None)
            return self.answer(202) if known else self.error(404, "MANIFEST_UNKNOWN")

        def blobs_get(self, name: str, rest: str, query: dict[str, list[str]]) -> None:
            data = registry.blobs.get(rest)
            return self.error(404, "BLOB_UNKNOWN") if data is None else self.answer(200, data, {"Content-Type": "application/octet-stream"})

        def blobs_uploads_post(self, name: str, rest: str, query: dict[str, list[str]]) -> None:
            if "mount" in query and query["mount"][0] in registry.blobs:
                return self.answer(201, b"", {"Location": f"/v2/{name}/blobs/{query['mount'][0]}"})
            upload = f"u{len(registry.uploads)}"
            registry.uploads[upload] = b""
            return self.answer(202, b"", {"Location": registry.switches.upload_location or f"/v2/{name}/blobs/uploads/{upload}?state=x"})

        def blobs_uploads_patch(self, name: str, rest: str, query: dict[str, list[str]]) -> None:
            start = int(self.headers.get("Content-Range", "0-0").split("-")[0])
            if start != len(registry.uploads[rest]):
                return self.error(416, "BLOB_UPLOAD_INVALID")
            registry.uploads[rest] += self.body
            return self.answer(202, b"", {"Location": f"/v2/{name}/blobs/uploads/{rest}?state=y"})

        def blobs_uploads_put(self, name: str, rest: str, query: dict[str, list[str]]) -> None:
            data = registry.uploads.pop(rest) + self.body
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            if digest != query["digest"][0]:
                return self.error(400, "DIGEST_INVALID")
            registry.blobs[digest] = data
            return self.answer(201, b"", {"Location": f"/v2/{name}/blobs/{digest}"})

        def tags_get(self, name: str, rest: str, query: dict[str, list[str]]) -> None:
            tags = sorted(tag for repository, tag in registry.tags if repository == name)
            last, page = query.get("last", [""])[0], registry.switches.tags_page
            tags = [tag for tag in tags if tag > last]
            headers = {"Content-Type": "application/json"}
            if page and len(tags) > page:
                headers["Link"] = f'<{registry.switches.next_page or f"/v2/{name}/tags/list?last={tags[page - 1]}"}>; rel="next"'
                tags = tags[:page]
            return self.answer(200, json.dumps({"name": name, "tags": tags}).encode(), headers)

        def referrers_get(self, name: str, rest: str, query: dict[str, list[str]]) -> None:
            switches = registry.switches
            if switches.referrers_status:
                return self.error(switches.referrers_status, switches.referrers_code)
            if switches.referrers_html:
                return self.answer(200, b"<html>log in</html>", {"Content-Type": "text/html"})
            if not switches.referrers:
                return self.answer(404, b"404 page not found\n", {"Content-Type": "text/plain"})
            found = [] if switches.referrers_lose else self.referring(name, rest)
            start = int(query.get("start", ["0"])[0])
            page = found[start : start + switches.referrers_page]
            headers = {"Content-Type": INDEX}
            if start + switches.referrers_page < len(found):
                headers["Link"] = f"</v2/{name}/referrers/{rest}?start={start + switches.referrers_page}>; rel=next"
            return self.answer(200, json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": page}).encode(), headers)

        def referring(self, name: str, subject: str) -> list[dict[str, Any]]:
            found = []
            for (repository, digest), (data, media_type) in registry.manifests.items():
                value = json.loads(data)
                if repository == name and (value.get("subject") or {}).get("digest") == subject:
                    found.append({"mediaType": media_type, "digest": digest, "size": len(data), "artifactType": value.get("artifactType", "")})
            return found

    return Handler
