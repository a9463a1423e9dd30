"""`make bench`: one table, ratios of one run. Read the ratios; the absolute numbers are this machine's. `python -m bench PART ...` runs parts."""

from __future__ import annotations

import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import admission, chart_repository, helm, policy, registries, workers
from bench.stage import CHARTS, Stage, chart_file, free_port, pair, pgp, staged
from tests.simulators import sigstore as simulated
from tests.support.signers import key_anchor, trust
from verifier.attest.bundle import MEDIA_TYPE as BUNDLE
from verifier.attest.bundle import read_bundle
from verifier.model.evidence import Evidence, Kind, Location
from verifier.oci.manifest import HELM_PROVENANCE
from verifier.schemes.openpgp.verify import OpenPGPScheme
from verifier.schemes.sigstore.certified import verify_certified
from verifier.schemes.sigstore.recipe import Signed
from verifier.schemes.sigstore.sign import sign_digest
from verifier.schemes.sigstore.verify import SigstoreScheme
from verifier.trust.anchors import ROOT, Anchor

ROUNDS = 21
COLD_ROUNDS = 7
COSIGN = ("verify", "--insecure-ignore-tlog", "--allow-http-registry", "--key", "ci.pub")


def times_ms(*works: Callable[[], object], rounds: int = ROUNDS) -> list[list[float]]:
    """Of works that take turns, so that a slow minute of the machine meets all of them."""
    took: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for index, work in enumerate(works):
            started = time.perf_counter()
            work()
            took[index].append((time.perf_counter() - started) * 1e3)
    return took


def best_ms(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """For an absolute aim: what the machine can do when nothing else runs on it."""
    return min(times_ms(work, rounds=rounds)[0])


def row(what: str, ours: str, peer: str = "", ratio: float | None = None, aim: str = "") -> None:
    print(f"| {what} | {ours} | {peer} | {f'{ratio:.2f}' if ratio is not None else ''} | {aim} |", flush=True)


def command_line(stage: Stage) -> None:
    help_ms = best_ms(lambda: stage.run(stage.verifier, "--help"))
    row("`verifier --help`", f"{help_ms:.0f} ms", aim="under 100 ms")
    cosign, helm = stage.peer("cosign-3.1.2"), stage.peer("helm-4.2.4")
    if cosign is None or helm is None or not shutil.which("gpg"):
        row("one chart, GPG and key", "the peers are missing")
        return
    reference = f"oci://{stage.host}/acme/web:1.0.0"
    pulls = ("pull", f"oci://{stage.host}/acme/web", "--version", "1.0.0", "--verify", "--keyring", "team.gpg", "--plain-http", "-d", "pulled")
    (stage.work / "pulled").mkdir()
    ours, cosigns, helms = (
        statistics.median(item)
        for item in times_ms(
            lambda: stage.run(stage.verifier, "verify", reference, "--openpgp-keyring", "team.gpg", "--key", "ci.pub"),
            lambda: stage.run(cosign, *COSIGN, f"{stage.host}/acme/web:1.0.0"),
            lambda: stage.run(helm, *pulls),
        )
    )
    theirs = cosigns + helms
    row(
        "one chart, GPG and key: `verifier verify`",
        f"{ours:.0f} ms",
        f"{theirs:.0f} ms `cosign verify` + `helm pull --verify`",
        ours / theirs,
        "1.3, at most 2.0",
    )
    targets = [f"oci://{stage.host}/acme/web:1.0.{index}" for index in range(CHARTS)]
    many = statistics.median(times_ms(lambda: stage.run(stage.verifier, "verify", "-q", *targets, "--key", "ci.pub"), rounds=3)[0])
    started = time.perf_counter()
    for index in range(CHARTS):
        stage.run(cosign, *COSIGN, f"{stage.host}/acme/web:1.0.{index}")
    single = (time.perf_counter() - started) * 1e3
    row(f"{CHARTS} charts in one call", f"{many:.0f} ms", f"{single:.0f} ms for {CHARTS} `cosign verify`", many / single, "0.5")


def primitives() -> None:
    chart = chart_file()
    location = Location(kind=Kind.FILE, where="bench")
    bundle = Evidence(location=location, media_type=BUNDLE, payload=sign_digest(chart.digest, pair(), name="x"))
    prov = Evidence(location=location, media_type=HELM_PROVENANCE, payload=pgp().provenance(chart))
    signature = pair().sign(chart.archive)
    raw = best_ms(lambda: [pair().public.verifies(signature, chart.archive) for _ in range(200)]) / 200 * 1e3
    row("one P-256 signature, for the scale of the next two", f"{raw:.0f} us")
    for name, scheme, evidence, material, aim in (
        ("one key bundle", SigstoreScheme(), bundle, trust(key_anchor()), "under 150 us"),
        ("one `.prov`", OpenPGPScheme(), prov, trust(pgp().anchor()), "under 300 us"),
    ):
        for _ in range(200):
            scheme.verify(evidence, chart, material)
        took = best_ms(lambda s=scheme, e=evidence, m=material: [s.verify(e, chart, m) for _ in range(200)]) / 200 * 1e3  # type: ignore[misc]
        row(name, f"{took:.0f} us", aim=aim)


def keyless() -> None:
    """Beside sigstore-python, on the same bundles and root; identities are not compared on either side."""
    from sigstore.models import Bundle, TrustedRoot
    from sigstore.verify import Verifier

    instance = simulated.instance()
    root = json.dumps(instance.trusted_root()).encode()
    anchor = Anchor(name="bench", kind=ROOT, data=root)
    statement = b'{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha256":"%s"}}],"predicateType":"https://x/y"}' % (b"ab" * 32)
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(root)
        file.flush()
        peer = Verifier(trusted_root=TrustedRoot.from_file(file.name))
    for name, made, aim in (
        ("keyless, Rekor v1", simulated.envelope(instance, statement).with_entry(), "under 1.5 ms"),
        ("keyless, Rekor v2 and timestamp", simulated.envelope(instance, statement).with_entry2().with_timestamp(), "under 4 ms"),
    ):
        data = made.dump()
        ours = best_ms(lambda d=data: [verify_certified(read_bundle(d, where="x"), Signed.of(b""), anchor) for _ in range(30)]) / 30  # type: ignore[misc]
        theirs = best_ms(lambda d=data: [peer.verify_dsse(Bundle.from_json(d), _Anybody()) for _ in range(30)]) / 30  # type: ignore[misc]
        row(name, f"{ours:.2f} ms", f"{theirs:.2f} ms sigstore-python", ours / theirs, aim)


class _Anybody:
    def verify(self, certificate: object) -> None:
        return


def load(stage: Stage, port: int, path: str, bodies: list[str], total: int, threads: int = 16) -> dict[str, float]:
    file = stage.work / "bodies"
    file.write_text("\n".join(bodies))
    command = [sys.executable, "-m", "bench.load", "127.0.0.1", str(port), str(threads), str(total), str(file), path]
    value: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if value["bad"]:
        raise RuntimeError(f"{value['bad']} answers were not 200")
    return value


def resident_mib(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def server(stage: Stage) -> None:
    bodies = [json.dumps({"reference": f"oci://{stage.host}/acme/web@{digest}"}) for digest in stage.digests]
    ratify = ratify_server(stage)

    def started() -> tuple[int, subprocess.Popen[bytes]]:
        port = free_port()
        command = (stage.verifier, "serve", "--policy", "policy.yaml", "--listen", f"127.0.0.1:{port}", "--allow-host", stage.host)
        return port, stage.start(*command, url=f"http://127.0.0.1:{port}/healthz")

    ours, theirs = [], []
    for _ in range(COLD_ROUNDS):  # in turns, so that a slow minute of the machine meets both
        port, process = started()
        ours.append(load(stage, port, "/v1/verify", bodies, CHARTS))
        process.terminate()
        process.wait(20)
        if ratify is not None:
            shutil.rmtree(stage.work / "home" / ".ratify", ignore_errors=True)
            theirs.append(ratify(CHARTS, 16)["rate"])
    cold = statistics.median(item["rate"] for item in ours)
    port, process = started()
    load(stage, port, "/v1/verify", bodies, CHARTS)
    cached = load(stage, port, "/v1/verify", bodies, 10_000)
    shown = f"{cold:.0f}/s, p99 {statistics.median(item['p99'] for item in ours):.0f} ms"
    row("HTTP, 16 in parallel, nothing cached", shown, *compared("cold", cold, theirs), aim="1, at least 0.5")
    shown = f"{cached['rate']:.0f}/s, p99 {cached['p99']:.0f} ms"
    row("HTTP, 16 in parallel, cached digests", shown, *compared("warm", cached["rate"], [ratify(2000, 16)["rate"]] if ratify else []), aim="5, at least 2")
    row("server after 10,000 decisions", f"{resident_mib(process.pid):.0f} MiB", aim="under 150 MB")


def compared(key: str, ours: float, theirs: list[float]) -> tuple[str, float | None]:
    if not theirs:
        return "Ratify is missing", None
    rate = statistics.median(theirs)
    return f"{rate:.0f}/s Ratify 1.4, {key}", ours / rate


def ratify_server(stage: Stage) -> Callable[[int, int], dict[str, float]] | None:
    """Ratify with one key signature per chart, in the old form that it reads: a function from requests, and those at once, to rate and latencies."""
    ratify, cosign = stage.peer("ratify-1.4.0"), stage.peer("cosign-3.1.2")
    if ratify is None or cosign is None:
        return None
    for digest in stage.digests:
        legacy = ("--new-bundle-format=false", "--use-signing-config=false", "--tlog-upload=false", "--allow-http-registry", "-y")
        stage.run(cosign, "sign", *legacy, "--key", "ci.key", f"{stage.host}/acme/web@{digest}")
    verifier = {
        "name": "cosign",
        "artifactTypes": "application/vnd.dev.cosign.artifact.sig.v1+json",
        "trustPolicies": [{"name": "default", "version": "1.0.0", "scopes": ["*"], "keys": [{"file": str(stage.work / "ci.pub")}], "tLogVerify": False}],
    }
    config = {
        "store": {"version": "1.0.0", "plugins": [{"name": "oras", "useHttp": True, "cosignEnabled": True}]},
        "policy": {"version": "1.0.0", "plugin": {"name": "configPolicy", "artifactVerificationPolicies": {"default": "any"}}},
        "verifier": {"version": "1.0.0", "plugins": [verifier]},
    }
    (stage.work / "ratify.json").write_text(json.dumps(config))
    bodies = [
        json.dumps(
            {"apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "ProviderRequest", "request": {"keys": [f"[default]{stage.host}/acme/web@{digest}"]}}
        )
        for digest in stage.digests
    ]
    port = free_port()
    stage.start(ratify, "serve", "--http", f"127.0.0.1:{port}", "-c", "ratify.json", "--cache-enabled=false", url=f"http://127.0.0.1:{port}/")
    return lambda total, at_once: load(stage, port, "/ratify/gatekeeper/v1/verify", bodies, total, at_once)


def admitted(stage: Stage) -> None:
    admission.more_charts(stage)
    admission.admission(stage, load, row, ratify_server(stage))


def main() -> None:
    print(
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}; registry: distribution 3.1.1 on loopback; ratios of medians, absolute times at their best.\n"
    )
    print("| what | verifier | peer | ratio | aim |\n|---|---|---|---|---|")
    parts: dict[str, Callable[[Stage], None]] = {
        "command": command_line,
        "getter": lambda stage: helm.getter(stage, times_ms, row),
        "release": lambda stage: helm.release(stage, times_ms, row),
        "primitives": lambda _: primitives(),
        "keyless": lambda _: keyless(),
        "workers": lambda _: workers.main(row),
        "policy": lambda _: policy.main(row),
        "registries": lambda _: registries.main(row),
        "chart-repository": lambda stage: chart_repository.main(stage, times_ms, row),
        "server": server,
        "admission": admitted,
    }
    wanted = sys.argv[1:] or list(parts)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, staged(Path(directory)) as stage:
        for name in wanted:
            parts[name](stage)


if __name__ == "__main__":
    main()
