"""A command that writes to a registry, killed before each of its writes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

from tests.simulators.registry import SimulatedRegistry, Switches, simulated


def killed_at_each_write(words: Callable[[SimulatedRegistry], list[str]], *, referrers: bool = True) -> Iterator[tuple[SimulatedRegistry, bool]]:
    """Each registry as kill -9 left it, with whether the command ended by itself; that is the last.

    The count of them is one more than the command's writes.
    """
    write, ended = 0, False
    while not ended:
        write += 1
        with simulated(Switches(stop_at=write, referrers=referrers)) as registry:
            command = [sys.executable, "-m", "verifier", *words(registry)]
            environment = {**os.environ, "VERIFIER_PASSWORD": "choose-one"}
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while not registry.stopped.wait(0.02) and process.poll() is None:
                pass
            process.kill()
            ended = process.wait() == 0
            registry.switches.stop_at = 0
            registry.go_on.set()
            yield registry, ended
