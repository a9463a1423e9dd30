"""Files of credentials as Docker, Helm and podman write them, and the helpers that they name.

1. The key that names the longest prefix of `host/repository` wins.
2. A `credHelpers` entry beats `credsStore`, which beats `auths`.
3. A file is read when a registry first asks, and again when it has changed; a helper runs once per host, until its answer is forgotten.
4. Storing goes to the helper where there is one, else into the file, in the form that all of them read.

Source: docker/cli cli/config/configfile, docker/docker-credential-helpers, containers-auth.json(5).
"""

from __future__ import annotations

import re
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from verifier.formats.json import dump_json, parse_object
from verifier.model import limits
from verifier.model.errors import FailedError
from verifier.model.reference import DOCKER_HUB
from verifier.net.process import run_program
from verifier.oci.credentials import Basic, Credential, IdentityToken, encode_basic, invalid_config, read_entry

_HELPER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_NOT_FOUND = b"credentials not found"
_TOKEN_USER = "<token>"  # noqa: S105  # what helpers call an identity token's user
_Stamp = tuple[int, int, int]


class AuthFile:
    """One file, which need not be there; safe to share between threads."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        self.path = path
        self._environment = environment
        self._lock = threading.Lock()
        self._config: dict[str, Any] = {}
        self._stamp: _Stamp | None = None
        self._helped: dict[tuple[str, str], tuple[Credential | None, float]] = {}

    def find(self, registry: str, repository: str) -> tuple[str, Credential] | None:
        """The credential and where it stands, or None; raises MisuseError `config-invalid` on a file or helper that is broken."""
        with self._lock:
            config = self._current()
            for key in _keys(registry, repository):  # 1
                if (found := self._look_up(config, key)) is not None:
                    return found
        return None

    def forget_helped(self, before: float) -> bool:
        """Forget what helpers said before a time (monotonic); whether there was any."""
        with self._lock:
            old = [key for key, (_, at) in self._helped.items() if at < before]
            for key in old:
                del self._helped[key]
        return bool(old)

    def _current(self) -> dict[str, Any]:  # 3
        try:
            found = self.path.stat()
        except OSError:
            found = None
        if found is None or not stat.S_ISREG(found.st_mode):
            self._config, self._stamp = {}, None
            return self._config
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if stamp != self._stamp:
            self._config, self._stamp = read_config(self.path), stamp
        return self._config

    def _look_up(self, config: dict[str, Any], key: str) -> tuple[str, Credential] | None:
        helper = _helper(config, key, str(self.path))
        if helper is not None and (helped := self._ask(helper, key)) is not None:
            return f"docker-credential-{helper}, as {self.path} says", helped
        found = _entry(config, key, str(self.path))
        return (str(self.path), found) if found is not None else None

    def _ask(self, helper: str, key: str) -> Credential | None:
        if (helper, key) not in self._helped:
            self._helped[helper, key] = (_get(helper, key, self._environment), time.monotonic())
        return self._helped[helper, key][0]


def entries_credential(text: str, where: str, registry: str, repository: str) -> Credential | None:
    """The credential in a configuration that is given as text, which names no helpers (DOCKER_AUTH_CONFIG)."""
    config = _parse(text.encode(), where)
    return next((found for key in _keys(registry, repository) if (found := _entry(config, key, where)) is not None), None)


def _entry(config: dict[str, Any], key: str, where: str) -> Credential | None:
    entry = _mapping(config, "auths", where).get(key)
    return read_entry(entry, f"{where}: auths[{key!r}]") if isinstance(entry, dict) else None


def _helper(config: dict[str, Any], key: str, where: str) -> str | None:  # 2
    helper = _mapping(config, "credHelpers", where).get(key)
    if helper is None and (key == _DOCKER_HUB_KEY or "/" not in key.removeprefix("https://")):
        helper = config.get("credsStore") or None
    if helper is not None and not _HELPER.fullmatch(str(helper)):
        raise invalid_config(f"{str(helper)[:80]!r} is not a helper's name", where)
    return helper


def _get(helper: str, key: str, environment: Mapping[str, str]) -> Credential | None:
    program = f"docker-credential-{helper}"
    done = run_program([program, "get"], stdin=key.encode(), seconds=limits.HELPER_SECONDS, environment=environment)
    if done.status != 0:
        if _NOT_FOUND in done.stdout:
            return None
        raise invalid_config(f"failed with status {done.status}", program)
    try:
        answer = parse_object(done.stdout, where=program)
    except FailedError as error:
        raise invalid_config("did not answer with JSON", program) from error
    username, secret = answer.get("Username"), answer.get("Secret")
    if not isinstance(username, str) or not isinstance(secret, str):
        raise invalid_config("answered without Username or Secret", program)
    if not username and not secret:
        return None
    return IdentityToken(secret) if username == _TOKEN_USER else Basic(username, secret)


# Storing (4)


def helper_for(path: Path, host: str) -> str | None:
    """The helper that keeps this host's credential, if the file names one; raises MisuseError `config-invalid`."""
    return _helper(read_config(path), _key(host), str(path)) if path.is_file() else None


def store_by(helper: str, host: str, credential: Basic, environment: Mapping[str, str]) -> None:
    """Let a helper keep it; raises MisuseError `config-invalid`. The secret goes over the helper's input, where no process list shows it."""
    value = dump_json({"ServerURL": _key(host), "Username": credential.username, "Secret": credential.password})
    _run(helper, "store", value, environment)


def erase_by(helper: str, host: str, environment: Mapping[str, str]) -> None:
    """Let a helper forget it; raises MisuseError `config-invalid`."""
    _run(helper, "erase", _key(host).encode(), environment)


def _run(helper: str, verb: str, stdin: bytes, environment: Mapping[str, str]) -> None:
    done = run_program([f"docker-credential-{helper}", verb], stdin=stdin, seconds=limits.HELPER_SECONDS, environment=environment)
    if done.status != 0 and _NOT_FOUND not in done.stdout:
        raise invalid_config(f"failed to {verb}, with status {done.status}", f"docker-credential-{helper}")


def store(path: Path, host: str, credential: Basic) -> bytes:
    """The file's new content with this credential added, in the format that Helm and Docker share."""
    config = read_config(path) if path.is_file() else {}
    auths = dict(_mapping(config, "auths", str(path)))
    auths[_key(host)] = {"auth": encode_basic(credential).removeprefix("Basic ")}
    return dump_json({**config, "auths": auths})


def forget(path: Path, host: str) -> bytes | None:
    """The file's new content without this host's credential; None when there was none."""
    config = read_config(path)
    auths = dict(_mapping(config, "auths", str(path)))
    if auths.pop(_key(host), None) is None:
        return None
    return dump_json({**config, "auths": auths})


def _key(host: str) -> str:
    return _DOCKER_HUB_KEY if host == DOCKER_HUB else host


def _keys(registry: str, repository: str) -> Iterator[str]:
    """Most specific first; then the forms that Docker's older clients wrote."""
    parts = repository.split("/")
    for count in range(len(parts), 0, -1):
        yield "/".join((registry, *parts[:count]))
    yield registry
    yield f"https://{registry}"
    yield f"https://{registry}/v2/"
    if registry == DOCKER_HUB:
        yield _DOCKER_HUB_KEY
        yield "index.docker.io"


def read_config(path: Path) -> dict[str, Any]:
    """The whole file; raises MisuseError `config-invalid`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise invalid_config(error.strerror or str(error), str(path)) from error
    return _parse(data, str(path))


def _parse(data: bytes, where: str) -> dict[str, Any]:
    if not data.strip():
        return {}
    try:
        return parse_object(data, where=where)
    except FailedError as error:
        raise invalid_config(error.reason, where) from error


def _mapping(config: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    value = config.get(key) or {}
    if not isinstance(value, dict):
        raise invalid_config(f"{key} is not an object", where)
    return value
