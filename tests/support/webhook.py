"""The server with its webhook, in this process: how it is set up, and asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI

from tests.support.reviews import ListedCluster
from tests.support.world import connect
from tests.unit.registry.test_registry import Client
from verifier.kube.cluster import Cluster
from verifier.model.context import Context
from verifier.operations.connections import Connections
from verifier.operations.policies import LoadedPolicy
from verifier.registry.running import running
from verifier.server.admission import AdmissionSettings, Gate
from verifier.server.app import AppSettings, create_app
from verifier.server.callers import Callers
from verifier.server.decider import ServiceSettings
from verifier.server.events import Events
from verifier.server.service import DecisionService, Surroundings
from verifier.server.snapshot import Snapshots


class Webhook(Client):
    def ask(self, asked: Any, query: str = "", **headers: str) -> Any:
        """The response to a review."""
        status, _, data = self("POST", f"/admission/validate{query}", json.dumps(asked).encode(), Content_Type="application/json", **headers)
        assert status == 200, data
        answered = json.loads(data)
        assert (answered["apiVersion"], answered["kind"], answered["response"]["uid"]) == ("admission.k8s.io/v1", "AdmissionReview", asked["request"]["uid"])
        return answered["response"]

    def verify(self, reference: str, namespace: str | None = None, **headers: str) -> tuple[int, Any]:
        """The answer of POST /v1/verify."""
        question: dict[str, Any] = {"reference": reference} | ({"context": {"namespace": namespace}} if namespace is not None else {})
        status, _, data = self("POST", "/v1/verify", json.dumps(question).encode(), Content_Type="application/json", **headers)
        return status, json.loads(data)


@dataclass(kw_only=True)
class Server:
    """How a server is set up; each default is the plainest."""

    loaded: LoadedPolicy
    settings: ServiceSettings = field(default_factory=ServiceSettings)
    admission: AdmissionSettings = field(default_factory=lambda: AdmissionSettings(seconds=5.0))
    callers: Callers = field(default_factory=Callers)
    own: Context = field(default_factory=lambda: Context(cluster="test", asserted_by="server"))
    cluster: Cluster | None = field(default_factory=ListedCluster)
    events: Events | None = None
    around: Surroundings = field(default_factory=Surroundings)
    connections: Connections = field(default_factory=connect)
    rate: float = 0.0

    def app(self) -> FastAPI:
        service = DecisionService(Snapshots(lambda: self.loaded), self.connections, self.settings, self.around)
        gate = Gate(service=service, callers=self.callers, context=self.own, cluster=self.cluster, settings=self.admission, events=self.events)
        return create_app(service, self.callers, self.own, gate, AppSettings(rate=self.rate))

    @contextmanager
    def running(self, seen_by: Callable[[Any], Any] = lambda app: app) -> Iterator[Webhook]:
        """Until the block ends; `seen_by` wraps the application, as a listener does."""
        with running(seen_by(self.app())) as host:
            yield Webhook(host)
