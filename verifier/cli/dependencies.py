"""`verifier dependencies verify`."""

from __future__ import annotations

from pathlib import Path

import click

from verifier.cli.options import Network, command_context, context_options, decision_options, echo, network_options, warn_unsafe
from verifier.cli.trust import TrustFlags, trust_options
from verifier.formats.json import dump_json
from verifier.model.codes import Family
from verifier.model.decision import Outcome
from verifier.model.mistakes import advise
from verifier.operations.dependencies import LOCK, Dependency, Judging, read_declared, verify_dependencies
from verifier.report.text import explain, safe


@click.group()
def dependencies() -> None:
    """Verify what a chart depends on."""


@dependencies.command("verify")
@click.argument("directory", type=click.Path(file_okay=False), metavar="CHART_DIR")
@click.option("--update", is_flag=True, help=f"Record the digests anew in {LOCK}.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@trust_options
@context_options
@network_options
def verify(directory: str, update: bool, output: str, trust: TrustFlags, network: Network, **context: str | None) -> int:
    """Verify each dependency of CHART_DIR under the policy, compare it with what lies in charts/, and hold it to the digest that was recorded.

    Chart.lock says the versions. The first run that holds records the digests in Chart.verified.lock; from then on another chart under a recorded version
    is denied, also where the policy allows it. Exit codes: 0 all hold, 1 denied, 2 misuse, 3 inconclusive; of several, the worst.
    """
    declared = read_declared(Path(directory))
    loaded = trust.load(declared.references, network)
    where = command_context(context["environment"], context["cluster"], context["namespace"])
    warn_unsafe(network.unsafe + trust.unsafe)
    with network.connected() as connections:
        judging = Judging(loaded=loaded, connections=connections, options=decision_options(network.unsafe + trust.unsafe), context=where)
        done = verify_dependencies(declared, judging, update=update)
    if output == "json":
        echo(dump_json({"dependencies": [_value(item) for item in done.found], "holds": done.hold, "recorded": done.written}).decode())
    else:
        for item in done.found:
            _print(item)
        echo(f"recorded  {Path(directory) / LOCK}" if done.written else "no dependencies" if not done.found else "")
    return _worst([_status(item) for item in done.found])


def _status(item: Dependency) -> int:
    if item.holds:
        return 0
    if item.decision is not None and item.decision.outcome is Outcome.INCONCLUSIVE:
        return 3
    return 2 if item.code is not None and item.code.family is Family.MISUSE else 1


def _worst(statuses: list[int]) -> int:
    return next((status for status in (2, 1, 3) if status in statuses), 0)


def _print(item: Dependency) -> None:
    named = safe(f"{item.name} {item.version}".strip())
    if item.holds and item.recorded is not None:
        what = "charts/ holds the same archive" if item.vendored else "not in charts/"
        echo(f"allowed   {named}  {safe(item.recorded.repository)}  {item.recorded.digest}  {what}")
        return
    if item.decision is not None and not item.decision.allowed:
        echo(explain(item.decision, quiet=True))
        return
    code = f" [{item.code.name}]" if item.code is not None else ""
    echo(f"DENIED    {named}  {safe(item.place)}: {safe(item.problem)}{code}")
    if item.code is not None:
        echo(f"  next    {advise(item.code, item.place, item.problem)}")


def _value(item: Dependency) -> dict[str, object]:
    return {
        "name": item.name,
        "version": item.version,
        "repository": item.place,
        "holds": item.holds,
        "digest": item.recorded.digest if item.recorded is not None else None,
        "vendored": item.vendored,
        "code": item.code.name if item.code is not None else None,
        "reason": item.problem or None,
    }
