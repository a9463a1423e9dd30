"""A chart of a chart repository beside `helm pull --repo --verify`: with an index of a hundred charts, and one as large as the largest public ones were."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.stage import Stage
from tests.simulators.chart_repository import SimulatedChartRepository, chart_repository

Times = Callable[..., list[list[float]]]
_VERSION = """\
  - apiVersion: v2
    appVersion: 1.27.{number}
    created: "2026-11-27T00:00:00.000000000Z"
    description: A chart like many others, with a sentence or two about what it installs and how
    digest: {digest}
    home: https://charts.acme.example/{name}
    keywords: [web, http, proxy]
    maintainers:
    - email: team@acme.example
      name: team
    name: {name}
    urls:
    - {name}-1.0.{number}.tgz
    version: 1.0.{number}
"""
_WATCHED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
ROUNDS = 7


def main(stage: Stage, times_ms: Times, row: Callable[..., None]) -> None:
    """Two sizes of index; the chart and its `.prov` are the same."""
    for charts, versions in ((100, 10), (1_000, 45)):
        with chart_repository() as (repository, host):
            for name in ("web-1.0.0.tgz", "web-1.0.0.tgz.prov"):
                repository.files[f"/stable/{name}"] = (stage.work / name).read_bytes()
            repository.files["/stable/index.yaml"] = _index(charts, versions)
            _measure(stage, times_ms, row, (repository, f"http://{host}/stable"))


def _index(charts: int, versions: int) -> bytes:
    names = [f"chart-{number}" for number in range(charts - 1)] + ["web"]
    entries = ("".join((f"  {name}:\n", *(_VERSION.format(name=name, number=number, digest="0" * 64) for number in range(versions)))) for name in names)
    return f"apiVersion: v1\nentries:\n{''.join(entries)}generated: '2026-11-27T00:00:00Z'\n".encode()


def _measure(stage: Stage, times_ms: Times, row: Callable[..., None], there: tuple[SimulatedChartRepository, str]) -> None:
    repository, url = there
    size = len(repository.files["/stable/index.yaml"]) / 1024 / 1024
    helm = stage.peer("helm-4.3.1")
    if helm is None or not (stage.work / "team.gpg").is_file():
        row(f"an index of {size:.1f} MiB", "the peers are missing")
        return
    (stage.work / "pulled-there").mkdir(exist_ok=True)
    ours = (stage.verifier, "verify", f"{url}/web:1.0.0", "--openpgp-keyring", "team.gpg")
    theirs = (helm, "pull", "web", "--repo", url, "--version", "1.0.0", "--verify", "--keyring", "team.gpg", "-d", "pulled-there")
    mine, its = (statistics.median(item) for item in times_ms(lambda: stage.run(*ours), lambda: stage.run(*theirs), rounds=ROUNDS))
    asked, their_asked = (_requests(repository, stage, command) for command in (ours, theirs))
    what = f"a chart of a chart repository, index of {size:.1f} MiB"
    row(what, f"{mine:.0f} ms, {asked} requests", f"{its:.0f} ms, {their_asked} requests `helm pull --repo --verify`", mine / its, "1, at most 2")
    memory, their_memory = (_peak(stage.work, command) for command in (ours, theirs))
    row(f"{what}: memory", f"{memory:.0f} MiB", f"{their_memory:.0f} MiB", memory / their_memory)


def _requests(repository: SimulatedChartRepository, stage: Stage, command: tuple[object, ...]) -> int:
    repository.asked.clear()
    stage.run(*command)
    return len(repository.asked)


def _peak(work: Path, command: tuple[object, ...]) -> float:
    """MiB of the process at its largest; started by a small one, since what starts it is counted as well."""
    clean = {"PATH": os.environ["PATH"], "HOME": str(work / "home")}
    line = [sys.executable, "-I", "-c", _WATCHED, *(str(item) for item in command)]
    return int(subprocess.run(line, env=clean, cwd=work, check=True, capture_output=True).stdout) / 1024
