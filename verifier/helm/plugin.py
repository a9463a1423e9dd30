"""Helm's plugin: the files of it, as each Helm wants them. Source: helm/helm internal/plugin, pkg/plugin (Helm 3); measured with six Helms.

    form     directories                  why
    HELM3    verifier                     one plugin with a command and a downloader
    HELM4    verifier, verifier-getter    cli/v1 and getter/v1; Helm 4 makes a getter only of a plugin that has both
    BOTH     verifier, verifier-getter    the pair in Helm 3's form, which both read: for Helms that share a plugin directory,
                                          since Helm 3 stumbles over `apiVersion: v1`, and Helm 4 over HELM3

All hold one launcher, `bin/verifier-plugin MODE ...`. It starts the Python that the file `interpreter` beside `plugin.yaml` names,
which `install-plugin` writes, or a `verifier` in the few places where installers put one. It never searches PATH, and Python looks
neither into the working directory nor at PYTHONPATH for modules (-P -E): a checkout must not bring its own verifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from verifier.charts.packaging import write_archive
from verifier.formats.yaml import dump_yaml
from verifier.helm.asked import SCHEME
from verifier.model.digest import Digest, sha256

CLI, GETTER = "verifier", "verifier-getter"
LAUNCHER = "bin/verifier-plugin"
INTERPRETER = "interpreter"
_WINDOWS = f"{LAUNCHER}.cmd"
_PROTOCOL = SCHEME.removesuffix("://")
_USAGE = "verify, sign, pull and install Helm charts under one policy"
_HELP = "Holds charts to one policy over digest, signature and provenance; `helm verifier --help` lists the commands."


class Form(StrEnum):
    """Which Helms read it."""

    HELM3 = "helm3"
    HELM4 = "helm4"
    BOTH = "both"


class Package(Struct, frozen=True, kw_only=True):
    """A plugin as an archive: `NAME-VERSION.tgz`, and the text that its `.prov` signs."""

    file: str
    data: bytes
    statement: str

    @property
    def digest(self) -> Digest:
        """Of the archive."""
        return sha256(self.data)


def plugin_files(form: Form, version: str) -> dict[str, dict[str, bytes]]:
    """The plugins of a form: directory name -> path -> content."""
    shared = {LAUNCHER: _SHELL.encode(), _WINDOWS: _BATCH.replace("\n", "\r\n").encode()}
    return {name: {"plugin.yaml": dump_yaml(value).encode(), **shared} for name, value in _descriptions(form, version).items()}


def package_plugins(version: str, *, epoch: int) -> tuple[Package, ...]:
    """The release's archives: the pair for Helm 4, and the one for Helm 3, which has no signature of Helm's to be checked by."""
    four = [_package(name, f"{name}-{version}.tgz", Form.HELM4, version, epoch) for name in (CLI, GETTER)]
    return (*four, _package(CLI, f"{CLI}-helm3-{version}.tgz", Form.HELM3, version, epoch))


def executable(path: str) -> bool:
    """Whether a file of a plugin is one to run."""
    return path == LAUNCHER


def _package(name: str, file: str, form: Form, version: str, epoch: int) -> Package:
    top = "" if form is Form.HELM3 else name  # Helm 3 looks for plugin.yaml at the top of an archive
    data = write_archive(top, plugin_files(form, version)[name], epoch=epoch, plugin=(LAUNCHER,))
    described = dump_yaml(_capitalised(_descriptions(form, version)[name]))
    return Package(file=file, data=data, statement=f"{described}\n...\nfiles:\n  {file}: {sha256(data)}\n")


def _descriptions(form: Form, version: str) -> dict[str, dict[str, object]]:
    old = {"version": version, "usage": _USAGE, "description": _USAGE}
    match form:
        case Form.HELM3:
            return {CLI: {"name": CLI, **old, "platformCommand": _old_commands(), "downloaders": _downloaders()}}
        case Form.BOTH:
            return {
                CLI: {"name": CLI, **old, "platformCommand": _old_commands()},
                GETTER: {"name": GETTER, **old, "downloaders": _downloaders()},
            }
        case Form.HELM4:
            new = {"apiVersion": "v1", "version": version, "runtime": "subprocess"}
            usage = {"usage": "verifier COMMAND", "shortHelp": _USAGE, "longHelp": _HELP, "ignoreFlags": False}
            protocols = [{"protocols": [_PROTOCOL], "platformCommand": _commands("", "get")}]
            cli = {"platformCommand": _commands("${HELM_PLUGIN_DIR}/", "plugin")}
            return {
                CLI: {**new, "name": CLI, "type": "cli/v1", "config": usage, "runtimeConfig": cli},
                GETTER: {**new, "name": GETTER, "type": "getter/v1", "config": {"protocols": [_PROTOCOL]}, "runtimeConfig": {"protocolCommands": protocols}},
            }


def _commands(prefix: str, mode: str) -> list[dict[str, object]]:
    """A getter's command is joined to the plugin's directory by Helm; a command of the CLI is not."""
    return [{"command": f"{prefix}{LAUNCHER}", "args": [mode]}, {"os": "windows", "command": f"{prefix}{_WINDOWS}", "args": [mode]}]


def _old_commands() -> list[dict[str, object]]:
    """Helm 3.17 knows no `args`, and no entry without `os`."""
    launchers = {"linux": LAUNCHER, "darwin": LAUNCHER, "freebsd": LAUNCHER, "windows": _WINDOWS}
    return [{"os": system, "command": f"$HELM_PLUGIN_DIR/{launcher} plugin"} for system, launcher in launchers.items()]


def _downloaders() -> list[dict[str, object]]:
    """Helm 3 knows no platforms here; Windows finds the .cmd by its PATHEXT."""
    return [{"command": f"{LAUNCHER} get", "protocols": [_PROTOCOL]}]


def _capitalised(value: object) -> object:
    """Field names as Go's structures have them, which is how Helm writes a plugin's `.prov`; nothing reads them back."""
    special = {"apiVersion": "APIVersion", "os": "OperatingSystem"}
    match value:
        case Mapping():
            return {special.get(key, f"{key[:1].upper()}{key[1:]}"): _capitalised(item) for key, item in sorted(value.items())}
        case list():
            return [_capitalised(item) for item in value]
        case _:
            return value


_SHELL = r"""#!/bin/sh
# Starts the verifier that this plugin belongs to. See docs/helm-plugin.md, "Which Python runs".
set -u
mode=$1
shift
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P) || exit 2
python=${VERIFIER_PYTHON:-}
if [ -z "$python" ] && [ -r "$here/interpreter" ]; then
    IFS= read -r python <"$here/interpreter" || :
fi
if [ -n "$python" ]; then
    case $python in
        /*) ;;
        *) echo "verifier: VERIFIER_PYTHON is '$python', expected an absolute path" >&2; exit 2 ;;
    esac
    if [ ! -x "$python" ]; then
        echo "verifier: this plugin's Python is gone: $python" >&2
        echo "  next    Install verifier again, then run: verifier helm install-plugin" >&2
        exit 2
    fi
    exec "$python" -P -E -m verifier.getter "$mode" "$@"
fi
for command in "${PIPX_BIN_DIR:-${HOME:-/nonexistent}/.local/bin}/verifier" /usr/local/bin/verifier /usr/bin/verifier /opt/verifier/bin/verifier; do
    case $command in
        /*) [ -x "$command" ] && exec "$command" helm "$mode" "$@" ;;
    esac
done
echo "verifier: this plugin does not know which Python verifier is installed in" >&2
echo "  next    Install helm-verifier, then run: verifier helm install-plugin (or set VERIFIER_PYTHON)" >&2
exit 2
"""

_BATCH = r"""@echo off
rem Starts the verifier that this plugin belongs to. See docs/helm-plugin.md, "Which Python runs".
setlocal
set "mode=%~1"
set "python=%VERIFIER_PYTHON%"
if not defined python if exist "%~dp0..\interpreter" set /p python=<"%~dp0..\interpreter"
if not defined python (
    echo verifier: this plugin does not know which Python verifier is installed in 1>&2
    echo   next    Install helm-verifier, then run: verifier helm install-plugin 1>&2
    exit /b 2
)
if not exist "%python%" (
    echo verifier: this plugin's Python is gone: %python% 1>&2
    echo   next    Install verifier again, then run: verifier helm install-plugin 1>&2
    exit /b 2
)
"%python%" -P -E -m verifier.getter %*
exit /b %errorlevel%
"""
