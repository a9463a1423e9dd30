"""`verifier policy lint`, `show`, `diff`, `test` and `replay`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from verifier.cli.exceptions import exceptions, grant
from verifier.cli.main import report_error
from verifier.cli.options import Network, command_context, context_options, echo, network_options, read_reference
from verifier.model import codes
from verifier.model.context import Facts, Request
from verifier.model.errors import MisuseError
from verifier.report.ci import LintResult, lint_sarif
from verifier.report.text import safe
from verifier.settings import load_settings

if TYPE_CHECKING:
    from verifier.operations.linting import Located


@click.group()
def policy() -> None:
    """Check, test, compare and replay policies."""


policy.add_command(exceptions)
policy.add_command(grant)


@policy.command()
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--output", type=click.Choice(["text", "sarif"]), default="text", show_default=True)
def lint(files: tuple[str, ...], output: str) -> int:
    """Check each policy as it would be loaded, trust files included, and for what has let attackers through elsewhere.

    Exit codes: 0 nothing worse than a warning, 1 an error was found, 2 a policy does not load.
    """
    from verifier.operations.linting import lint_policy
    from verifier.operations.policies import load
    from verifier.policy.lint import Level

    found: list[Located] = []
    refused: list[MisuseError] = []
    for file in files:
        try:
            loaded = load(Path(file), load_settings(os.environ).roots)
        except MisuseError as error:
            refused.append(error)
            continue
        here = lint_policy(loaded, Path(file))
        found += here
        if output == "text":
            for item in here:
                echo(safe(str(item)))
            rules = len(loaded.policy.rules)
            echo(f"{file}: valid: {rules} rule{'s' if rules != 1 else ''}, {len(loaded.policy.trust)} trust names, {loaded.policy.digest}")
    if output == "sarif":
        echo(json.dumps(lint_sarif([_result(item) for item in found], refused), indent=2))
    statuses = [report_error(error) for error in refused]
    return max([*statuses, int(any(item.finding.level is Level.ERROR for item in found))])


def _result(item: Located) -> LintResult:
    finding = item.finding
    return LintResult(name=finding.name, level=str(finding.level), message=f"{finding.why}; {finding.fix}", file=item.file, line=item.line, column=item.column)


@policy.command()
@click.argument("target")
@click.option("--policy", "path", required=True, type=click.Path())
@click.option("--as", "standing_for", metavar="REFERENCE")
@context_options
def show(target: str, path: str, standing_for: str | None, **context: str | None) -> int:
    """Show which rule of a policy applies to TARGET, and why. Nothing is fetched."""
    from verifier.operations.policies import load
    from verifier.policy.document import Rule
    from verifier.policy.select import select_rule
    from verifier.policy.words import describe

    request = Request(reference=read_reference(target, standing_for), context=command_context(**context))
    loaded = load(Path(path), load_settings(os.environ).roots)
    selection = select_rule(loaded.policy, Facts(request=request, artifact=None))
    echo(f"{safe(str(request.reference))}")
    if not isinstance(selection, Rule):
        echo(f"  no rule   {safe(selection.reason)} [{selection.code.name}]")
        return 1
    echo(f"  rule      {safe(selection.name)} ({selection.place})")
    for line in describe(loaded.policy, selection):
        echo(f"  {safe(line)}")
    return 0


@policy.command()
@click.argument("old", type=click.Path())
@click.argument("new", type=click.Path())
def diff(old: str, new: str) -> int:
    """Say in words what changed from the policy OLD to the policy NEW: trust, roots, deny list, baseline and rules.

    Exit codes: 0 they mean the same, 1 they differ, 2 misuse.
    """
    from verifier.operations.policies import load
    from verifier.policy.difference import differences

    before, after = (load(Path(path), load_settings(os.environ).roots) for path in (old, new))
    lines = list(differences(before.policy, after.policy, (before.trust, after.trust)))
    for line in lines:
        echo(safe(line))
    return 1 if lines else 0


@policy.command("test")
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("--cases", type=click.Path(dir_okay=False), help="Take these cases, not those beside the policy (NAME.test.yaml).")
@click.option("-q", "--quiet", is_flag=True, help="Print only what is not as expected.")
def run_tests(files: tuple[str, ...], cases: str | None, quiet: bool) -> int:
    """Run the cases of policies: offline, with what each case states or a recording holds.

    Exit codes: 0 all as expected, 1 some are not, 2 misuse (also where a policy has no cases).
    """
    from verifier.operations.policies import load
    from verifier.operations.policy_tests import cases_of, run_cases, unreached

    status = 0
    for file in files:
        loaded = load(Path(file), load_settings(os.environ).roots)
        sources = (Path(cases),) if cases else cases_of(Path(file))
        ran = [item for source in sources for item in run_cases(loaded, source)]
        for item in ran:
            if item.problem is not None:
                echo(f"{file}: FAIL  {safe(item.case.name)} ({item.case.place}): {safe(item.problem)}")
            elif not quiet:
                echo(f"{file}: ok    {safe(item.case.name)}")
        for note in unreached(loaded, ran):
            echo(f"{file}: note: {safe(note)}")
        failed = sum(item.problem is not None for item in ran)
        echo(f"{file}: {len(ran)} cases, {failed} not as expected")
        status = max(status, int(failed > 0))
    return status


@policy.command("replay")
@click.argument("recordings", nargs=-1, required=True, type=click.Path(file_okay=False))
@click.option("--policy", "path", type=click.Path(), help="Judge under this policy; otherwise under the one that was recorded.")
@click.option("--at", metavar="TIME", help="Judge at this time (2027-01-01T00:00:00Z, or now); otherwise at the recorded one.")
def run_replay(recordings: tuple[str, ...], path: str | None, at: str | None) -> int:
    """Judge recorded decisions again, and say what would change.

    Exit codes: 0 nothing changes, 1 something does, 2 misuse.
    """
    from verifier.operations.policies import load
    from verifier.operations.recording import read_recording
    from verifier.operations.replay import changes, read_moment, replay

    loaded, moment = load(Path(path), load_settings(os.environ).roots) if path else None, read_moment(at)
    status = 0
    for directory in recordings:
        recording = read_recording(Path(directory))
        decision = replay(recording, loaded, moment)
        lines = list(changes(recording, decision))
        echo(f"{directory}: {decision.outcome.value}{'' if lines else ', unchanged'}: {safe(decision.check.reason)}")
        for line in lines:
            echo(f"  {safe(line)}")
        status = max(status, int(bool(lines)))
    return status


@policy.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False))
@click.option("--charts", multiple=True, metavar="SCOPE", help="With a keyring: which charts it is for (oci://HOST/PATH/*).")
@click.option("--name", default="imported", show_default=True, help="The policy's name.")
def import_files(files: tuple[str, ...], charts: tuple[str, ...], name: str) -> int:
    """Print a policy made of other programs' files, and on stderr what could not be carried over.

    FILES are read together: ClusterImagePolicy, Kyverno's verifyImages, notation's trust policy, Flux and Sveltos objects with the secrets that they
    name, or a Helm keyring. What is printed is never wider than what was there.
    """
    from verifier.operations.importing import import_policy

    imported = import_policy([Path(file) for file in files], charts, name)
    for note in imported.notes:
        echo(f"verifier: to be looked at: {safe(note)}", err=True)
    echo(imported.document.rstrip())
    return 0


@policy.command("push")
@click.argument("path", type=click.Path())
@click.argument("reference")
@click.option("--key", required=True, metavar="KEYREF", help="Sign with this key, which a PolicyTrust file names.")
@network_options
def push_to_registry(path: str, reference: str, key: str, network: Network) -> int:
    """Push the policy PATH with the files that it names to REFERENCE (oci://HOST/PATH:TAG), and sign it.

    It must carry metadata.serial, higher than that of the last one, and metadata.expires.
    """
    from verifier.cli.sign import statement_signer
    from verifier.model.reference import parse_oci
    from verifier.operations.remote_policy import push_policy

    target = parse_oci(reference)
    if target.tag is None:
        raise MisuseError(codes.REFERENCE_INVALID, "a policy is pushed under a tag: oci://HOST/PATH:TAG", where=reference)
    with network.connected() as connections:
        digest = push_policy(Path(path), target, statement_signer(key), connections, load_settings(os.environ).roots)
    echo(f"pushed     {target}")
    echo(f"digest     {digest}")
    return 0
