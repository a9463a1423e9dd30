"""What the server tells in its log, to whom it says "not so often", and what a dry run leaves behind (threats T-23)."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import CANARY
from tests.support.reviews import oci_repository, review
from tests.support.signers import pair
from tests.support.webhook import Server, Webhook
from tests.support.world import key_policy
from tests.unit.server.test_admission import release
from verifier.operations.policies import LoadedPolicy
from verifier.registry.running import running
from verifier.server.log import Log
from verifier.server.rate import RateLimit
from verifier.server.service import Surroundings
from verifier.store.decisions import open_store
from verifier.store.rows import Query


class Told:
    """A server with a log and a store; the lines that it told."""

    def __init__(self, loaded: LoadedPolicy, path: Path, rate: float = 0.0) -> None:
        self.stream = io.StringIO()
        self.path = path
        around = Surroundings(store=open_store(path), log=Log(stream=self.stream))
        self.app = Server(loaded=loaded, cluster=None, around=around, rate=rate).app()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def kept(self) -> int:
        store = open_store(self.path)
        try:
            return len(store.find(Query()))
        finally:
            store.close()


def ask(webhook: Webhook, reference: str) -> int:
    return webhook("POST", "/v1/verify", json.dumps({"reference": reference}).encode(), Content_Type="application/json", Authorization=f"Bearer {CANARY}")[0]


def test_every_answer_is_a_line_and_no_secret_is_in_it(registry: str, tmp_path: Path) -> None:
    digest = release(registry)
    told = Told(key_policy(registry, pair()), tmp_path / "d.db")
    with running(told.app) as host:
        webhook = Webhook(host)
        assert ask(webhook, f"oci://{registry}/acme/web@{digest}") == 200
        webhook("POST", "/v1/verify", b"{", Content_Type="application/json")
        asked = review(oci_repository(f"oci://user:{CANARY}@evil.test/web", tag="1.4.2"))
        asked["request"]["object"]["metadata"]["name"] = asked["request"]["name"] = "a\nb\x1b[31m" + "x" * 5000
        answered = webhook.ask(asked)
        helm = review(
            {
                **oci_repository("x"),
                "spec": {"url": f"https://u:{CANARY}@h.test/x", "ref": {"tag": "1"}, "layerSelector": asked["request"]["object"]["spec"]["layerSelector"]},
            }
        )
        second = webhook.ask(helm)
    decision, refused, admission, other = told.lines
    assert (decision["event"], decision["outcome"], decision["caller"], len(decision["decision"])) == ("decision", "allowed", "anyone", 36)
    assert (refused["event"], refused["status"], refused["code"]) == ("refused", 422, "usage")
    assert (admission["event"], admission["outcome"], admission["user"], admission["operation"]) == ("admission", "denied", "alice", "CREATE")
    assert len(admission["object"]) <= 2_000
    assert other["codes"] == ["chart-unverifiable"]
    everything = told.stream.getvalue() + str(answered) + str(second)
    assert CANARY not in everything
    assert "\x1b" not in told.stream.getvalue()
    assert len(told.stream.getvalue().splitlines()) == 4, "a name with a line break makes no line"


def test_a_dry_run_is_judged_and_kept_nowhere(registry: str, tmp_path: Path) -> None:
    digest = release(registry)
    told = Told(key_policy(registry, pair()), tmp_path / "d.db")
    asked = oci_repository(f"oci://{registry}/acme/web", digest=digest)
    with running(told.app) as host:
        webhook = Webhook(host)
        assert webhook.ask(review(asked, dryRun=True))["allowed"]
        assert told.kept() == 0
        assert webhook.ask(review(asked))["allowed"]
        assert told.kept() == 1, "what a dry run had found out does not stand for an answer that must be kept"
        assert not webhook.ask(review(oci_repository(f"oci://{registry}/acme/none", tag="1.0.0"), dryRun=True))["allowed"]
        assert told.kept() == 1


def test_a_caller_that_asks_too_often(registry: str, tmp_path: Path) -> None:
    told = Told(key_policy(registry, pair()), tmp_path / "d.db", rate=0.2)
    with running(told.app) as host:
        webhook = Webhook(host)
        statuses = [ask(webhook, "oci://elsewhere.test/x:1.0.0") for _ in range(4)]
        status, headers, data = webhook("POST", "/v1/verify", b'{"reference": "oci://elsewhere.test/x:1.0.0"}', Content_Type="application/json")
        assert webhook.ask(review(oci_repository("oci://elsewhere.test/x", tag="1.0.0")))["allowed"] is False, "the API server is not limited"
    assert statuses == [403, 403, 429, 429]
    assert (status, json.loads(data)["title"], int(headers["retry-after"]) >= 1) == (429, "too-many", True)


def test_buckets_fill_steadily_and_are_apart() -> None:
    now = [0.0]
    limit = RateLimit(2.0, lambda: now[0])
    assert [limit.wait("a") == 0.0 for _ in range(21)] == [True] * 20 + [False]
    assert limit.wait("b") == 0.0
    assert limit.wait("a") == pytest.approx(0.5)
    now[0] = 0.5
    assert (limit.wait("a"), limit.wait("a") > 0) == (0.0, True)
    now[0] = 1000.0
    assert [limit.wait("a") == 0.0 for _ in range(21)] == [True] * 20 + [False]
    assert [RateLimit(0.0).wait("a") for _ in range(100)] == [0.0] * 100


def test_callers_without_number_do_not_fill_the_memory() -> None:
    limit = RateLimit(1.0)
    for number in range(12_000):
        limit.wait(str(number))
    assert len(limit._buckets) == 10_000
