"""The built wheel, installed without extras in a fresh environment outside the checkout, runs the demo."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"


@pytest.mark.skipif(not UV.is_file(), reason="uv is not in the environment (make sets it up)")
def test_the_wheel_runs_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {**os.environ, "HOME": os.environ.get("UV_TEST_HOME", str(tmp_path)), "UV_CACHE_DIR": str(_cache())}
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".venv", ".git", ".*_cache", "__pycache__"))

    def run(*arguments: str) -> str:
        done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(str(UV), "build", "--quiet", "--wheel", "--out-dir", str(tmp_path / "dist"), str(source))
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "verifier/py.typed" in names
    assert not [name for name in names if name.startswith(("tests", "bench", "docs"))]
    run(str(UV), "venv", "--quiet", "--python", sys.executable, str(tmp_path / "env"))
    run(str(UV), "pip", "install", "--quiet", "--python", str(tmp_path / "env" / "bin" / "python"), str(wheel))
    assert "0 not as told" in run(str(tmp_path / "env" / "bin" / "verifier"), "demo")


def _cache() -> Path:
    """uv's own cache, so that a warm machine fetches nothing."""
    done = subprocess.run([str(UV), "cache", "dir"], capture_output=True, text=True, env={**os.environ, "HOME": _REAL_HOME})
    return Path(done.stdout.strip())


_REAL_HOME = os.environ.get("HOME", "/")


# Other platforms, as far as they can be looked at from here


def test_every_library_has_a_wheel_for_macos_and_windows() -> None:
    """docs/verify-our-release.md says so; without one a user would need a compiler."""
    named = {line.partition("==")[0] for line in (ROOT / ".github" / "requirements.txt").read_text().splitlines() if re.match(r"[a-z0-9]", line)}
    windows_lacks = {line.partition("==")[0] for line in (ROOT / ".github" / "requirements.txt").read_text().splitlines() if "sys_platform != 'win32'" in line}
    locked = {package["name"]: package for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    for name in sorted(named):
        files = [wheel["url"].rpartition("/")[2] for wheel in locked[name].get("wheels", [])]
        anywhere = any(file.endswith("none-any.whl") for file in files)
        assert anywhere or any("macosx" in file and ("arm64" in file or "universal2" in file) for file in files), f"{name}: macOS"
        assert anywhere or name in windows_lacks or any("win_amd64" in file for file in files), f"{name}: Windows"


WITHOUT_UNIX = """
import importlib, os, pkgutil, socket, sys
for name in ("fcntl", "pwd", "grp", "termios", "resource"):
    sys.modules[name] = None
for name in ("AF_UNIX", "SO_PEERCRED", "send_fds", "recv_fds"):
    delattr(socket, name)
for name in ("fork", "getuid"):
    delattr(os, name)
import verifier
for module in pkgutil.walk_packages(verifier.__path__, "verifier."):
    if module.name != "verifier.__main__":
        importlib.import_module(module.name)
from verifier.cli.main import execute
from verifier.net.warm import hand_over
assert hand_over(["helm", "get"], {"HOME": "/x"}) is None
assert execute(["helm", "resident"]) == 2
assert execute(["verify", "--help"]) == 0
"""


def test_every_module_is_imported_without_what_only_unix_has() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_UNIX], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[config-invalid]" in done.stderr
