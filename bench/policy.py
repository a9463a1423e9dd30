"""Deciding and loading at 10, 100 and 1,000 rules; five claims, no CEL."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.unit.policy import test_engine as world
from verifier.policy.engine import decide
from verifier.policy.loader import load_policy

SIZES = (10, 100, 1000)


def document(count: int) -> bytes:
    """`count` rules of which one speaks of the chart: a third each on other hosts, in other folders, for other charts."""
    kinds = ("oci://reg{}.example.test/acme/*", f"oci://{world.HOST}/team{{}}/*", f"oci://{world.HOST}/acme/chart{{}}")
    rules = [f'  - name: r{n}\n    charts: ["{kinds[n % 3].format(n)}"]\n{world.SIGNED_BY_ALICE}\n' for n in range(count - 1)]
    ours = f'  - name: ours\n    charts: ["oci://{world.HOST}/acme/*"]\n{world.SIGNED_BY_ALICE}\n'
    return f"apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {{name: bench}}\n{world.TRUST}\nrules:\n{''.join(rules)}{ours}".encode()


def best(work: Callable[[], object], times: int, rounds: int = 15) -> float:
    """Seconds for one, at best."""
    took = []
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(times):
            work()
        took.append((time.perf_counter() - started) / times)
    return min(took)


def main(row: Callable[..., None]) -> None:
    facts = world.facts(world.chart(), world.by_alice(), world.by_bob(), world.by_ci(), world.by_ci("old"), world.by_bob())
    for count in SIZES:
        data = document(count)
        loaded = load_policy(data, where="bench")
        decided, loads = best(lambda p=loaded: decide(p, facts, world.NOW), 100), best(lambda d=data: load_policy(d, where="bench"), 1, 5)  # type: ignore[misc]
        aim = {10: "decide under 100 us", 1000: "load under 300 ms"}.get(count, "")
        row(f"a policy of {count} rules: decide, load", f"{decided * 1e6:.0f} us, {loads * 1e3:.0f} ms", aim=aim)
