"""The plugin's files, and its launcher as a program."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from verifier import __version__
from verifier.charts.version import parse_version
from verifier.formats.yaml import parse_yaml, plain
from verifier.helm.plugin import INTERPRETER, LAUNCHER, Form, package_plugins, plugin_files

EPOCH = 315532800


def description(form: Form, name: str) -> dict[str, object]:
    value = plain(parse_yaml(plugin_files(form, "1.2.3")[name]["plugin.yaml"]))
    assert isinstance(value, dict)
    return value


def test_our_version_is_one_that_helm_takes() -> None:
    version = parse_version(__version__)
    assert version is not None
    assert version.parts == 3


def test_each_form_has_what_its_helm_reads() -> None:
    assert set(plugin_files(Form.HELM3, "1.2.3")) == {"verifier"}
    assert {"platformCommand", "downloaders"} <= set(description(Form.HELM3, "verifier"))
    assert description(Form.HELM4, "verifier")["type"] == "cli/v1"
    assert description(Form.HELM4, "verifier-getter")["type"] == "getter/v1"
    assert "apiVersion" not in description(Form.BOTH, "verifier")
    assert "downloaders" not in description(Form.BOTH, "verifier")
    assert "platformCommand" not in description(Form.BOTH, "verifier-getter")


def test_the_windows_launcher_is_the_same_story() -> None:
    """It cannot be run here; what can be seen is that it never searches PATH, and starts Python as the other does."""
    text = plugin_files(Form.HELM4, "1.2.3")["verifier"][f"{LAUNCHER}.cmd"].decode()
    assert text.count("\n") == text.count("\r\n")
    assert '"%python%" -P -E -m verifier.getter %*' in text
    assert "%~dp0..\\interpreter" in text
    assert all("\\" in str(command["command"]) or "/" in str(command["command"]) for command in _commands())


def _commands() -> list[dict[str, object]]:
    runtime = description(Form.HELM4, "verifier")["runtimeConfig"]
    assert isinstance(runtime, dict)
    return list(runtime["platformCommand"])


def test_archives_are_the_same_every_time_and_hold_an_executable_launcher() -> None:
    first, second = package_plugins("1.2.3", epoch=EPOCH), package_plugins("1.2.3", epoch=EPOCH)
    assert first == second
    assert [package.file for package in first] == ["verifier-1.2.3.tgz", "verifier-getter-1.2.3.tgz", "verifier-helm3-1.2.3.tgz"]
    for package in first:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(package.data))) as tar:
            members = list(tar)
        top = "" if "helm3" in package.file else f"{package.file.rpartition('-')[0]}/"
        assert [f"{member.name}/" for member in members if member.isdir()] == [*([top] if top else []), f"{top}bin/"]
        modes = {member.name.removeprefix(top): member.mode for member in members if member.isfile()}
        assert modes == {"plugin.yaml": 0o644, LAUNCHER: 0o755, f"{LAUNCHER}.cmd": 0o644}
        assert f"files:\n  {package.file}: {package.digest}\n" in package.statement


# The launcher


def launch(directory: Path, *, interpreter: str | None = None, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    place = directory / "plug in"
    (place / "bin").mkdir(parents=True, exist_ok=True)
    launcher = place / LAUNCHER
    launcher.write_bytes(plugin_files(Form.HELM3, "1.2.3")["verifier"][LAUNCHER])
    launcher.chmod(0o755)
    if interpreter is not None:
        (place / INTERPRETER).write_text(f"{interpreter}\n")
    clean = {"PATH": os.defpath, "HOME": str(directory / "nobody"), **environment}
    return subprocess.run([launcher, "plugin", "--version"], capture_output=True, text=True, env=clean, cwd=cwd or directory, check=False)


def test_it_starts_the_python_that_was_written_beside_it(tmp_path: Path) -> None:
    done = launch(tmp_path, interpreter=sys.executable)
    assert (done.returncode, done.stdout) == (0, f"verifier, version {__version__}\n"), done.stderr


def test_a_variable_names_another_python(tmp_path: Path) -> None:
    assert launch(tmp_path, interpreter="/nowhere/python", VERIFIER_PYTHON=sys.executable).returncode == 0


def test_a_checkout_does_not_bring_its_own_verifier(tmp_path: Path) -> None:
    """Neither as a module in the working directory, nor by PYTHONPATH, nor as a program in PATH."""
    evil = tmp_path / "checkout" / "verifier"
    evil.mkdir(parents=True)
    for name in ("__init__.py", "__main__.py"):
        (evil / name).write_text("print('EVIL')\n")
    program = tmp_path / "checkout" / "bin" / "verifier"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho EVIL\n")
    program.chmod(0o755)
    path = f"{program.parent}:{os.defpath}"
    done = launch(tmp_path, interpreter=sys.executable, cwd=evil.parent, PYTHONPATH=str(evil.parent), PATH=path)
    assert (done.returncode, "EVIL" in done.stdout + done.stderr) == (0, False)
    (tmp_path / "plug in" / INTERPRETER).unlink()
    lost = launch(tmp_path, cwd=evil.parent, PATH=path)
    assert (lost.returncode, "EVIL" in lost.stdout + lost.stderr) == (2, False)


@pytest.mark.parametrize(
    ("interpreter", "variable", "why"),
    [
        (None, "", "does not know which Python"),
        ("/nowhere/python", "", "this plugin's Python is gone: /nowhere/python"),
        (None, "/nowhere/python", "this plugin's Python is gone: /nowhere/python"),
        (None, "python3", "expected an absolute path"),
        ("python3", "", "expected an absolute path"),
    ],
)
def test_without_its_python_it_says_what_to_do_and_hands_over_nothing(tmp_path: Path, interpreter: str | None, variable: str, why: str) -> None:
    done = launch(tmp_path, interpreter=interpreter, VERIFIER_PYTHON=variable)
    assert (done.returncode, done.stdout, why in done.stderr) == (2, "", True), done.stderr


def test_an_installers_place_is_found(tmp_path: Path) -> None:
    place = tmp_path / "nobody" / ".local" / "bin" / "verifier"
    place.parent.mkdir(parents=True)
    place.write_text('#!/bin/sh\necho pipx "$@"\n')
    place.chmod(0o755)
    assert launch(tmp_path).stdout == "pipx helm plugin --version\n"
    assert "expected" not in launch(tmp_path, PIPX_BIN_DIR="relative").stderr
