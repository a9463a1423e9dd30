"""The action as a runner installs it: its libraries by their hashes into a Python of their own, from the package index."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_action_installs_and_runs(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "RUNNER_TEMP": str(tmp_path / "temp")}
    environment |= {"VERIFIER_ACTION": str(ROOT), "VERIFIER_ACTION_PYTHON": sys.executable}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    (tmp_path / "temp").mkdir()
    script = str(ROOT / ".github" / "scripts" / "install.sh")
    done = subprocess.run(["bash", script], env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, "verifier, version" in done.stdout) == (0, True), done.stdout + done.stderr
    again = subprocess.run(["bash", script], env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert again.returncode == 0, again.stderr
    checked = subprocess.run([tmp_path / "temp" / "helm-verifier" / "bin" / "python", "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
