"""`verifier registry login` and `logout`: tried, kept where Helm finds it, and never in an argument list."""

from __future__ import annotations

import io
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.registry import SimulatedRegistry, Switches, simulated
from tests.simulators.registry.profiles import PROFILES, standing
from tests.support.cli import CANARY, Ran, run
from verifier.oci.credentials import Basic
from verifier.oci.keychain import Credentials


@pytest.fixture
def registry() -> Iterator[SimulatedRegistry]:
    with simulated(Switches(basic=("me", CANARY))) as registry:
        yield registry


def login(host: str, config: Path, password: str = CANARY, *more: str, user: str = "me") -> Ran:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
        return run("registry", "login", host, "-u", user, "--password-stdin", "--registry-config", str(config), *more)


def test_what_the_registry_takes_is_kept(registry: SimulatedRegistry, tmp_path: Path) -> None:
    config = tmp_path / "deep" / "config.json"
    ran = login(registry.host, config)
    assert (ran.status, ran.out) == (0, f"logged in  {registry.host}\nin         {config}\n")
    assert Credentials([config]).find(registry.host, "x") == Basic("me", CANARY)
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


@pytest.mark.parametrize("how", ["basic", "bearer"])
def test_what_the_registry_refuses_is_not_kept(how: str, tmp_path: Path) -> None:
    switches = Switches(basic=("me", CANARY)) if how == "basic" else Switches(bearer=("me", CANARY))
    with simulated(switches) as registry:
        ran = login(registry.host, tmp_path / "c", "wrong")
        assert (ran.status, "unauthorized" in ran.err) == (3, True)
        assert not (tmp_path / "c").exists()
        assert login(registry.host, tmp_path / "c").status == 0


def test_a_registry_that_is_not_there_keeps_nothing(tmp_path: Path) -> None:
    with simulated() as registry:
        host = registry.host
    ran = login(host, tmp_path / "c")
    assert (ran.status, "unreachable" in ran.err) == (3, True)
    assert not (tmp_path / "c").exists()


def test_a_registry_that_asks_nobody_is_said_to(tmp_path: Path) -> None:
    with simulated() as registry:
        ran = login(registry.host, tmp_path / "c")
        assert ran.status == 0
        assert "was not tried" in ran.out


HELPER = f"""#!/bin/sh
echo "$@" >> {{work}}/arguments
cat > {{work}}/stdin-$1
case $1 in get) printf '{{{{"Username":"me","Secret":"{CANARY}"}}}}' ;; esac
"""


def test_a_helper_keeps_it_where_there_is_one(registry: SimulatedRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "docker-credential-safe"
    program.write_text(HELPER.format(work=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"credsStore": "safe"}))
    ran = login(registry.host, config)
    assert (ran.status, "docker-credential-safe" in ran.out) == (0, True)
    assert json.loads((tmp_path / "stdin-store").read_text()) == {"ServerURL": registry.host, "Username": "me", "Secret": CANARY}
    assert CANARY not in config.read_text()
    assert CANARY not in (tmp_path / "arguments").read_text()
    assert "forgotten" in run("registry", "logout", registry.host, "--registry-config", str(config)).out
    assert (tmp_path / "stdin-erase").read_text() == registry.host
    program.write_text("#!/bin/sh\nexit 4\n")
    for broken in (login(registry.host, config), run("registry", "logout", registry.host, "--registry-config", str(config))):
        assert (broken.status, "config-invalid" in broken.err) == (2, True)


def test_docker_hub_under_its_old_key_and_a_robot_of_harbor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, user, key in (("docker-hub", "acme", "https://index.docker.io/v1/"), ("harbor", "robot$acme+ci", "harbor.acme.example")):
        with standing(PROFILES[name], tmp_path) as stage:
            monkeypatch.setenv("HTTPS_PROXY", stage.net.proxy)
            config = tmp_path / f"{name}.json"
            ran = login(stage.profile.host, config, CANARY, "--ca-file", str(stage.net.ca_file), user=user)
            assert ran.status == 0, ran.text
            assert list(json.loads(config.read_text())["auths"]) == [key]
            assert "nothing to forget" in run("registry", "logout", "other.test", "--registry-config", str(config)).out
            assert "forgotten" in run("registry", "logout", stage.profile.host, "--registry-config", str(config)).out
            assert json.loads(config.read_text())["auths"] == {}


def test_debug_shows_token_calls_too(tmp_path: Path) -> None:
    with simulated(Switches(bearer=("me", CANARY))) as registry:
        ran = login(registry.host, tmp_path / "c", CANARY, "--debug")
        assert f"debug: GET http://{registry.host}/token -> 200" in ran.err
        ran = login(registry.host, tmp_path / "c", "wrong", "--debug")
        assert f"debug: GET http://{registry.host}/token -> 401" in ran.err
