"""`verifier policy lint`, `verifier policy show` and `verifier policy diff`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from verifier.cli.main import report_error
from verifier.cli.options import command_context, context_options, echo, read_reference
from verifier.model.context import Facts, Request
from verifier.model.errors import MisuseError
from verifier.report.text import safe
from verifier.settings import load_settings


@click.group()
def policy() -> None:
    """Check policies, and show which rule applies."""


@policy.command()
@click.argument("files", nargs=-1, required=True, type=click.Path())
def lint(files: tuple[str, ...]) -> int:
    """Check each policy as it would be loaded, trust files included; name the line of every mistake."""
    from verifier.operations.policies import load
    from verifier.policy.lint import lint as find_notes

    status = 0
    for file in files:
        try:
            loaded = load(Path(file), load_settings(os.environ).roots)
        except MisuseError as error:
            status = report_error(error)
            continue
        notes = find_notes(loaded.policy)
        for note in notes:
            echo(f"{file}: note: {safe(note)}")
        rules = len(loaded.policy.rules)
        echo(f"{file}: valid: {rules} rule{'s' if rules != 1 else ''}, {len(loaded.policy.trust)} trust names, {loaded.policy.digest}")
    return status


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
