"""Events for what is denied: about what, once, and never in the way of an answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.reviews import ListedCluster, oci_repository, review
from tests.support.signers import pair
from tests.support.webhook import Server, Webhook
from tests.support.world import key_policy
from tests.unit.server.test_admission import release
from verifier.operations.policies import LoadedPolicy
from verifier.server.admission import AdmissionSettings
from verifier.server.events import Events


@contextmanager
def serving(loaded: LoadedPolicy, cluster: ListedCluster, clock: list[float], mode: str = "enforce") -> Iterator[Webhook]:
    events = Events(cluster, lambda: clock[0])
    with Server(loaded=loaded, cluster=cluster, events=events, admission=AdmissionSettings(mode=mode)).running() as webhook:
        yield webhook


def wait_for(cluster: ListedCluster, count: int) -> None:
    for _ in range(100):
        if len(cluster.told) >= count:
            break
        time.sleep(0.02)
    assert len(cluster.told) == count


def test_a_denial_is_told_once_in_a_while(registry: str) -> None:
    good, cluster, clock = release(registry), ListedCluster(), [0.0]
    asked = review(oci_repository(f"oci://{registry}/acme/web", tag="1.4.2"))
    with serving(key_policy(registry, pair()), cluster, clock) as webhook:
        assert webhook.ask(review(oci_repository(f"oci://{registry}/acme/web", digest=good)))["allowed"]
        for _ in range(3):
            assert not webhook.ask(asked)["allowed"]
        wait_for(cluster, 1)
        clock[0] = 301.0
        webhook.ask(asked)
        wait_for(cluster, 2)
        webhook.ask({**asked, "request": {**asked["request"], "dryRun": True, "name": "other"}})
        time.sleep(0.1)
    namespace, about, reason, message = cluster.told[0]
    assert (namespace, about["kind"], about["name"], reason, "[unpinned]" in message, len(cluster.told)) == (
        "apps",
        "OCIRepository",
        "x",
        "ChartDenied",
        True,
        2,
    )


def test_what_would_be_denied(registry: str) -> None:
    release(registry)
    cluster = ListedCluster()
    with serving(key_policy(registry, pair()), cluster, [0.0], "audit") as webhook:
        assert webhook.ask(review(oci_repository("oci://elsewhere.test/\x1b[31m" + "x" * 3000, tag="1.4.2")))["allowed"]
        wait_for(cluster, 1)
    assert (len(cluster.told[0][3]) <= 1_000, "\x1b" in cluster.told[0][3]) == (True, False)


def test_a_cluster_that_takes_no_events_changes_no_answer(registry: str) -> None:
    with serving(key_policy(registry, pair()), ListedCluster(down=True), [0.0]) as webhook:
        for number in range(3):
            value = oci_repository(f"oci://{registry}/acme/web", tag="9.9.9")
            value["metadata"]["name"] = f"n{number}"
            assert webhook.ask(review(value))["allowed"] is False
