"""The built wheel, installed without extras in a fresh environment outside the checkout, runs the demo."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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
