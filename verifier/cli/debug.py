"""`--debug`, which every command has: whatever is asked of anybody is told on stderr, by whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

_ON = "verifier.debug"


def debug_option(*, exposed: bool = True) -> Callable[[Any], Any]:
    """The option; a command that makes requests of our own gets it as `debug`."""
    said = "Show each request on stderr, secrets masked."
    return click.option("--debug", is_flag=True, envvar="VERIFIER_DEBUG", expose_value=exposed, callback=_hear, help=said)


def _hear(context: click.Context, _: click.Parameter, debug: bool) -> bool:
    """What others' libraries ask is told from here on, until the command ends."""
    if debug:
        from verifier.net.overheard import overheard

        context.meta[_ON] = True
        context.with_resource(overheard(show_request))
    return debug


def request_observer() -> Callable[[str], None] | None:
    """For requests of our own that are not made over a command's connections; None without `--debug`."""
    context = click.get_current_context(silent=True)
    return show_request if context is not None and _ON in context.meta else None


def show_request(line: str) -> None:
    """One line for one request."""
    from verifier.report.text import safe

    click.echo(f"debug: {safe(line)}", err=True)
