"""`verifier registry check`: a right and readable report of every registry that users have, and of what is wrong with a way to one.

`VERIFIER_GOLDEN=write` writes the expected reports anew; read the difference before it is committed.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.registry import Switches, simulated
from tests.simulators.registry.profiles import PROFILES, Stage, standing
from tests.support.charts import archive
from tests.support.cli import Ran, run
from tests.support.clouds import no_identity
from tests.unit.report.test_golden import compare

GOLDEN = Path(__file__).parents[2] / "assets" / "golden" / "registry-check"


@contextmanager
def staged(name: str, work: Path, patch: pytest.MonkeyPatch) -> Iterator[Stage]:
    no_identity(patch)
    with standing(PROFILES[name], work) as stage:
        for variable, text in stage.net.environment.items():
            patch.setenv(variable, text)
        yield stage


def place(stage: Stage) -> str:
    return f"{stage.profile.host}/{stage.profile.path}/web"


def steady(text: str, work: Path) -> str:
    """The report without what is another one each time: ports, digests, folders."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text.replace(str(work), "DIR"))
    return re.sub(r"verifier-check-[0-9a-f]{8}", "verifier-check-HEX", re.sub(r"(sha256[:-])[0-9a-f]{12,64}", r"\1HEX", text))


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_the_report_of_every_registry(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with staged(name, tmp_path, monkeypatch) as stage:
        (tmp_path / "web-1.4.2.tgz").write_bytes(archive())
        assert run("push", str(tmp_path / "web-1.4.2.tgz"), stage.base, *stage.options).status == 0
        before = set(stage.registry.manifests)
        ran = run("registry", "check", place(stage), "--write", *stage.options)
        left = set(stage.registry.manifests) - before
    found = steady(f"{ran.out}exit {ran.status}\n", tmp_path)
    compare(GOLDEN / f"{name}.txt", found)
    assert bool(left) is ("left behind" in found)


def test_every_golden_report_is_of_a_registry() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(PROFILES)


def lines(ran: Ran) -> dict[str, dict[str, Any]]:
    return {line["topic"]: line for line in json.loads(ran.out)["lines"]}


def check(host: str, *more: str, name: str = "/acme/web") -> Ran:
    return run("registry", "check", f"{host}{name}", "-o", "json", *more)


def test_nothing_is_left_behind_without_write() -> None:
    with simulated() as registry:
        ran = check(registry.host)
        assert ran.status == 0
        assert not registry.manifests
        assert lines(ran)["tags"]["state"] == "skipped"
        assert len(registry.paths("POST")) == len(registry.paths("DELETE")) == 1


def test_a_host_alone() -> None:
    with simulated() as registry:
        ran = check(registry.host, name="")
        assert (ran.status, set(lines(ran))) == (0, {"way", "registry", "clock", "login", "repository"})
        assert run("registry", "check", registry.host, "--write").status == 2


WRONG: list[tuple[Switches, str, str, str, int]] = [
    (Switches(basic=("me", "x")), "login", "wrong", "unauthorized", 1),
    (Switches(bearer=("me", "x")), "login", "wrong", "unauthorized", 1),
    (Switches(bearer=("me", "x"), realm="http://169.254.169.254/token"), "login", "wrong", "auth-refused", 1),
    (Switches(html=True), "registry", "wrong", "registry-nonsense", 1),
    (Switches(status={"/v2/": 503}), "registry", "wrong", "registry-error", 1),
    (Switches(status={"/v2/": 404}), "registry", "wrong", "not-found", 1),
    (Switches(too_many=1), "registry", "wrong", "rate-limited", 1),
    (Switches(status={"/tags/": 403}), "pull", "wrong", "forbidden", 1),
    (Switches(status={"/uploads/": 403}), "push", "note", "forbidden", 0),
    (Switches(status={"/uploads/": 405}), "push", "note", "unsupported", 0),
    (Switches(referrers_status=503), "referrers", "wrong", "registry-error", 1),
    (Switches(referrers_status=404, referrers_code="NAME_UNKNOWN"), "referrers", "unknown", "", 3),
    (Switches(clock=120), "clock", "note", "", 0),
    (Switches(clock=-4000), "clock", "wrong", "", 1),
]  # fmt: skip


@pytest.mark.parametrize("switches, topic, state, code, status", WRONG)
def test_what_is_wrong_is_said_where_it_is(switches: Switches, topic: str, state: str, code: str, status: int) -> None:
    with simulated(switches) as registry:
        registry.put("acme/web", b'{"schemaVersion": 2, "config": {}, "layers": []}', "1")
        ran = check(registry.host)
    line = lines(ran)[topic]
    assert (line["state"], line["code"] or "", ran.status) == (state, code, status)
    assert line["advice"] or state == "unknown"


def test_a_repository_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with staged("ecr", tmp_path, monkeypatch) as stage:
        ran = run("registry", "check", f"{stage.profile.host}/nothing/here", *stage.options)
        assert "note     pull        the repository is not there, or may not be seen [not-found]" in ran.out
        assert "aws ecr create-repository" in ran.out
        assert ran.status == 0


def test_the_way_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with staged("ghcr", tmp_path, monkeypatch) as stage:
        unknown = check("registry.acme.exmaple", *stage.options)
        assert (lines(unknown)["registry"]["code"], unknown.status) == ("proxy-failed", 1)
        stage.net.password = "me:secret"
        refused = lines(check("ghcr.io", *stage.options))["registry"]
        assert (refused["code"], "USER:PASSWORD@" in refused["advice"]) == ("proxy-failed", True)
        stage.net.password = ""
        untrusted = lines(check("ghcr.io"))["registry"]
        assert (untrusted["code"], "--ca-file" in untrusted["advice"]) == ("tls-failed", True)
        unchecked = check("ghcr.io", "--insecure-skip-tls-verify")
        assert (lines(unchecked)["registry"]["state"], "UNSAFE" in unchecked.err) == ("note", True)
    monkeypatch.delenv("HTTPS_PROXY")

    def unresolved(host: str, *_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    misspelt = lines(check("registry.acme.exmaple"))["registry"]
    assert (misspelt["code"], "spelling" in misspelt["advice"]) == ("unreachable", True)


def test_tls_where_there_is_none_and_none_where_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with staged("ghcr", tmp_path, monkeypatch) as stage, simulated() as registry:
        plain = lines(check(registry.host, "--ca-file", str(stage.net.ca_file)))["registry"]  # a CA says that loopback speaks TLS
        assert (plain["code"], "--plain-http" in plain["advice"]) == ("tls-failed", True)
        secure = lines(check(f"127.0.0.1:{stage.net.front}"))["registry"]
        assert (secure["state"], secure["code"]) == ("wrong", "unreachable")


def test_who_nobody_is_and_who_is_not_asked() -> None:
    with simulated(Switches(bearer=("", ""))) as registry:
        registry.put("acme/web", b'{"schemaVersion": 2, "config": {}, "layers": []}', "1")
        assert (lines(check(registry.host))["login"]["state"]) == "note"
    with simulated() as registry:
        assert "nobody is asked" in lines(check(registry.host))["login"]["text"]


def test_writing_that_goes_wrong() -> None:
    with simulated(Switches(referrers_lose=True)) as registry:
        found = lines(check(registry.host, "--write"))
        assert (found["attach"]["state"], found["attach"]["code"]) == ("wrong", "attachment-lost")
    with simulated(Switches(refuse_write={"manifests/verifier-check": 403})) as registry:
        found = lines(check(registry.host, "--write"))
        assert (found["write"]["state"], found["write"]["code"], "tags" in found) == ("wrong", "forbidden", False)


@pytest.mark.parametrize("target", ["https://ghcr.io/acme/web", "ghcr.io/Acme/web", "gh cr.io", "", "oci://ghcr.io:99999/x"])
def test_what_is_no_place(target: str) -> None:
    ran = run("registry", "check", target)
    assert (ran.status, "reference-invalid" in ran.err) == (2, True)


def test_a_reference_is_taken_for_its_repository() -> None:
    with simulated() as registry:
        assert json.loads(run("registry", "check", f"oci://{registry.host}/acme/web:1.4.2", "-o", "json").out)["repository"] == "acme/web"
