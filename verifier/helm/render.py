"""Rendering a chart with its own values, in a home of its own: Helm sees no cluster, no repository, no plugin and no other chart."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from verifier.model import codes, limits
from verifier.model.errors import InconclusiveError, MisuseError
from verifier.net.process import run_program

_RELEASE = "release"


def render_chart(archive: bytes, helm: str) -> bytes:
    """The manifests that `helm template` makes of the chart, CRDs and hooks included.

    Raises InconclusiveError `images-unknown` where there is no such Helm, or the chart does not render with its own values.
    """
    with tempfile.TemporaryDirectory(prefix="verifier-render-") as home:
        chart = Path(home) / "chart.tgz"
        chart.write_bytes(archive)
        arguments = [helm, "template", _RELEASE, str(chart), "--include-crds", "--namespace", "default"]
        try:
            done = run_program(arguments, stdin=b"", seconds=limits.RENDER_SECONDS, environment=_environment(home))
        except (MisuseError, InconclusiveError) as error:
            raise InconclusiveError(codes.IMAGES_UNKNOWN, error.reason, where=helm) from error
    if done.status != 0:
        reason = done.stderr.decode("utf-8", "replace").replace(home, "").strip().partition("\n")[0][:200]
        raise InconclusiveError(codes.IMAGES_UNKNOWN, f"helm template ended with {done.status}: {reason}", where=helm)
    if done.cut:
        raise InconclusiveError(codes.IMAGES_UNKNOWN, "helm template printed more than is read", where=helm)
    return done.stdout


def _environment(home: str) -> dict[str, str]:
    """PATH to find the program; a kubeconfig that is not there keeps every cluster out of reach."""
    own = {f"HELM_{name}_HOME": f"{home}/{name.lower()}" for name in ("CACHE", "CONFIG", "DATA")}
    return {"PATH": os.defpath, "HOME": home, "KUBECONFIG": f"{home}/none", "HELM_PLUGINS": f"{home}/none", **own}
