"""Decisions are kept before anybody hears them, and read by who may (semantics 35)."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.admission import FILES
from tests.support.charts import archive
from tests.support.postgres import PASSWORD, postgres
from tests.support.reviews import oci_repository, packed, record, release_value, review
from tests.support.signers import pair
from tests.support.webhook import Server, Webhook
from tests.support.world import connect, key_policy, publish, sign
from verifier.operations.policies import LoadedPolicy
from verifier.server.callers import Caller, Callers
from verifier.server.service import Surroundings
from verifier.store.decisions import open_store


@contextmanager
def serving(loaded: LoadedPolicy, path: Path | str, callers: Callers | None = None) -> Iterator[Webhook]:
    server = Server(loaded=loaded, callers=callers or Callers(), cluster=None, around=Surroundings(store=open_store(path)))
    with server.running() as webhook:
        yield webhook


def read(webhook: Webhook, path: str) -> tuple[int, Any]:
    status, _, data = webhook("GET", path)
    return status, json.loads(data)


def release(registry: str, by: str | None = "ci") -> tuple[str, bytes]:
    connections = connect()
    data = archive("web", "1.4.2", FILES)
    digest = publish(connections, registry, data)
    if by is not None:
        sign(connections, registry, digest, pair(by))
    return str(digest), data


def test_every_answer_is_kept_whole(registry: str, tmp_path: Path) -> None:
    digest, _ = release(registry)
    with serving(key_policy(registry, pair()), tmp_path / "d.db") as webhook:
        _, allowed = webhook.verify(f"oci://{registry}/acme/web:1.4.2")
        _, missing = webhook.verify(f"oci://{registry}/acme/none:1.0.0")
        _, unknown = webhook.verify("oci://elsewhere.test/x:1.0.0")
        denied = webhook.ask(review(oci_repository(f"oci://{registry}/acme/web", tag="9.9.9")))
        for given in (allowed, missing, unknown):
            assert read(webhook, f"/v1/decisions/{given['id']}") == (200, given)
        assert read(webhook, f"/v1/decisions/{denied['auditAnnotations']['decisions']}")[1]["context"]["source"] == "admission"
        _, listed = read(webhook, "/v1/decisions")
        assert [item["outcome"] for item in listed["items"]] == ["inconclusive", "denied", "inconclusive", "allowed"]
        assert [item["id"] for item in read(webhook, f"/v1/decisions?digest={digest}&outcome=allowed")[1]["items"]] == [allowed["id"]]
        assert [item["namespace"] for item in read(webhook, "/v1/decisions?namespace=apps")[1]["items"]] == ["apps"]
        last = listed["items"][1]["time"].replace("+", "%2B")
        assert len(read(webhook, f"/v1/decisions?before={last}")[1]["items"]) == 2
        webhook.verify(f"oci://{registry}/acme/web:1.4.2")
        assert len(read(webhook, "/v1/decisions")[1]["items"]) == 4, "an answer from the cache is the same decision"
        assert read(webhook, "/v1/decisions/none")[0] == 503
        for query in ("limit=0", "limit=9999", "since=yesterday", "outcome=" + "x" * 600):
            assert read(webhook, f"/v1/decisions?{query}")[0] == 422


def test_what_cannot_be_kept_is_not_allowed(registry: str, tmp_path: Path) -> None:
    digest, _ = release(registry)
    with serving(key_policy(registry, pair()), tmp_path / "d.db") as webhook:
        with sqlite3.connect(tmp_path / "d.db") as connection:
            connection.execute("DROP TABLE decisions")
        status, answered = webhook.verify(f"oci://{registry}/acme/web@{digest}")
        assert (status, answered["title"]) == (503, "not-recorded")
        denied = webhook.ask(review(oci_repository(f"oci://{registry}/acme/web", digest=digest)))
        assert (denied["allowed"], denied["auditAnnotations"]["codes"]) == (False, "not-recorded")
        assert webhook.verify(f"oci://{registry}/acme/web@{digest}")[0] == 503, "nor is it answered from the cache"


def test_who_may_read(registry: str, tmp_path: Path) -> None:
    tokens = {role: hashlib.sha256(role.encode()).hexdigest() for role in ("verify", "decisions", "admission")}
    callers = Callers(tuple(Caller(name=role, token_sha256=digest, roles=frozenset((role,))) for role, digest in tokens.items()))
    with serving(key_policy(registry, pair()), tmp_path / "d.db", callers) as webhook:
        for path, method, role in (
            ("/v1/decisions", "GET", "decisions"),
            ("/v1/decisions/x", "GET", "decisions"),
            ("/admission/validate", "POST", "admission"),
            ("/v1/verify", "POST", "verify"),
        ):
            body = json.dumps({"reference": "oci://elsewhere.test/x:1.0.0"}).encode() if role == "verify" else b"{}"
            statuses = {
                token: webhook(method, path, body if method == "POST" else b"", Authorization=f"Bearer {token}", Content_Type="application/json")[0]
                for token in tokens
            }
            assert {token for token, status in statuses.items() if status != 401} == {role}
        assert webhook("GET", "/v1/decisions")[0] == 401


def test_a_release_is_recognised_by_what_was_verified_before(registry: str, tmp_path: Path) -> None:
    digest, data = release(registry)
    asked = review(record(packed(release_value(data))))
    with serving(key_policy(registry, pair()), tmp_path / "d.db") as webhook:
        unknown = webhook.ask(asked)
        assert (unknown["allowed"], unknown["auditAnnotations"]["codes"]) == (False, "no-source")
        assert webhook.verify(f"oci://{registry}/acme/web:1.4.2")[0] == 200
        known = webhook.ask(asked)
        assert (known["allowed"], digest in known["auditAnnotations"]["charts"]) == (True, True)
        other = release_value(data)
        other["chart"]["templates"] = []
        assert webhook.ask(review(record(packed(other))))["auditAnnotations"]["codes"] == "no-source"
    denied = key_policy(registry, pair(), extra=f"deny: [{{digest: '{digest}'}}]\n")
    with serving(denied, tmp_path / "d.db") as webhook:
        assert webhook.ask(asked)["auditAnnotations"]["codes"] == "deny-listed", "it is decided on anew, under the policy of now"


def test_two_servers_share_a_database(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one has decided the other tells, and what one has verified the other recognises."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    digest, data = release(registry)
    loaded = key_policy(registry, pair())
    asked = review(record(packed(release_value(data))))
    with postgres() as database:
        where = database.database("shared")
        with serving(loaded, where) as one, serving(loaded, where) as two:
            assert one.ask(asked)["auditAnnotations"]["codes"] == two.ask(asked)["auditAnnotations"]["codes"] == "no-source"
            _, decision = one.verify(f"oci://{registry}/acme/web@{digest}")
            assert read(two, f"/v1/decisions/{decision['id']}") == (200, decision)
            assert two.ask(asked)["allowed"]
            database.stop("immediate")
            status, problem = two.verify(f"oci://{registry}/acme/web:1.4.2")
            assert (status, problem["title"]) == (503, "not-recorded")
            denied = two.ask(review(oci_repository(f"oci://{registry}/acme/web", tag="1.4.2"), namespace="elsewhere"))
            assert (denied["allowed"], denied["auditAnnotations"]["codes"]) == (False, "not-recorded")


@pytest.mark.parametrize("roles", ["[admin]", "[]", "x"])
def test_roles_that_are_none(tmp_path: Path, roles: str) -> None:
    from verifier.model.errors import MisuseError
    from verifier.server.callers import load_callers

    (tmp_path / "callers.yaml").write_text(f"apiVersion: verifier/v1\nkind: Callers\ncallers: [{{name: a, sha256: '{'0' * 64}', roles: {roles}}}]\n")
    with pytest.raises(MisuseError) as refused:
        load_callers(tmp_path / "callers.yaml")
    assert refused.value.code.name == "config-invalid"
