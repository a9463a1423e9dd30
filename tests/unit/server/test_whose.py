"""Whose credentials and keys count for an object: its namespace's, and the server's own where the rule says so (semantics 33)."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.registry import SimulatedRegistry, Switches, simulated
from tests.support.admission import FILES
from tests.support.charts import archive
from tests.support.pull_secrets import auth, opaque, pull_secret
from tests.support.reviews import ListedCluster, an_object, oci_repository, packed, record, release_value, review
from tests.support.signers import pair
from tests.support.webhook import Server
from tests.support.world import ask, connect, key_policy, policy, publish, sign
from verifier.kube.cluster import EVERYTHING, Selector
from verifier.model import codes
from verifier.model.decision import Outcome
from verifier.model.errors import MisuseError
from verifier.oci.credentials import Basic
from verifier.operations import namespaces
from verifier.operations.namespaces import NamespaceSecrets
from verifier.server.callers import Caller, Callers
from verifier.server.service import Surroundings
from verifier.signers.public import public_pem

USER = ("me", "right")


class Watched(ListedCluster):
    """A cluster that knows which Secrets were asked for."""

    def __init__(self, *values: dict[str, Any], down: bool = False) -> None:
        super().__init__(*values, down=down)
        self.asked: list[tuple[str | None, str]] = []

    def get(self, group: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        self.asked.append((namespace, name))
        return super().get(group, kind, namespace, name)

    def every(self, group: str, kind: str, namespace: str | None, most: int, which: Selector = EVERYTHING) -> list[dict[str, Any]]:
        self.asked.append((namespace, "*"))
        return super().every(group, kind, namespace, most, which)


@pytest.fixture
def private() -> Iterator[tuple[SimulatedRegistry, str]]:
    """A registry that wants a password, with a signed chart; and the chart's digest."""
    with simulated(Switches()) as there:
        connections = connect()
        digest = publish(connections, there.host, archive("web", "1.4.2", FILES))
        sign(connections, there.host, digest, pair("ci"))
        there.switches.basic = USER
        yield there, str(digest)


def server(there: SimulatedRegistry, cluster: ListedCluster, *names: str, rule: str = "", extra: str = "", own: bool = True) -> Server:
    return Server(
        loaded=key_policy(there.host, pair(), extra=extra, rule=rule),
        cluster=cluster,
        around=Surroundings(secrets=NamespaceSecrets(cluster, names)),
        connections=connect(Basic(*USER) if own else None, there.host),
    )


def asked(there: SimulatedRegistry, digest: str, namespace: str = "apps") -> dict[str, Any]:
    value = oci_repository(f"oci://{there.host}/acme/web", digest=digest)
    value["metadata"]["namespace"] = namespace
    return review(value)


def told_codes(answered: Any) -> str:
    found: str = answered["auditAnnotations"].get("codes", "")
    return found


@pytest.mark.parametrize("names", [("regcred",), ("*",), ("missing", "regcred")])
def test_a_namespace_reads_with_its_own(private: tuple[SimulatedRegistry, str], names: tuple[str, ...]) -> None:
    there, digest = private
    cluster = Watched(pull_secret("apps", "regcred", {there.host: auth(*USER)}))
    with server(there, cluster, *names).running() as webhook:
        assert webhook.ask(asked(there, digest))["allowed"]
        for _ in range(2):  # what was allowed for one is neither a decision nor content for another
            answered = webhook.ask(asked(there, digest, "other"))
            assert (answered["allowed"], told_codes(answered)) == (False, "unauthorized")
        assert webhook.ask(asked(there, digest))["allowed"]
    assert {namespace for namespace, _ in cluster.asked} == {"apps", "other"}
    told = answered["status"]["message"]
    assert "asked with the pull secrets of namespace 'other'; those of the server are used where the rule says `credentials: server`" in told


def test_the_server_lends_its_own_only_where_the_rule_says_so(private: tuple[SimulatedRegistry, str]) -> None:
    there, digest = private
    with server(there, Watched(), "regcred").running() as webhook:
        assert told_codes(webhook.ask(asked(there, digest))) == "unauthorized"
    with server(there, Watched(), "regcred", rule="    credentials: namespace\n").running() as webhook:
        assert told_codes(webhook.ask(asked(there, digest))) == "unauthorized"
    with server(there, Watched(), "regcred", rule="    credentials: server\n").running() as webhook:
        assert webhook.ask(asked(there, digest))["allowed"]
    with server(there, Watched(), rule="    credentials: server\n", own=False).running() as webhook:
        answered = webhook.ask(asked(there, digest))
        assert (told_codes(answered), "asked with the credentials of the server [" in answered["status"]["message"]) == ("unauthorized", True)
    with server(there, Watched()).running() as webhook:
        assert "asked with no credentials; those of the server" in webhook.ask(asked(there, digest))["status"]["message"]


def test_a_wrong_pull_secret_does_not_keep_the_servers_own_away(private: tuple[SimulatedRegistry, str]) -> None:
    there, digest = private
    cluster = Watched(pull_secret("apps", "regcred", {there.host: auth("me", "wrong")}))
    with server(there, cluster, "regcred", rule="    credentials: server\n").running() as webhook:
        assert webhook.ask(asked(there, digest))["allowed"]
    with server(there, cluster, "regcred").running() as webhook:
        assert told_codes(webhook.ask(asked(there, digest))) == "unauthorized"


def test_the_objects_namespace_counts_not_the_one_that_the_chart_goes_to(private: tuple[SimulatedRegistry, str]) -> None:
    """Whoever may write an Application in one namespace must not read with the credentials of another."""
    there, digest = private
    source = {"repoURL": f"oci://{there.host}/acme/web", "targetRevision": digest, "path": "."}
    application = an_object("argoproj.io/v1alpha1", "Application", namespace="argocd", spec={"source": source, "destination": {"namespace": "apps"}})
    secret = {there.host: auth(*USER)}
    for holds, allowed in (("apps", False), ("argocd", True)):
        cluster = Watched(pull_secret(holds, "regcred", secret))
        with server(there, cluster, "regcred").running() as webhook:
            assert webhook.ask(review(application))["allowed"] is allowed
        assert {namespace for namespace, _ in cluster.asked} == {"argocd"}


def test_an_object_without_a_namespace_has_no_credentials(private: tuple[SimulatedRegistry, str]) -> None:
    there, _ = private
    chart = {"repositoryURL": f"oci://{there.host}/acme", "repositoryName": "acme", "chartName": "web", "chartVersion": "1.4.2"}
    profile = an_object("config.projectsveltos.io/v1beta1", "ClusterProfile", namespace="", spec={"helmCharts": [chart]})
    cluster = Watched(pull_secret("", "regcred", {there.host: auth(*USER)}))
    with server(there, cluster, "regcred", rule="    unsafe_allow_unpinned: true\n").running() as webhook:
        assert told_codes(webhook.ask(review(profile))) == "unauthorized"
    assert cluster.asked == []
    with server(there, cluster, "regcred", rule="    unsafe_allow_unpinned: true\n    credentials: server\n").running() as webhook:
        assert webhook.ask(review(profile))["allowed"]


def test_a_release_record_is_looked_up_with_its_namespaces_own(private: tuple[SimulatedRegistry, str]) -> None:
    there, _ = private
    value = review(record(packed(release_value(archive("web", "1.4.2", FILES)))))
    sources = f"sources: [{{repositories: ['oci://{there.host}/acme']}}]\n"
    with server(there, Watched(), "regcred", extra=sources).running() as webhook:
        assert told_codes(webhook.ask(value)) == "unauthorized"
    cluster = Watched(pull_secret("apps", "regcred", {there.host: auth(*USER)}))
    with server(there, cluster, "regcred", extra=sources).running() as webhook:
        assert webhook.ask(value)["allowed"]


def test_a_cluster_that_does_not_answer(private: tuple[SimulatedRegistry, str]) -> None:
    """It matters to those registries only that want a password."""
    there, digest = private
    with server(there, Watched(down=True), "regcred", rule="    credentials: server\n").running() as webhook:
        assert webhook.ask(asked(there, digest))["allowed"], "the server's own do"
    with server(there, Watched(down=True), "regcred").running() as webhook:
        answered = webhook.ask(asked(there, digest))
        assert (answered["allowed"], answered["status"]["code"], told_codes(answered)) == (False, 503, "lookup-failed")
        there.switches.basic = None
        assert webhook.ask(asked(there, digest))["allowed"]


def test_a_broken_pull_secret_is_told(private: tuple[SimulatedRegistry, str]) -> None:
    there, digest = private
    broken = opaque("apps", "regcred", {".dockerconfigjson": b"{"}, kind="kubernetes.io/dockerconfigjson")
    with server(there, Watched(broken), "regcred").running() as webhook:
        answered = webhook.ask(asked(there, digest))
        assert (told_codes(answered), "the pull secret 'regcred' cannot be used" in answered["status"]["message"]) == ("pull-secret-invalid", True)


def test_a_secret_is_kept_for_a_while_and_no_longer(private: tuple[SimulatedRegistry, str], monkeypatch: pytest.MonkeyPatch) -> None:
    there, digest = private
    cluster = Watched(pull_secret("apps", "regcred", {there.host: auth("me", "wrong")}))
    monkeypatch.setattr(namespaces, "SECONDS", 0.25)
    with server(there, cluster, "regcred").running() as webhook:
        for _ in range(3):
            assert not webhook.ask(asked(there, digest))["allowed"]
        assert len(cluster.asked) == 1
        cluster.values = (pull_secret("apps", "regcred", {there.host: auth(*USER)}),)
        time.sleep(0.5)
        assert webhook.ask(asked(there, digest))["allowed"]
        assert len(cluster.asked) == 2


def test_over_http_the_server_reads_with_its_own(private: tuple[SimulatedRegistry, str]) -> None:
    there, digest = private
    with server(there, Watched(), "regcred").running() as webhook:
        assert webhook.verify(f"oci://{there.host}/acme/web@{digest}")[0] == 200
        assert not webhook.ask(asked(there, digest))["allowed"], "what a caller may read, an object may not"


# Keys of namespaces


def namespaced(there: SimulatedRegistry, *values: dict[str, Any], key: str = "", extra: str = "") -> Server:
    text = f"""
apiVersion: verifier/v1
kind: ChartPolicy
metadata: {{name: tenants}}
trust: {{team: {{key: {{secret: chart-keys{key}}}}}}}
rules: [{{name: theirs, charts: ["oci://{there.host}/acme/*"], require: {{signed: {{by: team}}}}, credentials: server}}]
{extra}
"""
    cluster = Watched(*values)
    around = Surroundings(secrets=NamespaceSecrets(cluster))
    return Server(loaded=policy(text, Path()), cluster=cluster, around=around, connections=connect(Basic(*USER), there.host))


def keys(namespace: str, signer: str, under: str = "cosign.pub") -> dict[str, Any]:
    return opaque(namespace, "chart-keys", {under: public_pem(pair(signer).public)})


def test_each_namespace_believes_its_own_key(private: tuple[SimulatedRegistry, str]) -> None:
    there, digest = private
    with namespaced(there, keys("apps", "ci"), keys("other", "stranger")).running() as webhook:
        for _ in range(2):
            good = webhook.ask(asked(there, digest))
            assert good["allowed"]
            answered = webhook.ask(asked(there, digest, "other"))
            assert (answered["allowed"], told_codes(answered), answered["status"]["code"]) == (False, "signer-not-allowed", 403)


@pytest.mark.parametrize(
    "values, key, told",
    [
        ((), "", "Secret apps/chart-keys: it is not there"),
        ((keys("other", "ci"),), "", "it is not there"),
        ((keys("apps", "ci", "ci.pub"),), "", "it holds no cosign.pub"),
        ((opaque("apps", "chart-keys", {"cosign.pub": b"no key"}),), "", "not a PEM public key"),
        ((keys("apps", "ci"),), ", secretKey: other.pub", "it holds no other.pub"),
    ],
)
def test_a_key_that_is_not_there_is_no_answer(private: tuple[SimulatedRegistry, str], values: tuple[dict[str, Any], ...], key: str, told: str) -> None:
    there, digest = private
    with namespaced(there, *values, key=key).running() as webhook:
        answered = webhook.ask(asked(there, digest))
        assert (answered["allowed"], answered["status"]["code"], told_codes(answered)) == (False, 503, "namespace-key")
        assert told in answered["status"]["message"]


def test_a_key_under_another_name(private: tuple[SimulatedRegistry, str]) -> None:
    there, digest = private
    with namespaced(there, keys("apps", "ci", "ci.pub"), key=", secretKey: ci.pub").running() as webhook:
        assert webhook.ask(asked(there, digest))["allowed"]


def test_a_source_that_changes_is_judged_by_the_keys_of_who_takes_from_it(private: tuple[SimulatedRegistry, str]) -> None:
    """Whoever owns the source must not say what another namespace believes."""
    there, digest = private
    reference = {"kind": "OCIRepository", "name": "x", "namespace": "apps"}
    taker = an_object("helm.toolkit.fluxcd.io/v2", "HelmRelease", name="taker", namespace="shop", spec={"chartRef": reference})
    for signer, allowed in (("ci", True), ("stranger", False)):
        with namespaced(there, taker, keys("apps", "ci"), keys("shop", signer)).running() as webhook:
            answered = webhook.ask(asked(there, digest))
            assert (answered["allowed"], told_codes(answered)) == (allowed, "" if allowed else "signer-not-allowed")


def test_over_http_a_namespace_that_is_granted_has_its_key(private: tuple[SimulatedRegistry, str]) -> None:
    """The same answer as the webhook's; what a caller only claims counts for nothing (semantics 1)."""
    there, digest = private
    token = "token-of-the-deployer"
    caller = Caller(name="ci", token_sha256=hashlib.sha256(token.encode()).hexdigest(), grants={"namespace": frozenset(("apps",))})
    served = namespaced(there, keys("apps", "ci"), keys("other", "ci"))
    served.callers = Callers((caller,))
    with served.running() as webhook:
        for namespace, status in (("apps", 200), ("other", 503), (None, 503)):
            for _ in range(2):
                found, value = webhook.verify(f"oci://{there.host}/acme/web@{digest}", namespace, Authorization=f"Bearer {token}")
                assert (found, "namespace-key" in json.dumps(value)) == (status, status == 503)


def test_on_the_command_line_such_a_key_is_not_known(private: tuple[SimulatedRegistry, str]) -> None:
    """No cluster is asked; that is no verdict on the signature, and another that suffices is enough."""
    there, digest = private
    there.switches.basic = None
    loaded = namespaced(there).loaded
    decision = ask(f"oci://{there.host}/acme/web@{digest}", loaded, connect(), namespace="apps")
    assert (decision.outcome, decision.check.code) == (Outcome.INCONCLUSIVE, codes.NAMESPACE_KEY)
    assert "only a server in the cluster" in decision.check.reason
    either = f"""
apiVersion: verifier/v1
kind: ChartPolicy
metadata: {{name: either}}
trust: {{team: {{key: {{secret: chart-keys}}}}, ci: {{key: {{pem: {json.dumps(public_pem(pair().public).decode())}}}}}}}
rules: [{{name: r, charts: ["oci://{there.host}/acme/*"], require: {{any: [{{signed: {{by: team}}}}, {{signed: {{by: ci}}}}]}}}}]
"""
    assert ask(f"oci://{there.host}/acme/web@{digest}", policy(either, Path()), connect()).allowed


def test_who_may_edit_a_namespace_approves_nothing_else(private: tuple[SimulatedRegistry, str]) -> None:
    there, _ = private
    with pytest.raises(MisuseError, match="no summaries and no exceptions"):
        namespaced(there, extra="exceptions: {by: [team], signed: [x.json]}")
