"""Settings: flags win, then `VERIFIER_*` variables, then the user's and the system's `verifier.yaml`.

A file in the working directory is never read, and a variable must not name one: a checkout must not bring its own policy (semantics 2). This module and the
command line are the only readers of the environment.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from verifier.formats.yaml import Mapping as YamlMapping
from verifier.formats.yaml import Node, Scalar, YamlError, parse_yaml
from verifier.model import codes
from verifier.model.errors import MisuseError

SYSTEM_FILE = Path("/etc/verifier/verifier.yaml")
_KEYS = {
    "policy": "VERIFIER_POLICY",
    "registryConfig": "VERIFIER_REGISTRY_CONFIG",
    "caFile": "VERIFIER_CA_FILE",
    "helm": "VERIFIER_HELM",
    "policyTrust": "VERIFIER_POLICY_TRUST",
    "plainHttp": "VERIFIER_PLAIN_HTTP",
}
_SWITCHES = ("plainHttp",)
_TRUSTED = ("policy", "policyTrust", "registryConfig", "caFile")


class Settings(Struct, frozen=True, kw_only=True):
    """What is configured outside the command line."""

    policy: str | None = None
    registry_config: str | None = None
    ca_file: str | None = None
    helm: str = "helm"
    policy_trust: str | None = None
    plain_http: bool = False
    mirrors: tuple[tuple[str, str], ...] = ()
    roots: Path
    policies: Path
    journal: Path


def load_settings(environment: Mapping[str, str], files: tuple[Path, ...] | None = None) -> Settings:
    """Read them; raises MisuseError `config-invalid`. Relative paths in a file start at the file."""
    values: dict[str, str] = {}
    mirrors: dict[str, str] = {}
    for path in files if files is not None else (SYSTEM_FILE, _user_file(environment)):
        read, more = _read(path)
        values.update(read)
        mirrors.update(more)
    values.update({key: environment[name] for key, name in _KEYS.items() if environment.get(name)})
    _check_absolute(values, environment)
    return Settings(
        policy=values.get("policy"),
        registry_config=values.get("registryConfig"),
        ca_file=values.get("caFile"),
        helm=values.get("helm") or shutil.which("helm", path=environment.get("PATH", "")) or "helm",
        policy_trust=values.get("policyTrust"),
        plain_http=_switch("plainHttp", values),
        mirrors=_mirrors(environment, mirrors),
        roots=_roots(environment),
        policies=_data(environment) / "policies",
        journal=_data(environment) / "attached.jsonl",
    )


def _check_absolute(values: Mapping[str, str], environment: Mapping[str, str]) -> None:
    """A relative path in the environment names another file in each directory, which a checkout could bring (semantics 2)."""
    for key in _TRUSTED:
        text = values.get(key)
        if text is not None and environment.get(_KEYS[key]) == text and "://" not in text and not Path(text).is_absolute():
            raise MisuseError(codes.CONFIG_INVALID, f"{_KEYS[key]} is {text[:200]!r}, expected an absolute path: it must not depend on the working directory")


def _switch(key: str, values: Mapping[str, str]) -> bool:
    """`true` or `false`, nothing else: a switch that is misspelt must not be off or on by accident."""
    text = values.get(key, "false").lower()
    if text not in ("true", "1", "false", "0"):
        raise MisuseError(codes.CONFIG_INVALID, f"{key} ({_KEYS[key]}) is {text[:40]!r}, expected true or false")
    return text in ("true", "1")


def parse_mirror(text: str) -> tuple[str, str]:
    """`ORIGIN=MIRROR`, as a flag or variable writes it; raises MisuseError `config-invalid`."""
    origin, equals, mirror = text.partition("=")
    if not equals:
        raise MisuseError(codes.CONFIG_INVALID, f"{text[:200]!r} is no mirror, expected ORIGIN=MIRROR, each oci://HOST[/PATH]")
    return origin.strip(), mirror.strip()


def _mirrors(environment: Mapping[str, str], written: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """`mirrors:` of the files, else VERIFIER_MIRRORS: ORIGIN=MIRROR, with commas in between."""
    text = environment.get("VERIFIER_MIRRORS", "")
    if text:
        return tuple(parse_mirror(part) for part in text.split(","))
    return tuple(written.items())


def _roots(environment: Mapping[str, str]) -> Path:
    """Where `verifier trust update` stores what it fetched."""
    if environment.get("VERIFIER_ROOTS"):
        return Path(environment["VERIFIER_ROOTS"])
    return _data(environment) / "roots"


def _data(environment: Mapping[str, str]) -> Path:
    """Where what was fetched is kept, roots and policies from registries, and what was attached."""
    home = Path(environment.get("HOME") or "/")
    return Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share") / "verifier"


def credential_files(environment: Mapping[str, str], given: str | None) -> tuple[Path, ...]:
    """Registry configuration files in the order in which they are asked: the given one alone, or Helm's, Docker's, podman's."""
    if given:
        return (Path(given),)
    home = Path(environment.get("HOME") or "/")
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    helm_config = Path(environment.get("HELM_CONFIG_HOME") or config / "helm")
    runtime = environment.get("XDG_RUNTIME_DIR")
    podman = [Path(environment["REGISTRY_AUTH_FILE"])] if environment.get("REGISTRY_AUTH_FILE") else []
    podman += [Path(runtime) / "containers" / "auth.json"] if runtime else []
    return (
        Path(environment.get("HELM_REGISTRY_CONFIG") or helm_config / "registry" / "config.json"),
        Path(environment.get("DOCKER_CONFIG") or home / ".docker") / "config.json",
        *podman,
        config / "containers" / "auth.json",
    )


def repositories_file(environment: Mapping[str, str]) -> Path:
    """Where `helm repo add` keeps chart repositories."""
    home = Path(environment.get("HOME") or "/")
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    return Path(environment.get("HELM_REPOSITORY_CONFIG") or Path(environment.get("HELM_CONFIG_HOME") or config / "helm") / "repositories.yaml")


def key_password(environment: Mapping[str, str]) -> bytes | None:
    """The passphrase for a private key; ours wins over cosign's. An empty one is a passphrase too."""
    for name in ("VERIFIER_PASSWORD", "COSIGN_PASSWORD"):
        if name in environment:
            return environment[name].encode()
    return None


def _user_file(environment: Mapping[str, str]) -> Path:
    home = Path(environment.get("HOME") or "/")
    return Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "verifier" / "verifier.yaml"


def _read(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The settings of a file, and its mirrors."""
    try:
        data = path.read_bytes()
    except OSError:
        return {}, {}  # not there, or not ours to read: then it configures nothing
    try:
        node = parse_yaml(data)
    except YamlError as error:
        raise MisuseError(codes.CONFIG_INVALID, str(error), where=str(path)) from error
    if not isinstance(node, YamlMapping):
        raise MisuseError(codes.CONFIG_INVALID, "must be a mapping", where=str(path))
    values: dict[str, str] = {}
    mirrors: dict[str, str] = {}
    for key, value in node.items.items():
        if key == "mirrors" and isinstance(value, YamlMapping):
            mirrors = {origin: _text(mirror, origin, path) for origin, mirror in value.items.items()}
            continue
        if key not in _KEYS:
            raise MisuseError(codes.CONFIG_INVALID, f"line {value.line}: {key!r} is not a setting; known are {', '.join((*_KEYS, 'mirrors'))}", where=str(path))
        text = _text(value, key, path)
        values[key] = text if "://" in text or key in _SWITCHES else str(path.parent / text)
    return values, mirrors


def _text(value: Node, key: str, path: Path) -> str:
    if not isinstance(value, Scalar) or not value.text:
        raise MisuseError(codes.CONFIG_INVALID, f"line {value.line}: {key!r} must be a text", where=str(path))
    return value.text
