"""The gate while things go wrong: two servers behind one address, certificates that change, a server that is killed, a registry that is down and comes back."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.interop.conftest import program
from tests.peers import SHARE
from tests.simulators.registry import SimulatedRegistry, simulated
from tests.support.charts import archive
from tests.support.cluster import Kubernetes, kubernetes
from tests.support.reviews import SELECTOR
from tests.support.servers import free_port, start, stop
from tests.support.signers import pair
from tests.support.world import connect, publish, sign
from verifier.operations.webhooks import Endpoint, validating
from verifier.signers.public import public_pem

POLICY = """\
apiVersion: verifier/v1
kind: ChartPolicy
metadata: {{name: faults}}
trust: {{ci: {{key: {{file: ci.pub}}}}}}
rules: [{{name: ours, charts: ["oci://{host}/acme/*"], require: {{signed: {{by: ci}}}}}}]
"""


class Balancer:
    """One address in front of several: connections in turn, past those that do not answer."""

    def __init__(self, *ports: int) -> None:
        self.ports = ports
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._turn = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            for _ in self.ports:
                self._turn += 1
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[self._turn % len(self.ports)]), 2) as server:
                    server.settimeout(None)
                    back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                    back.start()
                    _pump(client, server)
                    back.join()
                    return


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@dataclass
class Stage:
    kubernetes: Kubernetes
    registry: SimulatedRegistry
    work: Path
    authority: trustme.CA
    ports: list[int] = field(default_factory=list)
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def issue(self) -> None:
        issued = self.authority.issue_cert("127.0.0.1")
        for name, data in (("hook.pem", b"".join(item.bytes() for item in issued.cert_chain_pems)), ("hook.key", issued.private_key_pem.bytes())):
            (self.work / f"{name}.new").write_bytes(data)
            (self.work / f"{name}.new").replace(self.work / name)

    def start(self, index: int) -> subprocess.Popen[bytes]:
        api = free_port()
        listen = ("--listen", f"127.0.0.1:{api}", "--webhook-listen", f"127.0.0.1:{self.ports[index]}", "--client-ca", self.work / "client-ca.pem")
        words = ("--policy", self.work / "policy.yaml", "--admission", "enforce", "--allow-host", self.registry.host, "--store", self.work / f"{index}.db")
        command = [sys.executable, "-m", "verifier", "serve", *listen, *words, "--tls-cert", self.work / "hook.pem", "--tls-key", self.work / "hook.key"]
        return start(command, f"https://127.0.0.1:{api}/healthz", self.work, ca=self.work / "hook-ca.pem")

    def stop(self) -> None:
        for server in self.servers:
            stop(server)

    def chart(self, version: str, *, signed: bool) -> str:
        digest = publish(connect(), self.registry.host, archive("web", version), tag=version)
        if signed:
            sign(connect(), self.registry.host, digest, pair())
        return str(digest)

    def post(self, name: str, digest: str) -> tuple[int, str]:
        """Create an object, but for real storage; the webhook is asked as ever."""
        spec = {"url": f"oci://{self.registry.host}/acme/web", "interval": "1h", "ref": {"digest": digest}, "layerSelector": {**SELECTOR, "operation": "copy"}}
        value: dict[str, Any] = {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository", "metadata": {"name": name}, "spec": spec}
        url = f"https://127.0.0.1:{self.kubernetes.port}/apis/source.toolkit.fluxcd.io/v1/namespaces/default/ocirepositories?dryRun=All"
        headers = {"Authorization": "Bearer tok", "Content-Type": "application/json"}
        tls = ssl.create_default_context(cafile=self.work / "api-ca.pem")
        try:
            with urllib.request.urlopen(urllib.request.Request(url, json.dumps(value).encode(), headers), timeout=30, context=tls) as answered:
                return int(answered.status), ""
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    programs = [program(name) for name in ("etcd-3.6.5", "kube-apiserver-1.36.3", "kubectl-1.37", "source-controller-1.9.0")]
    work = tmp_path_factory.mktemp("faults")
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(kubernetes(work, *programs[:3]))
        registry = stack.enter_context(simulated())
        for file in sorted((SHARE / "source-controller").glob("*ocirepositories.yaml")):
            cluster.kubectl("apply", "--server-side", "-f", file)
        found = Stage(cluster, registry, work, trustme.CA(), [free_port(), free_port()])
        found.authority.cert_pem.write_to_path(str(work / "hook-ca.pem"))
        (work / "ci.pub").write_bytes(public_pem(pair().public))
        (work / "policy.yaml").write_text(POLICY.format(host=registry.host))
        found.issue()
        found.servers = [found.start(index) for index in (0, 1)]
        stack.callback(found.stop)
        balancer = Balancer(*found.ports)
        stack.callback(balancer.close)
        cluster.apply(validating(Endpoint(authority=found.authority.cert_pem.bytes(), url=f"https://127.0.0.1:{balancer.port}"), "helm-verifier"))
        yield found


def until_denied(stage: Stage, digest: str) -> None:
    for _ in range(100):
        if stage.post("x", digest)[0] != 201:
            return
        time.sleep(0.1)
    raise AssertionError("the webhook is not in force")


def test_certificates_change_and_a_server_is_killed_under_load(stage: Stage) -> None:
    good = [stage.chart(f"1.0.{number}", signed=True) for number in range(8)]
    bad = [stage.chart(f"2.0.{number}", signed=False) for number in range(8)]
    until_denied(stage, bad[0])
    ended, answers = threading.Event(), []

    def load(number: int) -> None:
        while not ended.is_set():
            answers.append((time.monotonic(), "good", *stage.post(f"good-{number}", good[number])))
            answers.append((time.monotonic(), "bad", *stage.post(f"bad-{number}", bad[number])))

    threads = [threading.Thread(target=load, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    stage.issue()
    time.sleep(2.5)
    killed = time.monotonic()
    stage.servers[0].send_signal(signal.SIGKILL)
    stage.servers[0].wait()
    time.sleep(2)
    stage.servers[0] = stage.start(0)
    time.sleep(1.5)
    ended.set()
    for thread in threads:
        thread.join()
    assert len(answers) > 40
    assert {status for _, kind, status, _ in answers if kind == "bad"} & {200, 201} == set(), "nothing unsigned got in at any time"
    lost = [(at - killed, text) for at, kind, status, text in answers if kind == "good" and status != 201]
    assert all("webhook" in text for _, text in lost), lost
    assert all(-0.5 < after < 15 for after, _ in lost), "the change of certificates lost nothing; the kill lost what was in its hands"
    assert stage.post("good", good[0])[0] == 201


def test_a_registry_that_is_down_and_comes_back(stage: Stage) -> None:
    known, new = stage.chart("3.0.0", signed=True), stage.chart("3.0.1", signed=True)
    for _ in range(4):  # both servers have decided on it
        assert stage.post("known", known)[0] == 201
    stage.registry.switches.status = {"/v2/": 503}
    try:
        status, text = stage.post("new", new)
        assert (status, "[registry-error]" in text) == (503, True), text
    finally:
        stage.registry.switches.status = {}
    assert stage.post("new", new)[0] == 201, "what could not be told is not remembered"


def test_a_registry_that_hangs_is_answered_in_time(stage: Stage) -> None:
    slow = stage.chart("4.0.0", signed=True)
    stage.registry.switches.drip = "/manifests/"
    try:
        started = time.monotonic()
        status, text = stage.post("slow", slow)
        took = time.monotonic() - started
    finally:
        stage.registry.switches.drip = ""
    assert (status, "[timeout]" in text, took < 10) == (503, True, True), (took, text)


def test_no_server_at_all_lets_no_chart_in_and_everything_else(stage: Stage) -> None:
    good = stage.chart("5.0.0", signed=True)
    for server in stage.servers:
        os.kill(server.pid, signal.SIGSTOP)
    try:
        status, text = stage.post("x", good)
        assert (status, "failed calling webhook" in text) == (500, True), text
        stage.kubernetes.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other", "namespace": "default"}, "stringData": {"a": "b"}})
    finally:
        for server in stage.servers:
            os.kill(server.pid, signal.SIGCONT)
