"""Admission in process: a world around a policy and a registry, charts in it, and reviews judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.support.charts import archive
from tests.support.signers import pair
from tests.support.world import connect, publish, sign
from verifier.kube.cluster import Cluster
from verifier.model.context import Context, Request
from verifier.model.reference import Origin
from verifier.operations.admission import admit
from verifier.operations.policies import LoadedPolicy
from verifier.operations.records import fingerprint_for
from verifier.operations.review import read_review
from verifier.operations.verdict import Judged, Verdict, World
from verifier.operations.verification import Options, verify

FILES = {"templates/c.yaml": b"kind: ConfigMap\n", "values.yaml": b"a: 1\nb: {c: 0777}\n", "README.md": b"x"}
SOURCES = "sources: [{repositories: ['oci://%s/acme']}]\n"


def world(loaded: LoadedPolicy, cluster: Cluster | None = None, **settings: Any) -> World:
    connections = connect()

    def decide(reference: Origin, context: Context) -> Judged:
        decision = verify(Request(reference=reference, context=context), loaded, connections, Options(seconds=10))
        return Judged(decision=decision, fingerprint=fingerprint_for(decision))

    own = Context(cluster="test", asserted_by="server")
    return World(decide=decide, policy=loaded.policy, context=own, cluster=cluster, **settings)


def release(registry: str, *, by: str | None = "ci", version: str = "1.4.2", files: dict[str, bytes] | None = None, name: str = "web") -> tuple[str, bytes]:
    connections = connect()
    data = archive(name, version, files if files is not None else FILES)
    digest = publish(connections, registry, data, name=f"acme/{name}", tag=version)
    if by is not None:
        sign(connections, registry, digest, pair(by), name=f"acme/{name}")
    return str(digest), data


def judged(asked: Mapping[str, Any], place: World) -> Verdict:
    return admit(read_review(json.dumps(asked).encode()), place)


def codes_of(verdict: Verdict) -> list[str]:
    return [finding.code.name for finding in verdict.findings if finding.code is not None]
