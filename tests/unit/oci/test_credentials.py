"""Credentials: which file and which key wins, helpers, and what is broken."""

from __future__ import annotations

import base64
import json
import stat
import time
from pathlib import Path

import pytest

from tests.support.cli import CANARY
from verifier.cli.options import job_credentials
from verifier.model.errors import MisuseError
from verifier.oci.auth_file import forget, store
from verifier.oci.credentials import Basic, IdentityToken, RegistryToken
from verifier.oci.keychain import Credentials
from verifier.settings import credential_files, key_password, load_settings


def auth(user: str, password: str = CANARY) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def config(path: Path, **value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def helper(directory: Path, name: str, script: str) -> None:
    directory.mkdir(exist_ok=True)
    path = directory / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def user(files: list[Path], registry: str, repository: str = "acme/web", environment: dict[str, str] | None = None) -> str | None:
    found = Credentials(files, environment=environment).find(registry, repository)
    return found.username if isinstance(found, Basic) else None if found is None else type(found).__name__


def test_the_most_specific_key_wins(tmp_path: Path) -> None:
    path = config(tmp_path / "c", auths={"reg.test": auth("host"), "reg.test/acme": auth("namespace"), "reg.test/acme/web": auth("repository")})
    assert user([path], "reg.test", "acme/web") == "repository"
    assert user([path], "reg.test", "acme/api") == "namespace"
    assert user([path], "reg.test", "acmeweb") == "host"
    assert user([path], "evil.reg.test", "acme/web") is None


def test_old_forms_of_keys(tmp_path: Path) -> None:
    path = config(tmp_path / "c", auths={"https://index.docker.io/v1/": auth("hub"), "https://old.test": auth("old"), "https://older.test/v2/": auth("older")})
    assert user([path], "docker.io", "library/web") == "hub"
    assert user([path], "old.test") == "old"
    assert user([path], "older.test") == "older"


def test_the_first_file_that_knows_wins(tmp_path: Path) -> None:
    one, two = config(tmp_path / "1", auths={"a.test": auth("one")}), config(tmp_path / "2", auths={"a.test": auth("two"), "b.test": auth("two")})
    assert user([one, two, tmp_path / "missing"], "a.test") == "one"
    assert user([one, two], "b.test") == "two"
    (tmp_path / "empty").write_text("")
    assert user([tmp_path / "empty"], "a.test") is None


def test_every_kind_of_entry(tmp_path: Path) -> None:
    entries = {"i.test": {"identitytoken": CANARY}, "r.test": {"registrytoken": CANARY}, "p.test": {"username": "me", "password": CANARY}, "e.test": {}}
    credentials = Credentials([config(tmp_path / "c", auths=entries)])
    assert credentials.find("i.test", "x") == IdentityToken(CANARY)
    assert credentials.find("r.test", "x") == RegistryToken(CANARY)
    assert credentials.find("p.test", "x") == Basic("me", CANARY)
    assert credentials.find("e.test", "x") is None
    given = Credentials(given=("g.test", Basic("given", "x")))
    assert given.find("g.test", "x") == Basic("given", "x")
    assert given.find("other.test", "x") is None, "a credential goes to one host only"
    for found in (Basic("me", CANARY), IdentityToken(CANARY), RegistryToken(CANARY)):
        assert CANARY not in repr(found)


def test_helpers(tmp_path: Path) -> None:
    helper(tmp_path / "bin", "good", f'read host; printf \'{{"ServerURL":"%s","Username":"%s-user","Secret":"{CANARY}"}}\' "$host" "$host"')
    helper(tmp_path / "bin", "token", f'printf \'{{"Username":"<token>","Secret":"{CANARY}"}}\'')
    helper(tmp_path / "bin", "none", "echo 'credentials not found in native keychain'; exit 1")
    helper(tmp_path / "bin", "blank", 'printf \'{"Username":"","Secret":""}\'')
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    path = config(tmp_path / "c", credHelpers={"a.test": "good", "t.test": "token"}, credsStore="none", auths={"a.test": auth("file"), "b.test": auth("file")})
    assert user([path], "a.test", environment=environment) == "a.test-user"
    assert user([path], "t.test", environment=environment) == "IdentityToken"
    assert user([path], "b.test", environment=environment) == "file"
    hub = config(tmp_path / "h", credsStore="good")
    assert user([hub], "docker.io", environment=environment) is not None
    assert user([config(tmp_path / "d", credsStore="blank")], "a.test", environment=environment) is None


def test_a_helper_is_asked_again_when_the_registry_refuses_what_it_said_a_while_ago(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path / "bin", "count", f'echo x >> {tmp_path}/asked; printf \'{{"Username":"u%s","Secret":"x"}}\' $(wc -l < {tmp_path}/asked)')
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    credentials = Credentials([config(tmp_path / "c", credsStore="count")], environment=environment)
    assert [credentials.find("a.test", "x") for _ in range(3)] == [Basic("u1", "x")] * 3
    assert not credentials.refresh("a.test", "x"), "what it said just now"
    later = time.monotonic() + 60
    monkeypatch.setattr("verifier.oci.keychain.time.monotonic", lambda: later)
    assert credentials.refresh("a.test", "x")
    assert credentials.find("a.test", "x") == Basic("u2", "x")


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = config(tmp_path / "c", auths={"a.test": auth("one")})
    credentials = Credentials([path])
    assert credentials.find("a.test", "x") == Basic("one", CANARY)
    config(tmp_path / "new", auths={"a.test": auth("another")}).replace(path)
    assert credentials.find("a.test", "x") == Basic("another", CANARY)
    path.unlink()
    assert credentials.find("a.test", "x") is None
    path.mkdir()
    assert credentials.find("a.test", "x") is None


def test_a_configuration_in_the_environment_comes_before_files(tmp_path: Path) -> None:
    path = config(tmp_path / "c", auths={"a.test": auth("file"), "b.test": auth("file")})
    text = json.dumps({"auths": {"a.test": auth("environment")}, "credsStore": "never-run"})
    assert user([path], "a.test", environment={"DOCKER_AUTH_CONFIG": text}) == "environment"
    assert user([path], "b.test", environment={"DOCKER_AUTH_CONFIG": text}) == "file"
    for broken in ("{", '{"auths": 5}', "[]"):
        with pytest.raises(MisuseError) as caught:
            user([path], "a.test", environment={"DOCKER_AUTH_CONFIG": broken})
        assert (caught.value.code.name, caught.value.where) == ("config-invalid", "DOCKER_AUTH_CONFIG")


GITLAB = {"GITLAB_CI": "true", "CI_REGISTRY": "Registry.GitLab.com", "CI_JOB_TOKEN": CANARY}


@pytest.mark.parametrize(
    "environment, host, expected",
    [
        ({"GITHUB_ACTIONS": "true", "GITHUB_TOKEN": CANARY, "GITHUB_ACTOR": "ann"}, "ghcr.io", "ann"),
        ({"GITHUB_ACTIONS": "true", "GITHUB_TOKEN": CANARY}, "ghcr.io", "x-access-token"),
        ({"GITHUB_TOKEN": CANARY}, "ghcr.io", None),
        ({"GITHUB_ACTIONS": "true"}, "ghcr.io", None),
        (GITLAB, "registry.gitlab.com", "gitlab-ci-token"),
        ({**GITLAB, "CI_REGISTRY_USER": "deploy", "CI_REGISTRY_PASSWORD": CANARY}, "registry.gitlab.com", "deploy"),
        ({**GITLAB, "CI_JOB_TOKEN": ""}, "registry.gitlab.com", None),
        ({**GITLAB, "GITLAB_CI": ""}, "registry.gitlab.com", None),
    ],
)
def test_the_jobs_own_token_goes_to_its_registry_only(environment: dict[str, str], host: str, expected: str | None) -> None:
    credentials = Credentials(jobs=job_credentials(environment))
    found = credentials.find(host, "acme/web")
    assert (found.username if isinstance(found, Basic) else None) == expected
    for other in ("docker.io", f"{host}.evil.test", f"evil.{host}"):
        assert credentials.find(other, "acme/web") is None


def test_what_is_logged_in_comes_before_the_jobs_token(tmp_path: Path) -> None:
    path = config(tmp_path / "c", auths={"ghcr.io": auth("file")})
    jobs = {"ghcr.io": Basic("job", "x")}
    names = [item.username for item in Credentials([path], jobs=jobs).candidates("ghcr.io", "a/b") if isinstance(item, Basic)]
    assert names == ["file", "job"]


@pytest.mark.parametrize(
    "value",
    [
        {"auths": [1]},
        {"credHelpers": {"a.test": "../evil"}},
        {"credHelpers": {"a.test": "a b"}},
        {"credHelpers": {"a.test": "missing-helper"}},
        {"credHelpers": {"a.test": "broken"}},
        {"credHelpers": {"a.test": "text"}},
        {"credHelpers": {"a.test": "odd"}},
        {"auths": {"a.test": {"auth": "***"}}},
        {"auths": {"a.test": {"auth": base64.b64encode(b"nocolon").decode()}}},
    ],
)
def test_what_is_broken_is_said(tmp_path: Path, value: dict[str, object]) -> None:
    helper(tmp_path / "bin", "broken", "exit 5")
    helper(tmp_path / "bin", "text", "echo hello")
    helper(tmp_path / "bin", "odd", "echo '{\"Username\": 5}'")
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    with pytest.raises(MisuseError) as caught:
        user([config(tmp_path / "c", **value)], "a.test", environment=environment)
    assert caught.value.code.name in ("config-invalid", "tool-missing")
    assert CANARY not in str(caught.value)


def test_a_file_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("{")
    with pytest.raises(MisuseError) as caught:
        user([tmp_path / "c"], "a.test")
    assert caught.value.code.name == "config-invalid"


def test_storing_and_forgetting(tmp_path: Path) -> None:
    path = config(tmp_path / "c", auths={"a.test": auth("a")}, other="kept")
    path.write_bytes(store(path, "b.test", Basic("b", "x")))
    path.write_bytes(store(path, "docker.io", Basic("hub", "x")))
    assert (user([path], "a.test"), user([path], "b.test"), user([path], "docker.io")) == ("a", "b", "hub")
    content = forget(path, "b.test")
    assert content is not None
    path.write_bytes(content)
    assert user([path], "b.test") is None
    assert forget(path, "b.test") is None
    assert json.loads(path.read_text())["other"] == "kept"
    assert json.loads(store(tmp_path / "new", "c.test", Basic("c", "x")))["auths"]


def test_where_files_are_looked_for() -> None:
    files = credential_files({"HOME": "/h", "XDG_RUNTIME_DIR": "/run/u", "REGISTRY_AUTH_FILE": "/r"}, None)
    assert [str(path) for path in files] == [
        "/h/.config/helm/registry/config.json",
        "/h/.docker/config.json",
        "/r",
        "/run/u/containers/auth.json",
        "/h/.config/containers/auth.json",
    ]
    assert credential_files({}, "/given") == (Path("/given"),)
    assert key_password({"COSIGN_PASSWORD": "c"}) == b"c"
    assert key_password({"COSIGN_PASSWORD": "c", "VERIFIER_PASSWORD": ""}) == b""
    assert key_password({}) is None


def test_settings(tmp_path: Path) -> None:
    system, own = tmp_path / "s.yaml", tmp_path / "u.yaml"
    system.write_text("policy: a.yaml\ncaFile: /ca\n")
    own.write_text("policy: b.yaml\n")
    settings = load_settings({}, (system, own))
    assert (settings.policy, settings.ca_file, settings.registry_config) == (str(tmp_path / "b.yaml"), "/ca", None)
    assert load_settings({"VERIFIER_POLICY": "/c"}, (system, own)).policy == "/c"
    for text in ("- a", "unknown: x", "policy: [a]", "policy: a\npolicy: b", "policy: ''"):
        own.write_text(text)
        with pytest.raises(MisuseError) as caught:
            load_settings({}, (own,))
        assert caught.value.code.name == "config-invalid"
