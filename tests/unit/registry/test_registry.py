"""The embedded registry by the words of the distribution specification."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from pathlib import Path

import pytest

from tests.support.world import repository
from verifier.model.artifact import Descriptor
from verifier.model.digest import sha256
from verifier.oci.manifest import INDEX, MANIFEST, write_index, write_referrer
from verifier.registry.app import RegistryApp
from verifier.registry.guard import RegistrySettings
from verifier.registry.running import running
from verifier.registry.store import RegistryStore

CONFIG = b"{}"


def image(note: str = "1", **more: object) -> bytes:
    config = {"mediaType": "c", "digest": str(sha256(CONFIG)), "size": 2}
    return json.dumps({"schemaVersion": 2, "config": config, "layers": [], "annotations": {"n": note}, **more}).encode()


class Client:
    def __init__(self, host: str) -> None:
        self.host = host

    def __call__(self, method: str, path: str, body: bytes | None = None, /, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.host, timeout=10)
        try:
            connection.request(method, path, body=body, headers={key.replace("_", "-"): value for key, value in headers.items()})
            response = connection.getresponse()
            return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
        finally:
            connection.close()


def error(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    return answer[0], json.loads(answer[2])["errors"][0]["code"]


@pytest.fixture
def client(registry: str) -> Client:
    repository(registry).push_blob(CONFIG)
    return Client(registry)


def test_the_root(client: Client) -> None:
    assert client("GET", "/v2/")[0] == 200
    assert client("GET", "/v2/")[1]["docker-distribution-api-version"] == "registry/2.0"


def test_manifests(client: Client) -> None:
    status, headers, _ = client("PUT", "/v2/acme/web/manifests/1.0", image(), Content_Type=MANIFEST)
    assert (status, headers["docker-content-digest"]) == (201, str(sha256(image())))
    for reference in ("1.0", str(sha256(image()))):
        status, headers, body = client("GET", f"/v2/acme/web/manifests/{reference}")
        assert (status, headers["content-type"], body) == (200, MANIFEST, image())
        status, headers, body = client("HEAD", f"/v2/acme/web/manifests/{reference}")
        assert (status, headers["content-length"], body) == (200, str(len(image())), b"")
    assert client("DELETE", "/v2/acme/web/manifests/1.0")[0] == 202
    assert error(client("GET", "/v2/acme/web/manifests/1.0")) == (404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize(
    "method, path, body, status, code",
    [
        ("GET", "/v2/acme/web/manifests/none", None, 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/nothing/manifests/1.0", None, 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/acme/web/manifests/sha256:abc", None, 400, "DIGEST_INVALID"),
        ("GET", "/v2/acme/web/manifests/.bad", None, 400, "MANIFEST_INVALID"),
        ("PUT", "/v2/acme/web/manifests/x", b"hello", 400, "MANIFEST_INVALID"),
        ("PUT", "/v2/acme/web/manifests/x", image(layers=[{"mediaType": "l", "digest": f"sha256:{'1' * 64}", "size": 1}]), 404, "MANIFEST_BLOB_UNKNOWN"),
        ("PUT", f"/v2/acme/web/manifests/sha256:{'1' * 64}", image(), 400, "DIGEST_INVALID"),
        ("PUT", "/v2/acme/web/manifests/x", b" " * 5_000_000, 413, "SIZE_INVALID"),
        ("DELETE", "/v2/acme/web/manifests/none", None, 404, "MANIFEST_UNKNOWN"),
        ("POST", "/v2/acme/web/manifests/x", b"", 405, "UNSUPPORTED"),
        ("GET", f"/v2/acme/web/blobs/sha256:{'1' * 64}", None, 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/acme/web/blobs/../../../../etc/passwd", None, 404, "UNSUPPORTED"),
        ("GET", "/v2/acme/web/blobs/latest", None, 400, "DIGEST_INVALID"),
        ("DELETE", f"/v2/acme/web/blobs/sha256:{'1' * 64}", None, 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/Acme/manifests/1.0", None, 400, "NAME_INVALID"),
        ("GET", "/v2/a/../b/manifests/1.0", None, 400, "NAME_INVALID"),
        ("GET", "/v2/_layout/manifests/1.0", None, 400, "NAME_INVALID"),
        ("GET", "/v2/acme/web/tags/other", None, 404, "UNSUPPORTED"),
        ("GET", "/v2/nothing/tags/list", None, 404, "NAME_UNKNOWN"),
        ("GET", "/v2/acme/web/tags/list?n=x", None, 400, "UNSUPPORTED"),
        ("GET", "/v2/acme/web/referrers/latest", None, 400, "DIGEST_INVALID"),
        ("PATCH", "/v2/acme/web/blobs/uploads/nothing", b"x", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("PUT", "/v2/acme/web/blobs/uploads/../../x?digest=x", b"x", 404, "UNSUPPORTED"),
        ("GET", "/elsewhere", None, 404, "UNSUPPORTED"),
    ],
)
def test_errors_have_the_specifications_codes(client: Client, method: str, path: str, body: bytes | None, status: int, code: str) -> None:
    client("PUT", "/v2/acme/web/manifests/1.0", image(), Content_Type=MANIFEST)
    assert error(client(method, path, body, Content_Type=MANIFEST)) == (status, code)


def test_uploads_in_every_way(client: Client) -> None:
    digest = sha256(b"0123456789")
    location = client("POST", "/v2/acme/web/blobs/uploads/")[1]["location"]
    assert client("PATCH", location, b"01234", Content_Range="0-4")[1]["range"] == "0-4"
    assert client("PATCH", location, b"x", Content_Range="9-9")[0] == 416
    assert client("GET", location)[1]["range"] == "0-4"
    assert client("PUT", f"{location}?digest={digest}", b"56789")[0] == 201
    assert client("GET", location)[0] == 404
    assert client("POST", f"/v2/acme/web/blobs/uploads/?digest={sha256(b'single')}", b"single")[0] == 201
    assert client("POST", f"/v2/acme/api/blobs/uploads/?mount={digest}&from=acme/web")[0] == 201
    assert client("POST", f"/v2/acme/api/blobs/uploads/?mount={sha256(b'no')}&from=acme/web")[0] == 202
    location = client("POST", "/v2/acme/web/blobs/uploads/")[1]["location"]
    assert error(client("PUT", f"{location}?digest={digest}", b"other")) == (400, "DIGEST_INVALID")
    location = client("POST", "/v2/acme/web/blobs/uploads/")[1]["location"]
    assert client("DELETE", location)[0] == 204
    assert client("GET", f"/v2/acme/api/blobs/{digest}")[2] == b"0123456789"
    assert client("DELETE", f"/v2/acme/api/blobs/{digest}")[0] == 202


@pytest.mark.parametrize("wanted, status, body", [("bytes=2-4", 206, b"234"), ("bytes=8-", 206, b"89"), ("bytes=20-", 416, b""), ("lines=1", 416, b"")])
def test_ranges(client: Client, wanted: str, status: int, body: bytes) -> None:
    digest = repository(client.host).push_blob(b"0123456789")
    answer = client("GET", f"/v2/acme/web/blobs/{digest}", Range=wanted)
    assert (answer[0], answer[2]) == (status, body)
    empty = repository(client.host).push_blob(b"")
    assert client("GET", f"/v2/acme/web/blobs/{empty}")[2] == b""


def test_tags_in_pages(client: Client) -> None:
    for tag in ("a", "b", "c"):
        client("PUT", f"/v2/acme/web/manifests/{tag}", image(tag), Content_Type=MANIFEST)
    _, headers, body = client("GET", "/v2/acme/web/tags/list?n=2")
    assert json.loads(body)["tags"] == ["a", "b"]
    assert headers["link"] == '</v2/acme/web/tags/list?n=2&last=b>; rel="next"'
    assert json.loads(client("GET", "/v2/acme/web/tags/list?n=2&last=b")[2])["tags"] == ["c"]
    assert json.loads(client("GET", "/v2/acme/web/tags/list?n=0")[2])["tags"] == []
    assert repository(client.host).tags() == ("a", "b", "c")


def test_referrers_with_filter_and_pages(client: Client) -> None:
    target = repository(client.host)
    digest = target.push_manifest(image(), MANIFEST, "1")
    subject = Descriptor(media_type=MANIFEST, digest=digest, size=len(image()))
    blob = Descriptor(media_type="application/x", digest=target.push_blob(b"e"), size=1)
    for number in range(103):
        manifest = write_referrer(subject, blob, {"n": str(number)})
        assert client("PUT", f"/v2/acme/web/manifests/{sha256(manifest)}", manifest, Content_Type=MANIFEST)[1]["oci-subject"] == str(digest)
    assert len(target.referrers(digest).descriptors) == 103
    _, headers, body = client("GET", f"/v2/acme/web/referrers/{digest}?artifactType=application/x")
    assert (headers["content-type"], headers["oci-filters-applied"]) == (INDEX, "artifactType")
    assert len(json.loads(body)["manifests"]) == 100
    assert json.loads(client("GET", f"/v2/acme/web/referrers/{digest}?artifactType=other")[2])["manifests"] == []
    assert json.loads(client("GET", f"/v2/never/seen/referrers/{digest}")[2])["manifests"] == []


def test_a_manifest_may_come_before_its_subject(client: Client) -> None:
    target = repository(client.host)
    absent = Descriptor(media_type=MANIFEST, digest=sha256(b"not there"), size=9)
    manifest = write_referrer(absent, Descriptor(media_type="application/x", digest=target.push_blob(b"e"), size=1), {})
    target.attach([manifest], absent)
    assert client("PUT", "/v2/acme/web/manifests/index", write_index((Descriptor(media_type=MANIFEST, digest=sha256(manifest), size=len(manifest)),)))[0] == 201


def test_a_tag_that_moves_is_warned_of(client: Client) -> None:
    for note in ("a", "a", "b"):
        _, headers, _ = client("PUT", "/v2/acme/web/manifests/1.0", image(note), Content_Type=MANIFEST)
    assert headers["warning"] == f'299 - "the tag 1.0 was moved; it named {sha256(image("a"))}"'
    for note in ("a", "b"):
        assert "warning" not in client("PUT", f"/v2/acme/web/manifests/sha256-{'0' * 64}", image(note), Content_Type=MANIFEST)[1]


def test_read_only(tmp_path: Path) -> None:
    store = RegistryStore(tmp_path)
    store.prepare()
    with running(RegistryApp(store, RegistrySettings(read_only=True))) as host:
        assert error(Client(host)("PUT", "/v2/acme/web/manifests/1", image())) == (405, "UNSUPPORTED")


def test_a_client_that_goes_away_leaves_nothing_published(client: Client, tmp_path: Path) -> None:
    location = client("POST", "/v2/acme/web/blobs/uploads/")[1]["location"]
    connection = http.client.HTTPConnection(client.host)
    connection.putrequest("PATCH", location)
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"half")
    connection.close()
    assert client("GET", "/v2/")[0] == 200
    assert not (tmp_path / "registry" / "acme" / "web" / "_layout" / "blobs" / "sha256" / sha256(b"half").hex).exists()


def test_what_a_crash_left_is_swept(tmp_path: Path) -> None:
    store = RegistryStore(tmp_path)
    store.prepare()
    old, new = tmp_path / "_uploads" / "old", tmp_path / "_uploads" / "new"
    for path in (old, new):
        path.touch()
    os.utime(old, (time.time() - 100_000,) * 2)
    store.prepare()
    assert (old.exists(), new.exists()) == (False, True)
    with pytest.raises(ValueError, match="not a repository"):
        store.repository("../x")


def test_many_writers(registry: str, tmp_path: Path) -> None:
    repository(registry).push_blob(CONFIG)
    work = [threading.Thread(target=repository(registry).push_manifest, args=(image(str(n)), MANIFEST, f"t{n}")) for n in range(10)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert len(repository(registry).tags()) == 10
    assert list(RegistryStore(tmp_path / "registry").repositories()) == ["acme/web"]
