"""A person's or server's own credentials, in the order in which they are tried.

1. What the environment or a flag gives for one host.
2. DOCKER_AUTH_CONFIG, as Docker reads it.
3. Each file in the order given (Helm's, Docker's, podman's); the first that knows the repository.
4. The job token that a CI system gives for its own registry.
5. The cloud's own identity, for the registries of that cloud.

Nothing is ever read from netrc, and nothing is got before a registry asks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from verifier.oci.auth_file import AuthFile, entries_credential
from verifier.oci.cloud import CloudLogins
from verifier.oci.credentials import Basic, Credential

_YOUNG_SECONDS = 30.0  # what was got just now is not got again because a registry refuses it


class Credentials:
    """Finds the credentials for a repository; safe to share between threads."""

    def __init__(
        self,
        files: Sequence[Path] = (),
        *,
        given: tuple[str, Credential] | None = None,
        environment: Mapping[str, str] | None = None,
        jobs: Mapping[str, Basic] | None = None,
        clouds: CloudLogins | None = None,
    ) -> None:
        self._given = given
        self._environment = dict(environment or {})
        self._files = [AuthFile(path, self._environment) for path in files]
        self._jobs = dict(jobs or {})
        self._clouds = clouds

    def find(self, registry: str, repository: str) -> Credential | None:
        """The first candidate, or None; raises MisuseError `config-invalid` on a file or helper that is broken."""
        return next(self.candidates(registry, repository), None)

    def candidates(self, registry: str, repository: str) -> Iterator[Credential]:
        """1 alone where it is given; else 2 or 3, then 4 and 5. Raises VerifierError."""
        return (credential for _, credential in self.sources(registry, repository))

    def sources(self, registry: str, repository: str) -> Iterator[tuple[str, Credential]]:
        """The candidates, each with where it comes from, for people."""
        if self._given is not None and self._given[0] == registry:
            yield "what was given for this host", self._given[1]
            return
        if (written := self._written(registry, repository)) is not None:
            yield written
        if registry in self._jobs:
            yield "the CI job's own token", self._jobs[registry]
        if self._clouds is not None and (leased := self._clouds.find(registry)) is not None:
            yield "this machine's identity in the cloud", leased

    def identity(self, registry: str, repository: str) -> str:
        """There is one identity in these files for each repository, so that it needs no name."""
        return ""

    def refresh(self, registry: str, repository: str) -> bool:
        """What helpers and clouds gave a while ago is forgotten; files are read anew when they change."""
        before = time.monotonic() - _YOUNG_SECONDS
        forgotten = [file.forget_helped(before) for file in self._files]
        leased = self._clouds is not None and self._clouds.forget(registry, before)
        return any(forgotten) or leased

    def _written(self, registry: str, repository: str) -> tuple[str, Credential] | None:
        if text := self._environment.get("DOCKER_AUTH_CONFIG"):
            found = entries_credential(text, "DOCKER_AUTH_CONFIG", registry, repository)
            if found is not None:
                return "DOCKER_AUTH_CONFIG", found
        return next((known for file in self._files if (known := file.find(registry, repository)) is not None), None)
