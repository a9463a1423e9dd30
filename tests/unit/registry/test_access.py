"""Who may do what in the embedded registry; tags that stay; a disk that is full."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import pytest

from tests.support.cli import run
from tests.unit.registry.test_registry import CONFIG, Client, error, image
from verifier.model.digest import Digest, sha256
from verifier.model.errors import MisuseError
from verifier.oci.layout import ImageLayout
from verifier.oci.manifest import MANIFEST
from verifier.registry.access import Gatekeeper
from verifier.registry.app import RegistryApp
from verifier.registry.guard import RegistrySettings
from verifier.registry.running import running
from verifier.registry.store import RegistryStore

TOKEN = "canary-b7f3-secret-of-the-robot"
ACCESS = """\
apiVersion: verifier/v1
kind: RegistryAccess
htpasswd: htpasswd
tokens: [{name: robot, sha256: %s}]
rules:
  - {who: [ann], repositories: ["**"], rights: [pull, push, delete]}
  - {who: [robot], repositories: ["charts/*"], rights: [push]}
  - {who: ["*"], repositories: ["charts/**"], rights: [pull]}
  - {who: [anonymous], repositories: ["public/**"], rights: [pull]}
"""


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


ANN, BOB, ROBOT = basic("ann", "anns"), basic("bob", "bobs"), basic("robot", TOKEN)


def written(directory: Path, text: str = "") -> Path:
    users = {"ann": "anns", "bob": "bobs"}
    lines = [f"{name}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}" for name, password in users.items()]
    (directory / "htpasswd").write_text("# users\n\n" + "\n".join(lines) + "\n")
    (directory / "access.yaml").write_text(text or ACCESS % hashlib.sha256(TOKEN.encode()).hexdigest())
    return directory / "access.yaml"


@contextmanager
def serving(directory: Path, **settings: object) -> Iterator[Client]:
    store = RegistryStore(directory / "data")
    store.prepare()
    with running(RegistryApp(store, RegistrySettings(**settings))) as host:  # type: ignore[arg-type]
        yield Client(host)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Client]:
    with serving(tmp_path, gatekeeper=Gatekeeper(written(tmp_path))) as client:
        for name in ("charts/web", "charts/deep/api", "public/web"):
            assert client("POST", f"/v2/{name}/blobs/uploads/?digest={sha256(CONFIG)}", CONFIG, Authorization=ANN)[0] == 201
            assert client("PUT", f"/v2/{name}/manifests/1.0", image(), Content_Type=MANIFEST, Authorization=ANN)[0] == 201
        yield client


@pytest.mark.parametrize(
    "who, method, path, expected",
    [
        ("", "GET", "/v2/", 401),
        (ANN, "GET", "/v2/", 200),
        (ROBOT, "GET", "/v2/", 200),
        (f"Bearer {TOKEN}", "GET", "/v2/", 200),
        ("Bearer wrong", "GET", "/v2/", 401),
        (basic("ann", "wrong"), "GET", "/v2/", 401),
        (basic("nobody", "x"), "GET", "/v2/", 401),
        (basic("robot", "wrong"), "GET", "/v2/", 401),
        (basic("ann", TOKEN), "GET", "/v2/", 401),
        ("Basic !!", "GET", "/v2/", 401),
        ("Basic " + base64.b64encode(b"nocolon").decode(), "GET", "/v2/", 401),
        ("Digest x", "GET", "/v2/", 401),
        ("", "GET", "/v2/public/web/manifests/1.0", 200),
        (BOB, "GET", "/v2/public/web/manifests/1.0", 200),
        ("", "GET", "/v2/charts/web/manifests/1.0", 401),
        (BOB, "GET", "/v2/charts/web/manifests/1.0", 200),
        (BOB, "GET", "/v2/charts/deep/api/tags/list", 200),
        (BOB, "GET", "/v2/other/web/manifests/1.0", 403),
        (BOB, "GET", "/v2/other/never/manifests/1.0", 403),
        (BOB, "PUT", "/v2/charts/web/manifests/2.0", 403),
        (BOB, "POST", "/v2/charts/web/blobs/uploads/", 403),
        (ROBOT, "POST", "/v2/charts/web/blobs/uploads/", 202),
        (ROBOT, "POST", "/v2/charts/deep/api/blobs/uploads/", 403),
        (ROBOT, "DELETE", "/v2/charts/web/manifests/1.0", 403),
        (ROBOT, "GET", "/v2/charts/web/referrers/sha256:" + "0" * 64, 200),
        ("", "DELETE", "/v2/public/web/manifests/1.0", 401),
        (ANN, "DELETE", "/v2/public/web/manifests/1.0", 202),
        ("", "GET", "/v2/_catalog", 200),
    ],
)
def test_rights(guarded: Client, who: str, method: str, path: str, expected: int) -> None:
    headers = {"Authorization": who} if who else {}
    body = image() if method == "PUT" else b""
    status, said, _ = guarded(method, path, body, **{"Content_Type": MANIFEST, **headers})
    assert status == expected
    assert (status == 401) is ("www-authenticate" in said)


def test_only_what_may_be_pulled_is_listed(guarded: Client) -> None:
    def seen(**headers: str) -> list[str]:
        return list(json.loads(guarded("GET", "/v2/_catalog", **headers)[2])["repositories"])

    assert seen() == ["public/web"]
    assert seen(Authorization=BOB) == ["charts/deep/api", "charts/web", "public/web"]


def test_a_mount_takes_the_right_to_pull_from_there(guarded: Client) -> None:
    query = f"?mount={sha256(CONFIG)}&from="
    assert guarded("POST", f"/v2/charts/new/blobs/uploads/{query}charts/deep/api", Authorization=ROBOT)[0] == 201
    assert error(guarded("POST", f"/v2/charts/new/blobs/uploads/{query}other/web", Authorization=ROBOT)) == (403, "DENIED")


def test_whether_a_repository_is_there_is_not_told(guarded: Client) -> None:
    there, not_there = (guarded("GET", f"/v2/{name}/manifests/1.0", Authorization=BOB) for name in ("other/web", "other/never"))
    assert there[0] == not_there[0] == 403
    assert there[2] == not_there[2]


def test_the_files_are_followed_and_a_broken_one_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("verifier.registry.access._LOOK_SECONDS", 0.0)
    path = written(tmp_path)
    gatekeeper = Gatekeeper(path)
    assert gatekeeper.identify(ANN) == "ann"
    path.write_text("nonsense: [")
    assert gatekeeper.identify(ANN) == "ann"
    assert gatekeeper.identify(ANN) == "ann"
    assert capsys.readouterr().err.count("the old one stays") == 1
    (tmp_path / "htpasswd").write_text("")
    path.write_text(ACCESS % ("0" * 64))
    assert gatekeeper.identify(ANN) is None, "who is taken out is out, also who was right a moment ago"
    assert gatekeeper.identify(ROBOT) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "apiVersion: verifier/v1\nkind: Other\nrules: []\n",
        "apiVersion: verifier/v1\nkind: RegistryAccess\n",
        "apiVersion: verifier/v1\nkind: RegistryAccess\nrules: [{who: [a], repositories: [b], rights: [admin]}]\n",
        "apiVersion: verifier/v1\nkind: RegistryAccess\nrules: [{who: [a], repositories: [b]}]\n",
        "apiVersion: verifier/v1\nkind: RegistryAccess\nrules: []\ntokens: [{name: a, sha256: abc}]\n",
        "apiVersion: verifier/v1\nkind: RegistryAccess\nrules: []\nhtpasswd: missing\n",
        "apiVersion: verifier/v1\nkind: RegistryAccess\nrules: []\nhtpasswd: broken\n",
        "apiVersion: verifier/v1\nkind: RegistryAccess\nrules: []\nhtpasswd: anonymous\n",
        "apiVersion: verifier/v1\nkind: RegistryAccess\nrules: []\nhtpasswd: htpasswd\ntokens: [{name: ann, sha256: %s}]\n" % ("0" * 64),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(text: str, tmp_path: Path) -> None:
    path = written(tmp_path, text or "x")
    (tmp_path / "broken").write_text("ann:{SHA}plain\n")
    (tmp_path / "anonymous").write_text(f"anonymous:{bcrypt.hashpw(b'x', bcrypt.gensalt(4)).decode()}\n")
    with pytest.raises(MisuseError) as caught:
        Gatekeeper(path)
    assert caught.value.code.name == "config-invalid"
    assert run("registry", "serve", "--root", str(tmp_path / "d"), "--access", str(path)).status == 2


def test_a_password_that_was_right_is_not_worked_out_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gatekeeper, worked = Gatekeeper(written(tmp_path)), []
    real = bcrypt.checkpw

    def counted(password: bytes, stored: bytes) -> bool:
        worked.append(1)
        return real(password, stored)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    for _ in range(3):
        assert gatekeeper.identify(ANN) == "ann"
    assert len(worked) == 1
    for _ in range(2):
        assert gatekeeper.identify(basic("ann", "wrong")) is None
    assert len(worked) == 3


def test_our_own_client_logs_in(guarded: Client, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"auths": {guarded.host: {"auth": ANN.removeprefix("Basic ")}}}))
    ran = run("registry", "check", f"{guarded.host}/charts/web", "--write", "--registry-config", str(config))
    assert ran.status == 0, ran.text
    assert "login       as 'ann'" in ran.out
    assert "what was written is gone" in ran.out


# Tags that stay


def test_immutable_tags(tmp_path: Path) -> None:
    with serving(tmp_path, immutable=("charts/**",)) as client:
        for name in ("charts/web", "other"):
            client("POST", f"/v2/{name}/blobs/uploads/?digest={sha256(CONFIG)}", CONFIG)
            assert client("PUT", f"/v2/{name}/manifests/1.0", image("a"), Content_Type=MANIFEST)[0] == 201
            assert client("PUT", f"/v2/{name}/manifests/1.0", image("a"), Content_Type=MANIFEST)[0] == 201, "the same again is no move"
        assert error(client("PUT", "/v2/charts/web/manifests/1.0", image("b"), Content_Type=MANIFEST)) == (400, "TAG_INVALID")
        assert error(client("DELETE", "/v2/charts/web/manifests/1.0")) == (400, "TAG_INVALID")
        assert error(client("DELETE", f"/v2/charts/web/manifests/{sha256(image('a'))}")) == (400, "TAG_INVALID")
        assert client("GET", "/v2/charts/web/manifests/1.0")[2] == image("a")
        assert client("PUT", "/v2/other/manifests/1.0", image("b"), Content_Type=MANIFEST)[0] == 201
        for note in ("c", "d"):
            assert client("PUT", f"/v2/charts/web/manifests/sha256-{'0' * 64}", image(note), Content_Type=MANIFEST)[0] == 201, "lists of evidence must move"
        checked = run("registry", "check", f"{client.host}/charts/web", "--write")
        assert "ok       tags        are kept as they are" in checked.out


def test_of_many_who_write_an_immutable_tag_one_wins(tmp_path: Path) -> None:
    with serving(tmp_path, immutable=("**",)) as client:
        client("POST", f"/v2/web/blobs/uploads/?digest={sha256(CONFIG)}", CONFIG)
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda note=str(number): statuses.append(client("PUT", "/v2/web/manifests/1.0", image(note), Content_Type=MANIFEST)[0]))
            for number in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [201, *[400] * 11]


# Digests of another algorithm; a disk that is full


def test_sha512(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        blob = Digest("sha512", hashlib.sha512(CONFIG).hexdigest())
        location = client("POST", "/v2/web/blobs/uploads/?digest-algorithm=sha512")[1]["location"]
        assert client("PUT", f"{location}?digest={blob}", CONFIG)[0] == 201
        data = json.dumps({"schemaVersion": 2, "config": {"mediaType": "c", "digest": str(blob), "size": 2}, "layers": []}).encode()
        digest = Digest("sha512", hashlib.sha512(data).hexdigest())
        assert client("PUT", f"/v2/web/manifests/{digest}", data, Content_Type=MANIFEST)[1]["docker-content-digest"] == str(digest)
        assert client("GET", f"/v2/web/manifests/{digest}")[2] == data
        assert client("GET", f"/v2/web/blobs/{blob}")[2] == CONFIG
        subject = json.dumps({**json.loads(data), "subject": {"mediaType": MANIFEST, "digest": str(digest), "size": len(data)}}).encode()
        assert client("PUT", f"/v2/web/manifests/{sha256(subject)}", subject, Content_Type=MANIFEST)[1]["oci-subject"] == str(digest)
        assert len(json.loads(client("GET", f"/v2/web/referrers/{digest}")[2])["manifests"]) == 1
        assert error(client("PUT", f"/v2/web/manifests/sha512:{'0' * 128}", data, Content_Type=MANIFEST)) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("number, status", [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EIO, 500)])
def test_a_disk_that_takes_no_more_is_an_answer(number: int, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path) as client:
        client("POST", f"/v2/web/blobs/uploads/?digest={sha256(CONFIG)}", CONFIG)

        def full(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr("verifier.oci.layout.replace_file", full)
            patch.setattr("verifier.registry.store.os.fsync", full)
            answer = client("PUT", "/v2/web/manifests/1.0", image(), Content_Type=MANIFEST)
            assert answer[0] == status
            assert str(tmp_path) not in answer[2].decode()
            assert client("POST", f"/v2/web/blobs/uploads/?digest={sha256(b'x')}", b"x")[0] == status
        assert client("GET", "/v2/web/manifests/1.0")[0] == 404
        assert client("GET", f"/v2/web/blobs/{sha256(b'x')}")[0] == 404
        assert client("PUT", "/v2/web/manifests/1.0", image(), Content_Type=MANIFEST)[0] == 201, "when there is room again, it goes on"


def test_an_upload_goes_on_after_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        location = client("POST", "/v2/web/blobs/uploads/")[1]["location"]
        assert client("PATCH", location, b"01234", Content_Range="0-4")[0] == 202
    with serving(tmp_path) as client:
        assert client("GET", location)[1]["range"] == "0-4"
        assert client("PATCH", location, b"x", Content_Range="3-3")[0] == 416
        assert client("PUT", f"{location}?digest={sha256(b'0123456789')}", b"56789")[0] == 201
        assert ImageLayout(tmp_path / "data" / "web" / "_layout").blob_path(sha256(b"0123456789")).read_bytes() == b"0123456789"
