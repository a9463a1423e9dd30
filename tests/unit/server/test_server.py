"""The HTTP API: answers, cache, slots, deadlines, callers (semantics 1, 22, 34, 35; threats T-01, T-02, T-22, T-23)."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.simulators.registry import Switches, simulated
from tests.support.charts import archive
from tests.support.signers import pair
from tests.support.world import NOW, connect, key_policy, publish, sign
from tests.unit.registry.test_registry import Client
from verifier.model.context import Context
from verifier.model.decision import Outcome
from verifier.model.digest import sha256
from verifier.model.errors import MisuseError
from verifier.model.reference import PinnedReference
from verifier.operations.policies import LoadedPolicy
from verifier.registry.running import running
from verifier.report.schema import decision_schema
from verifier.server.app import create_app
from verifier.server.build import ServerSettings, build_app
from verifier.server.cache import Answered, DecisionCache, cache_key, ending
from verifier.server.callers import Callers, load_callers
from verifier.server.decider import ServiceSettings
from verifier.server.service import DecisionService
from verifier.server.snapshot import Snapshots
from verifier.signers.public import public_pem

TOKEN = "token-of-the-deployer"


class Api(Client):
    def ask(self, reference: str, query: str = "", token: str = "", **context: str) -> tuple[int, dict[str, str], Any]:
        headers = {"Content_Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        body: dict[str, Any] = {"reference": reference} | ({"context": context} if context else {})
        status, answered, data = self("POST", f"/v1/verify{query}", json.dumps(body).encode(), **headers)
        return status, answered, json.loads(data)


@contextmanager
def serving(loaded: LoadedPolicy, callers: Callers | None = None, own: Context | None = None, **settings: Any) -> Iterator[Api]:
    service = DecisionService(Snapshots(lambda: loaded), connect(), ServiceSettings(**settings))
    with running(create_app(service, callers or Callers(), own or Context(asserted_by="server"))) as host:
        yield Api(host)


def release(registry: str, tag: str = "1.4.2", *, by: str = "ci", version: str | None = None, files: dict[str, bytes] | None = None) -> str:
    connections = connect()
    digest = publish(connections, registry, archive(version=version or tag, files=files), tag=tag)
    sign(connections, registry, digest, pair(by))
    return str(digest)


def test_allowed_denied_inconclusive(registry: str) -> None:
    digest = release(registry)
    release(registry, "1.4.3", by="stranger")
    with serving(key_policy(registry, pair())) as api:
        schema = decision_schema()
        for reference, status, outcome in (
            (f"oci://{registry}/acme/web:1.4.2", 200, "allowed"),
            (f"oci://{registry}/acme/web@{digest}", 200, "allowed"),
            (f"oci://{registry}/acme/web:1.4.3", 403, "denied"),
            (f"oci://{registry}/acme/none:1.4.2", 503, "inconclusive"),
        ):
            answer = api.ask(reference)
            assert (answer[0], answer[2]["outcome"]) == (status, outcome), answer
            jsonschema.validate(answer[2], schema)
            assert ("retry-after" in answer[1]) is (status == 503)
            assert api.ask(reference, "?enforce=false")[0] == 200


@pytest.mark.parametrize(
    "body, status",
    [
        (b"{}", 422),
        (b"hello", 422),
        (b'{"reference": 5}', 422),
        (b'{"reference": "web"}', 422),
        (b'{"reference": "web.tgz"}', 422),
        (b'{"reference": "oci-layout:///etc"}', 422),
        (b'{"reference": "file:/etc/passwd"}', 422),
        (b'{"reference": "oci://h/a:1", "extra": 1}', 422),
        (b'{"reference": "oci://h/a:1", "context": {"team": "x"}}', 422),
        (b'{"reference": "oci://127.0.0.1:1/acme/web"}', 422),
        (b'{"reference": "' + b"a" * 600 + b'"}', 422),
        (b" " * 70_000, 413),
    ],
)
def test_misuse_is_a_problem_document(body: bytes, status: int) -> None:
    with serving(key_policy("127.0.0.1:1", pair())) as api:
        answer = api("POST", "/v1/verify", body, Content_Type="application/json")
        assert (answer[0], answer[1]["content-type"]) == (status, "application/problem+json")
        assert json.loads(answer[2])["status"] == status


def test_health_metrics_and_openapi(registry: str) -> None:
    release(registry, by="stranger")
    with serving(key_policy(registry, pair())) as api:
        assert api("GET", "/healthz")[0] == 200
        assert json.loads(api("GET", "/readyz")[2])["policy"]["name"] == "test"
        api.ask(f"oci://{registry}/acme/web:1.4.2")
        api.ask("nonsense")
        text = api("GET", "/metrics")[2].decode()
        assert 'verifier_decisions_total{outcome="denied"} 1.0' in text
        assert 'verifier_decision_codes_total{code="signer-not-allowed"} 1.0' in text
        assert 'verifier_requests_refused_total{status="422"} 1.0' in text
        assert registry not in text, "no label comes from a request"
        assert "/v1/verify" in json.loads(api("GET", "/openapi.json")[2])["paths"]
        assert api("GET", "/nothing")[0] == 404
        assert api("GET", "/v1/verify")[0] == 405


# Callers


def callers_file(path: Path) -> Path:
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    path.write_text(
        f'apiVersion: verifier/v1\nkind: Callers\ncallers:\n  - {{name: deployer, sha256: "{digest}", grants: {{environment: [prod], namespace: ["*"]}}}}\n'
    )
    return path


WHEN = "    when: {environment: prod}"


def test_tokens(registry: str, tmp_path: Path) -> None:
    release(registry)
    callers = load_callers(callers_file(tmp_path / "callers.yaml"))
    with serving(key_policy(registry, pair(), rule=WHEN), callers) as api:
        reference = f"oci://{registry}/acme/web:1.4.2"
        for token in ("", "wrong", TOKEN + "x"):
            answer = api.ask(reference, token=token, environment="prod")
            assert (answer[0], answer[2]["title"]) == (401, "unauthenticated")
            assert TOKEN not in json.dumps(answer[2])
        assert api.ask(reference, token=TOKEN, environment="prod")[0] == 200
        denied = api.ask(reference, token=TOKEN, environment="dev", namespace="x")
        assert (denied[0], denied[2]["code"]) == (403, "context-missing"), "what is not granted does not count"
        assert denied[2]["context"] == {"namespace": "x", "source": "token deployer"}


def test_the_servers_own_context_counts_and_claims_of_anyone_do_not(registry: str) -> None:
    release(registry)
    with serving(key_policy(registry, pair(), rule=WHEN), own=Context(environment="prod", asserted_by="server")) as api:
        answer = api.ask(f"oci://{registry}/acme/web:1.4.2", environment="dev")
        assert (answer[0], answer[2]["context"]) == (200, {"environment": "prod", "source": "server"})
    with serving(key_policy(registry, pair(), rule=WHEN)) as api:
        assert api.ask(f"oci://{registry}/acme/web:1.4.2", environment="prod")[2]["code"] == "context-missing"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "callers: []",
        "apiVersion: verifier/v1\nkind: Callers\ncallers: [{name: a, sha256: short}]",
        "apiVersion: verifier/v1\nkind: Callers\ncallers: [{name: a}]",
        "apiVersion: verifier/v1\nkind: Callers\ncallers: [{name: a, sha256: '" + "a" * 64 + "', grants: {team: [x]}}]",
    ],
)
def test_a_callers_file_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "c").write_text(text)
    with pytest.raises(MisuseError) as caught:
        load_callers(tmp_path / "c")
    assert caught.value.code.name == "config-invalid"


# Cache


def test_a_moved_tag_is_judged_anew(registry: str) -> None:
    first = release(registry)
    with serving(key_policy(registry, pair())) as api:
        reference = f"oci://{registry}/acme/web:1.4.2"
        one, two = api.ask(reference), api.ask(reference)
        assert one[2]["id"] == two[2]["id"], "answered from the cache"
        release(registry, by="stranger", files={"x": b"evil"})
        three = api.ask(reference)
        assert (three[0], three[2]["code"]) == (403, "signer-not-allowed")
        assert three[2]["artifact"]["digest"] != first
        assert api.ask(f"oci://{registry}/acme/web@{first}")[0] == 200


def test_a_pinned_answer_is_kept_and_an_inconclusive_one_is_not(registry: str, tmp_path: Path) -> None:
    digest = release(registry)
    with serving(key_policy(registry, pair())) as api:
        reference = f"oci://{registry}/acme/web@{digest}"
        assert api.ask(reference)[2]["id"] == api.ask(reference)[2]["id"]
    with simulated(Switches(status={"/manifests/": 500})) as broken, serving(key_policy(broken.host, pair())) as api:
        lost = f"oci://{broken.host}/acme/web@{digest}"
        first, second = api.ask(lost), api.ask(lost)
        assert (first[0], first[2]["code"]) == (503, "registry-error")
        assert first[2]["id"] != second[2]["id"]


def test_a_host_that_no_rule_names_is_never_asked() -> None:
    with simulated() as stranger, serving(key_policy("reg.test", pair())) as api:
        answer = api.ask(f"oci://{stranger.host}/acme/web:1.4.2")
        assert (answer[0], answer[2]["code"]) == (403, "no-rule")
        assert not stranger.requests


def reference(**changes: Any) -> PinnedReference:
    values: dict[str, Any] = {"registry": "r", "repository": "p", "digest": sha256(b""), "tag": None, "was_pinned": True} | changes
    return PinnedReference(**values)


def test_everything_that_an_answer_rests_on_is_in_its_key() -> None:
    loaded = key_policy("r", pair())
    other = LoadedPolicy(loaded.policy, loaded.trust, "sha256:other")
    keys = [
        cache_key(reference(), Context(), loaded, ()),
        cache_key(reference(repository="q"), Context(), loaded, ()),
        cache_key(reference(registry="s"), Context(), loaded, ()),
        cache_key(reference(tag="1"), Context(), loaded, ()),
        cache_key(reference(was_pinned=False), Context(), loaded, ()),
        cache_key(reference(digest=sha256(b"x")), Context(), loaded, ()),
        cache_key(reference(read_from="mirror"), Context(), loaded, ()),
        cache_key(reference(), Context(environment="prod"), loaded, ()),
        cache_key(reference(), Context(asserted_by="other"), loaded, ()),
        cache_key(reference(), Context(), key_policy("r", pair("other")), ()),
        cache_key(reference(), Context(), other, ()),
        cache_key(reference(), Context(), loaded, ("unsafe",)),
    ]
    assert len(set(keys)) == len(keys)


def test_how_long_an_answer_is_kept(registry: str) -> None:
    from tests.support.world import ask

    digest = release(registry)
    decision = ask(f"oci://{registry}/acme/web@{digest}", key_policy(registry, pair()), connect())
    assert ending(decision, NOW) == NOW + timedelta(minutes=5)
    from msgspec.structs import replace

    assert ending(replace(decision, valid_until=NOW + timedelta(seconds=9)), NOW) == NOW + timedelta(seconds=9)
    assert ending(replace(decision, outcome=Outcome.DENIED), NOW) == NOW + timedelta(seconds=5)
    assert ending(replace(decision, outcome=Outcome.INCONCLUSIVE), NOW) is None
    cache = DecisionCache(entries=2)
    keys = [cache_key(reference(tag=str(number)), Context(), key_policy("r", pair()), ()) for number in range(3)]
    for key in keys:
        cache.put(key, Answered(decision, b"", NOW + timedelta(seconds=1)))
    assert cache.get(keys[0], NOW) is None, "the oldest went"
    assert cache.get(keys[2], NOW) is not None
    assert cache.get(keys[2], NOW + timedelta(seconds=1)) is None, "it ended"


def test_one_flight_for_many_callers() -> None:
    cache, made = DecisionCache(), []
    answered = Answered(None, b"x", datetime.now(UTC))  # type: ignore[arg-type]
    key = cache_key(reference(), Context(), key_policy("r", pair()), ())

    def slow() -> Answered:
        made.append(1)
        time.sleep(0.3)
        return answered

    results: list[Answered] = []
    threads = [threading.Thread(target=lambda: results.append(cache.once(key, slow, 5))) for _ in range(6)]
    for thread in threads:
        thread.start()
    with pytest.raises(TimeoutError):
        cache.once(key, slow, 0.01)
    for thread in threads:
        thread.join()
    assert (len(made), len(results)) == (1, 6)

    def broken() -> Answered:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        cache.once(key, broken, 1)
    assert cache.once(key, slow, 1) is answered


# Deadlines and slots


def test_an_answer_comes_in_time_and_slots_run_out() -> None:
    with (
        simulated(Switches(body={"/manifests/": b"x" * 4000}, drip="/manifests/")) as slow,
        serving(key_policy(slow.host, pair()), slots=1, seconds=1.0, patience=0.2) as api,
    ):
        answers: list[Any] = []
        started = time.monotonic()
        threads = [threading.Thread(target=lambda n=n: answers.append(api.ask(f"oci://{slow.host}/acme/web:{n}"))) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - started < 5
        assert [answer[0] for answer in answers] == [503, 503, 503]
        codes = sorted(str(answer[2].get("code") or answer[2].get("title")) for answer in answers)
        assert codes == ["overloaded", "overloaded", "timeout"]
        assert all("retry-after" in answer[1] for answer in answers)


def test_a_fault_of_ours_is_no_allow(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from verifier.server import decider

    def boom(*_: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(decider, "judge", boom)
    with serving(key_policy(registry, pair())) as api:
        answer = api.ask(f"oci://{registry}/acme/web:1.4.2")
        assert (answer[0], answer[2]["title"]) == (503, "internal")
        assert "secret detail" not in json.dumps(answer[2])


# From settings


def test_a_server_asks_no_private_address_unless_told(registry: str, tmp_path: Path) -> None:
    release(registry)
    (tmp_path / "ci.pub").write_bytes(public_pem(pair().public))
    policy = f'apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {{name: p}}\ntrust: {{ci: {{key: {{file: ci.pub}}}}}}\nrules:\n  - name: r\n    charts: ["oci://{registry}/**"]\n    require: {{signed: {{by: ci}}}}\n'
    (tmp_path / "p.yaml").write_text(policy)
    settings = ServerSettings(policy=tmp_path / "p.yaml", callers=callers_file(tmp_path / "callers.yaml"))
    with running(build_app(settings)) as host:
        answer = Api(host).ask(f"oci://{registry}/acme/web:1.4.2", token=TOKEN)
        assert (answer[0], answer[2]["code"]) == (503, "egress-denied")
        assert Api(host).ask("oci://169.254.169.254/a:1", token=TOKEN)[2]["code"] == "no-rule"
    told: list[str] = []
    opened = ServerSettings(policy=tmp_path / "p.yaml", allowed_hosts=frozenset({registry}), observe=told.append)
    with running(build_app(opened)) as host:
        assert Api(host).ask(f"oci://{registry}/acme/web:1.4.2")[0] == 200
    assert any(f"GET http://{registry}/v2/acme/web/manifests/1.4.2 -> 200" in line for line in told), told
