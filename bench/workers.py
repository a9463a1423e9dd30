"""Verifications per second by one worker and by two: threads of one server, and servers side by side."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import lru_cache

from bench.stage import chart_file, pair
from tests.simulators import sigstore as simulated
from tests.support.signers import key_anchor, trust
from verifier.attest.bundle import MEDIA_TYPE as BUNDLE
from verifier.attest.bundle import read_bundle
from verifier.model.evidence import Evidence, Kind, Location
from verifier.schemes.sigstore.certified import verify_certified
from verifier.schemes.sigstore.recipe import Signed
from verifier.schemes.sigstore.sign import sign_digest
from verifier.schemes.sigstore.verify import SigstoreScheme
from verifier.trust.anchors import ROOT, Anchor

KINDS = ("key bundle", "keyless, Rekor v1", "keyless, Rekor v2 and timestamp")
SECONDS, ROUNDS = 0.7, 3
_STATEMENT = b'{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha256":"%s"}}],"predicateType":"https://x/y"}' % (b"ab" * 32)


@lru_cache(maxsize=8)
def work(kind: str) -> Callable[[], object]:
    """One verification, made once per process."""
    if kind == "key bundle":
        chart = chart_file()
        evidence = Evidence(location=Location(kind=Kind.FILE, where="bench"), media_type=BUNDLE, payload=sign_digest(chart.digest, pair(), name="x"))
        return lambda: SigstoreScheme().verify(evidence, chart, trust(key_anchor()))
    instance = simulated.instance()
    anchor = Anchor(name="bench", kind=ROOT, data=json.dumps(instance.trusted_root()).encode())
    made = simulated.envelope(instance, _STATEMENT)
    data = (made.with_entry2().with_timestamp() if "v2" in kind else made.with_entry()).dump()
    return lambda: verify_certified(read_bundle(data, where="x"), Signed.of(b""), anchor)


def verify_for(kind: str, seconds: float) -> float:
    """Verifications per second of one worker."""
    once = work(kind)
    once()
    done, started = 0, time.perf_counter()
    while (took := time.perf_counter() - started) < seconds:
        once()
        done += 1
    return done / took


def rate(pool: Executor, workers: int, kind: str) -> float:
    """Of all workers together; the best of a few rounds."""
    return max(sum(pool.map(verify_for, [kind] * workers, [SECONDS] * workers)) for _ in range(ROUNDS))


def main(row: Callable[..., None]) -> None:
    with ThreadPoolExecutor(2) as threads, ProcessPoolExecutor(2) as processes:
        for kind in KINDS:
            one, two, side = rate(threads, 1, kind), rate(threads, 2, kind), rate(processes, 2, kind)
            row(f"{kind}: 2 threads, 2 processes", f"{two:.0f}/s, {side:.0f}/s", f"{one:.0f}/s by one worker", two / one)
