"""What is registered with the API server: every kind, closed when we cannot be reached, and nothing that an editor of a namespace could change."""

from __future__ import annotations

import base64
from typing import Any

from verifier.operations.webhooks import Endpoint, mutating, validating
from verifier.workloads.kinds import READERS


def registered(**names: Any) -> dict[str, Any]:
    return validating(Endpoint(authority=b"CA", url="https://127.0.0.1:8443/"), "helm-verifier", **names)


def test_every_kind_reaches_us_in_every_version() -> None:
    charts, records = registered()["webhooks"]
    covered = {(rule["apiGroups"][0], resource) for rule in charts["rules"] for resource in rule["resources"]}
    assert covered == {(reader.group, reader.plural) for reader in READERS}
    assert all(rule["apiVersions"] == ["*"] and rule["operations"] == ["CREATE", "UPDATE"] for rule in charts["rules"])
    assert records["rules"][0]["resources"] == ["secrets", "configmaps"]
    assert "helm.sh/release.v1" in records["matchConditions"][0]["expression"]


def test_it_fails_closed_and_in_time() -> None:
    for webhook in registered()["webhooks"]:
        assert (webhook["failurePolicy"], webhook["matchPolicy"], webhook["sideEffects"], webhook["timeoutSeconds"]) == (
            "Fail",
            "Equivalent",
            "NoneOnDryRun",
            10,
        )
        assert webhook["clientConfig"] == {"url": "https://127.0.0.1:8443/admission/validate", "caBundle": base64.b64encode(b"CA").decode()}
        assert "objectSelector" not in webhook


def test_namespaces_are_left_out_by_names_that_nobody_can_change() -> None:
    charts, records = registered(unjudged=["verifier"], unjudged_records=["kube-system"])["webhooks"]
    names = [webhook["namespaceSelector"]["matchExpressions"] for webhook in (charts, records)]
    assert [[item["key"] for item in found] for found in names] == [["kubernetes.io/metadata.name"]] * 2
    assert [found[0]["values"] for found in names] == [["verifier"], ["verifier", "kube-system"]]
    assert "namespaceSelector" not in registered()["webhooks"][0]


def test_pins_are_written_only_where_they_can_be_and_may_fail() -> None:
    (webhook,) = mutating(Endpoint(authority=b"CA", url="https://127.0.0.1:8443"), "pins", unjudged=["verifier"])["webhooks"]
    covered = {(rule["apiGroups"][0], resource) for rule in webhook["rules"] for resource in rule["resources"]}
    assert covered == {(reader.group, reader.plural) for reader in READERS if reader.pins}
    assert (webhook["failurePolicy"], webhook["reinvocationPolicy"], webhook["sideEffects"]) == ("Ignore", "IfNeeded", "NoneOnDryRun")
    assert webhook["clientConfig"]["url"].endswith("/admission/mutate")


def test_a_service_of_the_cluster() -> None:
    found = validating(Endpoint(authority=b"CA", service=("verifier", "helm-verifier")), "helm-verifier")
    assert found["webhooks"][0]["clientConfig"]["service"] == {"namespace": "verifier", "name": "helm-verifier", "path": "/admission/validate", "port": 443}
