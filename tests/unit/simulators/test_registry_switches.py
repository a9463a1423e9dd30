"""Each quirk of a simulated registry changes what is answered: one that did nothing would let a test pass that shows nothing."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Callable
from dataclasses import fields
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import pytest

from tests.simulators.registry import INDEX, MANIFEST, SimulatedRegistry, Switches, simulated
from tests.simulators.registry.switches import SOURCES, Quirks

NAME = "acme/web"
ME = "Basic " + base64.b64encode(b"me:secret").decode()


class Said(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)


class Talk:
    """Raw HTTP with one registry that holds a chart, a referrer of it, and three versions."""

    def __init__(self, registry: SimulatedRegistry) -> None:
        self.registry = registry
        self.blob = registry.put_blob(b"blob")
        self.manifest = json.dumps({"schemaVersion": 2, "config": {"mediaType": "c"}, "layers": []}).encode()
        for tag in ("1", "2", "3"):
            self.digest = registry.put(NAME, self.manifest, tag)
        for number in range(3):
            self.referrer = self.referring(self.digest, number)
            registry.put(NAME, self.referrer)

    @staticmethod
    def referring(subject: str, number: int = 0) -> bytes:
        value = {"artifactType": f"t{number}", "config": {"mediaType": "c"}, "layers": [], "subject": {"digest": subject}}
        return json.dumps(value).encode()

    def __call__(self, method: str, path: str, body: bytes = b"", /, **headers: str) -> Said:
        connection = http.client.HTTPConnection(self.registry.host, timeout=10)
        written = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path if path.startswith("/") else f"/v2/{NAME}/{path}", body, written)
        response = connection.getresponse()
        said = Said(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        connection.close()
        return said

    def get(self, path: str, **headers: str) -> Said:
        return self("GET", path, **headers)

    def token(self, method: str = "GET", scope: str = f"repository:{NAME}:pull", **form: str) -> Said:
        query = "&".join([f"scope={one.replace(':', '%3A')}" for one in scope.split()] + [f"{key}={value}" for key, value in form.items()])
        authorization = {} if form else {"Authorization": ME}
        return self("GET", f"/token?{query}", **authorization) if method == "GET" else self("POST", "/token", query.encode(), **authorization)

    def exchange(self, token: str) -> bytes:
        return self("POST", "/oauth2/exchange", f"grant_type=access_token&service={self.registry.host}&access_token={token}".encode()).body

    def with_token(self, scope: str, path: str = "manifests/1") -> Said:
        found = self.token(scope=scope).value
        return self.get(path, Authorization=f"Bearer {found.get('token')}")


BEARER: dict[str, Any] = {"bearer": ("me", "secret")}
PUSHED = b'{"schemaVersion": 2, "config": {"mediaType": "c"}, "layers": [], "annotations": {"a": "b"}}'
# The quirk -> what is on beside it, its value, and what is then seen; the same without the quirk must be seen otherwise.
SEEN: dict[str, tuple[dict[str, Any], Any, Callable[[Talk], Any], Any]] = {
    "referrers": ({}, False, lambda ask: ask.get(f"referrers/{ask.digest}").status, 404),
    "referrers_html": ({}, True, lambda ask: ask.get(f"referrers/{ask.digest}").headers["content-type"], "text/html; charset=utf-8"),
    "referrers_login": ({}, "https://login.test", lambda ask: ask.get(f"referrers/{ask.digest}").headers.get("location"), "https://login.test"),
    "oci_subject": ({}, "missing", lambda ask: "oci-subject" in ask("PUT", "manifests/x", ask.referrer).headers, False),
    "referrers_page": ({}, 2, lambda ask: len(ask.get(f"referrers/{ask.digest}").value["manifests"]), 2),
    "referrers_links": ({"referrers_page": 2}, "harbor", lambda ask: ask.get(f"referrers/{ask.digest}").headers.get("x-total-count"), "3"),
    "filters": ({}, False, lambda ask: len(ask.get(f"referrers/{ask.digest}?artifactType=t1").value["manifests"]), 3),
    "wrong_artifact_type": ({}, True, lambda ask: ask.get(f"referrers/{ask.digest}").value["manifests"][0]["artifactType"], "c"),
    "alias_tags": ({}, True, lambda ask: ask.get(f"manifests/{ask.digest.replace(':', '-')}").status, 200),
    "subject_must_exist": ({}, True, lambda ask: ask("PUT", "manifests/x", ask.referring("sha256:" + "0" * 64)).status, 404),
    "immutable": ({}, ".*", lambda ask: ask("PUT", "manifests/1", PUSHED).status, 400),
    "immutable_but": ({"immutable": ".*"}, "1", lambda ask: ask("PUT", "manifests/1", PUSHED).status, 201),
    "immutable_status": ({"immutable": ".*"}, 412, lambda ask: ask("PUT", "manifests/1", PUSHED).status, 412),
    "immutable_code": ({"immutable": ".*"}, "PRECONDITION", lambda ask: ask("PUT", "manifests/1", PUSHED).value["errors"][0]["code"], "PRECONDITION"),
    "accept_needed": ({}, True, lambda ask: [ask.get("manifests/1").status, ask.get("manifests/1", Accept=f"{INDEX}, {MANIFEST}").status], [404, 200]),
    "digest_header": ({}, False, lambda ask: ask.get("manifests/1").headers.get("docker-content-digest"), None),
    "platform_needed": ({}, True, lambda ask: ask("PUT", "manifests/x", b'{"manifests": [{"digest": "d"}]}').status, 400),
    "repositories": ({}, ("other",), lambda ask: ask("PUT", "manifests/x", PUSHED).value["errors"][0]["code"] if ask("PUT", "manifests/x", PUSHED).body else "", "NAME_UNKNOWN"),
    "tags_sorted": ({}, False, lambda ask: ask.get("tags/list").value["tags"] == ["1", "2", "3"], False),
    "tags_ignore_n": ({}, True, lambda ask: ask.get("tags/list?n=1").value["tags"], ["1", "2", "3"]),
    "tags_page": ({}, 2, lambda ask: ask.get("tags/list").headers.get("link"), f'</v2/{NAME}/tags/list?last=2&n=2>; rel="next"'),
    "delete": ({}, False, lambda ask: ask("DELETE", f"manifests/{ask.digest}").status, 405),
    "delete_tags": ({}, False, lambda ask: ask("DELETE", "manifests/1").status, 400),
    "catalog": ({}, False, lambda ask: ask.get("/v2/_catalog").status, 404),
    "blob_store": ({}, "https://blobs.test", lambda ask: ask.get(f"blobs/{ask.blob}").status, 307),
    "upload_absolute": ({}, True, lambda ask: ask("POST", "blobs/uploads/").headers["location"].startswith("http://"), True),
    "upload_elsewhere": ({}, "uploads-here", lambda ask: ask("POST", "blobs/uploads/").headers["location"].startswith("/uploads-here/"), True),
    "mount": ({}, False, lambda ask: ask("POST", f"blobs/uploads/?mount={ask.blob}&from=x").status, 202),
    "basic": ({}, ("me", "secret"), lambda ask: [ask.get("/v2/").status, ask.get("/v2/", Authorization=ME).status], [401, 200]),
    "ended_says_403": ({"basic": ("me", "new")}, True, lambda ask: ask.get("/v2/", Authorization=ME).status, 403),
    "bearer": ({}, ("me", "secret"), lambda ask: ask.get("manifests/1").headers.get("www-authenticate", "").startswith("Bearer "), True),
    "anonymous_pull": (BEARER, True, lambda ask: ask.get("/token?scope=repository:a:pull").status, 200),
    "rights": (BEARER, {"me": ("push",)}, lambda ask: ask.with_token(f"repository:{NAME}:pull").headers.get("www-authenticate", "")[-20:], '"insufficient_scope"'[-20:]),
    "refresh_token": (BEARER, "fresh", lambda ask: ask.token("POST", refresh_token="fresh").status, 200),
    "aad_token": ({"refresh_token": "fresh"}, "aad", lambda ask: ask.exchange("aad"), b'{"refresh_token": "fresh"}'),
    "token_methods": (BEARER, ("GET",), lambda ask: ask.token("POST", refresh_token="secret").status, 405),
    "token_name": (BEARER, "access_token", lambda ask: "access_token" in ask.token().value, True),
    "first_scope_only": (BEARER, True, lambda ask: ask.with_token(f"repository:other:pull repository:{NAME}:pull").status, 401),
    "token_life": (BEARER, 0, lambda ask: ask.with_token(f"repository:{NAME}:pull").status, 401),
    "negotiate": (BEARER, True, lambda ask: ask.get("/v2/").headers["www-authenticate"].startswith("Negotiate, "), True),
    "realm": (BEARER, "https://auth.test/token", lambda ask: "https://auth.test/token" in ask.get("/v2/").headers["www-authenticate"], True),
    "cookies": ({}, True, lambda ask: [ask.get("/v2/", Cookie="a=b").status, "set-cookie" in ask.get("/v2/").headers], [403, True]),
    "too_many": ({}, 1, lambda ask: [ask.get("/v2/").status, ask.get("/v2/").status], [429, 200]),
    "clock": ({}, 7200.0, lambda ask: _ahead(ask), True),
    "warning": ({}, "old", lambda ask: ask.get("/v2/").headers.get("warning"), '299 - "old"'),
}  # fmt: skip


def _ahead(ask: Talk) -> bool:
    from datetime import UTC, datetime

    return (parsedate_to_datetime(ask.get("/v2/").headers["date"]) - datetime.now(UTC)).total_seconds() > 3600


def seen(switches: Switches, look: Callable[[Talk], Any]) -> Any:
    with simulated(switches) as registry:
        return look(Talk(registry))


@pytest.mark.parametrize("name", [field.name for field in fields(Quirks)])
def test_a_quirk_is_seen_and_not_without_it(name: str) -> None:
    beside, setting, look, expected = SEEN[name]
    assert seen(Switches(**beside, **{name: setting}), look) == expected
    assert seen(Switches(**beside), look) != expected


def test_every_quirk_has_a_source() -> None:
    assert set(SOURCES) == {field.name for field in fields(Quirks)} == set(SEEN)


def test_a_subject_that_is_said_to_be_taken_by_a_registry_without_the_api() -> None:
    with simulated(Switches(referrers=False, oci_subject="lying")) as registry:
        ask = Talk(registry)
        assert "oci-subject" in ask("PUT", "manifests/x", ask.referrer).headers
        assert ask.get(f"referrers/{ask.digest}").status == 404


def test_pages_with_absolute_links() -> None:
    with simulated(Switches(referrers_page=2, referrers_links="absolute")) as registry:
        ask = Talk(registry)
        assert ask.get(f"referrers/{ask.digest}").headers["link"].startswith(f"<http://{registry.host}/v2/{NAME}/referrers/")
