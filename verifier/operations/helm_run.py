"""Helm's own command on verified bytes: `helm install` and the like, with the chart replaced by a file that was judged.

1. The user's words are read with Helm's own list of flags (helm.arguments).
2. What would fetch other charts, or a chart from elsewhere, is refused; a post-renderer changes what is installed after it was judged,
   so it stands as unsafe in the decision.
3. The chart is decided on: oci://, verified+oci://, a .tgz, or a chart repository's, by --repo URL NAME or as https://HOST/PATH/NAME. A version
   comes from the reference or from an exact --version.
4. Allowed: the verified bytes go into a directory of our own, with their `.prov` beside them where there is one, and Helm gets that
   file. Denied: Helm is not run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from verifier.charts.version import parse_version
from verifier.helm.arguments import Arguments, Given, write_arguments
from verifier.helm.asked import SCHEME as VERIFIED
from verifier.model import codes
from verifier.model.decision import Decision
from verifier.model.errors import MisuseError
from verifier.model.reference import SCHEME as OCI
from verifier.model.reference import WEB_SCHEMES, AnyReference, ChartRepositoryReference, Origin, Reference, canonical_tag, parse

COMMANDS = ("install", "upgrade", "template")
# What fetches something that nobody judged.
_FETCHING = {
    "dependency-update": "it fetches charts while Helm runs, which nobody judges; run `helm dependency update`, package the chart, and sign it",
    "devel": "a range is not resolved here; write the version",
    "password": "others can see it there; use `helm registry login`, or `helm repo add` for a chart repository",
    "username": "use `helm registry login`, or `helm repo add` for a chart repository",
    "pass-credentials": "credentials go to their own host and to no other",
}
# What speaks of the registry or chart repository, where we have been already.
_OURS = ("version", "repo", "ca-file", "cert-file", "key-file", "insecure-skip-tls-verify", "plain-http", "policy", "environment", "cluster")
_POST_RENDERERS = ("post-renderer", "post-renderer-args")


class Wrapped(Struct, frozen=True, kw_only=True):
    """A command of Helm's, as it was written, and the chart that it is about."""

    command: str
    arguments: Arguments
    chart: AnyReference

    @property
    def unsafe(self) -> tuple[str, ...]:
        """The switches that stand in the decision."""
        return ("post-renderer",) if any(given.name in _POST_RENDERERS for given in self.arguments.flags) else ()


def read_command(command: str, arguments: Arguments) -> Wrapped:
    """Steps 2 and 3 up to the reference; raises MisuseError `usage` or `reference-invalid`."""
    for given in arguments.flags:
        if given.name in _FETCHING and given.value not in ("false", ""):
            raise MisuseError(codes.USAGE, f"--{given.name} is not for a verified {command}: {_FETCHING[given.name]}")
    words = arguments.words
    nameless = arguments.is_on("generate-name") or arguments.value("name-template") is not None or (command == "template" and len(words) == 1)
    names = 0 if nameless and command != "upgrade" else 1
    if len(words) != names + 1:
        expected = "CHART" if names == 0 else "RELEASE CHART" if command == "upgrade" else "NAME CHART"
        raise MisuseError(codes.USAGE, f"expected `{command} {expected}`, found {len(words)} names: {' '.join(words)[:200]!r}")
    return Wrapped(command=command, arguments=arguments, chart=_chart(_whole(words[-1], arguments.value("repo")), arguments.value("version")))


def _whole(chart: str, repository: str | None) -> str:
    """A name in a repository, as one reference."""
    if not repository:
        return chart
    if not repository.startswith(WEB_SCHEMES):
        raise MisuseError(codes.USAGE, f"--repo is {repository[:200]!r}, expected the https:// URL of a chart repository")
    return f"{repository.rstrip('/')}/{chart}"


def _chart(written: str, version: str | None) -> AnyReference:
    """3."""
    text = f"{OCI}{written.removeprefix(VERIFIED)}" if written.startswith(VERIFIED) else written
    if "://" not in text and not text.endswith(".tgz"):
        raise MisuseError(
            codes.REFERENCE_INVALID,
            "neither oci://... nor https://... nor a .tgz; a directory, or what only this machine's Helm knows, cannot be verified",
            where=repr(written[:200]),
        )
    reference = parse(text)
    if not isinstance(reference, Reference | ChartRepositoryReference):
        return reference
    if version is not None:
        return _with_version(reference, version)
    if reference.tag is None and (reference.digest is None or isinstance(reference, ChartRepositoryReference)):
        raise MisuseError(codes.REFERENCE_INVALID, "a version is needed: NAME:VERSION, NAME@sha256:HEX or --version VERSION", where=reference.written[:200])
    return reference


def _with_version(reference: Origin, version: str) -> Origin:
    if parse_version(version) is None:
        raise MisuseError(codes.USAGE, f"--version is {version[:60]!r}; a range is not resolved here, write the version")
    tag = canonical_tag(version, written=version)
    if reference.tag not in (None, tag):
        raise MisuseError(codes.USAGE, f"the reference says {reference.tag}, --version says {version}", where=reference.written[:200])
    return replace(reference, tag=tag) if isinstance(reference, Reference) else replace(reference, version=version)


def run_verified(wrapped: Wrapped, decision: Decision, provenance: bytes | None, run: Callable[[list[str]], int]) -> int:
    """4: `run` gets Helm's words; returns its exit code. The decision must allow."""
    if not decision.allowed or decision.artifact is None:
        raise AssertionError("Helm is not run on what is not allowed")
    with tempfile.TemporaryDirectory(prefix="verifier-helm-") as directory:  # readable by this user only
        path = Path(directory) / f"{decision.artifact.facts.label}.tgz"
        path.write_bytes(decision.artifact.archive)
        if provenance is not None:
            path.with_name(f"{path.name}.prov").write_bytes(provenance)
        return run([wrapped.command, *write_arguments(_for_helm(wrapped.arguments, path))])


def _for_helm(arguments: Arguments, path: Path) -> Arguments:
    kept: tuple[Given, ...] = tuple(given for given in arguments.flags if given.name not in (*_OURS, *_FETCHING))
    return Arguments(flags=kept, words=(*arguments.words[:-1], str(path)))
