"""What holds for every test: no network but loopback, nobody's real home, nothing left behind."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# No test has a time limit: machines are noisy, and an expression's first use compiles it.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")
pytest.register_assert_rewrite("tests.support", "tests.simulators")

from verifier.registry.app import RegistryApp  # noqa: E402
from verifier.registry.running import running  # noqa: E402
from verifier.registry.store import RegistryStore  # noqa: E402

_THEIRS = (
    *("VERIFIER_", "COSIGN_", "HELM_", "DOCKER_", "XDG_", "REGISTRY_", "GITHUB_", "GITLAB_", "CI_", "ACTIONS_", "SIGSTORE_"),
    *("AWS_", "AZURE_", "GOOGLE_", "GCE_", "IDENTITY_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
_LOOPBACK = ("127.", "::1", "localhost")
_BEFORE: pytest.StashKey[Any] = pytest.StashKey()
_real_connect = socket.socket.connect


def _guarded_connect(self: socket.socket, address: object) -> None:
    if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(_LOOPBACK):  # type: ignore[index]
        raise AssertionError(f"a test tried to reach {address}")
    _real_connect(self, address)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _nobody_else_writes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a second writer nothing needs to settle; tests of two writers are marked `settling`."""
    if request.node.get_closest_marker("settling") is None:
        monkeypatch.setattr("verifier.oci.referrers._SETTLE_SECONDS", 0.02)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No packet leaves the machine; no configuration of whoever runs the tests counts."""
    monkeypatch.setattr(socket.socket, "connect", _guarded_connect)
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith(_THEIRS) and name not in ("VERIFIER_REQUIRE_PEERS", "VERIFIER_PEERS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GNUPGHOME", str(home / "no-gnupg-home-of-yours"))
    monkeypatch.setenv("NO_COLOR", "1")


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        session.config.stash[_BEFORE] = _leftovers()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Temporary homes and demos are gone, and no child process lives on, when the tests end."""
    if hasattr(session.config, "workerinput"):
        return
    left = sorted(_leftovers() - session.config.stash[_BEFORE]) + _children() + _agents()
    if left:
        sys.stderr.write(f"\nleft behind: {left}\n")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _leftovers() -> set[str]:
    places = (Path(tempfile.gettempdir()), Path("/dev/shm"))
    return {path.name for place in places for path in place.glob("v*") if path.name.startswith(("vgpg-", "verifier-demo-", "verifier-helm-"))}


def _agents() -> list[str]:
    """GnuPG agents whose home a test made: they detach, so they are nobody's children."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if line.startswith("gpg-agent") and ("/pytest-of-" in line or "/vgpg-" in line):
            found.append(line)
    return found


def _children() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and fields[0] != "Z":
            found.append(path.parent.name)
    return found


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The embedded registry, as `host:port`; its data lies in `tmp_path / "registry"`."""
    store = RegistryStore(tmp_path / "registry")
    store.prepare()
    with running(RegistryApp(store)) as host:
        yield host
