"""Running a program: no shell, a deadline, bounded output, an environment that is given and not inherited by accident."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from verifier.model import codes
from verifier.model.errors import InconclusiveError, MisuseError

_MAX_OUTPUT = 4 * 1024 * 1024


class Finished(Struct, frozen=True, kw_only=True):
    """What a program left behind; `cut` when it printed more than is kept."""

    status: int
    stdout: bytes
    stderr: bytes
    cut: bool = False


def run_program(arguments: Sequence[str], *, stdin: bytes, seconds: float, environment: Mapping[str, str]) -> Finished:
    """Run to the end; raises MisuseError `tool-missing`, or InconclusiveError `timeout`; a non-zero status is the caller's."""
    import subprocess  # most commands run no program

    try:
        done = subprocess.run(list(arguments), input=stdin, capture_output=True, timeout=seconds, env=dict(environment), check=False)
    except FileNotFoundError as error:
        raise MisuseError(codes.TOOL_MISSING, f"{arguments[0]!r} is not installed") from error
    except OSError as error:
        raise MisuseError(codes.TOOL_MISSING, f"{arguments[0]!r} could not be started: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise InconclusiveError(codes.TIMEOUT, f"{arguments[0]!r} did not end within {seconds:.0f} s") from error
    cut = max(len(done.stdout), len(done.stderr)) > _MAX_OUTPUT
    return Finished(status=done.returncode, stdout=done.stdout[:_MAX_OUTPUT], stderr=done.stderr[:_MAX_OUTPUT], cut=cut)


def run_attached(arguments: Sequence[str], *, environment: Mapping[str, str]) -> int:
    """Run to the end on this terminal, with its input and output, and return the exit code; raises MisuseError `tool-missing`.

    An interrupt from the keyboard reaches the program itself, which may have a rollback to do: it is waited for, not killed.
    """
    import signal
    import subprocess

    try:
        running = subprocess.Popen(list(arguments), env=dict(environment))
    except OSError as error:
        raise MisuseError(codes.TOOL_MISSING, f"{arguments[0]!r} could not be started: {error}") from error
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        status = running.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    return status if status >= 0 else 128 - status
