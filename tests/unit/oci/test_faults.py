"""A registry on a bad day: at each step of a push, a signature, a copy and a verification. What is required of each fault:

the right family and code; the deadline is kept; nothing half-written is reported as done; the same command again succeeds.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.registry import SimulatedRegistry, Switches, simulated
from tests.support.charts import archive
from tests.support.cli import Ran, run
from tests.support.signers import pair, private_pem
from tests.support.world import ask, code_names, connect, key_policy, publish, sign
from verifier.model.decision import Outcome
from verifier.operations.verification import Options
from verifier.signers.public import public_pem

KINDS = {"API": {}, "fallback tag": {"referrers": False}, "tokens": {"bearer": ("", "")}}
FAULTS = {"fail_at": "registry-error", "lose_at": "unreachable"}


class Work:
    """A user's files, and what they type."""

    def __init__(self, registry: SimulatedRegistry, directory: Path) -> None:
        self.registry, self.directory = registry, directory
        (directory / "web-1.4.2.tgz").write_bytes(archive())
        (directory / "ci.key").write_bytes(private_pem(pair("ci")))
        (directory / "ci.pub").write_bytes(public_pem(pair("ci").public))

    def push(self) -> Ran:
        return run("push", str(self.directory / "web-1.4.2.tgz"), f"oci://{self.registry.host}/acme")

    @property
    def pinned(self) -> str:
        return f"oci://{self.registry.host}/acme/web@{self.registry.tags['acme/web', '1.4.2']}"

    def sign(self) -> Ran:
        return run("sign", self.pinned, "--key", str(self.directory / "ci.key"))

    def copy(self) -> Ran:
        policy = self.directory / "policy.yaml"
        policy.write_text(
            "apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {name: copies}\ntrust: {ci: {key: {file: ci.pub}}}\nrules:\n"
            f'  - {{name: a, charts: ["oci://{self.registry.host}/acme/*"], require: {{signed: {{by: ci}}}}}}\n'
            f'  - {{name: b, charts: ["oci://{self.registry.host}/stable/*"], origins: ["oci://{self.registry.host}/acme/web"], require: {{signed: {{by: ci}}}}}}\n'
        )
        return run("copy", f"oci://{self.registry.host}/acme/web:1.4.2", f"oci://{self.registry.host}/stable/web", "--policy", str(policy))

    def verified(self, name: str = "acme/web") -> bool:
        return run("verify", f"oci://{self.registry.host}/{name}:1.4.2", "--key", str(self.directory / "ci.pub"), "-q").status == 0


@contextmanager
def working(kind: str, directory: Path) -> Iterator[Work]:
    with simulated(Switches(**KINDS[kind])) as registry:  # type: ignore[arg-type]
        yield Work(registry, directory)


def until_done(work: Work, step: str, fault: str) -> int:
    """Do a step with its first write at fault, then its second, until it is done without meeting the fault; how many writes it took."""
    registry = work.registry
    stored = _stored(registry)
    for number in range(1, 30):
        registry.tags, registry.manifests, registry.blobs = (dict(items) for items in stored)
        before = registry.writes
        setattr(work.registry.switches, fault, before + number)
        ran: Ran = getattr(work, step)()
        if work.registry.writes < before + number:
            assert ran.status == 0, ran.text
            return number - 1
        if ran.status != 0:  # a step may do without the write: an upload that failed is no longer needed by whoever finds the blob there
            assert ran.status == 3, ran.text
            assert FAULTS[fault] in ran.text
            assert "digest  " not in ran.out, "nothing half-written is reported as done"
        setattr(work.registry.switches, fault, 0)
        again: Ran = getattr(work, step)()
        assert again.status == 0, again.text
    raise AssertionError("it never ends")


def _stored(registry: SimulatedRegistry) -> tuple[dict[Any, Any], ...]:
    return dict(registry.tags), dict(registry.manifests), dict(registry.blobs)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["API", "fallback tag"])
def test_every_write_of_push_sign_and_copy(kind: str, fault: str, tmp_path: Path) -> None:
    with working(kind, tmp_path) as work:
        assert until_done(work, "push", fault) >= 5
        assert until_done(work, "sign", fault) >= 4
        assert work.verified()
        assert until_done(work, "copy", fault) >= 3


def test_tokens_that_end_at_any_moment(tmp_path: Path) -> None:
    with working("tokens", tmp_path) as work:
        assert work.push().status == 0
        needed = len(work.registry.requests)
        for number in range(1, needed + 1):
            work.registry.tags.clear()
            work.registry.manifests.clear()
            work.registry.blobs.clear()
            work.registry.switches.forget_tokens_at = len(work.registry.requests) + number
            ran = work.push()
            assert ran.status == 0, ran.text
        assert needed < 20


READING: list[tuple[str, dict[str, Any], set[str]]] = [
    (path, {fault: path}, codes)
    for path in ("/manifests/", "/blobs/", "/referrers/")
    for fault, codes in (
        ("drip", {"timeout"}),
        ("stall", {"timeout"}),
        ("reset", {"unreachable"}),
        ("truncate", {"unreachable"}),
    )
]


@pytest.mark.parametrize("path, faults, codes", READING, ids=lambda value: "-".join(value) if isinstance(value, dict) else None)
def test_a_verification_that_meets_a_fault_is_inconclusive_in_time_and_allowed_when_it_is_over(path: str, faults: dict[str, Any], codes: set[str]) -> None:
    with simulated() as registry:
        connections, key = connect(), pair("ci")
        sign(connections, registry.host, publish(connections, registry.host, archive()), key)
        policy = key_policy(registry.host, key)
        for name, value in faults.items():
            setattr(registry.switches, name, value)
        started = time.monotonic()
        decision = ask(f"oci://{registry.host}/acme/web:1.4.2", policy, connections, Options(seconds=1.0))
        assert time.monotonic() - started < 5
        assert decision.outcome is Outcome.INCONCLUSIVE
        assert code_names(decision) & codes, code_names(decision)
        for name in faults:
            setattr(registry.switches, name, "")
        registry.go_on.set()
        assert ask(f"oci://{registry.host}/acme/web:1.4.2", policy, connections).outcome is Outcome.ALLOWED
        connections.close()


@pytest.mark.parametrize(
    "path, body, code, outcome",
    [
        ("/manifests/", b"not json", "json-invalid", Outcome.DENIED),
        ("/blobs/", b"other bytes", "digest-mismatch", Outcome.DENIED),
        ("/referrers/", b"other bytes", "", Outcome.DENIED),
    ],
)
def test_a_registry_that_lies(path: str, body: bytes, code: str, outcome: Outcome) -> None:
    with simulated() as registry:
        connections, key = connect(), pair("ci")
        sign(connections, registry.host, publish(connections, registry.host, archive()), key)
        registry.switches.body = {path: body}
        decision = ask(f"oci://{registry.host}/acme/web:1.4.2", key_policy(registry.host, key), connections, Options(seconds=5.0))
        assert not decision.allowed
        assert decision.outcome is outcome
        assert not code or code in code_names(decision), code_names(decision)
        connections.close()


def test_a_name_that_does_not_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unresolved(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    with simulated() as registry:
        work = Work(registry, tmp_path)
        monkeypatch.setattr(socket, "getaddrinfo", unresolved)
        for ran in (
            run("verify", "oci://registry.acme.exmaple/acme/web:1.4.2", "--key", str(tmp_path / "ci.pub")),
            run("push", str(tmp_path / "web-1.4.2.tgz"), "oci://registry.acme.exmaple/acme"),
        ):
            assert (ran.status, "unreachable" in ran.text, "does not resolve" in ran.text) == (3, True, True)
        assert not work.registry.requests


@pytest.mark.parametrize("fault, code", [("stall", "timeout"), ("reset", "unreachable")])
@pytest.mark.parametrize("path", ["/blobs/uploads/", "/manifests/"])
def test_a_push_that_stalls_ends_and_can_be_repeated(path: str, fault: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.model.limits.READ_SECONDS", 0.5)
    with simulated() as registry:
        work = Work(registry, tmp_path)
        setattr(registry.switches, fault, path)
        ran = work.push()
        assert (ran.status, code in ran.err) == (3, True), ran.text
        assert not registry.tags
        setattr(registry.switches, fault, "")
        registry.go_on.set()
        assert work.push().status == 0
