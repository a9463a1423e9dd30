"""The warm process for the getter: the same answers, nothing kept between calls, and never an answer by somebody else."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.simulators.registry import Switches, simulated
from tests.support.charts import archive
from tests.support.cli import run
from tests.support.world import connect, publish
from tests.unit.cli.test_helm_get import CHART, configure, signed
from verifier.net.warm import LOST, is_private, socket_path

PYTHON = [sys.executable, "-P", "-E"]
# 99 where nobody took the call: then the getter would do the work itself.
ASK = "import os, sys; from verifier.net import warm; {change}; status = warm.hand_over(['helm', 'get', '', '', '', sys.argv[1]], os.environ); sys.exit(99 if status is None else status)"
Ask = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for sockets: short, since their paths may have 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="vr-") as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        yield Path(short)


@contextlib.contextmanager
def resident(runtime: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "verifier", "helm", "resident", *options], stderr=subprocess.PIPE, cwd="/")
    try:
        deadline = time.monotonic() + 30
        while not (runtime / "verifier" / "getter.sock").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        process.communicate()


def _answering(process: subprocess.Popen[bytes]) -> None:
    """A socket that a dead one left is there already: wait for the words instead."""
    assert process.stderr is not None
    assert b"a resident" in process.stderr.readline()
    time.sleep(0.2)


def ask(url: str, change: str = "pass", cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*PYTHON, "-c", ASK.format(change=change), f"verified+oci://{url}"], capture_output=True, check=False, cwd=cwd)


def getter(url: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*PYTHON, "-m", "verifier.getter", "get", "", "", "", f"verified+oci://{url}"], capture_output=True, check=False)


def test_the_same_answers_and_nothing_is_kept(registry: str, runtime: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path)
    signed(registry)
    publish(connect(), registry, archive("web", "1.5.0"), tag="1.5.0")
    with resident(runtime):
        done = ask(f"{registry}/acme/web:1.4.2")
        assert (done.returncode, done.stdout) == (0, CHART), done.stderr
        for _ in range(3):
            denied = ask(f"{registry}/acme/web:1.5.0")
            assert (denied.returncode, denied.stdout, b"[unsigned]" in denied.stderr) == (1, b"", True)
        assert b"[no-policy]" in ask(f"{registry}/acme/web:1.4.2", "os.environ.pop('VERIFIER_POLICY')").stderr
        configure(registry, monkeypatch, tmp_path, rule="    chart: {version: '>=2.0.0'}\n")
        changed = ask(f"{registry}/acme/web:1.4.2")
        assert (changed.returncode, changed.stdout, b"[version-refused]" in changed.stderr) == (1, b"", True)
        configure(registry, monkeypatch, tmp_path)
        assert (getter(f"{registry}/acme/web:1.4.2").stdout, getter("reg.test/acme/web").returncode) == (CHART, 2)


def test_without_one_the_getter_does_the_work(registry: str, runtime: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path)
    signed(registry)
    assert ask(f"{registry}/acme/web:1.4.2").returncode == 99
    assert getter(f"{registry}/acme/web:1.4.2").stdout == CHART


@pytest.mark.parametrize("change", ["warm.identity = lambda: 'another version'", "warm._same_user = lambda connection: False"])
def test_what_does_not_fit_is_not_taken(change: str, registry: str, runtime: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path)
    signed(registry)
    with resident(runtime):
        done = ask(f"{registry}/acme/web:1.4.2", change)
        assert (done.returncode, done.stdout) == (99, b"")
        assert ask(f"{registry}/acme/web:1.4.2").returncode == 0


def test_a_socket_that_others_can_reach_is_not_used(registry: str, runtime: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path)
    signed(registry)
    with resident(runtime):
        (runtime / "verifier").chmod(0o755)
        assert ask(f"{registry}/acme/web:1.4.2").returncode == 99
        assert getter(f"{registry}/acme/web:1.4.2").stdout == CHART
    ran = subprocess.run([*PYTHON, "-m", "verifier", "helm", "resident"], capture_output=True, text=True, check=False)
    assert (ran.returncode, "[write-failed]" in ran.stderr, "not this user's alone" in ran.stderr) == (2, True, True), ran.stderr
    (runtime / "link").symlink_to(runtime)
    assert (is_private(str(runtime)), is_private(str(runtime / "link")), is_private(str(runtime / "none"))) == (True, False, False)


def test_a_checkout_does_not_bring_modules(registry: str, runtime: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Libraries that a call imports late must not come from the directory of the call."""
    configure(registry, monkeypatch, tmp_path)
    signed(registry)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("json", "tempfile", "gnupg", "pysequoia", "asn1crypto", "ipaddress", "zlib", "uuid"):
        (checkout / f"{name}.py").write_text("import os; os.write(1, b'EVIL')\n")
    with resident(runtime):
        assert ask(f"{registry}/acme/web:1.4.2", cwd=checkout).stdout == CHART


def test_a_call_whose_process_dies_is_lost(runtime: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with simulated(Switches(drip="/manifests/")) as slow:
        configure(slow.host, monkeypatch, tmp_path)
        with resident(runtime) as process:
            words = [*PYTHON, "-m", "verifier.getter", "get", "", "", "", f"verified+oci://{slow.host}/acme/web:1.4.2"]
            caller = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            child = _child_of(process.pid)
            os.kill(child, signal.SIGKILL)
            out, err = caller.communicate(timeout=30)
            assert (caller.returncode, out, b"could not be told" in err) == (LOST, b"", True), err


def _child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.02)
    raise AssertionError("no child took the call")


def test_it_ends_when_nobody_calls_and_there_is_only_one(runtime: Path) -> None:
    with resident(runtime, "--idle", "1.5") as process:
        second = subprocess.run([*PYTHON, "-m", "verifier", "helm", "resident"], capture_output=True, text=True, check=False)
        assert (second.returncode, "running already" in second.stderr) == (2, True), second.stderr
        process.wait(30)
        assert not (runtime / "verifier" / "getter.sock").exists()


def test_a_call_starts_one_for_those_that_follow_if_that_is_wanted(registry: str, runtime: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path)
    signed(registry)
    place = runtime / "verifier" / "getter.sock"
    assert (getter(f"{registry}/acme/web:1.4.2").stdout, place.exists()) == (CHART, False)
    monkeypatch.setenv("VERIFIER_HELM_RESIDENT", "true")
    assert getter(f"{registry}/acme/web:1.4.2").stdout == CHART
    try:
        deadline = time.monotonic() + 30
        while ask(f"{registry}/acme/web:1.4.2").returncode == 99 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert ask(f"{registry}/acme/web:1.4.2").stdout == CHART
        assert getter(f"{registry}/acme/web:1.4.2").stdout == CHART
    finally:
        for pid in _started_here(runtime):
            os.kill(pid, signal.SIGTERM)
            while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
                time.sleep(0.02)


def _started_here(runtime: Path) -> list[int]:
    """Residents with this test's own directory in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"\0resident\0" in (path / "cmdline").read_bytes() and f"XDG_RUNTIME_DIR={runtime}\0".encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
    return found


def test_a_dead_one_s_socket_is_replaced(registry: str, runtime: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path)
    signed(registry)
    with resident(runtime) as process:
        process.kill()
        process.wait()
    assert ask(f"{registry}/acme/web:1.4.2").returncode == 99
    assert (runtime / "verifier" / "getter.sock").exists()
    with resident(runtime) as process:
        _answering(process)
        assert ask(f"{registry}/acme/web:1.4.2").returncode == 0


def test_no_place_for_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    assert socket_path({"XDG_RUNTIME_DIR": "relative", "HOME": ""}) is None
    assert socket_path({"XDG_RUNTIME_DIR": "", "HOME": "/h"}) == "/h/.cache/verifier/getter.sock"
    done = subprocess.run([*PYTHON, "-m", "verifier", "helm", "resident"], env={"HOME": "", "PATH": os.defpath}, capture_output=True, text=True, check=False)
    assert (done.returncode, "[config-invalid]" in done.stderr) == (2, True), done.stderr
    assert run("helm", "resident", "--help").status == 0
