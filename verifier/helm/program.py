"""Asking Helm about itself: its version, where its plugins lie, what its flags are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from verifier.charts.version import Version, parse_version
from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.net.process import run_program

_SECONDS = 30.0


class Helm(Struct, frozen=True):
    """One Helm, and the environment that it runs in."""

    program: str
    environment: Mapping[str, str]

    def ask(self, *arguments: str) -> str:
        """What it prints; raises MisuseError `tool-missing` where there is no such Helm, or it refuses."""
        done = run_program([self.program, *arguments], stdin=b"", seconds=_SECONDS, environment=self.environment)
        if done.status != 0:
            said = done.stderr.decode("utf-8", "replace").strip()[:300]
            raise MisuseError(codes.TOOL_MISSING, f"`helm {' '.join(arguments)}` ended with {done.status}: {said}", where=self.program)
        return done.stdout.decode("utf-8", "replace")

    def version(self) -> Version:
        """3 or later; raises MisuseError `tool-missing`."""
        text = self.ask("version", "--template", "{{.Version}}").strip()
        version = parse_version(text)
        if version is None or version.numbers[0] < 3:
            raise MisuseError(codes.TOOL_MISSING, f"it says that it is version {text[:60]!r}, expected Helm 3 or 4", where=self.program)
        return version

    def plugins(self) -> Path:
        """The directory that its plugins lie in."""
        return Path(self.ask("env", "HELM_PLUGINS").strip())
