"""The webhook under load: 200 objects that name 200 charts, 50 at once, beside Ratify on the same charts; then the same again, and 100,000."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from bench.stage import Stage, free_port, pair
from tests.support.charts import archive
from tests.support.reviews import oci_repository, review
from tests.support.world import connect, publish, sign

OBJECTS, AT_ONCE, MANY = 200, 50, 100_000
Load = Callable[..., dict[str, float]]


def more_charts(stage: Stage) -> None:
    """As many as there are objects."""
    connections = connect()
    for index in range(len(stage.digests), OBJECTS):
        data = archive(version=f"1.0.{index}", files={f"templates/t{n}.yaml": b"kind: ConfigMap\n" * 40 for n in range(20)})
        digest = publish(connections, stage.host, data, tag=f"1.0.{index}")
        sign(connections, stage.host, digest, pair())
        stage.digests.append(str(digest))
    connections.close()


def admission(stage: Stage, load: Load, row: Callable[..., None], ratify: Callable[[int, int], dict[str, float]] | None) -> None:
    bodies = [json.dumps(review(oci_repository(f"oci://{stage.host}/acme/web", digest=digest))) for digest in stage.digests]
    port = free_port()
    command = (stage.verifier, "serve", "--policy", "policy.yaml", "--listen", f"127.0.0.1:{port}", "--allow-host", stage.host, "--admission", "enforce")
    process = stage.start(*command, url=f"http://127.0.0.1:{port}/healthz")
    path = "/admission/validate?timeout=10s"
    cold = load(stage, port, path, bodies, OBJECTS, AT_ONCE)
    theirs = ratify(OBJECTS, AT_ONCE) if ratify is not None else None
    beside = f"{theirs['rate']:.0f}/s, p99 {theirs['p99']:.0f} ms Ratify 1.4" if theirs is not None else "Ratify is missing"
    ratio = cold["rate"] / theirs["rate"] if theirs is not None else None
    row(f"admission: {OBJECTS} charts, {AT_ONCE} at once, nothing cached", f"{cold['rate']:.0f}/s, p99 {cold['p99']:.0f} ms", beside, ratio, "p99 under 1 s")
    took = [_until(stage, port, bodies[0]) for _ in range(5)]
    row("admission: a digest is denied by the policy's file, seen", f"{max(took):.0f} ms at worst, of 5", aim="under 1 s")
    warm = load(stage, port, path, bodies, 5_000, AT_ONCE)
    before = _memory(process)
    row("admission: the same again", f"{warm['rate']:.0f}/s, p99 {warm['p99']:.0f} ms", aim="p99 under 50 ms")
    load(stage, port, path, bodies, MANY, AT_ONCE)
    row(f"admission: memory after {MANY:,}", f"{before:.0f} MiB before, {_memory(process):.0f} MiB after", aim="flat")


def _until(stage: Stage, port: int, body: str) -> float:
    """Milliseconds from the file's change to the first denial."""
    policy = stage.work / "policy.yaml"
    before = policy.read_text()
    policy.write_text(before + f'deny: [{{digest: "{stage.digests[0]}"}}]\n')
    started = time.perf_counter()
    while _allowed(port, body):
        if time.perf_counter() - started > 30:
            raise RuntimeError("a changed policy is never seen")
    took = time.perf_counter() - started
    policy.write_text(before)
    while not _allowed(port, body):
        time.sleep(0.01)
    return took * 1_000


def _allowed(port: int, body: str) -> bool:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/admission/validate?timeout=10s", body.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return bool(json.load(response)["response"]["allowed"])


def _memory(process: subprocess.Popen[bytes]) -> float:
    line = next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
