"""The entry point: commands are found lazily, errors become one readable line and an exit code (semantics 34).

Exit codes: 0 allowed or done, 1 denied, 2 misuse, 3 inconclusive, 130 interrupted.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import warnings

import click

from verifier import __version__
from verifier.cli.debug import debug_option
from verifier.model.codes import Family
from verifier.model.errors import VerifierError

_EXIT = {Family.MISUSE: 2, Family.FAILED: 1, Family.INCONCLUSIVE: 3}
INTERRUPTED = 130
# Start-up makes many objects and no garbage; looking for some every 700 objects took a tenth of a short command.
_GC_THRESHOLD = 50_000

# What an interrupt may leave in a registry; of files nothing partial is ever left.
_AGAIN = "what was sent lies there without a tag, or unfinished; the same command again completes it"
_LEFT_BEHIND = dict.fromkeys(("release", "copy", "bundle", "push", "sign", "attest"), _AGAIN)

# Command -> (module, attribute, one line of help); `--help` imports none of them.
_COMMANDS = {
    "package": ("verifier.cli.publish", "package", "Package a chart directory into a reproducible .tgz."),
    "push": ("verifier.cli.publish", "push", "Push a chart to a registry, as `helm push` does."),
    "sign": ("verifier.cli.sign", "sign", "Sign a chart file or a chart in a registry."),
    "attest": ("verifier.cli.sign", "attest", "Sign a statement about a chart (provenance, SBOM, VEX), and attach it."),
    "release": ("verifier.cli.release", "release", "Package, push, sign, attest and verify: one step for CI."),
    "verify": ("verifier.cli.verify", "verify", "Decide whether charts may be installed, and say why."),
    "verify-blob": ("verifier.cli.blob", "verify_blob", "Verify one sigstore bundle over any file or digest."),
    "inspect": ("verifier.cli.show", "inspect", "Show everything that is attached to a chart."),
    "record": ("verifier.cli.record", "record", "Keep everything that a decision needed, for tests and replays."),
    "pull": ("verifier.cli.show", "pull", "Verify a chart, then write exactly the verified bytes."),
    "copy": ("verifier.cli.copy", "copy", "Promote a chart with all its evidence to another registry."),
    "bundle": ("verifier.cli.copy", "bundle", "One file with chart, evidence and policy, for a place without a network."),
    "show": ("verifier.cli.show", "show", "Show a verified chart's files, like `helm show`."),
    "policy": ("verifier.cli.policy", "policy", "Check, test, compare and replay policies."),
    "dependencies": ("verifier.cli.dependencies", "dependencies", "Verify what a chart depends on, and hold it to recorded digests."),
    "trust": ("verifier.cli.roots", "trust", "Show sigstore's trusted roots, and refresh them."),
    "keys": ("verifier.cli.keys", "keys", "Make a key pair, say what a trust file holds, list what a key signed."),
    "helm": ("verifier.cli.helm", "helm", "Helm's plugin and getter, and Helm's commands on verified bytes."),
    "registry": ("verifier.cli.registry", "registry", "Serve the embedded registry; log in; check, list, prune and repair registries."),
    "serve": ("verifier.cli.serve", "serve", "Serve decisions over HTTP, and to the Kubernetes API server."),
    "scan": ("verifier.cli.scan", "scan_cluster", "Say of everything that is installed in a cluster whether the policy would let it in."),
    "admission": ("verifier.cli.admission", "admission", "Register the admission webhook; list the kinds that it reads."),
    "demo": ("verifier.cli.demo", "demo", "Show the main job on a temporary registry."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the work: package, push, sign, verify."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        _add_debug(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table above, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])


def _add_debug(command: click.Command) -> None:
    """`--debug` to every command that does not have it, or leaves its words to Helm: whatever asks somebody else can be heard."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _add_debug(inner)
    elif not command.context_settings.get("ignore_unknown_options") and not any("--debug" in parameter.opts for parameter in command.params):
        debug_option(exposed=False)(command)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="verifier")
def main() -> None:
    """Decide whether a Helm chart may be installed: one policy over digest, signature and provenance.

    Exit codes: 0 allowed, 1 denied, 2 misuse, 3 inconclusive.
    """


def run() -> None:
    """Run the command line; never ends in a traceback."""
    gc.set_threshold(_GC_THRESHOLD)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what a library warns of while it reads a stranger's evidence is no line of ours
    status = execute(sys.argv[1:])
    if status == INTERRUPTED:
        # Threads that wait for a slow registry would hold the exit up to their deadline. Files are replaced whole, never half.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    gc.freeze()  # the interpreter's last collections would walk all that was imported: a seventh of a short command
    sys.exit(status)


def execute(arguments: list[str]) -> int:
    """Run with these arguments and return the exit code."""
    try:
        result = main.main(arguments, prog_name="verifier", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return int(error.exit_code)
    except click.ClickException as error:
        error.show()
        return 2
    except VerifierError as error:
        return report_error(error)
    except (KeyboardInterrupt, click.Abort):
        click.echo(
            f"verifier: interrupted; {_LEFT_BEHIND.get(arguments[0] if arguments else '', 'nothing was decided and nothing partial was written')}", err=True
        )
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output is gone; do not complain about it at exit
        return 2
    except Exception as error:  # noqa: BLE001  # a fault of ours: still one line, and never an allow
        return _report_fault(error)


def report_error(error: VerifierError) -> int:
    """One line for the error, one for what to do; returns the family's exit code."""
    from verifier.model.mistakes import advise
    from verifier.report.text import safe

    click.echo(f"verifier: {safe(str(error))}", err=True)
    click.echo(f"  next    {advise(error.code, error.where, error.reason)}", err=True)
    return _EXIT[error.code.family]


def _report_fault(error: Exception) -> int:
    from verifier.report.text import safe

    click.echo(f"verifier: internal error, nothing was decided: {type(error).__name__}: {safe(str(error))[:500]}", err=True)
    click.echo("  next    Run the command with VERIFIER_TRACEBACK=1 and report what it prints.", err=True)
    if os.environ.get("VERIFIER_TRACEBACK"):
        raise error
    return 3
