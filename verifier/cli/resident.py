"""`verifier helm resident`: the getter's libraries, loaded once."""

from __future__ import annotations

import importlib
import os
import sys

import click

from verifier.cli.options import echo
from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.report.text import safe

# What a call imports on its way; one that is missing here costs time, not correctness.
_WARM = (
    "cli.helm",
    "cli.trust",
    "helm.asked",
    "net.web",
    "oci.authorization",
    "oci.challenge",
    "oci.referrers",
    "operations.cosign_tags",
    "operations.helm_get",
    "operations.policies",
    "operations.roots",
    "policy.loader",
    "schemes.openpgp.verify",
    "schemes.sigstore.root",
    "schemes.sigstore.verify",
)


@click.command()
@click.option("--idle", default=900.0, show_default=True, help="End after this many seconds without a call.")
def resident(idle: float) -> None:
    """Keep a warm process for Helm's getter, so that Helm waits less for it; it keeps nothing but its libraries.

    It serves this user's getter of the same installation, each call in a process of its own, until nobody has called for a while.
    """
    from verifier.net.warm import serve, socket_path

    path = socket_path(os.environ)
    if path is None:
        raise MisuseError(codes.CONFIG_INVALID, "no place for a socket (XDG_RUNTIME_DIR, HOME), or a platform that does not tell who is calling")
    if not (sys.flags.safe_path and sys.flags.ignore_environment):
        # As the launcher does it: a call's working directory must never be where modules come from.
        os.execv(sys.executable, [sys.executable, "-P", "-E", "-m", "verifier", "helm", "resident", "--idle", str(idle)])  # noqa: S606
    for name in _WARM:
        importlib.import_module(f"verifier.{name}")
    echo(f"verifier: a resident for Helm's getter, at {safe(path)}", err=True)
    try:
        serve(path, idle, _become)
    except OSError as error:
        raise MisuseError(codes.WRITE_FAILED, f"no resident here: {error.strerror or error}", where=path) from error


def _become(call: dict[str, object]) -> int:
    """The caller's command in the caller's environment; this is a process of its own."""
    from verifier.cli.main import execute

    environment, words = call["environment"], call["words"]
    assert isinstance(environment, dict)
    assert isinstance(words, list)
    os.environ.clear()
    os.environ.update({str(name): str(value) for name, value in environment.items()})
    return execute([str(word) for word in words])
