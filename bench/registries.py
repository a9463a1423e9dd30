"""Registries: how many requests, and how many one after another, an attachment and a verification cost on each; and what eight signers at once leave."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.stage import pair
from tests.interop.conftest import serve
from tests.peers import BIN
from tests.simulators.registry.profiles import PROFILES, Stage, standing
from tests.support.charts import archive
from tests.support.clouds import no_identity
from tests.support.signers import private_pem
from tests.support.world import connect, publish, repository
from verifier.cli.main import execute
from verifier.model.artifact import Descriptor
from verifier.model.digest import sha256
from verifier.model.errors import InconclusiveError
from verifier.oci.manifest import EMPTY_BYTES, write_referrer
from verifier.oci.referrers import list_referrers
from verifier.signers.public import public_pem

Row = Callable[..., None]
_DELAY = 0.25  # seconds that each answer waits: what a step takes longer is how many answers it waited for, one after another
_COSIGN = BIN / "cosign-3.1.2"
_ORAS = BIN / "oras-1.3.3"
_SIGNERS = 8
_ROUNDS = 10
_PAYLOAD = Descriptor(media_type="application/x.bench", digest=sha256(EMPTY_BYTES), size=2)


def main(row: Row) -> None:
    """Both tables."""
    for name, profile in PROFILES.items():
        if profile.can_attach:
            _costs(name, row)
    for registry in ("registry-2.8.2", "registry-3.1.1"):
        _survival(registry, row)


def _costs(name: str, row: Row) -> None:
    with _stage(name) as (stage, work):
        _run("push", str(work / "web-1.4.2.tgz"), stage.base, *stage.options)
        pinned = f"{stage.base}/web@{stage.registry.tags[f'{stage.profile.path}/web', '1.4.2']}"
        signing = ("sign", pinned, "--key", str(work / "ci.key"), *stage.options)
        verifying = ("verify", f"{stage.base}/web:1.4.2", "--key", str(work / "ci.pub"), *stage.options)
        attach = _counted(stage, lambda: _run(*signing))
        verify = _counted(stage, lambda: _run(*verifying))
        verify_deep = _deep(stage, lambda: _run(*verifying))
        cosign = ("verify", "--insecure-ignore-tlog", "--key", str(work / "ci.pub"), pinned.removeprefix("oci://"))
        theirs = _counted(stage, lambda: _peer(stage, work, _COSIGN, *cosign)) if _COSIGN.is_file() else 0
        attach_deep = _deep(stage, lambda: _run(*signing))  # last, since each leaves a signature
        shown = f"attach {attach} ({attach_deep} in a row), verify {verify} ({verify_deep} in a row)"
        row(
            f"requests, {name}",
            shown,
            f"{theirs} `cosign verify`, which reads no chart" if theirs else "cosign is missing",
            verify / theirs if theirs else None,
        )


@contextlib.contextmanager
def _stage(name: str) -> Iterator[tuple[Stage, Path]]:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        work = Path(folder)
        no_identity(patch)
        patch.setenv("XDG_DATA_HOME", folder)
        patch.setattr("verifier.oci.referrers._SETTLE_TIMES", 0.0)  # the settling time is no answer that is waited for
        (work / "web-1.4.2.tgz").write_bytes(archive())
        (work / "ci.key").write_bytes(private_pem(pair()))
        (work / "ci.pub").write_bytes(public_pem(pair().public))
        with standing(PROFILES[name], work) as stage:
            for variable, text in stage.net.environment.items():
                patch.setenv(variable, text)
            yield stage, work


def _run(*arguments: str) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        status = execute(list(arguments))
    if status != 0:
        raise RuntimeError(out.getvalue())


def _peer(stage: Stage, work: Path, *command: object) -> None:
    subprocess.run([str(item) for item in command], check=True, capture_output=True, env={"HOME": str(work), "PATH": "/usr/bin:/bin", **stage.environment})


def _counted(stage: Stage, work: Callable[[], None]) -> int:
    before = stage.asked
    work()
    return stage.asked - before


def _deep(stage: Stage, work: Callable[[], None]) -> int:
    started = time.perf_counter()
    work()
    plain = time.perf_counter() - started
    stage.registry.switches.delay = _DELAY
    started = time.perf_counter()
    work()
    delayed = time.perf_counter() - started
    stage.registry.switches.delay = 0.0
    return round((delayed - plain) / _DELAY)


def _survival(name: str, row: Row) -> None:
    """Of eight that attach at once: how many are listed at the end, and of those that are not, how many were told so."""
    with tempfile.TemporaryDirectory() as folder, serve(name, Path(folder)) as host:
        connections = connect()
        ours, silent = [], 0
        for number in range(_ROUNDS):
            digest = publish(connections, host, archive(version=f"1.0.{number}"), tag=f"1.0.{number}")
            chart = repository(host).manifest(digest).descriptor
            listed, said = _attach_at_once(host, chart)
            ours.append(len(listed))
            silent += sum(1 for one in said if one not in listed)
        theirs = [_oras_at_once(host, number) for number in range(_ROUNDS)] if _ORAS.is_file() else []
        shown = f"{sum(ours)} of {_ROUNDS * _SIGNERS} listed, {silent} lost without a word"
        peer = f"{sum(theirs)} of {_ROUNDS * _SIGNERS} `oras attach`, the others lost without a word" if theirs else "oras is missing"
        row(f"eight signers at once, {name.replace('registry-', 'distribution ')}", shown, peer, sum(ours) / sum(theirs) if sum(theirs) else None)
        connections.close()


def _attach_at_once(host: str, chart: Descriptor) -> tuple[set[str], list[str]]:
    """What is listed, and what was said to be attached."""
    said: list[str] = []
    repository(host).push_blob(EMPTY_BYTES)

    def attach(number: int) -> None:
        manifest = write_referrer(chart, _PAYLOAD, {"number": str(number)})
        with contextlib.suppress(InconclusiveError):
            repository(host, seconds=60).attach([manifest], chart)
            said.append(str(sha256(manifest)))

    threads = [threading.Thread(target=attach, args=(number,)) for number in range(_SIGNERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {str(item.digest) for item in list_referrers(repository(host), chart.digest).descriptors}, said


def _oras_at_once(host: str, number: int) -> int:
    target = f"{host}/acme/web:1.0.{number}"
    before = _oras_listed(target)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "x").write_text("x")
        command = [str(_ORAS), "attach", "--plain-http", "--artifact-type", "application/x.oras", target, "x"]
        processes = [
            subprocess.Popen(
                [*command[:-2], "--annotation", f"number={index}", *command[-2:]], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for index in range(_SIGNERS)
        ]
        for process in processes:
            process.wait(60)
    return _oras_listed(target) - before


def _oras_listed(target: str) -> int:
    command = [str(_ORAS), "discover", "--plain-http", "--format", "json", "--artifact-type", "application/x.oras", target]
    return len(json.loads(subprocess.run(command, check=True, capture_output=True).stdout).get("referrers") or [])
