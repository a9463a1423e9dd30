"""`verifier demo`."""

from __future__ import annotations

import click

from verifier.cli.options import echo


@click.command()
def demo() -> int:
    """Show the main job: a chart is signed, pushed, attached, judged, and refused when anything is off.

    Needs no network, and touches nothing of yours: registry and keys are made in a temporary directory.
    """
    from verifier.demo.story import tell

    return tell(echo)
